//! Components that a user replaces: another VAE, other text encoders, another tokenizer, another prediction type.
//! Owns which files of a folder or a checkpoint are used for that. Never fetches anything.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::family::{Family, StoredEncoder, VAE_PREFIX};
use super::single::{Checkpoint, set_prediction, vae};
use super::{Assembly, CheckpointSection, DetectedModel, check_ending};
use crate::error::{Error, Result};
use crate::message;
use crate::model::component::{Component, TOKENIZER_FILES};
use crate::model::config::Config;
use crate::model::embedded::STORYBOOK;
use crate::model::files::ModelFiles;
use crate::model::source::ModelSource;
use crate::model::source_checks::TOKENIZER_CURE;
use crate::model::tensor_file::TensorFile;
use crate::model::weight_files::weight_names;
use crate::setting::Setting;

/// The model with the components that the user replaces. `None` where nothing is replaced.
///
/// # Errors
/// [`Error::Usage`] about the setting, where a replacement is not what the component needs.
pub fn replace_components(found: &DetectedModel, source: &ModelSource) -> Result<Option<Assembly>> {
    let replacements = [&source.vae, &source.text_encoder, &source.tokenizer];
    // A single file has its prediction type already.
    let single = source.model != STORYBOOK && Path::new(&source.model).is_file();
    let prediction = source.prediction.filter(|_| !single);
    if replacements.iter().all(|path| path.is_none()) && prediction.is_none() {
        return Ok(None);
    }
    let mut files = Assembly::over(&found.id, found.files.clone());
    let base = &found.files;
    if let Some(path) = &source.vae {
        replace_vae(&mut files, base, path).map_err(|e| e.about(Setting::Vae))?;
    }
    if let Some(path) = &source.text_encoder {
        replace_encoders(&mut files, base, path).map_err(|e| e.about(Setting::TextEncoder))?;
    }
    if let Some(path) = &source.tokenizer {
        replace_tokenizers(&mut files, base, path).map_err(|e| e.about(Setting::Tokenizer))?;
    }
    if let Some(prediction) = prediction {
        // The configs of a folder name their own size, so no family's size is set.
        set_prediction(&mut files, prediction, Family::Sd1)?;
    }
    Ok(Some(files))
}

fn replace_vae(files: &mut Assembly, base: &ModelFiles, path: &Path) -> Result<()> {
    if path.is_dir() {
        let folder = component_folder(Setting::Vae, path, Component::Vae)?;
        return put(files, &folder, Component::Vae, &["config.json"]);
    }
    let file = Arc::new(open(Setting::Vae, path)?);
    let config = config(base, Component::Vae)?;
    let levels = config.usizes("block_out_channels")?.len();
    let layers = config.usize("layers_per_block")?.unwrap_or(1);
    let section = if file
        .dims("decoder.mid_block.resnets.0.conv1.weight")
        .is_some()
    {
        Some(CheckpointSection::whole(file.clone()))
    } else {
        let mut prefixes = [VAE_PREFIX, "vae.", ""].into_iter();
        prefixes.find_map(|prefix| vae(&file, prefix, levels, layers))
    };
    let section = section.ok_or_else(|| lacks(Setting::Vae, path, "VAE"))?;
    files.section(&Component::Vae.weights(), section);
    Ok(())
}

fn replace_encoders(files: &mut Assembly, base: &ModelFiles, path: &Path) -> Result<()> {
    let encoders = Component::TEXT_ENCODERS.map(|(encoder, _)| encoder);
    let of_model: Vec<Component> = encoders
        .into_iter()
        .filter(|encoder| base.has(&encoder.config()))
        .collect();
    if path.is_dir() {
        return replace_encoders_by_folder(files, &of_model, path);
    }
    check_ending(path)?;
    if let (Some(section), [encoder]) = (encoder_alone(base, path)?, &*of_model) {
        files.section(&encoder.weights(), section);
        return Ok(());
    }
    let has_two = of_model.len() > 1;
    let families = if has_two {
        &[Family::Sdxl][..]
    } else {
        &[Family::Sd1, Family::Sd2]
    };
    let file = open(Setting::TextEncoder, path)?;
    let checkpoint = Checkpoint {
        shapes: file.shapes(),
        file: file.into(),
        family: families[0],
    };
    for encoder in of_model {
        let layers = text_layers(&config(base, encoder)?)?;
        let stored = families.iter().flat_map(|family| family.text_encoders());
        let section = stored
            .filter(|(component, _)| *component == encoder)
            .find_map(|(_, stored)| checkpoint.encoder(*stored, layers + 1));
        let section = section
            .ok_or_else(|| lacks(Setting::TextEncoder, path, "text encoder of this family"))?;
        files.section(&encoder.weights(), section);
    }
    Ok(())
}

fn replace_encoders_by_folder(
    files: &mut Assembly,
    of_model: &[Component],
    path: &Path,
) -> Result<()> {
    for encoder in of_model {
        let from = component_folder(Setting::TextEncoder, path, *encoder)?;
        if from == *path && of_model.len() > 1 {
            return Err(Error::usage(
                message![
                    Setting::TextEncoder.to(path.display()),
                    " is one text encoder, but this model has two",
                ],
                "give the folder that holds text_encoder/ and text_encoder_2/, or a checkpoint",
            ));
        }
        put(files, &from, *encoder, &["config.json"])?;
    }
    Ok(())
}

/// The text encoder in a file that holds nothing else. `None` for any other file.
fn encoder_alone(base: &ModelFiles, path: &Path) -> Result<Option<CheckpointSection>> {
    let file = open(Setting::TextEncoder, path)?;
    let has = |name: &str| file.dims(name).is_some();
    if has("text_model.final_layer_norm.weight") || has("final_layer_norm.weight") {
        return Ok(Some(CheckpointSection::whole(file)));
    }
    if !has("ln_final.weight") {
        return Ok(None);
    }
    let layers = text_layers(&config(base, Component::TextEncoder)?)?;
    let checkpoint = Checkpoint {
        shapes: file.shapes(),
        file: file.into(),
        family: Family::Sd2,
    };
    Ok(checkpoint.encoder(StoredEncoder::OpenClip(""), layers + 1))
}

fn text_layers(config: &Config) -> Result<usize> {
    Ok(config.usize("num_hidden_layers")?.unwrap_or_default())
}

fn replace_tokenizers(files: &mut Assembly, base: &ModelFiles, path: &Path) -> Result<()> {
    if !path.is_dir() {
        let cause = message![Setting::Tokenizer.to(path.display()), " is not a folder"];
        return Err(Error::usage(cause, TOKENIZER_CURE));
    }
    let tokenizers = Component::TEXT_ENCODERS.map(|(_, tokenizer)| tokenizer);
    let of_model = tokenizers
        .into_iter()
        .filter(|tokenizer| *tokenizer == Component::Tokenizer || base.has(&tokenizer.config()));
    for tokenizer in of_model {
        let inner = path.join(tokenizer.folder());
        let from = if inner.is_dir() {
            inner
        } else {
            path.to_owned()
        };
        let has = |file: &&str| from.join(file).is_file();
        if !["tokenizer.json", "vocab.json"].iter().any(has) {
            let cause = message![Setting::Tokenizer.to(path.display()), " has no tokenizer"];
            return Err(Error::usage(cause, TOKENIZER_CURE));
        }
        // Both text encoders share one vocabulary, but each has a padding token of its own in its config.
        let only_vocabulary = from == path && tokenizer != Component::Tokenizer;
        let small = if only_vocabulary {
            &TOKENIZER_FILES[..3]
        } else {
            &TOKENIZER_FILES
        };
        put(files, &from, tokenizer, small)?;
    }
    Ok(())
}

/// The component's folder inside `path`, or `path` itself.
fn component_folder(setting: Setting, path: &Path, component: Component) -> Result<PathBuf> {
    let name = component.folder();
    let mut candidates = [path.join(name), path.to_owned()].into_iter();
    let found = candidates.find(|folder| folder.join("config.json").is_file());
    found.ok_or_else(|| {
        let cause = message![
            setting.to(path.display()),
            format!(" holds no {name}/config.json")
        ];
        let cure = format!(
            "give a folder like {name}/ of a model in diffusers layout, or that model's folder"
        );
        Error::usage(cause, cure)
    })
}

/// Replaces a component's small files by those of a folder, as far as they exist, and its weights.
fn put(files: &mut Assembly, from: &Path, component: Component, small: &[&str]) -> Result<()> {
    for name in small {
        files.remove(&component.path(name));
    }
    for name in small.iter().filter(|name| from.join(name).is_file()) {
        files.file(&component.path(name), from.join(name));
    }
    let Some(stem) = component.weight_stem() else {
        return Ok(());
    };
    let name = ModelFiles::Folder(from.to_owned()).first_of(&weight_names(stem, None))?;
    files.remove(&component.path(stem));
    files.file(&component.weights(), from.join(name));
    Ok(())
}

fn open(setting: Setting, path: &Path) -> Result<TensorFile> {
    check_ending(path)?;
    if !path.is_file() {
        return Err(Error::usage(
            message![setting.to(path.display()), " does not exist"],
            "give a folder in diffusers layout, or a .safetensors file",
        ));
    }
    TensorFile::open(path, &path.display().to_string())
}

fn config(base: &ModelFiles, component: Component) -> Result<Config> {
    let path = component.config();
    Config::parse(&base.name(&path), &base.read(&path)?)
}

fn lacks(setting: Setting, path: &Path, what: &str) -> Error {
    Error::usage(
        message![setting.to(path.display()), format!(" has no {what}")],
        "give a folder in diffusers layout, or a checkpoint that has it",
    )
}
