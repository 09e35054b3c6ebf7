//! Models that do not stand in one folder in diffusers layout: single-file checkpoints, and parts that
//! come from elsewhere. Owns how these are put together to what looks like such a folder. Never computes.

mod assembly;
mod clip;
mod family;
mod names;
mod section;
mod sections;
mod single;

pub use assembly::Assembly;
pub use family::Family;
pub use names::{KeyMap, Renames, StoredTensor, flatten_attention, key_map};
pub use section::CheckpointSection;
pub use single::has_configs;

use std::path::Path;

use super::embedded::{self, STORYBOOK};
use super::files::Files;
use super::source::ModelSource;
use crate::error::{Error, Result};

/// A model's files, what it is called, and what is to be said about it.
pub struct DetectedModel {
    pub id: String,
    pub files: Files,
    pub notes: Vec<String>,
}

impl DetectedModel {
    /// Errors: usage, where a path leads to nothing of the kind; model, where a file is broken.
    pub fn new(source: &ModelSource) -> Result<Self> {
        let mut found = Self::model(source)?;
        let given = sections::override_parts(&found, source)?;
        if let Some(assembly) = given {
            found.files = Files::Assembled(assembly.into());
        }
        Ok(found)
    }

    fn model(source: &ModelSource) -> Result<Self> {
        let model = &*source.model;
        let path = Path::new(model);
        let folder = |id: String, files| Self {
            id,
            files,
            notes: vec![],
        };
        if model != STORYBOOK && path.is_file() {
            return single::open(path, source);
        }
        if source.config.is_some() {
            return Err(Error::usage(
                "--config is for a --model that is a single file",
                "leave it out: a folder has configs of its own",
            ));
        }
        if model == STORYBOOK {
            return Ok(folder(STORYBOOK.to_owned(), embedded::files()));
        }
        let files = Files::folder(path)?;
        Ok(folder(file_name(path), files))
    }
}

/// The name alone: where a file stands does not determine a picture. That of a link is its own: a hub's
/// cache links to contents that are called by their hash.
pub fn file_name(path: &Path) -> String {
    let whole = path.file_name().is_none().then(|| path.canonicalize().ok());
    let whole = whole.flatten().unwrap_or_else(|| path.to_owned());
    let name = whole
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| path.display().to_string())
}

/// Refuses what can run code when it is loaded, or cannot be read at all.
///
/// Errors: usage, by the file's ending.
pub fn check_ending(path: &Path) -> Result<()> {
    let shown = path.display();
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    match &*ending.to_lowercase() {
        "ckpt" | "bin" | "pt" | "pth" | "pkl" => Err(Error::usage(
            format!("{shown} is a pickle, which can run code when it is loaded"),
            "take the .safetensors file of the same model; or convert it on a machine you can spare: in \
             Python, safetensors.torch.save_file(torch.load(FILE, weights_only=True)[\"state_dict\"], OUT)",
        )),
        "gguf" => Err(Error::usage(
            format!("{shown} is a GGUF file, of quantised weights, which are not read"),
            "take the .safetensors file of the same model",
        )),
        _ => Ok(()),
    }
}
