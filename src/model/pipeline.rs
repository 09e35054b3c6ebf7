//! Which pipelines are supported, told from `model_index.json` alone. Never knows sizes and switches: the
//! components' own configs say these.

use super::config::Config;
use crate::error::{Error, Result};

/// Checks that a folder holds a supported kind of pipeline, before any of its components is missed.
///
/// `index` is `model_index.json`, `name` the model's name in messages. Fine-tunes use many pipeline classes
/// of diffusers with the same components. An index without a class is accepted.
///
/// # Errors
/// [`Error::Model`] for another kind of pipeline, or a refiner.
pub(super) fn check(index: &Config, name: &str) -> Result<()> {
    let class = index.string("_class_name")?.unwrap_or_default();
    let known = class.starts_with("StableDiffusion") && !class.starts_with("StableDiffusion3");
    if !class.is_empty() && !known {
        return Err(Error::model(
            format!("{name} is of another kind of model: {class}"),
            "give a Stable Diffusion 1.x, 2.x or XL model, Turbo models included",
        ));
    }
    if index.bool("requires_aesthetics_score", false)? {
        return Err(Error::model(
            format!("{name} is a refiner: requires_aesthetics_score is set"),
            "a refiner only improves pictures of its base model; give the base model",
        ));
    }
    Ok(())
}
