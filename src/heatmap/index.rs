//! The contents of `attn/index.json`. Owns its fields. It must never know how their values are computed.

use std::collections::BTreeMap;

use serde::Serialize;

/// The index of all heatmaps of a run.
#[derive(Debug, Serialize)]
pub struct Index {
    /// Version of the format: `p2p.maps/v1`.
    pub schema: &'static str,
    /// `cross` or `self`.
    pub kind: &'static str,
    /// `daam` if all layers are merged as DAAM does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub like: Option<&'static str>,
    /// `injected` if the maps of edited rows are those after the edit, `own` if they are those before it.
    pub edited_as: &'static str,
    /// `shared` if all words have one colour scale, `token` if each has its own.
    pub scale: &'static str,
    /// What is averaged or summed in the values of maps, ranges, means and raw tensors.
    pub values: &'static str,
    /// The prompt of each row, by the row's name.
    pub prompts: BTreeMap<String, String>,
    /// All heatmaps.
    pub maps: Vec<IndexEntry>,
    /// The words that were located.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub located: Vec<LocatedWords>,
    /// The raw tensors, if they were written.
    /// The raw tensors, if they were written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<Raw>,
}

/// The raw tensors of a run. Each is named by its row and its resolution or layer: `source/16x16`.
#[derive(Debug, Serialize)]
pub struct Raw {
    /// The file that holds them.
    pub file: String,
    /// Names of the axes.
    pub shape: [&'static str; 5],
    /// The tokens along the third axis, per row. In self-attention that axis holds the pixels looked at.
    pub tokens: BTreeMap<String, Vec<usize>>,
}

/// One heatmap of the index.
#[derive(Debug, Serialize)]
pub struct IndexEntry {
    /// The heatmap's file.
    pub file: String,
    /// The file with the heatmap over the picture.
    pub overlay: String,
    /// Name of the row: `source`, `edited-1`.
    pub row: String,
    /// The word, or a name for the pixel or the component.
    pub word: String,
    /// The tokens whose attention is summed.
    pub tokens: Vec<usize>,
    /// Ranges `[start, end)` of these tokens in the prompt, in characters.
    pub places: Vec<[usize; 2]>,
    /// Indices of the layers that are averaged.
    pub layers: Vec<usize>,
    /// The steps that are averaged: `steps 1 to 50`.
    pub steps: String,
    /// The attention head, absent for the mean of all heads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<usize>,
    /// The singular value of a principal component of self-attention.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub singular_value: Option<f32>,
    /// The middle of the cell whose self-attention is shown, `[x, y]` in pixels of the picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<[u32; 2]>,
    /// Size of the map, `[height, width]` in cells.
    pub grid: [usize; 2],
    /// The values of the first and the last colour.
    pub range: [f32; 2],
    /// Mean of all values.
    pub mean: f32,
    /// The middle of the cell with the largest value, `[x, y]` in pixels of the picture.
    pub peak: [u32; 2],
}

/// Where a word or phrase is in the picture.
#[derive(Debug, Serialize)]
pub struct LocatedWords {
    /// The mask's file.
    pub file: String,
    /// Name of the row: `source`, `edited-1`.
    pub row: String,
    /// The word or phrase.
    pub word: String,
    /// Its tokens.
    pub tokens: Vec<usize>,
    /// Ranges `[start, end)` of these tokens in the prompt, in characters.
    pub places: Vec<[usize; 2]>,
    /// Share of the peak above which a cell belongs to the mask.
    pub threshold: f32,
    /// Share of the picture that the mask covers.
    pub share: f32,
    /// The middle of the cell with the largest value, `[x, y]` in pixels of the picture.
    pub peak: [u32; 2],
    /// Box around the connected part of the mask that contains the peak: left, top, right and bottom in
    /// pixels, right and bottom exclusive. `null` if the mask is empty.
    pub r#box: Option<[u32; 4]>,
    /// Box around the whole mask, including cells apart from the peak.
    pub mask_box: Option<[u32; 4]>,
}
