//! Where a model comes from, as a user says it: the model itself, parts of it from elsewhere, and what is
//! added to its weights; and how it is to be computed. Only what is said; nothing is read here.

use std::path::PathBuf;

use super::scheduler_config::Prediction;
use crate::device::ComputeChoice;

#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelSource {
    /// `storybook`, a folder in diffusers layout, or a single-file checkpoint.
    pub model: String,
    /// A diffusers folder whose configs a single file goes by, instead of those of its family.
    pub config: Option<PathBuf>,
    /// Instead of the model's own: a folder or a file.
    pub vae: Option<PathBuf>,
    pub text_encoder: Option<PathBuf>,
    pub tokenizer: Option<PathBuf>,
    /// Instead of what the model's files say.
    pub prediction: Option<Prediction>,
    /// Added to the weights, in this order.
    pub loras: Vec<LoraSource>,
    pub compute: ComputeChoice,
}

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
}
