//! A strict reader of a model's JSON configs: every key is either used, or known to change nothing,
//! or held to the one value that is implemented. A key that is none of these is an error, since what
//! is ignored in silence changes pictures in silence.

use std::cell::RefCell;
use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// One config file, with the keys that were asked for.
pub struct Config {
    file: String,
    keys: Map<String, Value>,
    seen: RefCell<HashSet<String>>,
    cure: &'static str,
}

impl Config {
    /// `file` is named in errors.
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

    /// What to advise where a value is not accepted.
    pub fn or_else(self, cure: &'static str) -> Self {
        Self { cure, ..self }
    }

    /// The value of a key, unless absent or null.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.seen.borrow_mut().insert(key.to_owned());
        self.keys.get(key).filter(|v| !v.is_null())
    }

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
    pub fn usize(&self, key: &str) -> Result<Option<usize>> {
        self.typed(key, |v| v.as_u64().map(|x| x as usize), "a whole number")
    }

    pub fn f64(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, Value::as_f64, "a number")
    }

    pub fn bool(&self, key: &str, default: bool) -> Result<bool> {
        Ok(self
            .typed(key, Value::as_bool, "true or false")?
            .unwrap_or(default))
    }

    pub fn string(&self, key: &str) -> Result<Option<String>> {
        self.typed(key, |v| v.as_str().map(str::to_owned), "a string")
    }

    pub fn strings(&self, key: &str) -> Result<Vec<String>> {
        let read = |v: &Value| {
            v.as_array()?
                .iter()
                .map(|s| s.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
        };
        self.needed(key, self.typed(key, read, "a list of strings")?)
    }

    pub fn usizes(&self, key: &str) -> Result<Vec<usize>> {
        self.needed(
            key,
            self.typed(key, whole_numbers, "a list of whole numbers")?,
        )
    }

    /// One number for all levels, or one per level.
    pub fn per_level(&self, key: &str, levels: usize) -> Result<Option<Vec<usize>>> {
        let read = |v: &Value| match v.as_u64() {
            Some(one) => Some(vec![one as usize; levels]),
            None => whole_numbers(v).filter(|all| all.len() == levels),
        };
        self.typed(key, read, &format!("a whole number or a list of {levels}"))
    }

    /// Turns an absent key into an error.
    pub fn needed<T>(&self, key: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| Error::model(format!("{} lacks the key {key}", self.file), REFETCH))
    }

    /// Holds a key to the one value that is implemented; absent and null mean that value too.
    pub fn only(&self, key: &str, accepted: impl Into<Value>) -> Result<()> {
        let accepted = accepted.into();
        match self.value(key) {
            Some(value) if !same(value, &accepted) => Err(self.error(&format!(
                "{key} = {value} is not implemented (only {accepted})"
            ))),
            _ => Ok(()),
        }
    }

    /// Holds keys to being off: absent, null or false.
    pub fn off(&self, keys: &[&str]) -> Result<()> {
        keys.iter().try_for_each(|key| self.only(key, false))
    }

    /// Keys that change no arithmetic of ours.
    pub fn ignore(&self, keys: &[&str]) {
        self.seen
            .borrow_mut()
            .extend(keys.iter().map(|k| (*k).to_owned()));
    }

    /// Errors on any key that nobody asked for and that is not off.
    pub fn finish(&self) -> Result<()> {
        self.ignore(&["_class_name", "_diffusers_version", "_name_or_path"]);
        let seen = self.seen.borrow();
        let off = |v: &Value| v.is_null() || *v == Value::Bool(false);
        match self
            .keys
            .iter()
            .find(|(key, value)| !seen.contains(*key) && !off(value))
        {
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

/// Equal, numbers by value; a list is equal where all of it is.
fn same(value: &Value, accepted: &Value) -> bool {
    match (value, accepted) {
        (Value::Array(all), one) if !one.is_array() => all.iter().all(|v| same(v, one)),
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        _ => value == accepted,
    }
}
