//! Which folders are of a model that can be drawn with, by their index alone. Never knows sizes and
//! switches, which the parts' own configs say.

use super::config::Config;
use crate::error::{Error, Result};

/// Refuses a folder of another kind of model, before a part of it is missed.
///
/// `index` is `model_index.json`, `name` what people call it. Fine-tunes come under many classes of diffusers, which all read the same
/// parts; one without a class is taken at its word.
pub(super) fn check(index: &Config, name: &str) -> Result<()> {
    let class = index.string("_class_name")?.unwrap_or_default();
    let known = class.starts_with("StableDiffusion") && !class.starts_with("StableDiffusion3");
    if !class.is_empty() && !known {
        return Err(Error::model(
            format!("{name} is of another kind of model: {class}"),
            "give a Stable Diffusion 1.x, 2.x or XL model, Turbo models among them",
        ));
    }
    if index.bool("requires_aesthetics_score", false)? {
        return Err(Error::model(
            format!("{name} is of a refiner: requires_aesthetics_score"),
            "a refiner improves pictures of its base model and draws none; give the base model",
        ));
    }
    Ok(())
}
