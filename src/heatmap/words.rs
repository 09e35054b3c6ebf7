//! Groups tokens into the words that have a heatmap each: the words that a user names, or all words of a
//! prompt. It must never know layers or steps.

use super::{MapSpec, Rows};
use crate::edit::Rules;
use crate::error::{Error, Result};
use crate::job::Prepared;
use crate::message;
use crate::prompt::{Tokens, unknown_word};
use crate::setting::Setting;

/// Tokens that share one heatmap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeatmapWord {
    /// Index of the first token in [`Tokens::ids`].
    pub index: usize,
    /// The word as the user or the prompt spells it.
    pub text: String,
    /// Indices of all its tokens in [`Tokens::ids`].
    pub tokens: Vec<usize>,
    /// How many times the word occurs in the prompt.
    pub places: usize,
    /// Whether it is the begin token, the end token or the pads, which draw most of the attention.
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

/// The words of each row of the run. A row that is not shown has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// The words whose maps are shown.
    pub shown: Vec<Vec<HeatmapWord>>,
    /// The words to locate in the picture.
    pub located: Vec<Vec<HeatmapWord>>,
}

impl Words {
    /// The words that `spec` selects in the prompts of a prepared run.
    ///
    /// # Errors
    ///
    /// A usage error if the run has no such row, or none of the shown prompts contains a word.
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
                message!["draw an edit, or use ", Setting::MapRows.to("source")],
            )
            .about(Setting::MapRows));
        }
        let rules = prepared.controller.rules();
        let shown_words = spec.words.iter().map(|word| (Setting::MapWords, word));
        let located_words = spec.locate.iter().map(|word| (Setting::MapLocate, word));
        for (setting, word) in shown_words.chain(located_words) {
            if looked.iter().all(|p| rules.find(p, word).is_empty()) {
                return Err(unknown_word(word, &looked, "prompt")
                    .about(setting)
                    .word(word));
            }
        }
        let words = |row: usize| {
            if shown(&row) {
                words(spec, prompts[row], rules)
            } else {
                vec![]
            }
        };
        let located = |row: usize| {
            if shown(&row) {
                named(prompts[row], &spec.locate, rules)
            } else {
                vec![]
            }
        };
        Ok(Self {
            shown: rows.clone().map(words).collect(),
            located: rows.map(located).collect(),
        })
    }

    /// The shown words of each row, followed by its located words.
    pub fn rows(&self) -> impl Iterator<Item = impl Iterator<Item = &HeatmapWord>> {
        let rows = self.shown.iter().zip(&self.located);
        rows.map(|(shown, located)| shown.iter().chain(located))
    }

    /// A note for each word that occurs several times in a prompt, since its map is the sum of all of them.
    pub fn notes(&self) -> Vec<String> {
        let several = |word: &&HeatmapWord| word.places > 1;
        let note = |word: &HeatmapWord| {
            let (text, places) = (&word.text, word.places);
            let tokens: Vec<String> = word.tokens.iter().map(usize::to_string).collect();
            format!(
                "\"{text}\" occurs {places} times in the prompt, and its map is the sum of all (tokens {}); \
                 \"{text}#1\" selects only the first",
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

/// The tokens of all words, in ascending order, without duplicates.
pub fn columns<'a>(words: impl IntoIterator<Item = &'a HeatmapWord>) -> Vec<usize> {
    let tokens = words.into_iter().flat_map(|word| word.tokens.clone());
    let mut columns: Vec<usize> = tokens.collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// The words that a row shows, in the order of the prompt.
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

/// The words of a prompt. Tokens of one word are joined ("lasag" and "ne"), punctuation is kept apart
/// ("burger" and ",").
fn units(prompt: &Tokens) -> Vec<HeatmapWord> {
    let letters = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let mut units: Vec<HeatmapWord> = vec![];
    let mut end = 0;
    for (i, span) in prompt.spans.iter().enumerate() {
        let text = &prompt.text[span.clone()];
        // A character such as an emoji can be several tokens that all span the whole character.
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

/// The begin token, the end token, and all pads as one word.
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
