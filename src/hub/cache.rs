//! The folders of Python's `huggingface_hub` on disk: contents by their hash, and for each commit a folder
//! of links to them under the files' own names. Owns that layout; never knows a network.
//!
//! ```text
//! models--OWNER--NAME/refs/main              the commit that `main` was when it was last asked for
//!                    /blobs/<etag>           a content; <etag>.incomplete while it is fetched
//!                    /snapshots/<commit>/..  links to contents
//! .locks/models--OWNER--NAME/<etag>.lock     held by whoever fetches it
//! ```

use std::io::Write;
use std::path::{Component, Path, PathBuf};

use super::RepoFile;
use super::name::{is_commit, is_file};
use crate::error::{Error, Result};

#[derive(Debug, Clone)]
pub struct Cache {
    pub root: PathBuf,
}

impl Cache {
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    pub fn repo(&self, id: &str) -> PathBuf {
        self.root.join(folder_name(id))
    }

    pub fn snapshot(&self, id: &str, commit: &str) -> PathBuf {
        self.repo(id).join("snapshots").join(commit)
    }

    pub fn blob(&self, id: &str, etag: &str) -> PathBuf {
        self.repo(id).join("blobs").join(etag)
    }

    pub fn locks(&self, id: &str) -> PathBuf {
        self.root.join(".locks").join(folder_name(id))
    }

    /// The commit that a revision was when it was last asked for, if anything of it is there.
    pub fn commit(&self, id: &str, revision: &str) -> Option<String> {
        let commit = match is_commit(revision) {
            true => revision.to_owned(),
            false => std::fs::read_to_string(self.reference(id, revision)?).ok()?,
        };
        let commit = commit.trim();
        let there = is_file(commit) && self.snapshot(id, commit).is_dir();
        there.then(|| commit.to_owned())
    }

    fn reference(&self, id: &str, revision: &str) -> Option<PathBuf> {
        is_file(revision).then(|| self.repo(id).join("refs").join(revision))
    }

    /// The files of a commit that are there.
    pub fn files(&self, id: &str, commit: &str) -> Vec<RepoFile> {
        let mut files = vec![];
        list(&self.snapshot(id, commit), "", &mut files);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    }

    /// Remembers which commit a revision is. A commit stands for itself.
    ///
    /// Errors: model, where the cache cannot be written.
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
            let folder = path.parent().expect("it lies in refs/");
            std::fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(commit.as_bytes())?;
            Ok(file.persist(&path)?)
        };
        let written: std::io::Result<_> = write();
        written.map(|_| ()).map_err(|e| self.cannot_write(&e))
    }

    /// Lets a file of a snapshot lead to a content. Where links cannot be made, `new` contents are moved
    /// there and others copied, as Python does.
    pub fn link(&self, blob: &Path, pointer: &Path, new: bool) -> Result<()> {
        let folder = pointer.parent().expect("it lies in a snapshot");
        let link = || {
            std::fs::create_dir_all(folder)?;
            if pointer.symlink_metadata().is_ok() {
                std::fs::remove_file(pointer)?;
            }
            let to = pathdiff::diff_paths(blob, folder).unwrap_or_else(|| blob.to_owned());
            match symlink(&to, pointer) {
                Ok(()) => Ok(()),
                // Another process was quicker.
                Err(_) if pointer.is_file() => Ok(()),
                Err(_) if new => std::fs::rename(blob, pointer),
                Err(_) => std::fs::copy(blob, pointer).map(|_| ()),
            }
        };
        link().map_err(|e: std::io::Error| self.cannot_write(&e))
    }

    /// Errors of writing, by their cause.
    pub fn cannot_write(&self, error: &std::io::Error) -> Error {
        use std::io::ErrorKind::{
            PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
        };
        let shown = self.root.display();
        match error.kind() {
            StorageFull | QuotaExceeded => Error::model(
                format!("the disk of {shown} is full"),
                "free some space, p2p models ls says what the models take, or set HF_HUB_CACHE to a folder on \
                 another disk; the download goes on where it stopped",
            ),
            PermissionDenied | ReadOnlyFilesystem => Error::model(
                format!("the cache {shown} cannot be written: {error}"),
                "set HF_HUB_CACHE to a folder that can be",
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

/// The repository that a folder of the cache is of.
pub fn id_of(folder: &str) -> Option<String> {
    Some(folder.strip_prefix("models--")?.replacen("--", "/", 1))
}

/// Files below a folder; links that lead nowhere are none.
fn list(folder: &Path, before: &str, files: &mut Vec<RepoFile>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{before}{}", entry.file_name().to_string_lossy());
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

/// The name of the content that a link leads to.
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
