//! Models that are not one folder in diffusers layout: single-file checkpoints, and models with replaced
//! components. Owns how they are assembled to such a folder. Never computes anything.

mod assembly;
mod clip;
mod family;
mod names;
mod replace;
mod section;
mod single;

pub use assembly::Assembly;
pub use family::Family;
pub use names::{KeyMap, Renames, StoredTensor, flatten_attention, key_map};
pub use section::CheckpointSection;
pub use single::check_configs;

use std::path::Path;

use super::embedded::{self, STORYBOOK};
use super::files::ModelFiles;
use super::source::ModelSource;
use crate::error::{Error, Result};
use crate::message;
use crate::setting::Setting;

/// A model on this machine whose kind is known.
pub struct DetectedModel {
    /// The model's name.
    pub id: String,
    /// The model's files.
    pub files: ModelFiles,
    /// What the user should know about the model, one line each.
    pub notes: Vec<String>,
}

impl DetectedModel {
    /// Finds the model's files and replaces the components that the user names.
    ///
    /// # Errors
    /// [`Error::Usage`] where a path is not what its setting needs; [`Error::Model`] where a file is damaged.
    pub fn new(source: &ModelSource) -> Result<Self> {
        let mut found = Self::model(source)?;
        let replaced = replace::replace_components(&found, source)?;
        if let Some(assembly) = replaced {
            found.files = ModelFiles::Assembled(assembly.into());
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
            let cause = message![
                Setting::Config,
                " is for a ",
                Setting::Model,
                " that is a single file"
            ];
            let cure = "leave it out: a folder has configs of its own";
            return Err(Error::usage(cause, cure).about(Setting::Config));
        }
        if model == STORYBOOK {
            return Ok(folder(STORYBOOK.to_owned(), embedded::files()));
        }
        let files = ModelFiles::folder(path)?;
        Ok(folder(file_name(path), files))
    }
}

/// A file's name without its folder, because the folder does not determine a picture. A link keeps its own name:
/// the hub's cache links to files that are named by their hash.
pub fn file_name(path: &Path) -> String {
    let whole = path.file_name().is_none().then(|| path.canonicalize().ok());
    let whole = whole.flatten().unwrap_or_else(|| path.to_owned());
    let name = whole
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| path.display().to_string())
}

/// Refuses files that can run code when they are loaded, and files that cannot be read. The ending decides.
///
/// # Errors
/// [`Error::Usage`] for pickles and GGUF files.
pub fn check_ending(path: &Path) -> Result<()> {
    let shown = path.display();
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    match &*ending.to_lowercase() {
        "ckpt" | "bin" | "pt" | "pth" | "pkl" => Err(Error::usage(
            format!("{shown} is a pickle, which can run code when it is loaded"),
            "use the .safetensors file of the same model; or convert it on a machine without valuable data: in \
             Python, safetensors.torch.save_file(torch.load(FILE, weights_only=True)[\"state_dict\"], OUT)",
        )),
        "gguf" => Err(Error::usage(
            format!("{shown} is a GGUF file: quantised weights are not supported"),
            "use the .safetensors file of the same model",
        )),
        _ => Ok(()),
    }
}
