//! Contents by their names: SHA-256 of large files, git's hash of small ones. Owns whether a file is what
//! its name says, and whose it is.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::MAIN;
use super::cache::{content_of, id_of};
use crate::error::{Error, Result};
use crate::format::hex;

/// Signs of a SHA-256.
const SHA256: usize = 64;
/// Of git's hash.
const GIT: usize = 40;

/// A file of a model in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    pub id: String,
    pub commit: String,
    /// Whether that is what `main` was when it was last asked for.
    pub is_main: bool,
    /// Its path in the repository.
    pub file: String,
    /// The name of its content.
    pub content: String,
}

impl Cached {
    /// `None` where a path is no link that the cache has made.
    pub fn of(path: &Path) -> Option<Self> {
        let content = content_of(path)?;
        let is_snapshots = |folder: &&Path| folder.file_name().is_some_and(|n| n == "snapshots");
        let snapshots = path.ancestors().find(is_snapshots)?;
        let repo = snapshots.parent()?;
        let inside = path.strip_prefix(snapshots).ok()?.to_str()?;
        let inside = inside.replace('\\', "/");
        let (commit, file) = inside.split_once('/')?;
        let main = std::fs::read_to_string(repo.join("refs").join(MAIN));
        let is_main = main.is_ok_and(|main| main.trim() == commit);
        Some(Self {
            id: id_of(&repo.file_name()?.to_string_lossy())?,
            commit: commit.to_owned(),
            is_main,
            file: file.to_owned(),
            content,
        })
    }

    /// Whether the file at the path that it is of has its content.
    ///
    /// Errors: model, where it cannot be read.
    pub fn is_right(&self, path: &Path) -> Result<bool> {
        is_right(path, &self.content, || Ok(()))
    }

    /// The cause of an error that it is not what it was.
    pub fn damage(&self) -> String {
        let Self { id, file, .. } = self;
        format!("{file} of {id} is damaged: it is not what the hub gave")
    }

    /// Whether its content is called by the SHA-256 of its bytes, and that is another.
    pub fn differs(&self, sha256: &str) -> bool {
        self.content.len() == SHA256 && self.content != sha256
    }
}

/// Whether a content is small by its name: a config or a vocabulary, read again whenever it is used.
pub fn is_small(content: &str) -> bool {
    content.len() == GIT
}

/// Whether a file has the content that a name says; of names that are no hashes that is not known.
///
/// Errors: model, where it cannot be read; those of `go_on`, which is asked again and again.
pub fn is_right(path: &Path, content: &str, go_on: impl Fn() -> Result<()>) -> Result<bool> {
    let is = |hash: &str| hash == content;
    match content.len() {
        SHA256 => Ok(is(&hashed(Sha256::new(), path, &go_on)?)),
        GIT => {
            let length = path.metadata().map_err(|e| unreadable(path, &e))?.len();
            // Git hashes a file under a head of its own. Mirrors that store artefacts name them by the SHA-1 of
            // their bytes alone.
            let head = format!("blob {length}\0");
            Ok(is(&hashed(Sha1::new_with_prefix(head), path, &go_on)?)
                || is(&hashed(Sha1::new(), path, &go_on)?))
        }
        _ => Ok(true),
    }
}

/// As hexadecimal digits.
fn hashed(mut hash: impl Digest, path: &Path, go_on: impl Fn() -> Result<()>) -> Result<String> {
    let unreadable = |e| unreadable(path, &e);
    let mut file = File::open(path).map_err(unreadable)?;
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece).map_err(unreadable)? {
            0 => break,
            n => hash.update(&piece[..n]),
        }
        go_on()?;
    }
    Ok(hex(hash.finalize()))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let what = format!("cannot read {}: {error}", path.display());
    Error::model(what, "check the disk")
}
