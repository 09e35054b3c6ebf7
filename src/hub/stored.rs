//! The inventory of the cache, and removal from it. Owns sizes, times and what can be deleted safely; it
//! must never know what is in a model's files.

use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::cache::{Cache, content_of, id_of};
use super::name::is_commit;
use crate::error::Result;

/// A repository in the cache.
#[derive(Debug, Clone)]
pub struct StoredModel {
    /// The repository id, `owner/name`.
    pub id: String,
    /// The folder of the repository.
    pub folder: PathBuf,
    /// Bytes on disk.
    pub bytes: u64,
    /// The cached commits. Those with a branch or a tag come first.
    pub snapshots: Vec<Snapshot>,
    /// Interrupted downloads: the number of files, and their bytes so far.
    pub incomplete: (usize, u64),
    /// When a file was last written.
    pub modified: Option<SystemTime>,
    /// When a file was last read, on disks that record it.
    pub used: Option<SystemTime>,
}

/// The cached files of one commit.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The commit's hash.
    pub commit: String,
    /// Branches and tags that were this commit when the hub was last asked.
    pub revisions: Vec<String>,
    /// The folder of the files.
    pub folder: PathBuf,
    /// The number of files.
    pub files: usize,
    /// Bytes of the files. Other snapshots can share some of them.
    pub bytes: u64,
}

/// Paths to delete.
#[derive(Debug, Clone, Default)]
pub struct Removal {
    /// Files, and folders with all that they contain.
    pub paths: Vec<PathBuf>,
    /// Bytes that the deletion frees.
    pub bytes: u64,
}

impl Cache {
    /// All cached models, sorted by id.
    pub fn stored(&self) -> Vec<StoredModel> {
        let entries = std::fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .flatten();
        let id = |entry: std::fs::DirEntry| {
            let id = id_of(&entry.file_name().to_string_lossy())?;
            entry.path().is_dir().then_some(id)
        };
        let mut ids: Vec<String> = entries.filter_map(id).collect();
        ids.sort_by_key(|id| id.to_lowercase());
        let stored = ids.iter().filter_map(|id| self.stored_as(id));
        stored.collect()
    }

    /// The cached model with an id.
    pub fn stored_as(&self, id: &str) -> Option<StoredModel> {
        let folder = self.repo(id);
        folder.is_dir().then(|| {
            let mut stored = StoredModel {
                id: id.to_owned(),
                bytes: 0,
                snapshots: snapshots(&folder),
                incomplete: (0, 0),
                modified: None,
                used: None,
                folder,
            };
            for (path, data) in files(&stored.folder) {
                // Links take no space. Their blobs are counted as files of their own.
                if data.is_symlink() {
                    continue;
                }
                stored.bytes += data.len();
                if path.extension().is_some_and(|e| e == "incomplete") {
                    stored.incomplete.0 += 1;
                    stored.incomplete.1 += data.len();
                }
                stored.modified = stored.modified.max(data.modified().ok());
                stored.used = stored.used.max(data.accessed().ok());
            }
            stored
        })
    }

    /// What to delete to remove a model, or `only` one of its snapshots. Blobs that other snapshots use stay.
    pub fn removal(&self, stored: &StoredModel, only: Option<&Snapshot>) -> Removal {
        let Some(removed) = only.filter(|_| stored.snapshots.len() > 1) else {
            let locks = Some(self.locks(&stored.id)).filter(|locks| locks.is_dir());
            return Removal {
                paths: [stored.folder.clone()].into_iter().chain(locks).collect(),
                bytes: stored.bytes,
            };
        };
        let others = stored
            .snapshots
            .iter()
            .filter(|s| s.commit != removed.commit);
        let used: HashSet<String> = others.flat_map(|s| contents(&s.folder)).collect();
        let mut removal = Removal::default();
        // Without links, the files are in the snapshot itself.
        let own = files(&removed.folder)
            .into_iter()
            .filter(|(_, data)| !data.is_symlink());
        removal.bytes += own.map(|(_, data)| data.len()).sum::<u64>();
        removal.paths.push(removed.folder.clone());
        // Python's records of files that do not exist, and of a commit's whole list.
        let no_exist = stored.folder.join(".no_exist").join(&removed.commit);
        let tree = stored.folder.join(format!("trees/{}.json", removed.commit));
        let refs = removed.revisions.iter();
        let refs = refs.map(|revision| stored.folder.join("refs").join(revision));
        let records = refs.chain([no_exist, tree]).filter(|path| path.exists());
        removal.paths.extend(records);
        let mut own: Vec<String> = contents(&removed.folder);
        own.sort_unstable();
        own.dedup();
        for content in own.iter().filter(|content| !used.contains(*content)) {
            let blob = self.blob(&stored.id, content);
            if let Ok(data) = blob.metadata() {
                removal.bytes += data.len();
                removal.paths.push(blob);
            }
        }
        removal
    }

    /// Whether a process is downloading files of a model.
    pub fn is_busy(&self, id: &str) -> bool {
        let is_held = |(path, _): (PathBuf, std::fs::Metadata)| {
            let lock = File::options().write(true).open(path);
            lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
        };
        files(&self.locks(id)).into_iter().any(is_held)
    }

    /// Deletes paths in their order: links come before their blobs, so that no link is ever broken.
    ///
    /// # Errors
    /// A model error if a path cannot be deleted.
    pub fn remove(&self, removal: &Removal) -> Result<()> {
        for path in &removal.paths {
            let removed = if path.is_dir() {
                std::fs::remove_dir_all(path)
            } else {
                std::fs::remove_file(path)
            };
            if let Err(e) = removed
                && e.kind() != std::io::ErrorKind::NotFound
            {
                return Err(self.cannot_write(&e));
            }
        }
        Ok(())
    }
}

fn snapshots(folder: &Path) -> Vec<Snapshot> {
    let refs = files(&folder.join("refs"));
    let revision = |(path, _): &(PathBuf, _)| {
        let name = path.strip_prefix(folder.join("refs")).ok()?;
        let name = name.to_string_lossy().replace('\\', "/");
        Some((name, std::fs::read_to_string(path).ok()?.trim().to_owned()))
    };
    let refs: Vec<(String, String)> = refs.iter().filter_map(revision).collect();
    let entries = std::fs::read_dir(folder.join("snapshots"));
    let mut snapshots: Vec<Snapshot> = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .map(|path| snapshot(path, &refs))
        .collect();
    // Snapshots with a branch or a tag come first.
    snapshots.sort_by_key(|s| {
        (
            s.revisions.is_empty(),
            s.revisions.clone(),
            s.commit.clone(),
        )
    });
    snapshots
}

fn snapshot(folder: PathBuf, refs: &[(String, String)]) -> Snapshot {
    let commit = folder.file_name().unwrap_or_default();
    let commit = commit.to_string_lossy().into_owned();
    let own = refs.iter().filter(|(_, target)| *target == commit);
    let mut revisions: Vec<String> = own.map(|(name, _)| name.clone()).collect();
    revisions.sort();
    let sizes: Vec<u64> = files(&folder)
        .into_iter()
        .filter_map(|(path, _)| Some(path.metadata().ok()?.len()))
        .collect();
    Snapshot {
        files: sizes.len(),
        bytes: sizes.iter().sum(),
        commit,
        revisions,
        folder,
    }
}

impl StoredModel {
    /// The snapshot of a branch, a tag, or a commit. Six or more first digits of a commit are enough.
    pub fn snapshot(&self, revision: &str) -> Option<&Snapshot> {
        let mut snapshots = self.snapshots.iter();
        if is_commit(revision) {
            return snapshots.find(|s| s.commit == revision);
        }
        let abbreviates = |commit: &str| revision.len() >= 6 && commit.starts_with(revision);
        snapshots.find(|s| s.revisions.iter().any(|r| r == revision) || abbreviates(&s.commit))
    }
}

/// Names of the blobs that a folder's links lead to.
fn contents(folder: &Path) -> Vec<String> {
    let links = files(folder).into_iter();
    links.filter_map(|(path, _)| content_of(&path)).collect()
}

/// All files and links below a folder.
fn files(folder: &Path) -> Vec<(PathBuf, std::fs::Metadata)> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(data) if data.is_dir() => found.extend(files(&entry.path())),
            Ok(data) => found.push((entry.path(), data)),
            Err(_) => {}
        }
    }
    found
}
