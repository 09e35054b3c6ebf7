//! The cache's layout on disk, that of Python's `huggingface_hub`: blobs named by their hash, and for
//! each commit a snapshot, a folder with a link to a blob for each file. It must never know a network.
//!
//! ```text
//! models--OWNER--NAME/refs/main              the commit of `main` when the hub was last asked
//!                    /blobs/<etag>           a file's content; <etag>.incomplete during the download
//!                    /snapshots/<commit>/..  links to blobs
//! .locks/models--OWNER--NAME/<etag>.lock     locked during the download
//! ```

use std::io::Write;
use std::path::{Component, Path, PathBuf};

use super::RepoFile;
use super::name::{is_commit, is_file};
use crate::error::{Error, Result};

/// The cache of models on this machine.
#[derive(Debug, Clone)]
pub struct Cache {
    /// The folder of all repositories. It need not exist.
    pub root: PathBuf,
}

impl Cache {
    /// The cache in a folder.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// The folder of a repository.
    pub fn repo(&self, id: &str) -> PathBuf {
        self.root.join(folder_name(id))
    }

    /// The folder of a commit's files.
    pub fn snapshot(&self, id: &str, commit: &str) -> PathBuf {
        self.repo(id).join("snapshots").join(commit)
    }

    /// The file of a content. `etag` is the content's hash.
    pub fn blob(&self, id: &str, etag: &str) -> PathBuf {
        self.repo(id).join("blobs").join(etag)
    }

    /// The folder of a repository's locks.
    pub fn locks(&self, id: &str) -> PathBuf {
        self.root.join(".locks").join(folder_name(id))
    }

    /// The commit of a revision when the hub was last asked. `None` if the cache has no snapshot of it.
    pub fn commit(&self, id: &str, revision: &str) -> Option<String> {
        let commit = if is_commit(revision) {
            revision.to_owned()
        } else {
            std::fs::read_to_string(self.reference(id, revision)?).ok()?
        };
        let commit = commit.trim();
        let exists = is_file(commit) && self.snapshot(id, commit).is_dir();
        exists.then(|| commit.to_owned())
    }

    fn reference(&self, id: &str, revision: &str) -> Option<PathBuf> {
        is_file(revision).then(|| self.repo(id).join("refs").join(revision))
    }

    /// The cached files of a commit, sorted by path.
    pub fn files(&self, id: &str, commit: &str) -> Vec<RepoFile> {
        let mut files = vec![];
        list(&self.snapshot(id, commit), "", &mut files);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    }

    /// Records the commit of a revision. Nothing is recorded for a commit itself.
    ///
    /// # Errors
    /// A model error if the cache cannot be written.
    pub fn remember(&self, id: &str, revision: &str, commit: &str) -> Result<()> {
        let reference = self
            .reference(id, revision)
            .filter(|_| !is_commit(revision));
        let Some(path) = reference else {
            return Ok(());
        };
        if std::fs::read_to_string(&path).is_ok_and(|known| known == commit) {
            return Ok(());
        }
        let write = || {
            let folder = path.parent().expect("a reference has a folder");
            std::fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(commit.as_bytes())?;
            Ok(file.persist(&path)?)
        };
        let written: std::io::Result<_> = write();
        written.map(|_| ()).map_err(|e| self.cannot_write(&e))
    }

    /// Links a file of a snapshot, `pointer`, to a blob. If the disk has no links, a blob that `is_new` is moved
    /// there and another one copied, as in Python.
    ///
    /// # Errors
    /// A model error if the cache cannot be written.
    pub fn link(&self, blob: &Path, pointer: &Path, is_new: bool) -> Result<()> {
        let folder = pointer.parent().expect("a file of a snapshot has a folder");
        let link = || {
            std::fs::create_dir_all(folder)?;
            if pointer.symlink_metadata().is_ok() {
                std::fs::remove_file(pointer)?;
            }
            let to = pathdiff::diff_paths(blob, folder).unwrap_or_else(|| blob.to_owned());
            match symlink(&to, pointer) {
                Ok(()) => Ok(()),
                // Another process made the link first.
                Err(_) if pointer.is_file() => Ok(()),
                Err(_) if is_new => std::fs::rename(blob, pointer),
                Err(_) => std::fs::copy(blob, pointer).map(|_| ()),
            }
        };
        link().map_err(|e: std::io::Error| self.cannot_write(&e))
    }

    /// The error for a failed write, by its cause.
    pub fn cannot_write(&self, error: &std::io::Error) -> Error {
        use std::io::ErrorKind::{
            PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
        };
        let shown = self.root.display();
        match error.kind() {
            StorageFull | QuotaExceeded => Error::model(
                format!("the disk of {shown} is full"),
                "free some space (p2p models ls lists the sizes of models), or set HF_HUB_CACHE to a folder on another \
                 disk; the next download resumes where this one stopped",
            ),
            PermissionDenied | ReadOnlyFilesystem => Error::model(
                format!("the cache {shown} is not writable: {error}"),
                "set HF_HUB_CACHE to a writable folder",
            ),
            _ => Error::model(
                format!("cannot write to the cache {shown}: {error}"),
                "check the disk, or set HF_HUB_CACHE to another folder",
            ),
        }
    }
}

fn folder_name(id: &str) -> String {
    format!("models--{}", id.replace('/', "--"))
}

/// The repository id, `owner/name`, of a folder in the cache.
pub fn id_of(folder: &str) -> Option<String> {
    Some(folder.strip_prefix("models--")?.replacen("--", "/", 1))
}

/// Collects the files below a folder. Broken links are skipped.
fn list(folder: &Path, prefix: &str, files: &mut Vec<RepoFile>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let path = entry.path();
        match path.metadata() {
            Ok(data) if data.is_dir() => list(&path, &format!("{name}/"), files),
            Ok(data) => files.push(RepoFile {
                path: name,
                size: Some(data.len()),
                etag: content_of(&path),
            }),
            Err(_) => {}
        }
    }
}

/// The name of the blob that a link leads to. `None` for a path that is not a link.
pub fn content_of(pointer: &Path) -> Option<String> {
    let to = std::fs::read_link(pointer).ok()?;
    match to.components().next_back()? {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    }
}

#[cfg(unix)]
fn symlink(to: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(to, link)
}

#[cfg(windows)]
fn symlink(to: &Path, link: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_file(to, link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}
