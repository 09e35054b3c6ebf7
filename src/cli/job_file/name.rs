//! The names of job folders. Fills templates such as `{name}-{seed}` and rejects names that some file system does not
//! accept. It must never touch a file.

use prompt_to_prompt::report::slug::slug;

/// The values of a template.
pub struct Values<'a> {
    /// The source prompt, `{src}`.
    pub src: &'a str,
    /// The edited prompts, `{dst}`.
    pub dsts: &'a [&'a str],
    /// The seed, `{seed}`.
    pub seed: u64,
    /// The job's name, `{name}`. `None` while the name itself is filled.
    pub name: Option<&'a str>,
    /// The keys of the job's grid with the labels of their values.
    pub point: &'a [(String, String)],
}

/// Fills a template: `{src}`, `{dst}`, `{seed}`, `{name}` and the keys of the job's grid.
///
/// # Errors
/// The cause, if a brace is not closed or if a name has no value.
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
    if out.contains('}') {
        Err("a `}` is not opened".to_owned())
    } else {
        Ok(out)
    }
}

/// A value as part of a folder name. Numbers stay as they are, so that different numbers give different names.
pub fn plain(value: &str) -> String {
    let number = value.parse::<f64>().is_ok();
    if number {
        value.to_owned()
    } else {
        slug(value, &[])
    }
}

/// Why some file system does not accept a folder name. `None` if all accept it.
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
                Some("Windows reserves this name")
            }
            _ => None,
        }
    };
    // Direction marks are invisible and reorder the characters around them, so the name would not be what it looks like.
    let turns = |c: char| matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let refused = |c: &char| c.is_control() || turns(*c) || "\\:*?\"<>|".contains(*c);
    if let Some(refused) = name.chars().find(refused) {
        return Some(format!("some file systems do not allow {refused:?}"));
    }
    name.split('/').find_map(part_fault).map(str::to_owned)
}
