//! What a table of a job file was meant to say and could not be read: a key that is none, a value that
//! cannot be. What else is wrong with the job is still worth saying, unless it may follow from that.

use super::problem::Problem;
use super::vocabulary::{Shape, Vocabulary};

#[derive(Debug, Clone, Default)]
pub struct Unreadable {
    keys: Vec<usize>,
    anything: bool,
}

impl Unreadable {
    /// No guess can be made.
    pub fn anything(&mut self) {
        self.anything = true;
    }

    /// Whether what is left of the job says nothing about it.
    pub fn is_anything(&self) -> bool {
        self.anything
    }

    pub fn is_something(&self) -> bool {
        self.anything || !self.keys.is_empty()
    }

    /// The value of a key.
    pub fn key(&mut self, vocabulary: &Vocabulary, key: usize) {
        let of = vocabulary.key(key);
        // Every word is about a prompt, and the model says what words there are.
        let rules_the_rest = of.shape == Shape::Prompt || of.name == "model";
        match rules_the_rest && of.name != "negative_prompt" {
            true => self.anything(),
            false => self.keys.push(key),
        }
    }

    /// A key that is none: the nearest is meant, if any is near.
    pub fn unknown(&mut self, vocabulary: &Vocabulary, name: &str) {
        let positive = name.strip_prefix("no_").unwrap_or(name);
        match vocabulary.nearest_key(positive) {
            Some(key) => self.key(vocabulary, key),
            None => self.anything(),
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.keys.extend(&other.keys);
        self.anything |= other.anything;
    }

    /// Whether a problem of the job may be gone once what is lost is mended: it speaks of it.
    pub fn explains(&self, vocabulary: &Vocabulary, problem: &Problem) -> bool {
        let names = |text: &str, name: &str| {
            let no_name = |c: char| !c.is_alphanumeric() && c != '_';
            text.split(no_name).any(|word| word == name)
        };
        self.keys.iter().any(|key| {
            let name = &vocabulary.key(*key).name;
            names(&problem.cause, name) || names(&problem.cure, name)
        })
    }
}
