//! The manifest: everything that determines a run's pictures, as data, so that the run can be repeated and
//! understood. Owns its form; the [settings](super::RunSettings) in it own their keys.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Change, ChosenBy, EditSettings, PictureRole, PictureSettings, Prepared, PreparedEdit,
    RunSettings,
};
use crate::kernels::family;
use crate::model::{ComponentOverrides, Components, LoraId, Origin, SchedulerConfig};
use crate::prompt::Tokens;

/// The content of `manifest.json`, which `--json` prints.
#[derive(Debug, Clone, Serialize)]
pub struct Manifest {
    /// The form of this file: `p2p.edit/v1`.
    pub schema: &'static str,
    /// The version of p2p.
    pub version: &'static str,
    /// The model that drew the pictures.
    pub model: ModelId,
    /// The source prompt.
    pub source: Prompt,
    /// The edits in order.
    pub edits: Vec<Edit>,
    /// The settings of all rows.
    #[serde(flatten)]
    pub run: RunSettings,
    /// The generator that turns the seed into noise.
    pub rng: &'static str,
    /// The noise schedule that the model was trained with.
    pub noise_schedule: SchedulerConfig,
    /// Whether edits control attention.
    pub edit_control: bool,
    /// Whether the edited prompts were drawn without attention control too.
    pub baseline: bool,
    /// Whether the picture of the source was wanted.
    pub draw_source: bool,
    /// The device that computed UNet and VAE: `cpu`, `cuda` or `metal`.
    pub device: &'static str,
    /// The family of kernels, within which results have equal bits, see [`family`].
    pub kernels: &'static str,
    /// A hash of everything that determines the files. Whoever writes the files fills it in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fingerprint: String,
    /// The pictures in order: source, edits, baselines.
    pub pictures: Vec<PictureEntry>,
    /// The names of the folder's files. Whoever writes the files lists them.
    pub files: Vec<String>,
    /// How long the parts of the run took. Of all values only these differ between two equal runs.
    pub timings: Timings,
}

/// A picture of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PictureEntry {
    /// The name of its file.
    pub file: String,
    /// What the picture is in its run.
    pub role: PictureRole,
    /// The edit that it shows, with control or without, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<usize>,
    /// What determines its pixels.
    pub settings: PictureSettings,
}

/// What identifies a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelId {
    /// `storybook`, the name of the folder or file, or the id on the hub.
    pub id: String,
    /// Commit and variant of a model of the hub.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// SHA-256 over the weight files of UNet, VAE and text encoders, in this order.
    pub weights_sha256: String,
    /// SHA-256 over configs and tokenizer.
    pub configs_sha256: String,
    /// Components that replace the model's own, by the name of their setting.
    #[serde(
        default,
        alias = "elsewhere",
        skip_serializing_if = "ComponentOverrides::is_empty"
    )]
    pub overrides: ComponentOverrides,
    /// The LoRAs that were added to the weights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loras: Vec<LoraId>,
}

/// A prompt and its tokens.
#[derive(Debug, Clone, Serialize)]
pub struct Prompt {
    /// The text.
    pub prompt: String,
    /// The texts of the tokens, begin and end included, pads left out.
    pub tokens: Vec<String>,
}

/// An edit, and what it did.
#[derive(Debug, Clone, Serialize)]
pub struct Edit {
    /// The edited prompt.
    #[serde(flatten)]
    pub prompt: Prompt,
    /// The edit that this one edits, from 1, in a chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of_edit: Option<usize>,
    /// The edit's settings.
    #[serde(flatten)]
    pub settings: EditSettings,
    /// Who chose the kind.
    pub kind_chosen_by: ChosenBy,
    /// Why the edit is of its kind, for people.
    pub kind_chosen_because: String,
    /// SHA-256 of the user's mask at the latents' size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_sha256: Option<String>,
    /// Per token of the edited prompt, pads left out, what it reads.
    pub alignment: Vec<AlignedToken>,
    /// The change to the picture. `None` where the picture that it edits was not drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
}

/// A token of an edited prompt.
#[derive(Debug, Clone, Serialize)]
pub struct AlignedToken {
    /// Its index in the prompt.
    pub token: usize,
    /// Its text.
    pub text: String,
    /// The tokens of the base prompt whose attention it reads. Empty where it keeps its own.
    pub reads: Vec<ReadToken>,
    /// The factor of its attention.
    pub factor: f32,
}

/// A token whose attention another token reads.
#[derive(Debug, Clone, Serialize)]
pub struct ReadToken {
    /// Its index in the base prompt.
    pub token: usize,
    /// Its text.
    pub text: String,
    /// The share of its attention that is read.
    pub weight: f32,
}

/// Durations in seconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Timings {
    /// Reading the weights; 0 where the caller had loaded them.
    pub load_s: f64,
    /// Encoding the prompts.
    pub text_s: f64,
    /// Denoising.
    pub denoise_s: f64,
    /// Decoding the latents to pictures.
    pub decode_s: f64,
}

impl Manifest {
    pub(super) fn new(
        prepared: &Prepared,
        model: &dyn Components,
        changes: Vec<Option<Change>>,
        timings: Timings,
    ) -> Self {
        let [weights, configs] = model.hashes();
        let edits = prepared.edits.iter().zip(changes);
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
            edits: edits.map(|(e, change)| edit(e, prepared, change)).collect(),
            run: prepared.run.clone(),
            rng: "torch-cpu",
            noise_schedule: model.scheduler().clone(),
            edit_control: prepared.control,
            baseline: prepared.baseline,
            draw_source: prepared.draw_source,
            device: prepared.compute.kind(),
            kernels: family(&prepared.compute),
            fingerprint: String::new(),
            pictures: vec![],
            files: vec![],
            timings,
        }
    }

    /// Pretty JSON with a final newline. It has the settings that pictures leave out where they have their
    /// usual value.
    pub fn to_json(&self) -> String {
        // Through text: a direct conversion widens f32 values to their nearest f64, digits and all.
        let text = serde_json::to_string(self).expect("plain data with string keys");
        let mut json: Value = serde_json::from_str(&text).expect("just written");
        let usual = [
            ("compat", Value::Null),
            ("dtype", self.run.dtype.as_str().into()),
            ("vae_tiling", self.run.vae_tiling.into()),
        ];
        if let Value::Object(json) = &mut json {
            for (key, value) in usual {
                json.entry(key).or_insert(value);
            }
        }
        format!("{json:#}\n")
    }
}

fn prompt(tokens: &Tokens) -> Prompt {
    let texts = (0..tokens.len).map(|i| tokens.label(i));
    Prompt {
        prompt: tokens.text.clone(),
        tokens: texts.collect(),
    }
}

fn edit(edit: &PreparedEdit, prepared: &Prepared, change: Option<Change>) -> Edit {
    let base = prepared.base_of(edit);
    let tokens = 0..edit.tokens.len;
    Edit {
        prompt: prompt(&edit.tokens),
        of_edit: (edit.base > 0).then_some(edit.base),
        settings: edit.settings.clone(),
        kind_chosen_by: edit.chosen_by,
        kind_chosen_because: edit.reason.clone(),
        mask_sha256: edit.mask_sha256.clone(),
        alignment: tokens.map(|j| aligned_token(edit, base, j)).collect(),
        change,
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
