//! Folder names that describe an edit.
//! Owns which characters are safe on every file system and how long a name may be. It must never touch a file
//! system or know seeds: the caller appends what distinguishes two runs.

/// Largest length of a slug in bytes. File systems allow 255, which leaves room for a seed and for temporary
/// names.
const MAX_BYTES: usize = 80;
/// Largest length of the source prompt in bytes if the prompts do not fit.
const MAX_SOURCE_BYTES: usize = 32;

/// A folder name for the edits of `src` into each of `dsts`: lower-case words joined by one hyphen, prompts
/// joined by two. It has at most 80 bytes, is never empty, and is never a name that Windows reserves.
///
/// If the prompts do not fit, the name has the beginning of the source and the changed words of each edit.
pub fn slug(src: &str, dsts: &[&str]) -> String {
    let src = words(src);
    let dsts: Vec<Vec<String>> = dsts.iter().map(|dst| words(dst)).collect();
    let full = join(src.join("-"), dsts.iter().map(|dst| dst.join("-")));
    if full.len() <= MAX_BYTES {
        return safe(full);
    }
    let head = cut(&src.join("-"), MAX_SOURCE_BYTES);
    let changes = dsts.iter().map(|dst| changed(&src, dst).join("-"));
    safe(cut(&join(head, changes), MAX_BYTES))
}

/// The runs of letters and digits in lower case. Combining accents are dropped, because they would split a
/// word.
fn words(prompt: &str) -> Vec<String> {
    let is_mark = |c: &char| ('\u{300}'..='\u{36f}').contains(c);
    let plain: String = prompt
        .to_lowercase()
        .chars()
        .filter(|c| !is_mark(c))
        .collect();
    plain
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(String::from)
        .collect()
}

fn join(first: String, rest: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = std::iter::once(first)
        .chain(rest)
        .filter(|part| !part.is_empty())
        .collect();
    parts.join("--")
}

/// The words of `dst` without the common beginning and the common end of both prompts. All words of `dst` if
/// it only drops words.
fn changed<'a>(src: &[String], dst: &'a [String]) -> &'a [String] {
    let same = |(a, b): &(&String, &String)| a == b;
    let start = src.iter().zip(dst).take_while(same).count();
    let (src_rest, dst_rest) = (&src[start..], &dst[start..]);
    let end = src_rest
        .iter()
        .rev()
        .zip(dst_rest.iter().rev())
        .take_while(same)
        .count();
    match &dst_rest[..dst_rest.len() - end] {
        [] => dst,
        words => words,
    }
}

/// Cuts a text to at most `max` bytes, at the end of a word if one ends in the second half.
fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_string();
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    // A word that ends exactly at the limit is complete.
    if !text[end..].starts_with('-') {
        end = text[..end]
            .rfind('-')
            .filter(|at| *at >= max / 2)
            .unwrap_or(end);
    }
    text[..end].trim_end_matches('-').to_string()
}

fn safe(name: String) -> String {
    match name.as_str() {
        "" => "edit".to_string(),
        reserved if is_reserved(reserved) => format!("p2p-{reserved}"),
        _ => name,
    }
}

/// Whether Windows reserves the name for a device, in every folder.
fn is_reserved(name: &str) -> bool {
    let numbered = |prefix: &str| {
        let mut rest = name.strip_prefix(prefix).unwrap_or("").chars();
        // Windows treats superscript digits as digits: COM¹ is COM1.
        matches!((rest.next(), rest.next()), (Some(c), None) if "123456789¹²³".contains(c))
    };
    matches!(name, "con" | "prn" | "aux" | "nul") || numbered("com") || numbered("lpt")
}
