//! The reference implementation's rules, quirks included, as plain data for `--compat reference`.
//!
//! Source of the facts: google/prompt-to-prompt (9c472e4), `seq_aligner.py` and `ptp_utils.py`.
//! Each function says what is odd about it; none of this is reached under our own rules.

use crate::error::{Error, Result};
use crate::prompt::Tokens;

use super::TokenMap;
use super::align::{refine_tokens, spread, unequal_words};

/// Token indices of each place of a word. Odd: exact string comparison with the pieces of `split(" ")`,
/// case and punctuation included; no phrases.
pub fn places(prompt: &Tokens, word: &str) -> Vec<Vec<usize>> {
    let pieces = prompt.text.split(' ').enumerate();
    let here = pieces.filter(|(_, piece)| *piece == word);
    here.map(|(i, _)| word_tokens(prompt, &[i])).collect()
}

/// Tokens of the words at `places`. Odd: found by walking summed lengths of decoded tokens, so a
/// double space or an escaped sign shifts every later word.
fn word_tokens(prompt: &Tokens, places: &[usize]) -> Vec<usize> {
    if places.is_empty() {
        return vec![];
    }
    let words: Vec<usize> = prompt.text.split(' ').map(|w| w.chars().count()).collect();
    let (mut walked, mut word) = (0, 0);
    let mut tokens = vec![];
    for (i, piece) in prompt.pieces.iter().enumerate() {
        walked += piece.trim_matches('#').chars().count();
        if places.contains(&word) {
            tokens.push(i + 1);
        }
        // Past the last word the reference raises IndexError; the rest belongs to no word.
        match words.get(word) {
            Some(&length) if walked >= length => (word, walked) = (word + 1, 0),
            Some(_) => {}
            None => break,
        }
    }
    tokens
}

/// The replace mapper. Odd: after the last changed word columns map `j -> j` even where the prompts
/// have shifted, so tail tokens and EOS read their neighbours.
pub fn replace_map(source: &Tokens, edited: &Tokens) -> Result<TokenMap> {
    let (from, to): (Vec<&str>, Vec<&str>) = (
        source.text.split(' ').collect(),
        edited.text.split(' ').collect(),
    );
    if from.len() != to.len() {
        return Err(unequal_words(from.len(), to.len()));
    }
    let changed: Vec<usize> = (0..to.len()).filter(|&i| from[i] != to[i]).collect();
    let pairs = changed
        .iter()
        .map(|&w| changed_word(source, edited, w, from[w]))
        .collect::<Result<Vec<_>>>()?;
    let n = source.ids.len();
    let mut map = TokenMap::zero(n);
    let (mut i, mut j, mut next) = (0, 0, 0);
    while i < n && j < n {
        match pairs.get(next) {
            Some((a, b)) if a[0] == i => {
                if a.len() == b.len() {
                    a.iter().zip(b).for_each(|(&i, &j)| map.set(i, j, 1.0));
                } else {
                    spread(&mut map, a, b);
                }
                (i, j, next) = (i + a.len(), j + b.len(), next + 1);
                continue;
            }
            Some(_) => map.set(i, j, 1.0),
            None => map.set(j, j, 1.0),
        }
        (i, j) = (i + 1, j + 1);
    }
    Ok(map)
}

/// Tokens of a changed word in both prompts. Odd: a "word" without a token (a double space) fails.
fn changed_word(
    source: &Tokens,
    edited: &Tokens,
    word: usize,
    text: &str,
) -> Result<(Vec<usize>, Vec<usize>)> {
    let (a, b) = (word_tokens(source, &[word]), word_tokens(edited, &[word]));
    if a.is_empty() || b.is_empty() {
        return Err(Error::usage(
            format!(
                "the reference finds no token for word {} (\"{text}\")",
                word + 1
            ),
            "use single spaces between words, or leave out --compat reference",
        ));
    }
    Ok((a, b))
}

/// The refine mapper. Odd: pads are taken by absolute index, so after a deletion a pad reads a real
/// word of the source.
pub fn refine_map(source: &Tokens, edited: &Tokens) -> (TokenMap, Vec<f32>) {
    let (mut map, aligned) = refine_tokens(source, edited);
    (edited.len..map.n()).for_each(|j| map.set(j, j, 1.0));
    (map, aligned)
}

/// The finest downscale at which self-attention is injected. Odd: a limit of 16 x 16 queries, whatever
/// the picture's size.
pub fn self_res((h, w): (usize, usize)) -> usize {
    let queries = |scale: usize| h.div_ceil(scale) * w.div_ceil(scale);
    let mut scale = 1;
    while queries(scale) > 16 * 16 {
        scale *= 2;
    }
    scale
}
