//! Which token of the source prompt each token of the edited prompt reads (paper 3.2, `A(j)`).
//! Owns the choice between replace and refine, and our rules of alignment; the reference's own, quirks
//! included, are in [`mod@reference`].
//!
//! What both kinds share: begin to begin, end to end, the k-th pad to the k-th pad. Surplus edited
//! pads read the last source pad; what surplus source pads attend to goes into the last edited pad.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::format::count;
use crate::prompt::{Tokens, Word, WordRef};

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
            Rules::Reference => reference::places(prompt, word).concat(),
        }
    }

    /// The same, each place where it stands apart.
    pub fn places(self, prompt: &Tokens, word: &str) -> Vec<Vec<usize>> {
        match self {
            Rules::Ours => prompt.places(&WordRef::new(word)),
            Rules::Reference => reference::places(prompt, word),
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
    /// Spans that swap word for word are replaced, all else is refined.
    Mixed,
}

impl EditKind {
    pub fn name(self) -> &'static str {
        match self {
            EditKind::Replace => "replace",
            EditKind::Refine => "refine",
            EditKind::Mixed => "mixed",
        }
    }

    /// Replace where words are swapped one for one, mixed where some are and others were added or
    /// removed, else refine; with the reason, for people. The reference goes by the word counts.
    pub fn choose(source: &Tokens, edited: &Tokens, rules: Rules) -> (Self, String) {
        let (s, e) = (source.words().len(), edited.words().len());
        let spans = changed_spans(source, edited);
        let swaps = spans.iter().filter(|span| span.swaps()).count();
        match rules {
            Rules::Ours if swaps == spans.len() => {}
            Rules::Ours if swaps > 0 => {
                let reason = "words are both swapped and added or removed";
                return (EditKind::Mixed, reason.to_owned());
            }
            Rules::Reference if s == e => {}
            _ if s == e => {
                let reason = "as many words are added as removed, in other places";
                return (EditKind::Refine, reason.to_owned());
            }
            _ => {
                let reason = format!("the source has {}, the edit {e}", count(s, "word"));
                return (EditKind::Refine, reason);
            }
        }
        (
            EditKind::Replace,
            format!("both prompts have {}", count(s, "word")),
        )
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
        // A replace edit has every token aligned.
        MapEdit::refine(self.map.clone(), &self.aligned)
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
        (EditKind::Mixed, _) => mixed_map(source, edited),
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

/// [`matches`] over the tokens, begin and end included; unaligned edited tokens keep their own.
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

/// Swapped words as in [`replace_map`]; in the other spans tokens are matched as in a refine edit.
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
        // What lies between two changed spans is the same on both sides.
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

fn word_tokens(words: &[Word]) -> Vec<usize> {
    words.iter().flat_map(|w| w.tokens.clone()).collect()
}

/// Words of the source, and what stands in their place in the edit: ranges of the prompts' words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub source: Range<usize>,
    pub edited: Range<usize>,
}

impl Span {
    fn swaps(&self) -> bool {
        self.source.len() == self.edited.len()
    }
}

/// Where the prompts differ, in order.
pub fn changed_spans(source: &Tokens, edited: &Tokens) -> Vec<Span> {
    let ids = |prompt: &Tokens| -> Vec<Vec<u32>> {
        let of = |word: &Word| word.tokens.iter().map(|&i| prompt.ids[i]).collect();
        prompt.words().iter().map(of).collect()
    };
    let (from, to) = (ids(source), ids(edited));
    let mut spans = vec![];
    let (mut i, mut j) = (0, 0);
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

/// The tokens of both prompts in which they differ: (of the source, of the edit).
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

/// For each of `y` the place in `x` that it matches, if any (Needleman-Wunsch).
///
/// Gap 0, match 1; ties prefer a new element, then a dropped one, then the match, as in the
/// reference. A mismatch (-1) never beats two gaps, so what changed is dropped and inserted.
fn matches<T: PartialEq>(x: &[T], y: &[T]) -> Vec<Option<usize>> {
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
