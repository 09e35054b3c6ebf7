//! A folder in diffusers layout that stands nowhere: each of its files comes from somewhere else.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::{CheckpointSection, clip};
use crate::error::Result;
use crate::model::files::{FileSource, Files};

/// Files by their path in the folder.
#[derive(Debug)]
pub struct Assembly {
    /// For people.
    name: String,
    /// What is not replaced.
    base: Option<Files>,
    /// Beginnings of paths of `base` that do not count.
    replaced: Vec<String>,
    pieces: HashMap<String, Piece>,
}

#[derive(Debug)]
enum Piece {
    Text(Arc<[u8]>),
    File(PathBuf),
    CheckpointSection(Arc<CheckpointSection>),
}

impl Assembly {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            base: None,
            replaced: vec![],
            pieces: HashMap::new(),
        }
    }

    /// Over all that a model has.
    pub fn over(name: &str, base: Files) -> Self {
        Self {
            base: Some(base),
            ..Self::new(name)
        }
    }

    pub fn text(&mut self, path: &str, text: impl Into<Arc<[u8]>>) {
        self.pieces
            .insert(path.to_owned(), Piece::Text(text.into()));
    }

    pub fn file(&mut self, path: &str, file: PathBuf) {
        self.pieces.insert(path.to_owned(), Piece::File(file));
    }

    pub fn part(&mut self, path: &str, part: CheckpointSection) {
        let piece = Piece::CheckpointSection(part.into());
        self.pieces.insert(path.to_owned(), piece);
    }

    /// CLIP's vocabulary into a tokenizer's folder that has none.
    pub fn fill_tokenizer(&mut self, folder: &str) {
        let mut there = ["tokenizer.json", "vocab.json"].into_iter();
        if there.any(|name| self.has(&format!("{folder}/{name}"))) {
            return;
        }
        let merges = clip::merges();
        self.text(&format!("{folder}/vocab.json"), clip::vocabulary(&merges));
        self.text(&format!("{folder}/merges.txt"), merges.into_bytes());
    }

    /// Takes files away, all whose path begins so: others take their place.
    pub fn clear(&mut self, begins: &str) {
        self.pieces.retain(|path, _| !path.starts_with(begins));
        self.replaced.push(begins.to_owned());
    }

    /// Sets a key of a JSON file to another value.
    pub fn set(&mut self, path: &str, key: &str, value: Value) -> Result<()> {
        let mut config: Value = serde_json::from_slice(&self.read(path)?).unwrap_or_default();
        // What is no object is left for its reader to complain of.
        if let Some(keys) = config.as_object_mut() {
            keys.insert(key.to_owned(), value);
            self.text(path, config.to_string().into_bytes());
        }
        Ok(())
    }

    fn read(&self, path: &str) -> Result<Vec<u8>> {
        match (self.pieces.get(path), self.below(path)) {
            (Some(Piece::Text(text)), _) => Ok(text.to_vec()),
            (None, Some(base)) => base.read(path),
            _ => Ok(vec![]),
        }
    }

    fn below(&self, path: &str) -> Option<&Files> {
        let gone = |folder: &String| path.starts_with(folder.as_str());
        self.base
            .as_ref()
            .filter(|_| !self.replaced.iter().any(gone))
    }

    pub fn has(&self, path: &str) -> bool {
        let below = || self.below(path).is_some_and(|base| base.has(path));
        match self.pieces.get(path) {
            Some(Piece::File(file)) => file.is_file(),
            Some(_) => true,
            None => below(),
        }
    }

    /// Its files, as far as they can be listed.
    pub fn names(&self) -> Vec<String> {
        let below = self.base.iter().flat_map(Files::names);
        let below = below.filter(|path| self.below(path).is_some());
        self.pieces.keys().cloned().chain(below).collect()
    }

    pub fn name(&self, path: &str) -> String {
        match (self.pieces.get(path), self.below(path)) {
            (Some(Piece::File(file)), _) => file.display().to_string(),
            (Some(Piece::CheckpointSection(part)), _) => part.file.name.clone(),
            (Some(Piece::Text(_)), _) => format!("{path} for {}", self.name),
            (None, Some(base)) => base.name(path),
            (None, None) => format!("{}: {path}", self.name),
        }
    }

    /// `None` where there is no such file.
    pub fn source(&self, path: &str) -> Result<Option<FileSource>> {
        Ok(match (self.pieces.get(path), self.below(path)) {
            (Some(Piece::Text(text)), _) => Some(FileSource::Text(text.clone())),
            (Some(Piece::File(file)), _) => Some(FileSource::File(file.clone())),
            (Some(Piece::CheckpointSection(part)), _) => Some(FileSource::Section(part.clone())),
            (None, Some(base)) => Some(base.source(path)?),
            (None, None) => None,
        })
    }
}
