//! The settings that a picture's metadata records, as values of flags, with changes on top. Owns how a recorded value
//! is written as the value of a flag. It must never know what a value means: the flag's parser decides.

use std::path::Path;

use prompt_to_prompt::job::PictureSettings;
use prompt_to_prompt::setting::Setting;
use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use super::entry::{Entry, JobRequest, SEED, describe_parse_error};
use super::grid::{Axis, Point, Refused, key_of};
use super::problem::Problem;
use super::unreadable::Unreadable;
use super::value;
use super::vocabulary::{KeyValue, KeyValues, Shape, Takes, Vocabulary};

/// The settings of a recorded picture, as values of flags.
pub struct Repeat<'v> {
    vocabulary: &'v Vocabulary,
    /// The settings of the whole run.
    whole: KeyValues,
    /// For each edit all settings that apply to it, those of the run included.
    edits: Vec<KeyValues>,
}

impl<'v> Repeat<'v> {
    /// The settings of a picture.
    ///
    /// # Errors
    /// Cause and cure, if a setting is unknown or its value is not usable.
    pub fn new(recorded: &PictureSettings, vocabulary: &'v Vocabulary) -> Result<Self, Refused> {
        let mut whole = recorded.to_map();
        let edits = whole.remove("edit").unwrap_or_default();
        let whole = settings(vocabulary, &whole)?;
        let edit = |own: &Value| {
            let own = own.as_object().cloned().unwrap_or_default();
            let mut all = whole.clone();
            all.extend(settings(vocabulary, &own)?);
            Ok(all)
        };
        let edits = edits.as_array().into_iter().flatten().map(edit);
        Ok(Self {
            edits: edits.collect::<Result<_, Refused>>()?,
            vocabulary,
            whole,
        })
    }

    /// Sets flags in the run and in all edits.
    pub fn with(mut self, flags: &KeyValues) -> Self {
        for settings in self.edits.iter_mut().chain([&mut self.whole]) {
            settings.extend(flags.clone());
        }
        self
    }

    /// Applies `KEY=VALUE` or `KEY.WORD=VALUE`, with the value as in a job file or as plain text. Settings of edits
    /// change in the last edit, which is the one that the picture shows.
    ///
    /// # Errors
    /// Cause and cure, if the key is unknown or its flag does not accept the value.
    pub fn set(&mut self, text: &str) -> Result<(), Refused> {
        let refused = |(cause, cure): Refused| (format!("--set {text}: {cause}"), cure);
        let Some((name, typed)) = text.split_once('=') else {
            let cure = "write KEY=VALUE, such as seed=7 or cross_steps.car=0.4";
            return Err(refused(("it has no value".to_owned(), cure.to_owned())));
        };
        let (index, word) = key_of(self.vocabulary, name).map_err(refused)?;
        let key = self.vocabulary.key(index);
        let values = self.values(index, word.is_some(), typed).map_err(refused)?;
        let mut axis = Axis::new(self.vocabulary, index, word);
        axis.push(self.vocabulary, values, None).map_err(refused)?;
        let prompts = ["dst", "then"].map(|name| self.vocabulary.find(name));
        let last_only = key.each_edit && key.name != "negative_prompt";
        let (edits, whole) = match (last_only, self.edits.len()) {
            (true, 1..) => (self.edits.last_mut().into_iter().collect(), None),
            _ => (
                self.edits.iter_mut().collect::<Vec<_>>(),
                Some(&mut self.whole),
            ),
        };
        for settings in edits.into_iter().chain(whole) {
            if prompts.contains(&Some(index)) {
                settings.retain(|key, _| !prompts.contains(&Some(*key)));
            }
            axis.apply(0, settings);
        }
        Ok(())
    }

    /// A typed value as values of the key's flag.
    fn values(&self, index: usize, of_word: bool, typed: &str) -> Result<Vec<String>, Refused> {
        let key = self.vocabulary.key(index);
        let document = format!("value = {typed}");
        let parsed = DeTable::parse(&document).ok();
        let value = parsed.as_ref().filter(|table| table.get_ref().len() == 1);
        let value = value.and_then(|table| table.get_ref().get("value"));
        let values = match value {
            Some(value) if of_word => value::scalar(key, value).map(|value| vec![value]),
            Some(value) if !matches!(value.get_ref(), DeValue::Datetime(_)) => {
                value::values(key, value, Path::new(""))
            }
            _ => Ok(vec![typed.to_owned()]),
        };
        values.map_err(|(_, cause, cure)| (cause, cure))
    }

    /// The job that draws the picture again.
    ///
    /// # Errors
    /// A problem without a position.
    pub fn job_request(mut self) -> Result<JobRequest, Problem> {
        self.without_control();
        let prompted = ["dst", "then", "weight"];
        let is_edit = |key: &usize| prompted.contains(&&*self.vocabulary.key(*key).name);
        if self.edits.is_empty() && !self.whole.keys().any(is_edit) {
            return self.source();
        }
        let edits = self.edits.into_iter().map(|settings| (None, settings));
        let entry = Entry {
            name: None,
            folder: None,
            place: None,
            settings: self.whole,
            edits: edits.collect(),
            point: Point::default(),
            unreadable: Unreadable::default(),
        };
        entry.job_request(self.vocabulary, &KeyValues::new())
    }

    /// Removes the settings of edits that have no effect without attention control. Only their prompts remain.
    fn without_control(&mut self) {
        let vocabulary = self.vocabulary;
        let control = vocabulary.of(Setting::EditControl);
        let prompts = ["dst", "then", "negative_prompt"];
        for settings in &mut self.edits {
            if settings.get(&control).is_some_and(|s| !s.values.is_empty()) {
                settings.retain(|key, _| {
                    let key = vocabulary.key(*key);
                    !key.each_edit || prompts.contains(&&*key.name)
                });
            }
        }
    }

    /// The job of a picture without edits.
    fn source(&self) -> Result<JobRequest, Problem> {
        let args = self.vocabulary.parse(&self.whole).map_err(|error| {
            let report = describe_parse_error(&error, &self.whole, self.vocabulary);
            Problem::new(None, report.cause, report.cure)
        })?;
        let job = args.job.source(SEED);
        Ok(JobRequest {
            folder: job.slug(),
            job,
            args,
        })
    }
}

/// Recorded settings as values of flags.
fn settings(vocabulary: &Vocabulary, recorded: &Map<String, Value>) -> Result<KeyValues, Refused> {
    let setting = |(name, value): (&String, &Value)| {
        let refused = |cause: &str| {
            let cure = "a newer version of p2p may have written it";
            (format!("the picture's `{name}` {cause}"), cure.to_owned())
        };
        let index = vocabulary
            .find(name)
            .ok_or_else(|| refused("is not known"))?;
        let values = values(vocabulary, index, value).ok_or_else(|| refused("cannot be used"))?;
        let place = None;
        Ok((index, KeyValue { values, place }))
    };
    recorded.iter().map(setting).collect()
}

/// A recorded value as values of its flag. `None` if the flag cannot take it.
fn values(vocabulary: &Vocabulary, index: usize, value: &Value) -> Option<Vec<String>> {
    let key = vocabulary.key(index);
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let word = |(word, value): (&String, &Value)| match word.as_str() {
        "default" if key.shape == Shape::WordsOrDefault => scalar(value),
        word => Some(format!("{word}={}", scalar(value)?)),
    };
    match (key.takes, value) {
        (Takes::Switch(given_when), Value::Bool(on)) => {
            if *on == given_when {
                Some(vec![String::new()])
            } else {
                Some(vec![])
            }
        }
        (_, Value::Object(words)) => words.iter().map(word).collect(),
        (Takes::Many, Value::Array(items)) => items.iter().map(scalar).collect(),
        (_, Value::Array(items)) => {
            let items: Option<Vec<String>> = items.iter().map(scalar).collect();
            Some(vec![items?.join(",")])
        }
        (_, value) => Some(vec![scalar(value)?]),
    }
}
