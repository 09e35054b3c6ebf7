//! Which tokens are shown as one: the words that a user names, or those that a prompt is made of.
//! Knows no layer and no step.

use super::{MapSpec, Rows};
use crate::edit::Rules;
use crate::error::{Error, Result};
use crate::job::Prepared;
use crate::prompt::{Tokens, unknown_word};

/// Tokens that are shown as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeatmapWord {
    /// Of its first token.
    pub index: usize,
    pub text: String,
    pub tokens: Vec<usize>,
    /// At how many places of the prompt they stand.
    pub places: usize,
    /// Begin, end or pads: most of all attention goes there.
    pub special: bool,
}

impl HeatmapWord {
    fn of(text: &str, tokens: Vec<usize>) -> Self {
        Self {
            index: tokens[0],
            text: text.to_owned(),
            tokens,
            places: 1,
            special: false,
        }
    }
}

/// Per row of the run; nothing where the row is not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    pub shown: Vec<Vec<HeatmapWord>>,
    /// Those to find the places of.
    pub located: Vec<Vec<HeatmapWord>>,
}

impl Words {
    /// Errors: usage, where there is no such row or word.
    pub fn new(spec: &MapSpec, prepared: &Prepared) -> Result<Self> {
        let edits = prepared.edits.len();
        let shown = |row: &usize| match spec.rows {
            Rows::Source => *row == 0,
            Rows::Edited => (1..=edits).contains(row),
            Rows::Both => *row <= edits,
        };
        let prompts: Vec<&Tokens> = prepared.row_prompts().into_iter().map(|r| r.0).collect();
        let rows = 0..prompts.len();
        let looked: Vec<&Tokens> = rows.clone().filter(shown).map(|r| prompts[r]).collect();
        if looked.is_empty() {
            return Err(Error::usage(
                "there is no edited row to show",
                "draw an edit, or show the source",
            ));
        }
        let rules = prepared.controller.rules();
        for word in spec.words.iter().chain(&spec.locate) {
            if looked.iter().all(|p| rules.find(p, word).is_empty()) {
                return Err(unknown_word(word, &looked, "prompt"));
            }
        }
        let words = |row: usize| match shown(&row) {
            false => vec![],
            true => words(spec, prompts[row], rules),
        };
        let located = |row: usize| match shown(&row) {
            false => vec![],
            true => named(prompts[row], &spec.locate, rules),
        };
        Ok(Self {
            shown: rows.clone().map(words).collect(),
            located: rows.map(located).collect(),
        })
    }

    /// Per row, shown and located.
    pub fn rows(&self) -> impl Iterator<Item = impl Iterator<Item = &HeatmapWord>> {
        let rows = self.shown.iter().zip(&self.located);
        rows.map(|(shown, located)| shown.iter().chain(located))
    }

    /// What nobody would notice: words that stand at several places and are shown as one.
    pub fn notes(&self) -> Vec<String> {
        let several = |word: &&HeatmapWord| word.places > 1;
        let note = |word: &HeatmapWord| {
            let (text, places) = (&word.text, word.places);
            let tokens: Vec<String> = word.tokens.iter().map(usize::to_string).collect();
            format!(
                "\"{text}\" stands {places} times in the prompt, and its map is the sum (tokens {}): \
                 \"{text}#1\" is the first alone",
                tokens.join(", ")
            )
        };
        let mut notes: Vec<String> = vec![];
        for note in self.rows().flatten().filter(several).map(note) {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        notes
    }
}

/// The tokens of all words, ascending.
pub fn columns<'a>(words: impl IntoIterator<Item = &'a HeatmapWord>) -> Vec<usize> {
    let tokens = words.into_iter().flat_map(|word| word.tokens.clone());
    let mut columns: Vec<usize> = tokens.collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// By their place in the prompt.
fn words(spec: &MapSpec, prompt: &Tokens, rules: Rules) -> Vec<HeatmapWord> {
    let mut words = match spec.words.as_slice() {
        [] => units(prompt),
        words => named(prompt, words, rules),
    };
    if spec.special {
        words.extend(around(prompt));
    }
    words.sort_by_key(|word| word.index);
    words
}

fn named(prompt: &Tokens, words: &[String], rules: Rules) -> Vec<HeatmapWord> {
    let mut named: Vec<HeatmapWord> = vec![];
    for word in words {
        let tokens = rules.find(prompt, word);
        // "cat" and "Cat" are one word.
        if !tokens.is_empty() && named.iter().all(|known| known.tokens != tokens) {
            named.push(HeatmapWord {
                places: rules.places(prompt, word).len(),
                ..HeatmapWord::of(word, tokens)
            });
        }
    }
    named
}

/// Tokens one by one, but those of one word together: "lasag" and "ne", not "burger" and ",".
fn units(prompt: &Tokens) -> Vec<HeatmapWord> {
    let letters = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let mut units: Vec<HeatmapWord> = vec![];
    let mut end = 0;
    for (i, span) in prompt.spans.iter().enumerate() {
        let text = &prompt.text[span.clone()];
        // One sign, such as an emoji, can be several tokens, each standing at all of it.
        let same = span.start < end;
        let touches = span.start == end && letters(text.chars().next());
        let goes_on =
            |last: &&mut HeatmapWord| same || (touches && letters(last.text.chars().next_back()));
        match units.last_mut().filter(goes_on) {
            Some(word) => {
                word.text.push_str(if same { "" } else { text });
                word.tokens.push(i + 1);
            }
            None => units.push(HeatmapWord::of(text, vec![i + 1])),
        }
        end = span.end;
    }
    units
}

/// Begin, end, and all pads as one: together they draw most of what is to be had.
fn around(prompt: &Tokens) -> Vec<HeatmapWord> {
    let mut around: Vec<HeatmapWord> = [0, prompt.eos()]
        .map(|token| HeatmapWord::of(&prompt.label(token), vec![token]))
        .into();
    let pads: Vec<usize> = (prompt.len..prompt.ids.len()).collect();
    match pads.len() {
        0 => {}
        1 => around.push(HeatmapWord::of("<pad>", pads)),
        count => around.push(HeatmapWord::of(&format!("<{count} pads>"), pads)),
    }
    around.iter_mut().for_each(|word| word.special = true);
    around
}
