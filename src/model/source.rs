//! Where a model comes from, as a user says it: the model itself, parts of it from elsewhere, and what is
//! added to its weights; and how it is to be computed. Only what is said; nothing is read here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::scheduler_config::Prediction;
use crate::device::ComputeChoice;

#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelSource {
    /// `storybook`, a folder in diffusers layout, a single-file checkpoint; what is no path here is an alias
    /// or an id of the hub: `sd15`, `owner/name`, `owner/name/file.safetensors`.
    pub model: String,
    /// Of a model of the hub: a branch, a tag or a commit, else the one that counts.
    pub revision: Option<String>,
    /// Of weight files: `fp16`.
    pub variant: Option<String>,
    /// Whether only what is on this machine is used.
    pub offline: bool,
    /// A diffusers folder whose configs a single file goes by, instead of those of its family.
    pub config: Option<PathBuf>,
    /// Instead of the model's own: a folder or a file, here or on the hub.
    pub vae: Option<PathBuf>,
    pub text_encoder: Option<PathBuf>,
    pub tokenizer: Option<PathBuf>,
    /// Instead of what the model's files say.
    pub prediction: Option<Prediction>,
    /// Added to the weights, in this order.
    pub loras: Vec<LoraSource>,
    pub compute: ComputeChoice,
}

/// What of a model came from elsewhere, by the flag without its hyphens, `vae`: what the hub calls it, or the
/// file's name without its folder; and `prediction_type`.
pub type ComponentOverrides = BTreeMap<String, String>;

/// A LoRA file, and how much of it.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraSource {
    pub path: PathBuf,
    pub scale: f64,
}

impl ModelSource {
    /// A model as it is.
    pub fn named(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            ..Self::default()
        }
    }

    /// What `p2p models pull` is given to fetch it.
    pub fn pull(&self) -> String {
        let flag = |name: &str, value: &Option<String>| {
            let flag = value.as_ref().map(|value| format!(" --{name} {value}"));
            flag.unwrap_or_default()
        };
        let revision = flag("revision", &self.revision);
        format!("{}{revision}{}", self.model, flag("variant", &self.variant))
    }
}
