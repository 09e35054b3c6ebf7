//! `--vae`, `--text-encoder`, `--tokenizer`: parts that come from elsewhere than the model.

use std::path::{Path, PathBuf};

use super::family::{Encoder, Family};
use super::single::{Checkpoint, VAE_WEIGHTS, set_prediction, vae};
use super::{Assembly, CheckpointSection, DetectedModel, check_ending};
use crate::error::{Error, Result};
use crate::model::config::Config;
use crate::model::embedded::STORYBOOK;
use crate::model::files::Files;
use crate::model::source::ModelSource;
use crate::model::tensor_file::TensorFile;
use crate::model::weight_files::names;

const ENCODERS: [&str; 2] = ["text_encoder", "text_encoder_2"];
const TOKENIZERS: [&str; 2] = ["tokenizer", "tokenizer_2"];

/// A model with the parts that are given; `None` where none is.
pub fn override_parts(found: &DetectedModel, source: &ModelSource) -> Result<Option<Assembly>> {
    let given = [&source.vae, &source.text_encoder, &source.tokenizer];
    // A single file has been told already.
    let single = source.model != STORYBOOK && Path::new(&source.model).is_file();
    let predicts = source.prediction.filter(|_| !single);
    if given.iter().all(|path| path.is_none()) && predicts.is_none() {
        return Ok(None);
    }
    let mut files = Assembly::over(&found.id, found.files.clone());
    if let Some(path) = &source.vae {
        override_vae(&mut files, &found.files, path)?;
    }
    if let Some(path) = &source.text_encoder {
        override_encoders(&mut files, &found.files, path)?;
    }
    if let Some(path) = &source.tokenizer {
        override_tokenizers(&mut files, &found.files, path)?;
    }
    if let Some(prediction) = predicts {
        // A folder says its own size.
        set_prediction(&mut files, prediction, Family::Sd1)?;
    }
    Ok(Some(files))
}

fn override_vae(files: &mut Assembly, base: &Files, path: &Path) -> Result<()> {
    if path.is_dir() {
        let folder = part_folder("--vae", path, "vae")?;
        let stem = "diffusion_pytorch_model";
        return put(files, &folder, "vae", &["config.json"], Some(stem));
    }
    let file = std::sync::Arc::new(open("--vae", path)?);
    let config = config(base, "vae/config.json")?;
    let levels = config.usizes("block_out_channels")?.len();
    let layers = config.usize("layers_per_block")?.unwrap_or(1);
    let part = match file.dims("decoder.mid_block.resnets.0.conv1.weight") {
        Some(_) => Some(CheckpointSection::shared(file.clone())),
        None => ["first_stage_model.", "vae.", ""]
            .into_iter()
            .find_map(|prefix| vae(&file, prefix, levels, layers)),
    };
    let part = part.ok_or_else(|| lacks("--vae", path, "VAE"))?;
    files.part(VAE_WEIGHTS, part);
    Ok(())
}

fn override_encoders(files: &mut Assembly, base: &Files, path: &Path) -> Result<()> {
    let of_model: Vec<&str> = ENCODERS
        .into_iter()
        .filter(|folder| base.has(&format!("{folder}/config.json")))
        .collect();
    if path.is_dir() {
        for folder in of_model.iter().copied() {
            let from = part_folder("--text-encoder", path, folder)?;
            if from == *path && of_model.len() > 1 {
                return Err(Error::usage(
                    format!("--text-encoder {}: this model has two", path.display()),
                    "give the folder that holds text_encoder/ and text_encoder_2/, or a checkpoint",
                ));
            }
            put(files, &from, folder, &["config.json"], Some("model"))?;
        }
        return Ok(());
    }
    check_ending(path)?;
    let family = match of_model.len() {
        2 => Family::Sdxl,
        _ => Family::Sd1,
    };
    let alone = alone(base, path)?;
    if let (Some(part), 1) = (alone, of_model.len()) {
        files.part("text_encoder/model.safetensors", part);
        return Ok(());
    }
    let file = open("--text-encoder", path)?;
    let shapes = file.shapes();
    let checkpoint = Checkpoint {
        file: file.into(),
        family,
        shapes,
    };
    for folder in of_model {
        let layers = config(base, &format!("{folder}/config.json"))?;
        let layers = layers.usize("num_hidden_layers")?.unwrap_or_default();
        let families = match family {
            Family::Sdxl => &[Family::Sdxl][..],
            _ => &[Family::Sd1, Family::Sd2],
        };
        let encoders = families.iter().flat_map(|family| family.text_encoders());
        let part = encoders
            .filter(|(name, _)| *name == folder)
            .find_map(|(_, encoder)| checkpoint.encoder(*encoder, layers + 1));
        let part =
            part.ok_or_else(|| lacks("--text-encoder", path, "text encoder of this family"))?;
        files.part(&format!("{folder}/model.safetensors"), part);
    }
    Ok(())
}

/// A file that holds a text encoder and nothing else.
fn alone(base: &Files, path: &Path) -> Result<Option<CheckpointSection>> {
    let file = open("--text-encoder", path)?;
    let has = |name: &str| file.dims(name).is_some();
    if has("text_model.final_layer_norm.weight") || has("final_layer_norm.weight") {
        return Ok(Some(CheckpointSection::whole(file)));
    }
    if !has("ln_final.weight") {
        return Ok(None);
    }
    let config = config(base, "text_encoder/config.json")?;
    let layers = config.usize("num_hidden_layers")?.unwrap_or_default();
    let shapes = file.shapes();
    let checkpoint = Checkpoint {
        file: file.into(),
        family: Family::Sd2,
        shapes,
    };
    Ok(checkpoint.encoder(Encoder::OpenClip(""), layers + 1))
}

fn override_tokenizers(files: &mut Assembly, base: &Files, path: &Path) -> Result<()> {
    const FILES: [&str; 5] = [
        "tokenizer.json",
        "vocab.json",
        "merges.txt",
        "tokenizer_config.json",
        "special_tokens_map.json",
    ];
    if !path.is_dir() {
        let cure = "give a folder with tokenizer.json, or vocab.json and merges.txt";
        let what = format!("--tokenizer {} is not a folder", path.display());
        return Err(Error::usage(what, cure));
    }
    let has = |folder: &str| base.has(&format!("{folder}/tokenizer_config.json"));
    let of_model = TOKENIZERS
        .into_iter()
        .filter(|folder| *folder == "tokenizer" || has(folder));
    for folder in of_model {
        let from = match path.join(folder).is_dir() {
            true => path.join(folder),
            false => path.to_owned(),
        };
        if !["tokenizer.json", "vocab.json"]
            .iter()
            .any(|f| from.join(f).is_file())
        {
            return Err(Error::usage(
                format!("--tokenizer {} has no tokenizer", path.display()),
                "give a folder with tokenizer.json, or vocab.json and merges.txt",
            ));
        }
        // Both encoders of a model read one vocabulary, each with a pad of its own.
        let shared = from == path && folder != TOKENIZERS[0];
        put(
            files,
            &from,
            folder,
            if shared { &FILES[..3] } else { &FILES },
            None,
        )?;
    }
    Ok(())
}

/// The folder itself, or the one of that name in it.
fn part_folder(flag: &str, path: &Path, name: &str) -> Result<PathBuf> {
    let inner = path.join(name);
    let found = [inner, path.to_owned()];
    let found = found
        .into_iter()
        .find(|folder| folder.join("config.json").is_file());
    found.ok_or_else(|| {
        Error::usage(
            format!("{flag} {} holds no {name}/config.json", path.display()),
            format!(
                "give a folder like {name}/ of a model in diffusers layout, or that model's folder"
            ),
        )
    })
}

/// Files of a folder instead of a model's: small ones as far as they are there, and weights.
fn put(
    files: &mut Assembly,
    from: &Path,
    folder: &str,
    small: &[&str],
    weights: Option<&str>,
) -> Result<()> {
    for name in small {
        files.clear(&format!("{folder}/{name}"));
    }
    for name in small.iter().filter(|name| from.join(name).is_file()) {
        files.file(&format!("{folder}/{name}"), from.join(name));
    }
    let Some(stem) = weights else {
        return Ok(());
    };
    let name = Files::Folder(from.to_owned()).first_of(&names(stem, None))?;
    files.clear(&format!("{folder}/{stem}"));
    files.file(&format!("{folder}/{stem}.safetensors"), from.join(name));
    Ok(())
}

fn open(flag: &str, path: &Path) -> Result<TensorFile> {
    check_ending(path)?;
    if !path.is_file() {
        return Err(Error::usage(
            format!("{flag} {} does not exist", path.display()),
            "give a folder in diffusers layout, or a .safetensors file",
        ));
    }
    TensorFile::open(path, &path.display().to_string())
}

fn config(base: &Files, path: &str) -> Result<Config> {
    Config::parse(&base.name(path), &base.read(path)?)
}

fn lacks(flag: &str, path: &Path, what: &str) -> Error {
    Error::usage(
        format!("{flag} {} has no {what}", path.display()),
        "give a folder in diffusers layout, or a checkpoint that has it",
    )
}
