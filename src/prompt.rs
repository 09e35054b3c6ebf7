//! A prompt as the model reads it: token ids, the position of each token in the text, and the words.
//! Owns [`Tokens`] and the lookup of words as users write them (any case, without punctuation, phrases,
//! `word#2`). It must never know tensors, models or edits.

use std::ops::Range;

use crate::error::Error;
use crate::format;

/// A tokenized prompt, padded to the length that the model reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The prompt as the user wrote it.
    pub text: String,
    /// Token ids: the begin token, the prompt, the end token, pads. The model's length, usually 77.
    pub ids: Vec<u32>,
    /// Number of ids before the pads: the begin token, the prompt and the end token.
    pub len: usize,
    /// Byte range in `text` of each token of the prompt (`len - 2` of them).
    pub spans: Vec<Range<usize>>,
    /// Text of each token of the prompt, as the tokenizer decodes it.
    pub pieces: Vec<String>,
}

impl Tokens {
    /// Index of the end token. Pads follow it.
    pub fn eos(&self) -> usize {
        self.len - 1
    }

    /// A token's text. Special tokens are `<begin>`, `<end>` and `<pad>`. A token that the vocabulary lacks is
    /// `<unknown>`.
    pub fn label(&self, token: usize) -> String {
        match token {
            0 => "<begin>".to_owned(),
            // A small vocabulary reads unknown text as its end token.
            i if i < self.eos() && self.ids[i] == self.ids[self.eos()] => "<unknown>".to_owned(),
            i if i < self.eos() => self.pieces[i - 1].clone(),
            i if i == self.eos() => "<end>".to_owned(),
            _ => "<pad>".to_owned(),
        }
    }

    /// Indices (into `ids`) of the tokens that overlap a byte range of the text.
    pub fn touching(&self, bytes: &Range<usize>) -> Vec<usize> {
        let touches = |span: &Range<usize>| span.start < bytes.end && bytes.start < span.end;
        (0..self.spans.len())
            .filter(|&i| touches(&self.spans[i]))
            .map(|i| i + 1)
            .collect()
    }

    /// The words between whitespace, with their tokens.
    pub fn words(&self) -> Vec<Word<'_>> {
        runs(&self.text, |c| !c.is_whitespace())
            .into_iter()
            .map(|bytes| Word {
                text: &self.text[bytes.clone()],
                tokens: self.touching(&bytes),
            })
            .collect()
    }

    /// Token indices of a word or phrase, in ascending order. Empty if the prompt does not contain it.
    pub fn find(&self, wanted: &WordRef) -> Vec<usize> {
        let mut tokens = self.places(wanted).concat();
        tokens.sort_unstable();
        tokens.dedup();
        tokens
    }

    /// Token indices of a word or phrase, for each of its occurrences.
    pub fn places(&self, wanted: &WordRef) -> Vec<Vec<usize>> {
        let found = self.occurrences(&wanted.phrase);
        match wanted.occurrence {
            Some(nth) => found.into_iter().skip(nth - 1).take(1).collect(),
            None => found,
        }
    }

    /// Token indices of each occurrence of a phrase.
    fn occurrences(&self, phrase: &str) -> Vec<Vec<usize>> {
        let wanted: Vec<String> = atoms(phrase)
            .iter()
            .map(|r| fold(&phrase[r.clone()]))
            .collect();
        if wanted.is_empty() {
            return self.literal_occurrences(phrase);
        }
        let here = atoms(&self.text);
        here.windows(wanted.len())
            .filter(|run| {
                run.iter()
                    .zip(&wanted)
                    .all(|(r, w)| fold(&self.text[r.clone()]) == *w)
            })
            .map(|run| run.iter().flat_map(|bytes| self.touching(bytes)).collect())
            .collect()
    }

    /// Token indices of each occurrence of punctuation (`"!"`), which is compared literally.
    fn literal_occurrences(&self, phrase: &str) -> Vec<Vec<usize>> {
        let phrase = phrase.trim();
        if phrase.is_empty() {
            return vec![];
        }
        let places = self.text.match_indices(phrase);
        places
            .map(|(at, found)| self.touching(&(at..at + found.len())))
            .collect()
    }
}

/// A word of a prompt, between whitespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word<'a> {
    /// The word with its punctuation.
    pub text: &'a str,
    /// Indices of its tokens in [`Tokens::ids`].
    pub tokens: Vec<usize>,
}

/// A user's reference to words of a prompt: `cat`, `teddy bear`, `cat#2` (the second occurrence).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordRef {
    /// The word or phrase.
    pub phrase: String,
    /// Number of the occurrence, counted from 1. `None` means all occurrences.
    pub occurrence: Option<usize>,
}

impl WordRef {
    /// Parses a reference. A `#` that no positive number follows belongs to the phrase.
    pub fn new(name: &str) -> Self {
        if let Some((phrase, nth)) = name.rsplit_once('#')
            && let Ok(nth) = nth.parse::<usize>()
            && nth > 0
            && !phrase.trim().is_empty()
        {
            return Self {
                phrase: phrase.to_owned(),
                occurrence: Some(nth),
            };
        }
        Self {
            phrase: name.to_owned(),
            occurrence: None,
        }
    }
}

/// The usage error for a word that none of `prompts` contains. It lists their words and suggests the nearest
/// one. `of` describes the prompts: "source prompt".
pub fn unknown_word(name: &str, prompts: &[&Tokens], of: &str) -> Error {
    let wanted = WordRef::new(name);
    let most = prompts
        .iter()
        .map(|p| p.occurrences(&wanted.phrase).len())
        .max()
        .unwrap_or(0);
    if most > 0 {
        let phrase = &wanted.phrase;
        let (times, cure) = match most {
            1 => ("once".to_owned(), format!("use `{phrase}`")),
            _ => (
                format::count(most, "time"),
                format!("use `{phrase}#1` to `{phrase}#{most}`, or `{phrase}` for all"),
            ),
        };
        return Error::usage(
            format!("\"{name}\": \"{phrase}\" occurs only {times} in the {of}"),
            cure,
        );
    }
    let mut words: Vec<&str> = vec![];
    for prompt in prompts {
        for word in atoms(&prompt.text).into_iter().map(|r| &prompt.text[r]) {
            if !words.contains(&word) {
                words.push(word);
            }
        }
    }
    let cause = format!("\"{name}\" is not a word of the {of}");
    let list = words.join(", ");
    match format::nearest(&wanted.phrase, words) {
        Some(near) => Error::usage(cause, format!("did you mean \"{near}\"? its words: {list}")),
        None => Error::usage(cause, format!("use one of its words: {list}")),
    }
}

fn fold(text: &str) -> String {
    text.to_lowercase()
}

/// Byte ranges of the runs of word characters, without punctuation.
fn atoms(text: &str) -> Vec<Range<usize>> {
    runs(text, is_word_char)
}

/// Whether a character belongs to a word: letters, digits, and all characters outside ASCII that are not
/// punctuation, such as emoji.
fn is_word_char(c: char) -> bool {
    let punctuation = matches!(c,
        '\u{a1}' | '\u{ab}' | '\u{b7}' | '\u{bb}' | '\u{bf}'   // Latin-1 marks and quotes
        | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}'     // dashes, quotes, ellipsis
        | '\u{3000}'..='\u{3003}' | '\u{3008}'..='\u{301f}'     // CJK marks and brackets
        | '\u{ff01}'..='\u{ff0f}' | '\u{ff1a}'..='\u{ff20}'); // full-width marks
    c.is_alphanumeric() || (!c.is_ascii() && !c.is_whitespace() && !punctuation)
}

/// Byte ranges of the maximal runs of characters for which `inside` holds.
fn runs(text: &str, inside: impl Fn(char) -> bool) -> Vec<Range<usize>> {
    let mut out: Vec<Range<usize>> = vec![];
    let mut open = None;
    for (at, c) in text.char_indices() {
        match (inside(c), open) {
            (true, None) => open = Some(at),
            (false, Some(start)) => {
                out.push(start..at);
                open = None;
            }
            _ => {}
        }
    }
    out.extend(open.map(|start| start..text.len()));
    out
}
