//! Names of job folders: templates filled, and names that no file system minds.

use prompt_to_prompt::report::slug::slug;

/// What a template may name.
pub struct Values<'a> {
    pub src: &'a str,
    pub dsts: &'a [&'a str],
    pub seed: u64,
    /// The job's own name; in a name, nothing.
    pub name: Option<&'a str>,
    /// KeyValues that vary, and theirs.
    pub point: &'a [(String, String)],
}

/// Fills `{src}`, `{dst}`, `{seed}`, `{name}` and what a grid varies.
///
/// Errors: what the template names that is not there.
pub fn fill(template: &str, values: &Values) -> Result<String, String> {
    let mut parts = template.split('{');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (key, rest) = part.split_once('}').ok_or("a `{` is not closed")?;
        let varied = || {
            let named = |(name, _): &&(String, String)| name == key;
            let value = values.point.iter().find(named)?;
            Some(plain(&value.1))
        };
        let value = match key {
            "src" => Some(slug(values.src, &[])),
            "dst" => Some(plain(&values.dsts.join(" "))),
            "seed" => Some(values.seed.to_string()),
            "name" => values.name.map(str::to_owned),
            _ => varied(),
        };
        out += &value.ok_or_else(|| format!("it has no {{{key}}}"))?;
        out += rest;
    }
    match out.contains('}') {
        true => Err("a `}` is not opened".to_owned()),
        false => Ok(out),
    }
}

/// A value as part of a name: its dots and sign stay, `0.8` and `-2` must not meet.
pub fn plain(value: &str) -> String {
    let number = value.parse::<f64>().is_ok();
    match number {
        true => value.to_owned(),
        false => slug(value, &[]),
    }
}

/// Why a folder cannot be called so, on some system.
pub fn fault(name: &str) -> Option<String> {
    let part_fault = |part: &str| {
        let reserved = ["con", "prn", "aux", "nul"];
        let stem = part.split('.').next().unwrap_or("").to_ascii_lowercase();
        let numbered = |kind| stem.len() == 4 && stem.starts_with(kind);
        match part {
            "" => Some("a part of it is empty"),
            "." | ".." => Some("it leads out of the output folder"),
            _ if part.starts_with('.') => Some("it begins with a dot"),
            _ if part.ends_with(['.', ' ']) => Some("it ends in a dot or a space"),
            _ if part.len() > 200 => Some("it is longer than 200 bytes"),
            _ if reserved.contains(&&*stem) || numbered("com") || numbered("lpt") => {
                Some("Windows keeps this name for itself")
            }
            _ => None,
        }
    };
    // Some say nothing of their own and turn what is around them: a name must be what it looks like.
    let turns = |c: char| matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let refused = |c: &char| c.is_control() || turns(*c) || "\\:*?\"<>|".contains(*c);
    if let Some(refused) = name.chars().find(refused) {
        return Some(format!("file systems refuse {refused:?} in a name"));
    }
    name.split('/').find_map(part_fault).map(str::to_owned)
}
