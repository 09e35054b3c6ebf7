//! Small pieces of text that several parts of the crate print: counts with a noun, sizes in bytes,
//! hexadecimal digits, and the nearest known name for a misspelled one. Owns their one format; it must never
//! know what is counted, measured or named.

/// A count with its noun: `1 job`, `3 jobs`. The plural of `noun` takes an `s`.
pub fn count(n: usize, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{n} {noun}s")
    }
}

/// A size in binary units: `22.0 GiB`, `153 MiB`, `2 KiB`.
pub fn bytes(n: u64) -> String {
    const KIB: f64 = 1024.0;
    let n = n as f64;
    if n >= KIB.powi(3) {
        format!("{:.1} GiB", n / KIB.powi(3))
    } else if n >= KIB.powi(2) {
        format!("{:.0} MiB", n / KIB.powi(2))
    } else {
        format!("{:.0} KiB", n / KIB)
    }
}

/// Bytes as lower-case hexadecimal digits, for example of a SHA-256 sum.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    let bytes = bytes.as_ref().iter();
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// The known name that a misspelled `name` probably means, if one is near enough.
///
/// The distance is Damerau-Levenshtein, ignoring case: each inserted, deleted or replaced letter and each
/// swap of two neighbours counts as 1. One slip is allowed, and one more for every four letters of `name`,
/// as long as less than half of the letters differ. A known name of four letters or more with something
/// appended counts as one slip. The first of equally near names is returned.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    let letters = wanted.chars().count();
    let near = |distance: usize| distance <= 1 + letters / 4 && 2 * distance < letters;
    known
        .into_iter()
        .map(|known| {
            let folded = known.to_lowercase();
            let continued = folded.chars().count() >= 4 && wanted.starts_with(&folded);
            let distance = strsim::damerau_levenshtein(&wanted, &folded);
            (if continued { 1 } else { distance }, known)
        })
        .filter(|(distance, _)| near(*distance))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}
