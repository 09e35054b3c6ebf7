//! Helpers that several test modules share: a toy tokenizer, seeded numbers, distances.

use prompt_to_prompt::prompt::Tokens;

pub const BOS: u32 = 1;
pub const EOS: u32 = 2;

/// Tokenises by a rule of two lines: runs of letters in pieces of at most five, every other sign a
/// token of its own. Same text, same id.
pub fn toy_tokens(text: &str, max_len: usize) -> Tokens {
    let (mut spans, mut run) = (vec![], 0);
    for (at, c) in text.char_indices() {
        let joins = c.is_alphanumeric() && run > 0 && run < 5;
        run = if c.is_alphanumeric() {
            if joins { run + 1 } else { 1 }
        } else {
            0
        };
        match spans.last_mut() {
            Some(std::ops::Range { end, .. }) if joins => *end = at + c.len_utf8(),
            _ if c.is_whitespace() => {}
            _ => spans.push(at..at + c.len_utf8()),
        }
    }
    let pieces: Vec<String> = spans
        .iter()
        .map(|s| text[s.clone()].to_lowercase())
        .collect();
    let id = |p: &String| {
        p.bytes()
            .fold(7u32, |h, b| h.wrapping_mul(31).wrapping_add(b.into()))
            | 4
    };
    let mut ids = vec![BOS];
    ids.extend(pieces.iter().map(id));
    ids.push(EOS);
    let len = ids.len();
    ids.resize(max_len, EOS);
    Tokens {
        text: text.to_owned(),
        ids,
        len,
        spans,
        pieces,
    }
}

/// Seeded floats in -1..1: what a test needs of randomness, without a generator.
pub fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Norm of the difference over the norm of what was expected.
pub fn relative(got: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let square = |x: f32| f64::from(x) * f64::from(x);
    let difference: f64 = got.iter().zip(expected).map(|(g, e)| square(g - e)).sum();
    let norm: f64 = expected.iter().map(|e| square(*e)).sum();
    (difference / norm).sqrt()
}

/// Reports that a test cannot run here because a program is missing. `.ci/run` installs every program that the
/// tests use, so a skipped test fails where the environment variable `CI` is set.
///
/// For missing instruction sets this function is not to be used, since nobody can install them: such a test
/// checks what the machine has.
pub fn skip(why: &str) {
    let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    assert!(!ci, "{why}: no test may be skipped where CI is set");
    eprintln!("skipped: {why}");
}

/// A repository file, wherever the tests run.
pub fn fixture(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(path)
}

/// A fixture as JSON.
pub fn json(path: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(fixture(path)).expect("fixture is there");
    serde_json::from_str(&text).expect("fixture is JSON")
}

/// A packed fixture, a line of JSON each.
pub fn json_lines(path: &str) -> Vec<serde_json::Value> {
    use std::io::Read;
    let file = std::fs::File::open(fixture(path)).expect("fixture is there");
    let mut text = String::new();
    let mut packed = flate2::read::GzDecoder::new(file);
    packed.read_to_string(&mut text).expect("fixture is whole");
    let line = |line: &str| serde_json::from_str(line).expect("fixture is JSON");
    text.lines().map(line).collect()
}
