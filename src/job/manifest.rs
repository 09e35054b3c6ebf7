//! The manifest: everything that determines a run's pictures, as data, so that it can be repeated
//! and understood. Timings stand apart: they are the one thing in it that differs between two runs.

use serde::Serialize;

use super::{Job, Picture, Prepared, PreparedEdit};
use crate::edit::{Rules, Window};
use crate::model::{Model, SchedulerConfig};
use crate::prompt::Tokens;

/// `manifest.json`, and what `--json` prints.
#[derive(Debug, Clone, Serialize)]
pub struct Manifest {
    pub schema: &'static str,
    pub version: &'static str,
    pub model: ModelId,
    pub source: Prompt,
    pub edits: Vec<Edit>,
    pub negative_prompt: String,
    pub seed: u64,
    /// The generator that turns the seed into noise.
    pub rng: &'static str,
    pub steps: usize,
    pub guidance: f64,
    pub scheduler: &'static str,
    pub noise_schedule: SchedulerConfig,
    pub width: usize,
    pub height: usize,
    /// The finest downscale at which self-attention is injected.
    pub self_res: usize,
    /// `reference` under `--compat reference`.
    pub compat: Option<&'static str>,
    pub edit_control: bool,
    pub baseline: bool,
    /// The folder's files.
    pub files: Vec<String>,
    pub timings: Timings,
}

#[derive(Debug, Clone, Serialize)]
pub struct ModelId {
    pub id: String,
    /// Over the weight files of UNet, VAE and text encoder, in this order.
    pub weights_sha256: String,
    /// Over its configs and tokenizer.
    pub configs_sha256: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct Prompt {
    pub prompt: String,
    /// Begin and end included, pads left out.
    pub tokens: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Edit {
    #[serde(flatten)]
    pub prompt: Prompt,
    pub kind: &'static str,
    pub kind_chosen_because: String,
    pub cross_steps: CrossSteps,
    pub self_steps: [f64; 2],
    pub weights: Vec<Weight>,
    /// Per token of the edited prompt, pads left out.
    pub alignment: Vec<AlignedToken>,
}

#[derive(Debug, Clone, Serialize)]
pub struct CrossSteps {
    pub default: [f64; 2],
    pub words: Vec<WordWindow>,
}

#[derive(Debug, Clone, Serialize)]
pub struct WordWindow {
    pub word: String,
    pub window: [f64; 2],
}

#[derive(Debug, Clone, Serialize)]
pub struct Weight {
    pub word: String,
    pub factor: f32,
}

#[derive(Debug, Clone, Serialize)]
pub struct AlignedToken {
    pub token: usize,
    pub text: String,
    /// The source tokens whose attention it reads; empty where it keeps its own.
    pub reads: Vec<ReadToken>,
    pub factor: f32,
}

#[derive(Debug, Clone, Serialize)]
pub struct ReadToken {
    pub token: usize,
    pub text: String,
    pub weight: f32,
}

/// Seconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Timings {
    /// Reading the weights; 0 where the caller had loaded them.
    pub load_s: f64,
    pub text_s: f64,
    pub denoise_s: f64,
    pub decode_s: f64,
}

impl Manifest {
    pub(super) fn new(
        job: &Job,
        prepared: &Prepared,
        model: &Model,
        scheduler: &'static str,
        pictures: &[Picture],
        timings: Timings,
    ) -> Self {
        let mut files: Vec<String> = pictures.iter().map(|p| format!("{}.png", p.name)).collect();
        files.extend(["strip.png".to_owned(), "manifest.json".to_owned()]);
        Self {
            schema: "p2p.edit/v1",
            version: env!("CARGO_PKG_VERSION"),
            model: ModelId {
                id: model.id.clone(),
                weights_sha256: model.weights_sha256.clone(),
                configs_sha256: model.configs_sha256.clone(),
            },
            source: prompt(&prepared.source),
            edits: prepared
                .edits
                .iter()
                .map(|e| edit(e, &prepared.source))
                .collect(),
            negative_prompt: job.negative_prompt.clone(),
            seed: job.seed,
            rng: "torch-cpu",
            steps: prepared.steps,
            guidance: prepared.guidance,
            scheduler,
            noise_schedule: model.scheduler.clone(),
            width: prepared.width,
            height: prepared.height,
            self_res: prepared.controller.self_res,
            compat: (job.rules == Rules::Reference).then_some("reference"),
            edit_control: job.control,
            baseline: job.baseline,
            files,
            timings,
        }
    }

    /// Pretty JSON with a final newline.
    pub fn to_json(&self) -> String {
        let json = serde_json::to_string_pretty(self).expect("plain data with string keys");
        json + "\n"
    }
}

fn prompt(tokens: &Tokens) -> Prompt {
    let texts = (0..tokens.len).map(|i| tokens.label(i));
    Prompt {
        prompt: tokens.text.clone(),
        tokens: texts.collect(),
    }
}

fn edit(edit: &PreparedEdit, source: &Tokens) -> Edit {
    let pair = |w: &Window| [w.from, w.to];
    let word = |(word, window): &(String, Window)| WordWindow {
        word: word.clone(),
        window: pair(window),
    };
    let weight = |(word, factor): &(String, f32)| Weight {
        word: word.clone(),
        factor: *factor,
    };
    Edit {
        prompt: prompt(&edit.tokens),
        kind: edit.alignment.kind.name(),
        kind_chosen_because: edit.reason.clone(),
        cross_steps: CrossSteps {
            default: pair(&edit.cross.default),
            words: edit.cross.words.iter().map(word).collect(),
        },
        self_steps: pair(&edit.self_window),
        weights: edit.weights.iter().map(weight).collect(),
        alignment: (0..edit.tokens.len)
            .map(|j| aligned_token(edit, source, j))
            .collect(),
    }
}

fn aligned_token(edit: &PreparedEdit, source: &Tokens, j: usize) -> AlignedToken {
    let read = |(i, weight)| ReadToken {
        token: i,
        text: source.label(i),
        weight,
    };
    AlignedToken {
        token: j,
        text: edit.tokens.label(j),
        reads: edit.alignment.map.column(j).into_iter().map(read).collect(),
        factor: edit.factors[j],
    }
}
