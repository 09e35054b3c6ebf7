//! Names on the hub: repositories, files and revisions. Owns which texts are valid names, and which of them
//! are safe as paths on this machine. It must never look at the disk.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The default branch.
pub const MAIN: &str = "main";

/// How addresses of the hub's pages start. Addresses are written with the first.
const PAGES: [&str; 5] = [
    "https://huggingface.co/",
    "http://huggingface.co/",
    "https://hf.co/",
    "huggingface.co/",
    "hf.co/",
];

/// A repository or a file of one: `owner/name`, `owner/name/folder/file.safetensors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The repository, `owner/name`.
    pub id: String,
    /// The path of the file in the repository.
    pub file: Option<String>,
}

/// Extensions of weight files. `models/dreams.safetensors` is a wrong path rather than a repository.
const WEIGHTS: [&str; 7] = ["safetensors", "sft", "ckpt", "bin", "pt", "pth", "gguf"];
/// Characters that addresses show unescaped.
const UNESCAPED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');
const UNESCAPED_IN_FILES: AsciiSet = UNESCAPED.remove(b'/');
/// The maximum length of an owner or a name.
const LONGEST: usize = 96;

impl Name {
    /// The name in a text, or `None` if the text is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let (owner, rest) = text.split_once('/')?;
        let (name, file) = match rest.split_once('/') {
            Some((name, file)) => (name, Some(file)),
            None => (rest, None),
        };
        let is_complete = match file {
            Some(file) => is_file(file) && is_weights(file),
            None => !is_weights(name),
        };
        (is_complete && is_owner_or_name(owner) && is_owner_or_name(name)).then(|| Self {
            id: format!("{owner}/{name}"),
            file: file.map(str::to_owned),
        })
    }

    /// The name in the address of a repository's or a file's page, as browsers show it, and the revision if
    /// the address contains one.
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

    /// The address of the page at a revision. Unlike `owner/name`, it cannot be a path on this machine.
    pub fn page(&self, revision: &str) -> String {
        let Self { id, file } = self;
        let (start, revision) = (PAGES[0], utf8_percent_encode(revision, &UNESCAPED));
        match file {
            Some(file) => {
                let file = utf8_percent_encode(file, &UNESCAPED_IN_FILES);
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

fn is_owner_or_name(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_separator = |c: char| c == '-' || c == '.';
    !text.is_empty()
        && text.len() <= LONGEST
        && text.chars().all(is_allowed)
        && !text.starts_with(is_separator)
        && !text.ends_with(is_separator)
        && !text.contains("--")
        && !text.contains("..")
}

fn is_weights(file: &str) -> bool {
    let extension = file.rsplit_once('.').map(|(_, extension)| extension);
    extension.is_some_and(|extension| WEIGHTS.contains(&&*extension.to_lowercase()))
}

/// Whether a path from the hub stays inside of the folder that it is joined to. The hub is not trusted with
/// that.
pub fn is_file(path: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
    let is_allowed = |c: char| !c.is_control() && !"\\:*?\"<>|".contains(c);
    path.split('/').all(is_part) && path.chars().all(is_allowed)
}

/// Whether a text can be a branch, a tag or a commit: the rules of git that matter for paths.
pub fn is_revision(text: &str) -> bool {
    is_file(text) && !text.contains([' ', '~', '^', '[']) && !text.contains("..")
}

/// Whether a text can be the name of a content in the cache.
#[cfg(feature = "hub")]
pub fn is_etag(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !text.is_empty() && text.len() <= 128 && text.chars().all(is_allowed)
}

/// Whether a revision is a full commit hash. The files of a commit never change.
pub fn is_commit(revision: &str) -> bool {
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    revision.len() == 40 && revision.chars().all(is_hex)
}
