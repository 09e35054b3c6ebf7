//! The part of `manifest.json` that the report shows. Owns which fields are required. It must never know the other fields
//! of a manifest.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::job::{Change, ChosenBy, PictureRole};
use crate::model::{ComponentOverrides, LoraId};
use crate::report::output::{MANIFEST, is_inside};

const SCHEMA: &str = "p2p.edit/v1";

/// The manifest of a run, as far as the report shows it.
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
    /// The commit of a hub model.
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
    /// The number of the edit that it edits, from 1. `None` if it edits the source.
    pub of_edit: Option<usize>,
    /// The kind of edit. Manifests of earlier versions call it `kind`.
    #[serde(rename = "edit", alias = "kind")]
    pub kind: String,
    /// Who chose the kind. Manifests of earlier versions do not say.
    pub kind_chosen_by: Option<ChosenBy>,
    pub kind_chosen_because: String,
    /// How much the edit changed. `None` if the picture before the edit was not drawn.
    pub change: Option<Change>,
}

impl Edit {
    /// Whether the kind of edit follows from the prompts.
    pub fn is_auto(&self) -> bool {
        self.kind_chosen_by == Some(ChosenBy::Prompts)
    }
}

/// A picture of the run. `file` is relative to the run's folder.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Picture {
    pub file: String,
    pub role: PictureRole,
    /// The number of the edit that it shows, from 1. `None` for the source.
    pub edit: Option<usize>,
    /// Settings by the names of flags, see [`command_line`](crate::report::command::command_line).
    pub settings: Map<String, Value>,
}

impl Manifest {
    /// Reads the manifest of a run's folder.
    ///
    /// # Errors
    /// The cause, as text for a warning.
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
            return Err("one of its edits edits a later one".to_owned());
        }
        // A source that was drawn only for its heatmaps is listed, but has no file.
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

    /// The chain of edits from the source to edit `number` (from 1), which is included.
    pub fn chain(&self, number: usize) -> Vec<&Edit> {
        let edit = |number: usize| self.edits.get(number - 1);
        let before = |last: &&Edit| last.of_edit.and_then(edit);
        let mut chain: Vec<&Edit> = std::iter::successors(edit(number), before).collect();
        chain.reverse();
        chain
    }

    /// The pictures of a row: the edit, then its baseline without attention control.
    pub fn pictures(&self, row: usize) -> impl Iterator<Item = &Picture> {
        let of = move |picture: &&Picture| picture.edit.unwrap_or(0) == row;
        self.pictures.iter().filter(of)
    }
}
