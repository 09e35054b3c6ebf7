//! `manifest.json` as the report reads it: what it shows and no more.
//! Owns which fields must be there; whatever else a manifest holds is nobody's business here.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::model::{ComponentOverrides, LoraId};
use crate::report::output::{MANIFEST, is_inside};

const SCHEMA: &str = "p2p.edit/v1";

/// What a run's manifest says, as far as it is shown.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Manifest {
    pub version: String,
    pub model: Model,
    pub source: Prompt,
    pub edits: Vec<Edit>,
    pub seed: u64,
    pub width: u32,
    pub height: u32,
    pub pictures: Vec<Picture>,
    pub files: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Model {
    pub id: String,
    /// Of a model of the hub.
    pub revision: Option<String>,
    pub variant: Option<String>,
    pub weights_sha256: String,
    #[serde(default, alias = "elsewhere")]
    pub overrides: ComponentOverrides,
    #[serde(default)]
    pub loras: Vec<LoraId>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Prompt {
    pub prompt: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Edit {
    pub prompt: String,
    /// The edit it is an edit of, from 1.
    pub of_edit: Option<usize>,
    pub kind: String,
    pub kind_chosen_because: String,
    /// Absent where the picture that it is an edit of was not drawn.
    pub change: Option<Change>,
}

impl Edit {
    /// Whether its kind is the one that the prompts choose.
    pub fn is_auto(&self) -> bool {
        !["as asked", "the preset's"].contains(&self.kind_chosen_because.as_str())
    }
}

/// A picture of the run, under its name in the run's folder.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Picture {
    pub file: String,
    pub role: PictureRole,
    /// The edit that it shows, from 1.
    pub edit: Option<usize>,
    /// In the vocabulary of the flags, see [`command_line`](crate::report::command::command_line).
    pub settings: Map<String, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PictureRole {
    Source,
    Edited,
    /// Drawn without control.
    Baseline,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Change {
    pub whole: Difference,
    pub inside: Option<Difference>,
    pub outside: Option<Difference>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Difference {
    /// Of the picture.
    pub share: f64,
    /// Of 255.
    pub mean_abs: f64,
    /// In dB; absent where nothing differs.
    pub psnr: Option<f64>,
}

impl Manifest {
    /// The manifest of a run's folder; why not, for people, where it can't be read.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let bytes = fs::read(folder.join(MANIFEST)).map_err(|e| e.to_string())?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
        match value.get("schema").and_then(Value::as_str) {
            Some(SCHEMA) => {}
            Some(other) => return Err(format!("its schema is {other}, not {SCHEMA}")),
            None => return Err("it is not a manifest of p2p".to_owned()),
        }
        let mut manifest: Self = serde_json::from_value(value).map_err(|e| e.to_string())?;
        let edits = manifest.edits.iter().enumerate();
        let mut bases = edits.map(|(i, edit)| (i, edit.of_edit));
        if bases.any(|(i, of)| of.is_some_and(|of| of < 1 || of > i)) {
            return Err("an edit in it is an edit of a later one".to_owned());
        }
        // A source may be listed that was drawn for its heatmaps alone.
        let files = &manifest.files;
        let kept = |picture: &Picture| is_inside(&picture.file) && files.contains(&picture.file);
        manifest.pictures.retain(kept);
        Ok(manifest)
    }

    /// The prompt of row 0, the source, or row `i`, the `i`-th edit.
    pub fn prompt(&self, row: usize) -> &str {
        match row {
            0 => &self.source.prompt,
            row => &self.edits[row - 1].prompt,
        }
    }

    /// The edits from the source to edit `number`, from 1, that one included.
    pub fn chain(&self, number: usize) -> Vec<&Edit> {
        let edit = |number: usize| self.edits.get(number - 1);
        let before = |last: &&Edit| last.of_edit.and_then(edit);
        let mut chain: Vec<&Edit> = std::iter::successors(edit(number), before).collect();
        chain.reverse();
        chain
    }

    /// The pictures of a row: of an edit first as it was asked for, then without control.
    pub fn pictures(&self, row: usize) -> impl Iterator<Item = &Picture> {
        let of = move |picture: &&Picture| picture.edit.unwrap_or(0) == row;
        self.pictures.iter().filter(of)
    }
}
