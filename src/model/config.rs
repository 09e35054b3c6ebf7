//! A strict reader of a model's JSON configs. Every key is either used, known to change nothing, or held to the
//! one supported value. Any other key is an error: a key that is ignored in silence changes pictures in silence.
//! Never knows what a key means.

use std::cell::RefCell;
use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// A config file. It remembers which keys were read.
pub struct Config {
    file: String,
    keys: Map<String, Value>,
    seen: RefCell<HashSet<String>>,
    cure: &'static str,
}

impl Config {
    /// Parses a config. `file` is its name in errors.
    ///
    /// # Errors
    /// [`Error::Model`] where the text is not a JSON object.
    pub fn parse(file: &str, text: &[u8]) -> Result<Self> {
        match serde_json::from_slice::<Value>(text) {
            Ok(Value::Object(keys)) => Ok(Self {
                file: file.to_owned(),
                keys,
                seen: RefCell::default(),
                cure: OTHER_MODEL,
            }),
            Ok(_) => Err(Error::model(
                format!("{file} is not a JSON object"),
                REFETCH,
            )),
            Err(e) => Err(Error::model(
                format!("{file} is not valid JSON: {e}"),
                REFETCH,
            )),
        }
    }

    /// Sets the cure of errors about a value.
    pub fn with_cure(self, cure: &'static str) -> Self {
        Self { cure, ..self }
    }

    /// The value of a key. `None` where the key is absent or null.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.seen.borrow_mut().insert(key.to_owned());
        self.keys.get(key).filter(|v| !v.is_null())
    }

    /// The value of a key, converted by `read`. `kind` names the type in errors.
    fn typed<T>(
        &self,
        key: &str,
        read: impl Fn(&Value) -> Option<T>,
        kind: &str,
    ) -> Result<Option<T>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let wrong = || self.error(&format!("{key} is {value}, not {kind}"));
        read(value).map(Some).ok_or_else(wrong)
    }

    /// A whole number.
    ///
    /// # Errors
    /// [`Error::Model`] for a value of another type, as all typed getters.
    pub fn usize(&self, key: &str) -> Result<Option<usize>> {
        self.typed(key, |v| v.as_u64().map(|x| x as usize), "a whole number")
    }

    /// A number.
    ///
    /// # Errors
    /// See [`usize`](Self::usize).
    pub fn f64(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, Value::as_f64, "a number")
    }

    /// A truth value; `default` where the key is absent.
    ///
    /// # Errors
    /// See [`usize`](Self::usize).
    pub fn bool(&self, key: &str, default: bool) -> Result<bool> {
        Ok(self
            .typed(key, Value::as_bool, "true or false")?
            .unwrap_or(default))
    }

    /// A string.
    ///
    /// # Errors
    /// See [`usize`](Self::usize).
    pub fn string(&self, key: &str) -> Result<Option<String>> {
        self.typed(key, |v| v.as_str().map(str::to_owned), "a string")
    }

    /// A list of strings.
    ///
    /// # Errors
    /// See [`usize`](Self::usize). The key is required.
    pub fn strings(&self, key: &str) -> Result<Vec<String>> {
        let read = |v: &Value| {
            v.as_array()?
                .iter()
                .map(|s| s.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
        };
        self.required(key, self.typed(key, read, "a list of strings")?)
    }

    /// A list of whole numbers.
    ///
    /// # Errors
    /// See [`usize`](Self::usize). The key is required.
    pub fn usizes(&self, key: &str) -> Result<Vec<usize>> {
        let value = self.typed(key, whole_numbers, "a list of whole numbers")?;
        self.required(key, value)
    }

    /// A whole number per level. The config has one for all levels, or a list.
    ///
    /// # Errors
    /// See [`usize`](Self::usize), and for a list of another length.
    pub fn per_level(&self, key: &str, levels: usize) -> Result<Option<Vec<usize>>> {
        let read = |v: &Value| match v.as_u64() {
            Some(one) => Some(vec![one as usize; levels]),
            None => whole_numbers(v).filter(|all| all.len() == levels),
        };
        self.typed(key, read, &format!("a whole number or a list of {levels}"))
    }

    /// Turns an absent key into an error.
    ///
    /// # Errors
    /// [`Error::Model`] where `value` is `None`.
    pub fn required<T>(&self, key: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| Error::model(format!("{} lacks the key {key}", self.file), REFETCH))
    }

    /// Holds a key to the one supported value. Absent and null mean that value too.
    ///
    /// # Errors
    /// [`Error::Model`] for any other value.
    pub fn only(&self, key: &str, accepted: impl Into<Value>) -> Result<()> {
        let accepted = accepted.into();
        match self.value(key) {
            Some(value) if !same(value, &accepted) => Err(self.error(&format!(
                "{key} = {value} is not supported (only {accepted})"
            ))),
            _ => Ok(()),
        }
    }

    /// Holds keys to absent, null or false.
    ///
    /// # Errors
    /// [`Error::Model`] for any other value.
    pub fn off(&self, keys: &[&str]) -> Result<()> {
        keys.iter().try_for_each(|key| self.only(key, false))
    }

    /// Accepts any value of keys that do not change what is computed.
    pub fn ignore(&self, keys: &[&str]) {
        self.seen
            .borrow_mut()
            .extend(keys.iter().map(|k| (*k).to_owned()));
    }

    /// Checks that every key was read, is off, or is ignored on purpose.
    ///
    /// # Errors
    /// [`Error::Model`] that names the first other key.
    pub fn finish(&self) -> Result<()> {
        self.ignore(&["_class_name", "_diffusers_version", "_name_or_path"]);
        let seen = self.seen.borrow();
        let off = |v: &Value| v.is_null() || *v == Value::Bool(false);
        let mut keys = self.keys.iter();
        match keys.find(|(key, value)| !seen.contains(*key) && !off(value)) {
            Some((key, value)) => Err(self.error(&format!("{key} = {value} is not known"))),
            None => Ok(()),
        }
    }

    /// An error about a key's value.
    pub fn error(&self, problem: &str) -> Error {
        Error::model(format!("{}: {problem}", self.file), self.cure)
    }
}

const OTHER_MODEL: &str = "this kind of model is not supported; use a model of Stable Diffusion 1.x, 2.x or XL in diffusers layout";

const REFETCH: &str = "fetch the file again from where the model came from";

fn whole_numbers(value: &Value) -> Option<Vec<usize>> {
    value
        .as_array()?
        .iter()
        .map(|n| n.as_u64().map(|n| n as usize))
        .collect()
}

/// Whether two values are equal. Numbers are compared by value, and a list equals a value that all its items
/// equal.
fn same(value: &Value, accepted: &Value) -> bool {
    match (value, accepted) {
        (Value::Array(all), one) if !one.is_array() => all.iter().all(|v| same(v, one)),
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        _ => value == accepted,
    }
}
