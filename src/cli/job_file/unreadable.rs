//! Keys and values of a job that could not be read, such as a misspelled key. Other problems of the job are still
//! reported, unless they may be a consequence of what could not be read.

use super::problem::Problem;
use super::vocabulary::{Shape, Vocabulary};
use prompt_to_prompt::setting::Setting;

/// What could not be read of a table.
#[derive(Debug, Clone, Default)]
pub struct Unreadable {
    /// Settings whose value could not be read.
    settings: Vec<Setting>,
    /// Whether any setting may be missing.
    anything: bool,
}

impl Unreadable {
    /// Records that any setting may be missing.
    pub fn anything(&mut self) {
        self.anything = true;
    }

    /// Whether any setting may be missing, so that nothing can be said about the job.
    pub fn is_anything(&self) -> bool {
        self.anything
    }

    /// Whether something could not be read.
    pub fn is_something(&self) -> bool {
        self.anything || !self.settings.is_empty()
    }

    /// Records a key whose value could not be read.
    pub fn key(&mut self, vocabulary: &Vocabulary, key: usize) {
        let of = vocabulary.key(key);
        // Prompts and the model decide whether the other settings are right.
        let decides = of.shape == Shape::Prompt || of.setting == Setting::Model;
        if decides && of.setting != Setting::NegativePrompt {
            self.anything();
        } else {
            self.settings.push(of.setting);
        }
    }

    /// Records an unknown key. The nearest key is meant, if one is near.
    pub fn unknown(&mut self, vocabulary: &Vocabulary, name: &str) {
        let positive = name.strip_prefix("no_").unwrap_or(name);
        match vocabulary.nearest_key(positive) {
            Some(key) => self.key(vocabulary, key),
            None => self.anything(),
        }
    }

    /// Adds what could not be read of another table.
    pub fn add(&mut self, other: &Self) {
        self.settings.extend(&other.settings);
        self.anything |= other.anything;
    }

    /// Whether a problem may be a consequence of what could not be read: it names such a setting.
    pub fn explains(&self, problem: &Problem) -> bool {
        problem
            .settings
            .iter()
            .any(|named| self.settings.contains(named))
    }
}
