//! A prompt in pieces: words that a heatmap belongs to, words that an edit changed, and what stands
//! between. Owns where pieces begin and end; knows no markup.

use std::ops::Range;

/// No model reads as many; the table of pairs would grow with the square.
const MOST_WORDS: usize = 1000;

/// A stretch of a prompt that is shown in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub text: String,
    /// Not in the other prompt.
    pub changed: bool,
    /// Which of the heatmaps is its own.
    pub map: Option<usize>,
}

/// `prompt` in pieces, in order and whole. `changed` and `maps` are stretches of it in characters; where
/// two maps overlap the earlier has it.
pub fn pieces(
    prompt: &str,
    changed: &[Range<usize>],
    maps: &[(usize, Range<usize>)],
) -> Vec<Piece> {
    let chars: Vec<(usize, char)> = prompt.chars().enumerate().collect();
    let is_changed = |i: &usize| changed.iter().any(|range| range.contains(i));
    // The stretch, not its map: a word that stands twice has one map and two pieces.
    let stretch = |i: &usize| maps.iter().position(|(_, range)| range.contains(i));
    let together = |a: &(usize, char), b: &(usize, char)| match (stretch(&a.0), stretch(&b.0)) {
        (None, None) => is_changed(&a.0) == is_changed(&b.0),
        (a, b) => a == b,
    };
    let piece = |run: &[(usize, char)]| Piece {
        text: run.iter().map(|(_, c)| c).collect(),
        changed: run.iter().any(|(i, _)| is_changed(i)),
        map: stretch(&run[0].0).map(|stretch| maps[stretch].0),
    };
    chars.chunk_by(together).map(piece).collect()
}

/// The words of each prompt, in characters, that the other doesn't have in this order: all but a longest
/// common subsequence, by letters and digits alone.
pub fn changes(before: &str, after: &str) -> [Vec<Range<usize>>; 2] {
    let (a, b) = (words(before), words(after));
    if a.len().max(b.len()) > MOST_WORDS {
        return [vec![], vec![]];
    }
    // common[i][j]: how many words `a[i..]` and `b[j..]` share.
    let mut common = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] = match a[i].1 == b[j].1 {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
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

/// Words with where they stand, in characters, without the punctuation around them.
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
            // Signs alone, such as an emoji.
            None => (0, run.len() - 1),
        };
        let folded = run[first..=last].iter().flat_map(|c| c.to_lowercase());
        Some((start + first..start + last + 1, folded.collect()))
    };
    let same = |a: &char, b: &char| a.is_whitespace() == b.is_whitespace();
    chars.chunk_by(same).filter_map(word).collect()
}
