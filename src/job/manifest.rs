//! The manifest: everything that determines a run's pictures, as data, so that it can be repeated
//! and understood. Timings stand apart: they are the one thing in it that differs between two runs.

use serde::{Deserialize, Serialize};

use super::{Change, EditSpec, Job, PictureRole, Prepared, PreparedEdit, Settings};
use crate::edit::{Rules, Window};
use crate::kernels::family;
use crate::model::{ComponentOverrides, Components, LoraId, Origin, SchedulerConfig};
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
    /// `false` under `--no-source`.
    pub draw_source: bool,
    /// Whether it was drawn under `--fast`.
    pub fast: bool,
    /// The numbers that the UNet was computed in.
    pub dtype: &'static str,
    /// What computed UNet and VAE: `cpu`, `cuda` or `metal`.
    pub device: &'static str,
    /// Within what bits agree, see [`family`].
    pub kernels: &'static str,
    /// Whether pictures were decoded in bands.
    pub vae_tiling: bool,
    /// Of all that determines the files; whoever writes them fills it in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fingerprint: String,
    /// Source, edits, baselines: what determines each.
    pub pictures: Vec<PictureEntry>,
    /// The folder's files; whoever writes them lists them.
    pub files: Vec<String>,
    pub timings: Timings,
}

/// A picture of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PictureEntry {
    pub file: String,
    pub role: PictureRole,
    /// The edit that it shows, with control or without, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<usize>,
    pub settings: Settings,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelId {
    pub id: String,
    /// Of a model of the hub: commit and variant.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Over the weight files of UNet, VAE and text encoder, in this order.
    pub weights_sha256: String,
    /// Over its configs and tokenizer.
    pub configs_sha256: String,
    /// What of it came from elsewhere, by its flag.
    #[serde(
        default,
        alias = "elsewhere",
        skip_serializing_if = "ComponentOverrides::is_empty"
    )]
    pub overrides: ComponentOverrides,
    /// What was added to the weights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loras: Vec<LoraId>,
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
    /// The edit it is an edit of, from 1, in a chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of_edit: Option<usize>,
    pub negative_prompt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<&'static str>,
    pub kind: &'static str,
    pub kind_chosen_because: String,
    /// Windows are written as they are typed: `0..0.8`.
    pub cross_steps: CrossSteps,
    pub self_steps: String,
    pub weights: Vec<Weight>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_steps: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inject_latents: Option<String>,
    pub strength: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blend: Option<Blend>,
    /// Per token of the edited prompt, pads left out.
    pub alignment: Vec<AlignedToken>,
    /// What it did to the picture; absent where the picture it is an edit of was not drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
}

#[derive(Debug, Clone, Serialize)]
pub struct CrossSteps {
    pub default: String,
    /// Of words that the prompt it edits doesn't have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<String>,
    pub words: Vec<WordWindow>,
}

#[derive(Debug, Clone, Serialize)]
pub struct WordWindow {
    pub word: String,
    pub window: String,
}

/// Local blend.
#[derive(Debug, Clone, Serialize)]
pub struct Blend {
    /// Words that say where, as they are typed: `cat:dog`, `auto`.
    pub words: Vec<String>,
    /// Words of what is left alone.
    pub keep: Vec<String>,
    pub threshold: f32,
    pub keep_threshold: f32,
    /// Part of the run from which on it acts.
    pub from: f64,
    pub soft: bool,
    /// Of the user's mask, at the latents' size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_sha256: Option<String>,
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
        model: &dyn Components,
        scheduler: &'static str,
        changes: Vec<Option<Change>>,
        timings: Timings,
    ) -> Self {
        let [weights, configs] = model.hashes();
        Self {
            schema: "p2p.edit/v1",
            version: env!("CARGO_PKG_VERSION"),
            model: ModelId {
                id: model.id().to_owned(),
                origin: model.origin().cloned(),
                weights_sha256: weights.to_owned(),
                configs_sha256: configs.to_owned(),
                overrides: model.overrides().clone(),
                loras: model.loras().to_vec(),
            },
            source: prompt(&prepared.source),
            edits: prepared
                .edits
                .iter()
                .zip(&job.edits)
                .zip(changes)
                .map(|((e, spec), change)| edit(e, spec, prepared, change))
                .collect(),
            negative_prompt: job.negative_prompt.clone(),
            seed: job.seed,
            rng: "torch-cpu",
            steps: prepared.steps,
            guidance: prepared.guidance,
            scheduler,
            noise_schedule: model.scheduler().clone(),
            width: prepared.width,
            height: prepared.height,
            self_res: prepared.controller.self_res,
            compat: (job.rules == Rules::Reference).then_some("reference"),
            edit_control: job.control,
            baseline: job.baseline,
            draw_source: job.draw_source,
            fast: job.fast,
            dtype: prepared.compute.dtype.as_str(),
            device: prepared.compute.kind(),
            kernels: family(&prepared.compute),
            vae_tiling: prepared.compute.vae_tiling,
            fingerprint: String::new(),
            pictures: vec![],
            files: vec![],
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

fn edit(edit: &PreparedEdit, spec: &EditSpec, prepared: &Prepared, change: Option<Change>) -> Edit {
    let base = prepared.base_of(edit);
    let word = |(word, window): &(String, Window)| WordWindow {
        word: word.clone(),
        window: window.to_string(),
    };
    let weight = |(word, factor): &(String, f32)| Weight {
        word: word.clone(),
        factor: *factor,
    };
    Edit {
        prompt: prompt(&edit.tokens),
        of_edit: (edit.base > 0).then_some(edit.base),
        negative_prompt: edit.negative.text.clone(),
        preset: spec.preset.map(|preset| preset.name()),
        kind: edit.alignment.kind.name(),
        kind_chosen_because: edit.reason.clone(),
        cross_steps: CrossSteps {
            default: edit.cross.default.to_string(),
            changed: edit.cross.changed.map(|w| w.to_string()),
            words: edit.cross.words.iter().map(word).collect(),
        },
        self_steps: edit.self_window.to_string(),
        weights: edit.weights.iter().map(weight).collect(),
        weight_steps: edit.weight_steps.map(|w| w.to_string()),
        inject_latents: edit.latents.map(|w| w.to_string()),
        strength: edit.strength,
        blend: edit.blend.map(|from| blend(edit, spec, from)),
        alignment: (0..edit.tokens.len)
            .map(|j| aligned_token(edit, base, j))
            .collect(),
        change,
    }
}

fn blend(edit: &PreparedEdit, spec: &EditSpec, from: f64) -> Blend {
    let thresholds = edit.region.thresholds;
    Blend {
        words: spec.blend_words().iter().map(|w| w.to_string()).collect(),
        keep: spec.blend.keep.clone(),
        threshold: thresholds.words,
        keep_threshold: thresholds.keep,
        from,
        soft: thresholds.soft,
        mask_sha256: edit.mask_sha256.clone(),
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
