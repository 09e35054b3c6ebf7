//! Which token of the source prompt each token of the edited prompt reads (paper 3.2, `A(j)`).
//! Owns the choice between replace and refine, and our rules of alignment; the reference's own, quirks
//! included, are in [`mod@reference`].
//!
//! What both kinds share: begin to begin, end to end, the k-th pad to the k-th pad. Surplus edited
//! pads read the last source pad; what surplus source pads attend to goes into the last edited pad.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::prompt::{Tokens, WordRef};

use super::{MapEdit, TokenMap, reference};

/// How prompts are aligned: plain data, so the compatibility mode never touches the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rules {
    #[default]
    Ours,
    /// Every quirk of the reference implementation, for golden comparisons.
    Reference,
}

impl Rules {
    /// Token indices of a word in a prompt; empty where it is absent.
    pub fn find(self, prompt: &Tokens, word: &str) -> Vec<usize> {
        match self {
            Rules::Ours => prompt.find(&WordRef::new(word)),
            Rules::Reference => reference::find(prompt, word),
        }
    }
}

/// The kinds of edit that borrow attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EditKind {
    /// Word swap: word counts agree, every token reads the source's map.
    Replace,
    /// Added, changed or removed phrases: aligned tokens read the source's map, new ones their own.
    Refine,
}

impl EditKind {
    pub fn name(self) -> &'static str {
        match self {
            EditKind::Replace => "replace",
            EditKind::Refine => "refine",
        }
    }

    /// Replace where the word counts agree, refine otherwise; with the reason, for people.
    pub fn choose(source: &Tokens, edited: &Tokens) -> (Self, String) {
        let (s, e) = (source.words().len(), edited.words().len());
        if s == e {
            (EditKind::Replace, format!("both prompts have {}", count(s)))
        } else {
            (
                EditKind::Refine,
                format!("the source has {}, the edit {e}", count(s)),
            )
        }
    }
}

fn count(words: usize) -> String {
    if words == 1 {
        "1 word".to_owned()
    } else {
        format!("{words} words")
    }
}

/// An edited prompt laid against its source.
#[derive(Debug, Clone, PartialEq)]
pub struct Alignment {
    pub kind: EditKind,
    /// Source token to edited token, before any gate or weight.
    pub map: TokenMap,
    /// 1 where the edited token reads the source's map, 0 where it keeps its own.
    pub aligned: Vec<f32>,
}

impl Alignment {
    /// The edit this alignment stands for.
    pub fn edit(&self) -> MapEdit {
        match self.kind {
            EditKind::Replace => MapEdit::replace(self.map.clone()),
            EditKind::Refine => MapEdit::refine(self.map.clone(), &self.aligned),
        }
    }
}

/// Lays `edited` against `source`.
///
/// Errors: replace with unequal word counts.
pub fn align(kind: EditKind, source: &Tokens, edited: &Tokens, rules: Rules) -> Result<Alignment> {
    let n = source.ids.len();
    assert_eq!(
        n,
        edited.ids.len(),
        "both prompts are padded to the model's length"
    );
    let (map, aligned) = match (kind, rules) {
        (EditKind::Replace, Rules::Ours) => (replace_map(source, edited)?, vec![1.0; n]),
        (EditKind::Replace, Rules::Reference) => {
            (reference::replace_map(source, edited)?, vec![1.0; n])
        }
        (EditKind::Refine, Rules::Ours) => refine_map(source, edited),
        (EditKind::Refine, Rules::Reference) => reference::refine_map(source, edited),
    };
    Ok(Alignment { kind, map, aligned })
}

/// Word by word. A word that became another number of tokens spreads the source word's attention
/// evenly over the new tokens, so that no attention is lost.
fn replace_map(source: &Tokens, edited: &Tokens) -> Result<TokenMap> {
    let (from, to) = (source.words(), edited.words());
    if from.len() != to.len() {
        return Err(unequal_words(from.len(), to.len()));
    }
    let mut map = TokenMap::zero(source.ids.len());
    map.set(0, 0, 1.0);
    for (a, b) in from.iter().zip(&to) {
        swap_word(&mut map, source, &a.tokens, edited, &b.tokens);
    }
    map.set(source.eos(), edited.eos(), 1.0);
    map_pads(&mut map, source, edited);
    Ok(map)
}

pub(super) fn unequal_words(source: usize, edited: usize) -> Error {
    Error::usage(
        format!("replace needs the same number of words: source {source}, edited {edited}"),
        "use --edit refine, or leave out --edit",
    )
}

/// Tokens that the two words share at either end ("burger," and "lasagne," share the comma) keep
/// their own column; only what differs is spread.
fn swap_word(map: &mut TokenMap, source: &Tokens, a: &[usize], edited: &Tokens, b: &[usize]) {
    if a.len() == b.len() {
        a.iter().zip(b).for_each(|(&i, &j)| map.set(i, j, 1.0));
        return;
    }
    let (mut from, mut to) = (a, b);
    let mut kept = vec![];
    while let ([i, rest_a @ ..], [j, rest_b @ ..]) = (from, to)
        && source.ids[*i] == edited.ids[*j]
    {
        kept.push((*i, *j));
        (from, to) = (rest_a, rest_b);
    }
    while let ([rest_a @ .., i], [rest_b @ .., j]) = (from, to)
        && source.ids[*i] == edited.ids[*j]
    {
        kept.push((*i, *j));
        (from, to) = (rest_a, rest_b);
    }
    // Nothing left on one side: the whole word is spread, or attention would vanish.
    if from.is_empty() || to.is_empty() {
        return spread(map, a, b);
    }
    kept.into_iter().for_each(|(i, j)| map.set(i, j, 1.0));
    spread(map, from, to);
}

/// Every source token gives each target token an equal share.
pub(super) fn spread(map: &mut TokenMap, from: &[usize], to: &[usize]) {
    let share = 1.0 / to.len() as f32;
    for &i in from {
        for &j in to {
            map.set(i, j, share);
        }
    }
}

fn refine_map(source: &Tokens, edited: &Tokens) -> (TokenMap, Vec<f32>) {
    let (mut map, aligned) = refine_tokens(source, edited);
    map_pads(&mut map, source, edited);
    (map, aligned)
}

/// Needleman-Wunsch over the tokens, begin and end included; unaligned edited tokens keep their own.
pub(super) fn refine_tokens(source: &Tokens, edited: &Tokens) -> (TokenMap, Vec<f32>) {
    let mut map = TokenMap::zero(source.ids.len());
    let mut aligned = vec![1.0; source.ids.len()];
    for (j, i) in global_alignment(source, edited).into_iter().enumerate() {
        match i {
            Some(i) => map.set(i, j, 1.0),
            None => aligned[j] = 0.0,
        }
    }
    (map, aligned)
}

fn map_pads(map: &mut TokenMap, source: &Tokens, edited: &Tokens) {
    let n = map.n();
    let pads = |t: &Tokens| -> Range<usize> { t.len..n };
    let (from, to) = (pads(source), pads(edited));
    from.clone()
        .zip(to.clone())
        .for_each(|(i, j)| map.set(i, j, 1.0));
    // Where a prompt has no pad at all, its last token (EOS) stands in for it.
    for j in to.skip(from.len()) {
        map.set(n - 1, j, 1.0);
    }
    for i in from.skip(n - edited.len) {
        map.set(i, n - 1, 1.0);
    }
}

/// For each token of `edited` (BOS to EOS) the token of `source` it matches, if any.
///
/// Gap 0, match 1; ties prefer a new target token, then a dropped source token, then the match, as
/// in the reference. A mismatch (-1) never beats two gaps, so a changed word is dropped and inserted.
fn global_alignment(source: &Tokens, edited: &Tokens) -> Vec<Option<usize>> {
    let (x, y) = (&source.ids[..source.len], &edited.ids[..edited.len]);
    let mut best = vec![vec![0i32; y.len() + 1]; x.len() + 1];
    for i in 1..=x.len() {
        for j in 1..=y.len() {
            let diagonal = best[i - 1][j - 1] + if x[i - 1] == y[j - 1] { 1 } else { -1 };
            best[i][j] = best[i][j - 1].max(best[i - 1][j]).max(diagonal);
        }
    }
    let mut matched = vec![None; y.len()];
    let (mut i, mut j) = (x.len(), y.len());
    while j > 0 {
        if i == 0 || best[i][j] == best[i][j - 1] {
            j -= 1;
        } else if best[i][j] == best[i - 1][j] {
            i -= 1;
        } else {
            (i, j) = (i - 1, j - 1);
            matched[j] = Some(i);
        }
    }
    matched
}

/// The factor of each token of the edited prompt (1 where no weight names it); the paper's `c`.
/// Words that the prompt doesn't contain are passed over.
pub fn equalizer(weights: &[(String, f32)], edited: &Tokens, rules: Rules) -> Vec<f32> {
    let mut factors = vec![1.0; edited.ids.len()];
    for (word, factor) in weights {
        for token in rules.find(edited, word) {
            factors[token] = *factor;
        }
    }
    factors
}
