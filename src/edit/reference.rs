//! The rules of the reference implementation, quirks included, for [`Rules::Reference`](super::Rules).
//!
//! The source of the facts is google/prompt-to-prompt (9c472e4), `seq_aligner.py` and `ptp_utils.py`. Each
//! function names its quirk. Our own rules must never use this module.

use crate::error::{Error, Result};
use crate::message;
use crate::prompt::Tokens;
use crate::setting::Setting;

use super::TokenMap;
use super::align::{refine_tokens, spread, unequal_words};

/// Token indices of a word, for each of its occurrences.
///
/// Quirk: the word is compared exactly, case and punctuation included, with the pieces of `split(" ")`.
/// Phrases are never found.
pub fn places(prompt: &Tokens, word: &str) -> Vec<Vec<usize>> {
    let pieces = prompt.text.split(' ').enumerate();
    let here = pieces.filter(|(_, piece)| *piece == word);
    here.map(|(i, _)| word_tokens(prompt, &[i])).collect()
}

/// Token indices of the words with the indices `places`.
///
/// Quirk: words are found by adding up the lengths of decoded tokens. A double space or an escaped character
/// shifts every later word.
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
        // The reference raises an IndexError after the last word. Here the remaining tokens belong to no word.
        match words.get(word) {
            Some(&length) if walked >= length => (word, walked) = (word + 1, 0),
            Some(_) => {}
            None => break,
        }
    }
    tokens
}

/// The map of a replace edit.
///
/// Quirk: after the last changed word column `j` reads token `j`, even if the tokens have shifted. The tokens
/// of the tail and the end token then read their neighbours.
///
/// # Errors
///
/// The prompts have different numbers of words, or a changed word has no token (a double space).
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

/// Token indices of a changed word in both prompts. `text` is the source word.
///
/// Quirk: `split(" ")` makes an empty word of a double space. It has no token, which is an error.
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
            message![
                "use single spaces between words, or leave ",
                Setting::Compat.to("reference"),
                " out"
            ],
        )
        .about(Setting::Compat));
    }
    Ok((a, b))
}

/// The map of a refine edit, and for each edited token 1 if it is aligned, else 0.
///
/// Quirk: pads read the token at their own index. After a deletion a pad then reads a word of the source.
pub fn refine_map(source: &Tokens, edited: &Tokens) -> (TokenMap, Vec<f32>) {
    let (mut map, aligned) = refine_tokens(source, edited);
    (edited.len..map.n()).for_each(|j| map.set(j, j, 1.0));
    (map, aligned)
}

/// The finest downscale at which self-attention is injected, for latents of `(height, width)`.
///
/// Quirk: the limit is 16 x 16 queries for every picture size.
pub fn self_res((h, w): (usize, usize)) -> usize {
    let queries = |scale: usize| h.div_ceil(scale) * w.div_ceil(scale);
    let mut scale = 1;
    while queries(scale) > 16 * 16 {
        scale *= 2;
    }
    scale
}
