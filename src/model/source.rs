//! A model as a user asks for it: the model itself, components of other models, LoRAs, and how to compute.
//! Owns the request only; nothing is read here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::scheduler_config::Prediction;
use crate::device::ComputeChoice;

/// A model as a user asks for it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelSource {
    /// `storybook`, a folder in diffusers layout, or a single-file checkpoint. A name that is no path on this
    /// machine is an alias or an id of the hub: `sd15`, `owner/name`, `owner/name/file.safetensors`.
    pub model: String,
    /// A branch, a tag or a commit of a model of the hub. `None` for the alias's revision, or the main branch.
    pub revision: Option<String>,
    /// The variant of the weight files, such as `fp16`.
    pub variant: Option<String>,
    /// Whether only files on this machine are used.
    pub offline: bool,
    /// A diffusers folder whose configs describe a single-file checkpoint, in place of the family's configs.
    pub config: Option<PathBuf>,
    /// A VAE in place of the model's own: a folder or a file, on this machine or on the hub.
    pub vae: Option<PathBuf>,
    /// Text encoders in place of the model's own: a folder or a file, on this machine or on the hub.
    pub text_encoder: Option<PathBuf>,
    /// Tokenizers in place of the model's own: a folder, on this machine or on the hub.
    pub tokenizer: Option<PathBuf>,
    /// What the UNet predicts, where the model's files are wrong or do not say.
    pub prediction: Option<Prediction>,
    /// LoRAs that are added to the weights, in this order.
    pub loras: Vec<LoraSource>,
    /// The device, the dtype and the tiling.
    pub compute: ComputeChoice,
}

/// What replaces parts of a model: by the setting's name (`vae`), the address of the replacement on the hub, or
/// the name of its file without the folder. `config` and `prediction_type` are recorded here too.
pub type ComponentOverrides = BTreeMap<String, String>;

/// A LoRA file and its scale.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraSource {
    /// A file on this machine or on the hub.
    pub path: PathBuf,
    /// The factor of what the LoRA adds; 1 adds it as it was trained.
    pub scale: f64,
}

impl ModelSource {
    /// A model as it is: no replaced components, no LoRAs.
    pub fn named(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            ..Self::default()
        }
    }

    /// The arguments of `p2p models pull` that fetch this model.
    pub fn pull_arguments(&self) -> String {
        let flag = |name: &str, value: &Option<String>| {
            let flag = value.as_ref().map(|value| format!(" --{name} {value}"));
            flag.unwrap_or_default()
        };
        let revision = flag("revision", &self.revision);
        format!("{}{revision}{}", self.model, flag("variant", &self.variant))
    }
}
