//! Reads `[job.grid]` of a job file: which keys vary, and their values. `grid` owns the axes; this file must never know
//! how they are applied.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::grid::{Axis, per_word, spread};
use super::read::{Reader, Span, TableKind};
use super::unknown::unknown;
use super::value::{self, values};
use super::vocabulary::{Key, Shape};

impl Reader<'_> {
    /// Reads `[job.grid]`: an axis for each key, or for each word of a key.
    pub(super) fn grid(&mut self, table: &DeTable) -> Vec<Axis> {
        let mut axes = vec![];
        for (key, value) in table.iter() {
            let name = key.get_ref().as_ref();
            let Some(index) = self.vocabulary.find(name) else {
                let (cause, cure) = unknown(self.vocabulary, TableKind::Grid, name);
                self.problem(key.span(), cause, cure);
                continue;
            };
            match value.get_ref() {
                DeValue::Table(words) if per_word(self.vocabulary.key(index)) => {
                    for (word, value) in words.iter() {
                        axes.extend(self.axis(index, Some(word.get_ref().as_ref()), value));
                    }
                }
                _ => axes.extend(self.axis(index, None, value)),
            }
        }
        axes
    }

    /// Reads the axis of a key, or of one of its words.
    fn axis(&mut self, index: usize, word: Option<&str>, value: &Spanned<DeValue>) -> Option<Axis> {
        let mut axis = Axis::new(self.vocabulary, index, word);
        for (span, values) in self.axis_values(index, word, value)? {
            let place = self.place(span.clone());
            if let Err((cause, cure)) = axis.push(self.vocabulary, values, Some(place)) {
                self.problem(span, cause, cure);
                return None;
            }
            let (last, others) = axis.values.split_last()?;
            if others.iter().any(|other| other.label == last.label) {
                let cause = format!("`{}` has the value {:?} twice", axis.name, last.label);
                self.problem(span, cause, "leave one of them out");
                return None;
            }
        }
        Some(axis)
    }

    /// The values of an axis, each with its position.
    fn axis_values(
        &mut self,
        index: usize,
        word: Option<&str>,
        value: &Spanned<DeValue>,
    ) -> Option<Vec<(Span, Vec<String>)>> {
        let key = self.vocabulary.key(index);
        let whole = |values: Vec<String>| {
            let each = |v| (value.span(), vec![v]);
            Some(values.into_iter().map(each).collect())
        };
        match value.get_ref() {
            DeValue::Array(items) if !items.is_empty() => {
                let mut all = vec![];
                for item in items.iter() {
                    let values = match word {
                        Some(_) => value::scalar(key, item).map(|value| vec![value]),
                        None => values(key, item, &self.at.folder),
                    };
                    all.push((item.span(), self.report(values)?));
                }
                Some(all)
            }
            DeValue::String(text) => match spread(key, text) {
                Ok(Some(values)) => whole(values),
                Ok(None) => self.no_axis(key, word, value),
                Err(cause) => {
                    let cause = format!("`{}`: {cause}", key.name);
                    self.problem(value.span(), cause, "write FROM:TO:STEP, or a list");
                    None
                }
            },
            DeValue::Table(table) if key.shape == Shape::Prompt => {
                let lines = value::lines(key, value, table, &self.at.folder);
                whole(self.report(lines)?)
            }
            _ => self.no_axis(key, word, value),
        }
    }

    /// Reports a value that is not a list of values.
    fn no_axis<T>(&mut self, key: &Key, word: Option<&str>, value: &Spanned<DeValue>) -> Option<T> {
        let (name, form) = match word {
            Some(word) => {
                let (key, word) = (&key.name, format!("{word:?}"));
                (
                    format!("{key}.{word}"),
                    format!("{key} = {{ {word} = [.., ..] }}"),
                )
            }
            None => (key.name.clone(), format!("{} = [.., ..]", key.name)),
        };
        let cause = format!("`{name}` under [job.grid] must be a list of values");
        let cure = format!("write {form}; move settings that do not vary to [[job]]");
        self.problem(value.span(), cause, cure);
        None
    }
}
