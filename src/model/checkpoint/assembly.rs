//! A folder in diffusers layout that exists only in memory: each of its files comes from another place. Owns
//! which file comes from where. Never knows what a file means.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::{CheckpointSection, clip};
use crate::error::Result;
use crate::model::component::Component;
use crate::model::files::{FileSource, ModelFiles};

/// Files by their path in the folder.
#[derive(Debug)]
pub struct Assembly {
    /// The folder's name in messages.
    name: String,
    /// The files that are not replaced.
    base: Option<ModelFiles>,
    /// Prefixes of the paths in `base` that are hidden.
    hidden: Vec<String>,
    files: HashMap<String, File>,
}

#[derive(Debug)]
enum File {
    Text(Arc<[u8]>),
    OnDisk(PathBuf),
    Section(Arc<CheckpointSection>),
}

impl Assembly {
    /// An empty folder.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            base: None,
            hidden: vec![],
            files: HashMap::new(),
        }
    }

    /// A folder with the files of another one, to be replaced one by one.
    pub fn over(name: &str, base: ModelFiles) -> Self {
        Self {
            base: Some(base),
            ..Self::new(name)
        }
    }

    /// Adds a small file.
    pub fn text(&mut self, path: &str, text: impl Into<Arc<[u8]>>) {
        self.files.insert(path.to_owned(), File::Text(text.into()));
    }

    /// Adds a file on disk.
    pub fn file(&mut self, path: &str, file: PathBuf) {
        self.files.insert(path.to_owned(), File::OnDisk(file));
    }

    /// Adds a component's weights from a checkpoint.
    pub fn section(&mut self, path: &str, section: CheckpointSection) {
        let file = File::Section(section.into());
        self.files.insert(path.to_owned(), file);
    }

    /// Adds CLIP's vocabulary to a tokenizer's folder that has no vocabulary.
    pub fn fill_tokenizer(&mut self, tokenizer: Component) {
        let mut vocabularies = ["tokenizer.json", "vocab.json"].into_iter();
        if vocabularies.any(|name| self.has(&tokenizer.path(name))) {
            return;
        }
        let merges = clip::merges();
        self.text(&tokenizer.path("vocab.json"), clip::vocabulary(&merges));
        self.text(&tokenizer.path("merges.txt"), merges.into_bytes());
    }

    /// Removes all files whose path begins with `prefix`.
    pub fn remove(&mut self, prefix: &str) {
        self.files.retain(|path, _| !path.starts_with(prefix));
        self.hidden.push(prefix.to_owned());
    }

    /// Sets a key of a JSON file. A file that is no JSON object is left unchanged, so that its reader reports it.
    pub fn set(&mut self, path: &str, key: &str, value: Value) -> Result<()> {
        let mut config: Value = serde_json::from_slice(&self.read(path)?).unwrap_or_default();
        if let Some(keys) = config.as_object_mut() {
            keys.insert(key.to_owned(), value);
            self.text(path, config.to_string().into_bytes());
        }
        Ok(())
    }

    fn read(&self, path: &str) -> Result<Vec<u8>> {
        match (self.files.get(path), self.base_of(path)) {
            (Some(File::Text(text)), _) => Ok(text.to_vec()),
            (None, Some(base)) => base.read(path),
            _ => Ok(vec![]),
        }
    }

    /// The base, unless it hides a path.
    fn base_of(&self, path: &str) -> Option<&ModelFiles> {
        let hides = |prefix: &String| path.starts_with(prefix.as_str());
        self.base
            .as_ref()
            .filter(|_| !self.hidden.iter().any(hides))
    }

    /// Whether a file exists.
    pub fn has(&self, path: &str) -> bool {
        match self.files.get(path) {
            Some(File::OnDisk(file)) => file.is_file(),
            Some(_) => true,
            None => self.base_of(path).is_some_and(|base| base.has(path)),
        }
    }

    /// Paths of all files that can be listed.
    pub fn names(&self) -> Vec<String> {
        let base = self.base.iter().flat_map(ModelFiles::names);
        let base = base.filter(|path| self.base_of(path).is_some());
        self.files.keys().cloned().chain(base).collect()
    }

    /// The name of a file in messages.
    pub fn name(&self, path: &str) -> String {
        match (self.files.get(path), self.base_of(path)) {
            (Some(File::OnDisk(file)), _) => file.display().to_string(),
            (Some(File::Section(section)), _) => section.file.name.clone(),
            (Some(File::Text(_)), _) => format!("{path} for {}", self.name),
            (None, Some(base)) => base.name(path),
            (None, None) => format!("{}: {path}", self.name),
        }
    }

    /// Where a file's content comes from. `None` where there is no such file.
    pub fn source(&self, path: &str) -> Result<Option<FileSource>> {
        Ok(match (self.files.get(path), self.base_of(path)) {
            (Some(File::Text(text)), _) => Some(FileSource::Text(text.clone())),
            (Some(File::OnDisk(file)), _) => Some(FileSource::File(file.clone())),
            (Some(File::Section(section)), _) => Some(FileSource::Section(section.clone())),
            (None, Some(base)) => Some(base.source(path)?),
            (None, None) => None,
        })
    }
}
