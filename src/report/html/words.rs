//! Splits prompts into pieces: words with a heatmap, words that an edit changed, and the text between them.
//! Owns where pieces begin and end. It must never know markup.

use std::ops::Range;

/// Largest number of words that are compared. No model reads as many, and time and memory grow with the square.
const MOST_WORDS: usize = 1000;

/// A part of a prompt that is shown in one style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptPiece {
    /// The text of the piece.
    pub text: String,
    /// Whether the other prompt lacks it.
    pub changed: bool,
    /// Number of its heatmap.
    pub map: Option<usize>,
}

/// Splits a prompt into pieces, in order and without gaps. `changed` and `maps` are ranges of the prompt in
/// characters. If two maps overlap, the first gets the characters.
pub fn pieces(
    prompt: &str,
    changed: &[Range<usize>],
    maps: &[(usize, Range<usize>)],
) -> Vec<PromptPiece> {
    let chars: Vec<(usize, char)> = prompt.chars().enumerate().collect();
    let is_changed = |i: &usize| changed.iter().any(|range| range.contains(i));
    // Compares ranges, not maps: a word that occurs twice has one map and two pieces.
    let stretch = |i: &usize| maps.iter().position(|(_, range)| range.contains(i));
    let together = |a: &(usize, char), b: &(usize, char)| match (stretch(&a.0), stretch(&b.0)) {
        (None, None) => is_changed(&a.0) == is_changed(&b.0),
        (a, b) => a == b,
    };
    let piece = |run: &[(usize, char)]| PromptPiece {
        text: run.iter().map(|(_, c)| c).collect(),
        changed: run.iter().any(|(i, _)| is_changed(i)),
        map: stretch(&run[0].0).map(|stretch| maps[stretch].0),
    };
    chars.chunk_by(together).map(piece).collect()
}

/// The ranges, in characters, of the words of each prompt that are not in a longest common subsequence of both
/// prompts. Only letters and digits are compared.
pub fn changes(before: &str, after: &str) -> [Vec<Range<usize>>; 2] {
    let (a, b) = (words(before), words(after));
    if a.len().max(b.len()) > MOST_WORDS {
        return [vec![], vec![]];
    }
    // common[i][j] is the number of words that `a[i..]` and `b[j..]` share.
    let mut common = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] = if a[i].1 == b[j].1 {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut changed = [vec![], vec![]];
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i].1 == b[j].1 {
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && common[i + 1][j] >= common[i][j + 1]) {
            changed[0].push(a[i].0.clone());
            i += 1;
        } else {
            changed[1].push(b[j].0.clone());
            j += 1;
        }
    }
    changed
}

/// The words of a prompt without surrounding punctuation, with their ranges in characters.
fn words(prompt: &str) -> Vec<(Range<usize>, String)> {
    let chars: Vec<char> = prompt.chars().collect();
    let mut at = 0;
    let word = |run: &[char]| {
        let start = at;
        at += run.len();
        let inside = |c: &char| c.is_alphanumeric();
        let (first, last) = match run.iter().position(inside) {
            Some(first) => (first, run.iter().rposition(inside)?),
            None if run[0].is_whitespace() => return None,
            // Only punctuation or symbols, such as an emoji.
            None => (0, run.len() - 1),
        };
        let folded = run[first..=last].iter().flat_map(|c| c.to_lowercase());
        Some((start + first..start + last + 1, folded.collect()))
    };
    let same = |a: &char, b: &char| a.is_whitespace() == b.is_whitespace();
    chars.chunk_by(same).filter_map(word).collect()
}
