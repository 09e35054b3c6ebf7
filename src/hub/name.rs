//! Names on the hub: repositories, revisions, files. Owns which texts are such names, and which of them
//! may become paths on this machine.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The branch that counts where none is named.
pub const MAIN: &str = "main";

/// How the addresses of the hub's pages begin; the first is how they are written here.
const PAGES: [&str; 5] = [
    "https://huggingface.co/",
    "http://huggingface.co/",
    "https://hf.co/",
    "huggingface.co/",
    "hf.co/",
];

/// `owner/name`, or a file of it: `owner/name/folder/file.safetensors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub id: String,
    pub file: Option<String>,
}

/// Endings of weight files: `models/dreams.safetensors` is a path that leads nowhere, no repository.
const WEIGHTS: [&str; 7] = ["safetensors", "sft", "ckpt", "bin", "pt", "pth", "gguf"];
/// Signs that addresses show as they are.
const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');
const KEPT_IN_FILES: AsciiSet = KEPT.remove(b'/');
/// Signs of an owner or a name at most.
const LONGEST: usize = 96;

impl Name {
    /// `None` where a text is no such name.
    pub fn parse(text: &str) -> Option<Self> {
        let (owner, rest) = text.split_once('/')?;
        let (name, file) = match rest.split_once('/') {
            Some((name, file)) => (name, Some(file)),
            None => (rest, None),
        };
        let whole = match file {
            Some(file) => is_file(file) && is_weights(file),
            None => !is_weights(name),
        };
        (whole && is_part(owner) && is_part(name)).then(|| Self {
            id: format!("{owner}/{name}"),
            file: file.map(str::to_owned),
        })
    }

    /// By the address of its page or of a file's, as browsers show it, and the revision that it says.
    pub fn of_page(address: &str) -> Option<(Self, Option<String>)> {
        let path = PAGES.iter().find_map(|start| address.strip_prefix(start))?;
        let path = path.split(['?', '#']).next()?.trim_end_matches('/');
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let parts: Vec<String> = path.splitn(5, '/').map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (name, revision) = match parts[..] {
            [owner, name, "blob" | "resolve", revision, file] => {
                (format!("{owner}/{name}/{file}"), Some(revision))
            }
            [owner, name, "tree", revision] => (format!("{owner}/{name}"), Some(revision)),
            _ => (parts.join("/"), None),
        };
        let revision = revision.filter(|revision| is_revision(revision));
        Some((Self::parse(&name)?, revision.map(str::to_owned)))
    }

    /// The address of its page, as of a revision: it leads to the hub alone, whatever is called so here.
    pub fn page(&self, revision: &str) -> String {
        let Self { id, file } = self;
        let (start, revision) = (PAGES[0], utf8_percent_encode(revision, &KEPT));
        match file {
            Some(file) => {
                let file = utf8_percent_encode(file, &KEPT_IN_FILES);
                format!("{start}{id}/blob/{revision}/{file}")
            }
            None => format!("{start}{id}/tree/{revision}"),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        let mut file = self.file.iter();
        file.try_for_each(|file| write!(f, "/{file}"))
    }
}

fn is_part(text: &str) -> bool {
    let sign = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let ends = |c: char| c == '-' || c == '.';
    !text.is_empty()
        && text.len() <= LONGEST
        && text.chars().all(sign)
        && !text.starts_with(ends)
        && !text.ends_with(ends)
        && !text.contains("--")
        && !text.contains("..")
}

fn is_weights(file: &str) -> bool {
    let ending = file.rsplit_once('.').map(|(_, ending)| ending);
    ending.is_some_and(|ending| WEIGHTS.contains(&&*ending.to_lowercase()))
}

/// Whether a path or a revision stays where it is put: the hub's word alone is not taken for that.
pub fn is_file(path: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    let sign = |c: char| !c.is_control() && !"\\:*?\"<>|".contains(c);
    path.split('/').all(part) && path.chars().all(sign)
}

/// Whether a text may be a branch, a tag or a commit: as git has it, as far as it counts here.
pub fn is_revision(text: &str) -> bool {
    is_file(text) && !text.contains([' ', '~', '^', '[']) && !text.contains("..")
}

/// Whether a text may be what the cache calls a content.
#[cfg(feature = "hub")]
pub fn is_etag(text: &str) -> bool {
    let sign = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !text.is_empty() && text.len() <= 128 && text.chars().all(sign)
}

/// A whole commit: what it stands for never changes.
pub fn is_commit(revision: &str) -> bool {
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    revision.len() == 40 && revision.chars().all(hex)
}
