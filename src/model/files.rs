//! Where a model's files come from: a folder on disk, bytes compiled into the binary, or put together
//! from several places. One way to read them, so that all kinds go through the same code.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint::{Assembly, CheckpointSection};
use super::weight_files::pieces;
use crate::error::{Error, Result};

/// Files by their path relative to the model's folder, with forward slashes.
#[derive(Debug, Clone)]
pub enum Files {
    Folder(PathBuf),
    Embedded(&'static [(&'static str, &'static [u8])]),
    Assembled(Arc<Assembly>),
}

/// A file's bytes, or where to map them from.
pub enum FileSource {
    File(PathBuf),
    Bytes(&'static [u8]),
    /// A small file that stands nowhere.
    Text(Arc<[u8]>),
    /// Weights under other names.
    Section(Arc<CheckpointSection>),
}

impl Files {
    /// Whether a file is there.
    pub fn has(&self, path: &str) -> bool {
        match self {
            Files::Folder(root) => root.join(path).is_file(),
            Files::Embedded(all) => all.iter().any(|(name, _)| *name == path),
            Files::Assembled(assembly) => assembly.has(path),
        }
    }

    /// A file's name for people.
    pub fn name(&self, path: &str) -> String {
        match self {
            Files::Folder(root) => root.join(path).display().to_string(),
            Files::Embedded(_) => format!("storybook/{path}"),
            Files::Assembled(assembly) => assembly.name(path),
        }
    }

    /// A small file's content. Errors name it.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        match self.source(path)? {
            FileSource::Bytes(bytes) => Ok(bytes.to_vec()),
            FileSource::Text(text) => Ok(text.to_vec()),
            FileSource::File(file) => {
                std::fs::read(file).map_err(|e| self.unreadable(path, &e.to_string()))
            }
            FileSource::Section(_) => Err(self.unreadable(path, "it is no small file")),
        }
    }

    /// The first of several names that is there; errors name the first, and pickles where there are
    /// only those.
    pub fn first_of(&self, paths: &[String]) -> Result<String> {
        if let Some(path) = paths.iter().find(|path| self.has(path)) {
            return Ok(path.clone());
        }
        let pickle = paths.iter().flat_map(|p| {
            let stem = p.trim_end_matches(".safetensors");
            let name = stem.replace("/model", "/pytorch_model");
            [".bin", ".ckpt", ".pt"].map(|ending| format!("{name}{ending}"))
        });
        match pickle.into_iter().find(|path| self.has(path)) {
            Some(found) => Err(Error::model(
                format!(
                    "{} is a pickle, which can run code when it is loaded",
                    self.name(&found)
                ),
                "convert it: in Python, load the pipeline and save_pretrained(.., safe_serialization=True)",
            )),
            None => Err(self.unreadable(&paths[0], "it does not exist")),
        }
    }

    pub fn source(&self, path: &str) -> Result<FileSource> {
        match self {
            Files::Folder(root) => Ok(FileSource::File(root.join(path))),
            Files::Embedded(all) => all
                .iter()
                .find(|(name, _)| *name == path)
                .map(|(_, bytes)| FileSource::Bytes(bytes))
                .ok_or_else(|| self.unreadable(path, "it is not embedded")),
            Files::Assembled(assembly) => assembly
                .source(path)?
                .ok_or_else(|| self.unreadable(path, "it does not exist")),
        }
    }

    /// Bytes of a file; of an index of shards those of the shards.
    pub fn size(&self, path: &str) -> Result<u64> {
        Ok(match self.source(path)? {
            FileSource::Bytes(bytes) => bytes.len() as u64,
            FileSource::Text(text) => text.len() as u64,
            FileSource::Section(part) => part.bytes(),
            FileSource::File(file) => {
                let length = |file: &PathBuf| {
                    let metadata = file.metadata();
                    let metadata = metadata.map_err(|e| self.unreadable(path, &e.to_string()))?;
                    Ok(metadata.len())
                };
                let pieces = pieces(&file, &self.name(path))?;
                pieces.iter().map(length).sum::<Result<u64>>()?
            }
        })
    }

    /// Names of all its files, as far as they can be listed: of a folder, or of what an assembly is over.
    pub fn names(&self) -> Vec<String> {
        match self {
            Files::Folder(root) => names_in(root),
            Files::Embedded(all) => all.iter().map(|(name, _)| (*name).to_owned()).collect(),
            Files::Assembled(assembly) => assembly.names(),
        }
    }

    fn unreadable(&self, path: &str, why: &str) -> Error {
        Error::model(
            format!("cannot read {}: {why}", self.name(path)),
            "a diffusers folder holds unet/, vae/, text_encoder/, tokenizer/ and scheduler/ with their files",
        )
    }

    /// The folder itself, checked to be one in diffusers layout.
    pub fn folder(root: &Path) -> Result<Self> {
        let shown = root.display();
        if !root.is_dir() {
            let what = if root.exists() {
                "is not a folder"
            } else {
                "does not exist"
            };
            return Err(Error::usage(
                format!("--model {shown} {what}"),
                "give a folder in diffusers layout, a .safetensors checkpoint, a model of the hub such as sd15 or OWNER/NAME, or leave --model out for the embedded model",
            ));
        }
        if !root.join("model_index.json").is_file() {
            return Err(Error::usage(
                format!("--model {shown} is not a diffusers folder: it has no model_index.json"),
                "give the folder that holds model_index.json, unet/, vae/, text_encoder/, tokenizer/, scheduler/",
            ));
        }
        Ok(Files::Folder(root.to_owned()))
    }
}

/// Files of a folder and of the folders in it.
fn names_in(root: &Path) -> Vec<String> {
    let below = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let inside = |folder: std::fs::DirEntry| {
        let path = folder.path();
        let folder = name(folder);
        below(&path).map(move |file| format!("{folder}/{}", name(file)))
    };
    below(root).flat_map(inside).collect()
}
