//! Stable Diffusion 2.x, XL and their Turbo models, as miniatures with random weights, against diffusers' own
//! pipelines. `tests/reference/families.py` wrote the fixtures.

mod edits;
mod parity;
mod refusals;
mod sdxl;
mod turbo;

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use prompt_to_prompt::error::Error;
use prompt_to_prompt::job::{BlendWords, EditSettings, Job, Outcome, Prepared, run};
use prompt_to_prompt::model::{Model, ModelFolder};
use serde::Deserialize;
use serde_json::Value;

use crate::common::{fixture, relative};
use crate::model::copy;
use crate::parity::flat;

pub const SRC: &str = "a cat on the beach";
pub const DST: &str = "a dog on the beach";
pub const REFINED: &str = "a big cat on the beach";
pub const SEED: u64 = 31;
/// Height and width in pixels.
pub const SIZE: (usize, usize) = (96, 160);

/// A complete folder of a miniature, with the tokenizer and the VAE weights that the fixtures share.
pub struct Family {
    pub name: &'static str,
    pub folder: tempfile::TempDir,
}

impl Family {
    pub fn new(name: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(&fixture(&format!("families/{name}")), folder.path());
        for tokenizer in ["tokenizer", "tokenizer_2"] {
            if folder.path().join(tokenizer).is_dir() {
                copy(
                    &fixture("families/tokenizer"),
                    &folder.path().join(tokenizer),
                );
            }
        }
        let vae = "vae/diffusion_pytorch_model.safetensors";
        let weights = fixture(&format!("mini-sd/{vae}"));
        std::fs::copy(weights, folder.path().join(vae)).unwrap();
        Self { name, folder }
    }

    /// The folder with keys of a config set to other values.
    pub fn with(self, file: &str, changes: &Value) -> Self {
        let path = self.folder.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        std::fs::write(path, config.to_string()).unwrap();
        self
    }

    /// The folder with the scheduler config of a Turbo model.
    pub fn turbo(self, class: &str) -> Self {
        let changes = serde_json::json!({ "_class_name": class, "timestep_spacing": "trailing" });
        self.with("scheduler/scheduler_config.json", &changes)
    }

    pub fn open(&self) -> Result<ModelFolder, Error> {
        ModelFolder::open(self.folder.path().to_str().unwrap())
    }

    pub fn golden(&self) -> HashMap<String, Tensor> {
        let path = fixture(&format!("families/{}-golden.safetensors", self.name));
        candle_core::safetensors::load(path, &Device::Cpu).unwrap()
    }

    pub fn cases(&self) -> Vec<Case> {
        let path = fixture(&format!("families/{}-cases.json", self.name));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }
}

/// The settings of a run of diffusers' pipeline.
#[derive(Deserialize)]
pub struct Case {
    pub scheduler: String,
    pub steps: usize,
    pub guidance: f64,
    pub negative_prompt: Option<String>,
    pub prompt: String,
    pub config: Value,
}

/// Checks that two tensors differ by at most `bound`, relative to the wanted one.
pub fn near(what: &str, got: &Tensor, want: &Tensor, bound: f64) {
    assert_eq!(got.dims(), want.dims(), "{what}");
    let far = relative(&flat(got), &flat(want));
    println!("{what}: {far:.1e}");
    assert!(far <= bound, "{what} is off by {far:.1e}");
}

pub fn job(edits: Vec<EditSettings>) -> Job {
    Job {
        seed: SEED,
        steps: Some(4),
        width: Some(SIZE.1),
        height: Some(SIZE.0),
        ..Job::new(SRC, edits)
    }
}

pub fn draw(job: &Job, folder: &ModelFolder, model: &Model) -> Outcome {
    let prepared = Prepared::new(job, folder).unwrap();
    run(&prepared, model, &mut [], &mut |_| Ok(())).unwrap()
}

/// The edit, confined by local blend to where attention to "dog" or "cat" is near its peak.
pub fn confined(spec: EditSettings) -> EditSettings {
    EditSettings {
        blend: vec![BlendWords::Pair(vec!["cat".into()], vec!["dog".into()])],
        blend_threshold: Some((0.9, 0.9)),
        ..spec
    }
}
