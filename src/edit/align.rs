//! Which token of the source prompt each token of the edited prompt reads (paper 3.2, `A(j)`).
//! Owns [`Alignment`], our own rules of alignment for each [`EditKind`], and the equalizer. The reference's
//! rules are in [`mod@reference`].
//!
//! All kinds treat special tokens alike: the begin token reads the begin token, the end token the end token,
//! and the k-th pad the k-th pad. If the edited prompt has more pads, the surplus pads read the last source
//! pad. If the source prompt has more pads, the last edited pad also reads the surplus pads.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::message;
use crate::prompt::Tokens;
use crate::setting::Setting;

use super::diff::{Span, changed_spans, matches, word_tokens};
use super::{EditKind, MapEdit, Rules, TokenMap, reference};

/// An edited prompt aligned with its source prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Alignment {
    /// The kind of edit that the alignment is for.
    pub kind: EditKind,
    /// The map from source tokens to edited tokens, before windows and weights are applied.
    pub map: TokenMap,
    /// For each edited token 1 if it reads the source's attention, 0 if it keeps its own.
    pub aligned: Vec<f32>,
}

impl Alignment {
    /// The edit of attention maps that the alignment describes.
    pub fn edit(&self) -> MapEdit {
        // A replace edit is a refine edit with every token aligned.
        MapEdit::refine(self.map.clone(), &self.aligned)
    }
}

/// Aligns `edited` with `source`.
///
/// # Errors
///
/// `kind` is [`EditKind::Replace`] and the prompts have different numbers of words. Under
/// [`Rules::Reference`] also if the reference finds no token for a changed word.
///
/// # Panics
///
/// The prompts are padded to different lengths.
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
        (EditKind::Mixed, _) => mixed_map(source, edited),
    };
    Ok(Alignment { kind, map, aligned })
}

/// The map of a replace edit, word by word. If a word becomes a different number of tokens, the attention of
/// the source word is spread evenly over the new tokens, so that no attention is lost.
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

/// The error of a replace edit between prompts of `source` and `edited` words.
pub(super) fn unequal_words(source: usize, edited: usize) -> Error {
    Error::usage(
        format!("replace needs the same number of words: source {source}, edited {edited}"),
        message![
            "use ",
            Setting::Edit.to("refine"),
            ", or leave ",
            Setting::Edit,
            " out"
        ],
    )
    .about(Setting::Edit)
}

/// Maps the tokens `a` of a source word to the tokens `b` of the word that replaces it. Tokens that both words
/// share at either end keep their own column ("burger," and "lasagne," share the comma). Only the tokens that
/// differ are spread.
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
    // If one side has no tokens left, the whole word is spread. Otherwise attention would be lost.
    if from.is_empty() || to.is_empty() {
        return spread(map, a, b);
    }
    kept.into_iter().for_each(|(i, j)| map.set(i, j, 1.0));
    spread(map, from, to);
}

/// Gives each token of `to` an equal share of every token of `from`.
pub(super) fn spread(map: &mut TokenMap, from: &[usize], to: &[usize]) {
    let share = 1.0 / to.len() as f32;
    for &i in from {
        for &j in to {
            map.set(i, j, share);
        }
    }
}

/// The map of a refine edit, and which edited tokens are aligned.
fn refine_map(source: &Tokens, edited: &Tokens) -> (TokenMap, Vec<f32>) {
    let (mut map, aligned) = refine_tokens(source, edited);
    map_pads(&mut map, source, edited);
    (map, aligned)
}

/// [`refine_map`] without the pads: matched tokens read their match, begin and end token included, all other
/// tokens are not aligned.
pub(super) fn refine_tokens(source: &Tokens, edited: &Tokens) -> (TokenMap, Vec<f32>) {
    let mut map = TokenMap::zero(source.ids.len());
    let mut aligned = vec![1.0; source.ids.len()];
    let (x, y) = (&source.ids[..source.len], &edited.ids[..edited.len]);
    for (j, i) in matches(x, y).into_iter().enumerate() {
        match i {
            Some(i) => map.set(i, j, 1.0),
            None => aligned[j] = 0.0,
        }
    }
    (map, aligned)
}

/// The map of a mixed edit, and which edited tokens are aligned. Swapped words are mapped as in
/// [`replace_map`], the tokens of all other changed spans are matched as in a refine edit.
fn mixed_map(source: &Tokens, edited: &Tokens) -> (TokenMap, Vec<f32>) {
    let mut map = TokenMap::zero(source.ids.len());
    let mut aligned = vec![1.0; source.ids.len()];
    map.set(0, 0, 1.0);
    let (from, to) = (source.words(), edited.words());
    let mut same = (0, 0);
    let end = Span {
        source: from.len()..from.len(),
        edited: to.len()..to.len(),
    };
    for span in changed_spans(source, edited).into_iter().chain([end]) {
        // The words between two changed spans are the same on both sides.
        for (a, b) in (same.0..span.source.start).zip(same.1..span.edited.start) {
            swap_word(&mut map, source, &from[a].tokens, edited, &to[b].tokens);
        }
        same = (span.source.end, span.edited.end);
        let (a, b) = (&from[span.source.clone()], &to[span.edited.clone()]);
        if span.swaps() {
            let pairs = a.iter().zip(b);
            pairs.for_each(|(a, b)| swap_word(&mut map, source, &a.tokens, edited, &b.tokens));
            continue;
        }
        let (a, b) = (word_tokens(a), word_tokens(b));
        let ids = |tokens: &Tokens, at: &[usize]| -> Vec<u32> {
            at.iter().map(|&i| tokens.ids[i]).collect()
        };
        for (j, i) in matches(&ids(source, &a), &ids(edited, &b))
            .into_iter()
            .enumerate()
        {
            match i {
                Some(i) => map.set(a[i], b[j], 1.0),
                None => aligned[b[j]] = 0.0,
            }
        }
    }
    map.set(source.eos(), edited.eos(), 1.0);
    map_pads(&mut map, source, edited);
    (map, aligned)
}

/// Maps pads to pads, as the header of this file says.
fn map_pads(map: &mut TokenMap, source: &Tokens, edited: &Tokens) {
    let n = map.n();
    let pads = |t: &Tokens| -> Range<usize> { t.len..n };
    let (from, to) = (pads(source), pads(edited));
    from.clone()
        .zip(to.clone())
        .for_each(|(i, j)| map.set(i, j, 1.0));
    // The end token of a prompt without pads is its last token and takes the role of the last pad.
    for j in to.skip(from.len()) {
        map.set(n - 1, j, 1.0);
    }
    for i in from.skip(n - edited.len) {
        map.set(i, n - 1, 1.0);
    }
}

/// The factor of each token of the edited prompt (paper 3.2, attention re-weighting, `c`). Tokens without a
/// weight have the factor 1. Words that the prompt does not contain are ignored.
pub fn equalizer(weights: &[(String, f32)], edited: &Tokens, rules: Rules) -> Vec<f32> {
    let mut factors = vec![1.0; edited.ids.len()];
    for (word, factor) in weights {
        for token in rules.find(edited, word) {
            factors[token] = *factor;
        }
    }
    factors
}
