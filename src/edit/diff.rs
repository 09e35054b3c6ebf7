//! The words and tokens in which two prompts differ.
//! Owns [`Span`] and the sequence alignment (Needleman-Wunsch) that finds what both prompts share. It must
//! never know what an edit does with the difference.

use std::ops::Range;

use crate::prompt::{Tokens, Word};

/// Words of the source prompt and the words that take their place in the edited prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Indices into the words of the source prompt. Empty if words are only added.
    pub source: Range<usize>,
    /// Indices into the words of the edited prompt. Empty if words are only removed.
    pub edited: Range<usize>,
}

impl Span {
    /// Whether the words are swapped one for one.
    pub(super) fn swaps(&self) -> bool {
        self.source.len() == self.edited.len()
    }
}

/// The spans in which the prompts differ, in order. Words are equal if their token ids are.
pub fn changed_spans(source: &Tokens, edited: &Tokens) -> Vec<Span> {
    let ids = |prompt: &Tokens| -> Vec<Vec<u32>> {
        let of = |word: &Word| word.tokens.iter().map(|&i| prompt.ids[i]).collect();
        prompt.words().iter().map(of).collect()
    };
    let (from, to) = (ids(source), ids(edited));
    let mut spans = vec![];
    let (mut i, mut j) = (0, 0);
    // The ends of both prompts count as a match, so that the last span is closed.
    let end = (to.len(), Some(from.len()));
    let matched = matches(&from, &to).into_iter().enumerate();
    for (at, m) in matched.chain([end]) {
        let Some(m) = m else { continue };
        if m > i || at > j {
            spans.push(Span {
                source: i..m,
                edited: j..at,
            });
        }
        (i, j) = (m + 1, at + 1);
    }
    spans
}

/// Indices of the tokens in which the prompts differ: those of the source prompt, then those of the edited
/// prompt.
pub fn changed_tokens(source: &Tokens, edited: &Tokens) -> (Vec<usize>, Vec<usize>) {
    let (from, to) = (source.words(), edited.words());
    let spans = changed_spans(source, edited);
    let of = |words: &[Word], range: fn(&Span) -> Range<usize>| -> Vec<usize> {
        spans
            .iter()
            .flat_map(|s| word_tokens(&words[range(s)]))
            .collect()
    };
    (
        of(&from, |s| s.source.clone()),
        of(&to, |s| s.edited.clone()),
    )
}

/// The token indices of several words.
pub(super) fn word_tokens(words: &[Word]) -> Vec<usize> {
    words.iter().flat_map(|w| w.tokens.clone()).collect()
}

/// For each element of `y` the index of the element of `x` that it matches, if any (Needleman-Wunsch).
///
/// The scores are the reference's (`seq_aligner.py`): gap 0, match 1, mismatch -1. A mismatch never beats two
/// gaps, so a changed element counts as one removed and one added. Among equal scores the order is also the
/// reference's: first an added element, then a removed one, then a match.
pub(super) fn matches<T: PartialEq>(x: &[T], y: &[T]) -> Vec<Option<usize>> {
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
