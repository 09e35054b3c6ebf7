//! Hashes of cached files. The cache names a file's content by its hash: SHA-256 for large files, git's hash
//! for small ones. Owns the check that a file matches its name; it must never know what is in a file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::MAIN;
use super::cache::{content_of, id_of};
use crate::error::{Error, Result};
use crate::format::hex;

/// Hexadecimal digits of a SHA-256.
const SHA256_DIGITS: usize = 64;
/// Hexadecimal digits of git's hash, a SHA-1.
const GIT_DIGITS: usize = 40;

/// A file of a model in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// The repository, `owner/name`.
    pub id: String,
    /// The commit of its snapshot.
    pub commit: String,
    /// Whether `main` was this commit when the hub was last asked.
    pub is_main: bool,
    /// The path in the repository, with forward slashes.
    pub file: String,
    /// The name of its content: a hash of its bytes.
    pub content: String,
}

impl Cached {
    /// The cached file at a path. `None` if the path is not a link in a snapshot.
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

    /// Whether the file at `path`, the path that this was made from, has the right hash.
    ///
    /// # Errors
    /// A model error if the file cannot be read.
    pub fn is_right(&self, path: &Path) -> Result<bool> {
        is_right(path, &self.content, || Ok(()))
    }

    /// The cause of an error about a file whose hash is wrong.
    pub fn damage(&self) -> String {
        let Self { id, file, .. } = self;
        format!("{file} of {id} is damaged: it is not the file that the hub sent")
    }

    /// Whether the content is named by a SHA-256, and by another than this one.
    pub fn differs(&self, sha256: &str) -> bool {
        self.content.len() == SHA256_DIGITS && self.content != sha256
    }
}

/// Whether a content's name is that of a small file, such as a config or a vocabulary. Small files are
/// hashed whenever they are used.
pub fn is_small(content: &str) -> bool {
    content.len() == GIT_DIGITS
}

/// Whether a file has the hash that `content` names. Names that are not hashes match every file.
///
/// # Errors
/// A model error if the file cannot be read, and the errors of `check_interrupted`, which is called for each
/// megabyte.
pub fn is_right(
    path: &Path,
    content: &str,
    check_interrupted: impl Fn() -> Result<()>,
) -> Result<bool> {
    let matches = |hash: &str| hash == content;
    match content.len() {
        SHA256_DIGITS => Ok(matches(&hash_file(
            Sha256::new(),
            path,
            &check_interrupted,
        )?)),
        GIT_DIGITS => {
            let length = path.metadata().map_err(|e| unreadable(path, &e))?.len();
            // Git puts this header before the bytes. Some mirrors name files by the SHA-1 of the bytes alone.
            let header = format!("blob {length}\0");
            let git = Sha1::new_with_prefix(header);
            Ok(matches(&hash_file(git, path, &check_interrupted)?)
                || matches(&hash_file(Sha1::new(), path, &check_interrupted)?))
        }
        _ => Ok(true),
    }
}

/// The hash of a file, in hexadecimal digits.
fn hash_file(
    mut hash: impl Digest,
    path: &Path,
    check_interrupted: impl Fn() -> Result<()>,
) -> Result<String> {
    let unreadable = |e| unreadable(path, &e);
    let mut file = File::open(path).map_err(unreadable)?;
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk).map_err(unreadable)? {
            0 => break,
            n => hash.update(&chunk[..n]),
        }
        check_interrupted()?;
    }
    Ok(hex(hash.finalize()))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let what = format!("cannot read {}: {error}", path.display());
    Error::model(what, "check the disk")
}
