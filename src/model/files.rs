//! A model's files, wherever they are: a folder on disk, bytes compiled into the binary, or an assembly of
//! files from several places. All kinds of models go through this one way of reading. Never knows what a
//! file means.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint::{Assembly, CheckpointSection};
use super::component::MODEL_INDEX;
use super::weight_files::shards_at;
use crate::error::{Error, Result};
use crate::message;
use crate::setting::Setting;

/// A model's files by their path relative to its folder, with forward slashes.
#[derive(Debug, Clone)]
pub enum ModelFiles {
    /// A folder on disk.
    Folder(PathBuf),
    /// Paths and contents that are compiled into the binary.
    Embedded(&'static [(&'static str, &'static [u8])]),
    /// Files from several places.
    Assembled(Arc<Assembly>),
}

/// Where a file's content comes from.
pub enum FileSource {
    /// A file on disk.
    File(PathBuf),
    /// Bytes that are compiled into the binary.
    Bytes(&'static [u8]),
    /// A small file that was made in memory.
    Text(Arc<[u8]>),
    /// A component's weights inside a file, under other names.
    Section(Arc<CheckpointSection>),
}

impl ModelFiles {
    /// Whether a file exists.
    pub fn has(&self, path: &str) -> bool {
        match self {
            Self::Folder(root) => root.join(path).is_file(),
            Self::Embedded(all) => all.iter().any(|(name, _)| *name == path),
            Self::Assembled(assembly) => assembly.has(path),
        }
    }

    /// The name of a file in messages.
    pub fn name(&self, path: &str) -> String {
        match self {
            Self::Folder(root) => root.join(path).display().to_string(),
            Self::Embedded(_) => format!("storybook/{path}"),
            Self::Assembled(assembly) => assembly.name(path),
        }
    }

    /// A small file's content.
    ///
    /// # Errors
    /// [`Error::Model`] that names the file, where it is missing or cannot be read.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        match self.source(path)? {
            FileSource::Bytes(bytes) => Ok(bytes.to_vec()),
            FileSource::Text(text) => Ok(text.to_vec()),
            FileSource::File(file) => {
                std::fs::read(file).map_err(|e| self.unreadable(path, &e.to_string()))
            }
            FileSource::Section(_) => Err(self.unreadable(path, "it holds weights")),
        }
    }

    /// The first of several paths that exists.
    ///
    /// # Errors
    /// [`Error::Model`] that names the first path, or a pickle where only that exists.
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

    /// Where a file's content comes from.
    ///
    /// # Errors
    /// [`Error::Model`] where an embedded model or an assembly has no such file. A folder's file is not
    /// looked up here.
    pub fn source(&self, path: &str) -> Result<FileSource> {
        match self {
            Self::Folder(root) => Ok(FileSource::File(root.join(path))),
            Self::Embedded(all) => all
                .iter()
                .find(|(name, _)| *name == path)
                .map(|(_, bytes)| FileSource::Bytes(bytes))
                .ok_or_else(|| self.unreadable(path, "it is not embedded")),
            Self::Assembled(assembly) => assembly
                .source(path)?
                .ok_or_else(|| self.unreadable(path, "it does not exist")),
        }
    }

    /// Bytes of a file, or of all shards where the file is an index.
    ///
    /// # Errors
    /// [`Error::Model`] where the file or a shard is missing.
    pub fn size(&self, path: &str) -> Result<u64> {
        Ok(match self.source(path)? {
            FileSource::Bytes(bytes) => bytes.len() as u64,
            FileSource::Text(text) => text.len() as u64,
            FileSource::Section(section) => section.bytes(),
            FileSource::File(file) => {
                let length = |file: &PathBuf| {
                    let metadata = file.metadata();
                    let metadata = metadata.map_err(|e| self.unreadable(path, &e.to_string()))?;
                    Ok(metadata.len())
                };
                let shards = shards_at(&file, &self.name(path))?;
                shards.iter().map(length).sum::<Result<u64>>()?
            }
        })
    }

    /// Paths of all files that can be listed.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Folder(root) => names_in(root),
            Self::Embedded(all) => all.iter().map(|(name, _)| (*name).to_owned()).collect(),
            Self::Assembled(assembly) => assembly.names(),
        }
    }

    fn unreadable(&self, path: &str, why: &str) -> Error {
        Error::model(
            format!("cannot read {}: {why}", self.name(path)),
            "a diffusers folder holds unet/, vae/, text_encoder/, tokenizer/ and scheduler/ with their files",
        )
    }

    /// The files of a folder in diffusers layout.
    ///
    /// # Errors
    /// [`Error::Usage`] where the path is no folder, or has no `model_index.json`.
    pub fn folder(root: &Path) -> Result<Self> {
        let named = Setting::Model.to(root.display());
        if !root.is_dir() {
            let what = if root.exists() {
                " is not a folder"
            } else {
                " does not exist"
            };
            let cure = message![
                "give a folder in diffusers layout, a .safetensors checkpoint, a model of the hub such as \
                 sd15 or OWNER/NAME, or leave ",
                Setting::Model,
                " out for the embedded model",
            ];
            return Err(Error::usage(message![named, what], cure).about(Setting::Model));
        }
        if !root.join(MODEL_INDEX).is_file() {
            let cause = message![
                named,
                " is not a diffusers folder: it has no model_index.json"
            ];
            return Err(Error::usage(
                cause,
                "give the folder that holds model_index.json, unet/, vae/, text_encoder/, tokenizer/, scheduler/",
            )
            .about(Setting::Model));
        }
        Ok(Self::Folder(root.to_owned()))
    }
}

/// Paths of the files in a folder and in its subfolders.
fn names_in(root: &Path) -> Vec<String> {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let inside = |folder: std::fs::DirEntry| {
        let path = folder.path();
        let folder = name(folder);
        entries(&path).map(move |file| format!("{folder}/{}", name(file)))
    };
    entries(root).flat_map(inside).collect()
}
