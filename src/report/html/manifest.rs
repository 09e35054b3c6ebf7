//! `manifest.json` as the report reads it: what it shows and no more.
//! Owns which fields must be there; whatever else a manifest holds is nobody's business here.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::report::output::MANIFEST;

/// What a run's manifest says, as far as it is shown.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Manifest {
    pub schema: String,
    #[serde(default)]
    pub version: String,
    pub model: Model,
    pub source: Prompt,
    #[serde(default)]
    pub edits: Vec<Edit>,
    #[serde(default)]
    pub negative_prompt: String,
    pub seed: u64,
    pub steps: usize,
    pub guidance: f64,
    pub scheduler: String,
    pub width: u32,
    pub height: u32,
    pub self_res: Option<usize>,
    pub compat: Option<String>,
    #[serde(default = "yes")]
    pub edit_control: bool,
    #[serde(default)]
    pub fast: bool,
    #[serde(default)]
    pub files: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Model {
    pub id: String,
    #[serde(default)]
    pub weights_sha256: String,
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
    #[serde(default)]
    pub negative_prompt: String,
    pub preset: Option<String>,
    pub kind: String,
    #[serde(default)]
    pub kind_chosen_because: String,
    pub cross_steps: CrossSteps,
    pub self_steps: String,
    #[serde(default)]
    pub weights: Vec<Weight>,
    pub weight_steps: Option<String>,
    pub inject_latents: Option<String>,
    #[serde(default = "one")]
    pub strength: f64,
    pub blend: Option<Blend>,
    pub change: Option<Change>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct CrossSteps {
    pub default: String,
    #[serde(default)]
    pub words: Vec<WordWindow>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct WordWindow {
    pub word: String,
    pub window: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Weight {
    pub word: String,
    pub factor: f64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Blend {
    #[serde(default)]
    pub words: Vec<String>,
    #[serde(default)]
    pub keep: Vec<String>,
    pub threshold: f64,
    pub keep_threshold: f64,
    pub from: f64,
    #[serde(default)]
    pub soft: bool,
    pub mask_sha256: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Change {
    pub whole: Difference,
    pub inside: Option<Difference>,
    pub outside: Option<Difference>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Difference {
    pub share: f64,
    /// Of 255.
    pub mean_abs: f64,
    /// In dB; absent where nothing differs.
    pub psnr: Option<f64>,
}

fn yes() -> bool {
    true
}

fn one() -> f64 {
    1.0
}

impl Manifest {
    /// The manifest of a run's folder; why not, for people, where it can't be read.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let bytes = fs::read(folder.join(MANIFEST)).map_err(|e| e.to_string())?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
        let schema = value.get("schema").and_then(Value::as_str);
        if schema.is_none_or(|schema| !schema.starts_with("p2p.edit/")) {
            return Err("it is not a manifest of p2p".to_owned());
        }
        let manifest: Self = serde_json::from_value(value).map_err(|e| e.to_string())?;
        match manifest.schema == "p2p.edit/v1" {
            true => manifest.in_order(),
            false => Err(format!("its schema is {}", manifest.schema)),
        }
    }

    /// A chain's edits stand behind what they are edits of.
    fn in_order(self) -> Result<Self, String> {
        let after = |(i, edit): (usize, &Edit)| edit.of_edit.is_none_or(|of| of >= 1 && of <= i);
        match self.edits.iter().enumerate().all(after) {
            true => Ok(self),
            false => Err("an edit of it is an edit of a later one".to_owned()),
        }
    }

    /// The prompt of row 0, the source, or row `i`, the `i`-th edit.
    pub fn prompt(&self, row: usize) -> &str {
        match row {
            0 => &self.source.prompt,
            row => &self.edits[row - 1].prompt,
        }
    }

    /// The edits from the source to edit `i`, that one included.
    pub fn chain(&self, i: usize) -> Vec<&Edit> {
        let before = |edit: &&Edit| edit.of_edit.map(|of| &self.edits[of - 1]);
        let mut chain: Vec<&Edit> =
            std::iter::successors(self.edits.get(i), |edit| before(edit)).collect();
        chain.reverse();
        chain
    }

    /// The settings of edit `i`, else of the source alone, in the flags' vocabulary with underscores.
    pub fn settings(&self, i: Option<usize>) -> Value {
        let chain = i.map_or(vec![], |i| self.chain(i));
        let edits: Vec<Value> = chain
            .iter()
            .enumerate()
            .map(|(link, edit)| self.edit_settings(edit, link > 0))
            .collect();
        let told = |on: bool| on.then_some(on);
        table(json!({
            "src": self.source.prompt,
            "edit": edits,
            "edit_control": (!self.edit_control).then_some(false),
            "seed": self.seed,
            "steps": self.steps,
            "guidance": self.guidance,
            "scheduler": self.scheduler,
            "width": self.width,
            "height": self.height,
            "negative_prompt": Some(&self.negative_prompt).filter(|text| !text.is_empty()),
            "self_res": self.self_res.filter(|_| !edits.is_empty()),
            "compat": self.compat,
            "fast": told(self.fast),
            "model": self.model.id,
        }))
    }

    fn edit_settings(&self, edit: &Edit, chained: bool) -> Value {
        let prompt = if chained { "then" } else { "dst" };
        let blend = edit.blend.as_ref();
        let some = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
        let windows = edit.cross_steps.words.iter();
        let mut cross = Map::new();
        cross.insert("default".to_owned(), json!(edit.cross_steps.default));
        cross.extend(windows.map(|w| (w.word.clone(), json!(w.window))));
        let weights = edit.weights.iter();
        let weights: Map<String, Value> =
            weights.map(|w| (w.word.clone(), json!(w.factor))).collect();
        if !self.edit_control {
            // Without control there is nothing to set.
            return json!({ prompt: edit.prompt });
        }
        table(json!({
            prompt: edit.prompt,
            "preset": edit.preset,
            "edit": edit.asked_kind(),
            "weight": (!weights.is_empty()).then_some(weights),
            "weight_steps": edit.weight_steps,
            "cross_steps": cross,
            "self_steps": edit.self_steps,
            "inject_latents": edit.inject_latents,
            "strength": Some(edit.strength).filter(|s| *s != 1.0),
            "blend": blend.and_then(|b| some(&b.words)),
            "blend_keep": blend.and_then(|b| some(&b.keep)),
            "blend_threshold": blend.map(|b| [b.threshold, b.keep_threshold]),
            "blend_from": blend.map(|b| b.from),
            "blend_soft": blend.and_then(|b| b.soft.then_some(true)),
            "mask_sha256": blend.and_then(|b| b.mask_sha256.as_ref()),
            "negative_prompt": Some(&edit.negative_prompt).filter(|own| **own != self.negative_prompt),
        }))
    }
}

impl Edit {
    /// The kind as a flag would have it: nothing where the preset or the prompts choose.
    fn asked_kind(&self) -> Option<&str> {
        match self.kind_chosen_because.as_str() {
            "as asked" => Some(&self.kind),
            "the preset's" => None,
            // A preset may have a kind, which was not wanted.
            _ => self.preset.as_ref().map(|_| "auto"),
        }
    }
}

/// Without what was not set.
fn table(mut value: Value) -> Value {
    if let Some(table) = value.as_object_mut() {
        table.retain(|_, value| !value.is_null());
    }
    value
}
