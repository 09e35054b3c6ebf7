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

/// Signs of a SHA-256.
const SHA256: usize = 64;
/// Of git's hash.
const GIT: usize = 40;

/// A file of a model in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    pub id: String,
    /// Where it is of another commit than `main`.
    pub revision: Option<String>,
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
            revision: (!is_main).then(|| commit.to_owned()),
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

    /// The command that fetches again what of a model is damaged. `of` is the model, or a file of it.
    pub fn pull(&self, of: &str) -> String {
        let revision = self.revision.as_ref();
        let revision = revision.map(|commit| format!(" --revision {commit}"));
        format!("p2p models pull {of}{}", revision.unwrap_or_default())
    }

    /// The error that it is not what it was. `of` is the model, or a file of it, that is to be fetched again.
    pub fn damaged(&self, of: &str) -> Error {
        Error::model(
            format!(
                "{} of {} is damaged: it is not what the hub gave",
                self.file, self.id
            ),
            format!("fetch it again: {}", self.pull(of)),
        )
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
    let unreadable = |e: std::io::Error| {
        Error::model(
            format!("cannot read {}: {e}", path.display()),
            "check the disk",
        )
    };
    match content.len() {
        SHA256 => is_hash(Sha256::new(), path, content, go_on),
        // Git hashes a file under a head of its own.
        GIT => {
            let length = path.metadata().map_err(unreadable)?.len();
            let head = format!("blob {length}\0");
            is_hash(Sha1::new_with_prefix(head), path, content, go_on)
        }
        _ => Ok(Ok(true)),
    }
    .map_err(unreadable)?
}

fn is_hash(
    mut hash: impl Digest,
    path: &Path,
    content: &str,
    go_on: impl Fn() -> Result<()>,
) -> std::io::Result<Result<bool>> {
    let mut file = File::open(path)?;
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece)? {
            0 => break,
            n => hash.update(&piece[..n]),
        }
        if let Err(stopped) = go_on() {
            return Ok(Err(stopped));
        }
    }
    let hash = hash.finalize();
    let hex = hash.iter().map(|byte| format!("{byte:02x}"));
    Ok(Ok(hex.collect::<String>() == content))
}
