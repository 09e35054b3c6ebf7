//! What `attn/index.json` says. Owns its fields and nothing of how they come about.

use std::collections::BTreeMap;

use serde::Serialize;

#[derive(Debug, Serialize)]
pub struct Index {
    pub schema: &'static str,
    pub kind: &'static str,
    /// `daam` where all layers are merged as it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub like: Option<&'static str>,
    /// Whether an edited row's maps are those it was made to use, or its `own`.
    pub edited_as: &'static str,
    /// `shared` or `token`.
    pub scale: &'static str,
    /// What the numbers are: of maps, ranges, means and the raw tensors.
    pub values: &'static str,
    pub prompts: BTreeMap<String, String>,
    pub maps: Vec<IndexEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub located: Vec<LocatedWords>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<Raw>,
}

/// What the numbers' tensors mean, each named by row and resolution or layer: `source/16x16`.
#[derive(Debug, Serialize)]
pub struct Raw {
    pub file: String,
    pub shape: [&'static str; 5],
    /// Per row, the tokens along the third axis; in self-attention it is the pixels looked at.
    pub tokens: BTreeMap<String, Vec<usize>>,
}

#[derive(Debug, Serialize)]
pub struct IndexEntry {
    pub file: String,
    pub overlay: String,
    pub row: String,
    pub word: String,
    /// Tokens whose attention is summed.
    pub tokens: Vec<usize>,
    /// Where these stand in the prompt: from and to before, in characters.
    pub places: Vec<[usize; 2]>,
    pub layers: Vec<usize>,
    pub steps: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<usize>,
    /// Of a component of self-attention: how much of the maps it makes up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub singular_value: Option<f32>,
    /// The middle of the cell that looks, in pixels of the picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<[u32; 2]>,
    /// `[height, width]`
    pub grid: [usize; 2],
    /// What the darkest and the brightest colour stand for.
    pub range: [f32; 2],
    pub mean: f32,
    /// Where it is largest: the cell's middle, in pixels of the picture.
    pub peak: [u32; 2],
}

#[derive(Debug, Serialize)]
pub struct LocatedWords {
    pub file: String,
    pub row: String,
    pub word: String,
    pub tokens: Vec<usize>,
    /// Where these stand in the prompt: from and to before, in characters.
    pub places: Vec<[usize; 2]>,
    pub threshold: f32,
    /// Share of the picture that the mask takes.
    pub share: f32,
    pub peak: [u32; 2],
    /// Of the connected part of the mask that holds the peak: left, top, right, bottom in pixels, the
    /// last two beyond it; absent where the word is nowhere.
    pub r#box: Option<[u32; 4]>,
    /// The same of the whole mask, stray cells included.
    pub mask_box: Option<[u32; 4]>,
}
