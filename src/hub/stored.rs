//! What the cache holds, and how it is taken away again. Knows files and links, and nothing of models.

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
    pub id: String,
    pub folder: PathBuf,
    /// Bytes on disk.
    pub bytes: u64,
    pub snapshots: Vec<Snapshot>,
    /// Downloads that were cut short: files, bytes.
    pub incomplete: (usize, u64),
    /// Of any file; the time of use where the disk keeps it.
    pub modified: Option<SystemTime>,
    pub used: Option<SystemTime>,
}

/// One commit of it, or what was fetched of that.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub commit: String,
    /// Branches and tags that were this commit when they were last asked for.
    pub revisions: Vec<String>,
    pub folder: PathBuf,
    pub files: usize,
    /// Bytes of its files, some of which others may share.
    pub bytes: u64,
}

/// What is to be taken away.
#[derive(Debug, Clone, Default)]
pub struct Removal {
    /// Folders and files, whole.
    pub paths: Vec<PathBuf>,
    pub bytes: u64,
}

impl Cache {
    /// All models that are there, by name.
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

    /// One of them.
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
                // Links are as good as nothing; what they lead to is counted where it lies.
                if data.is_symlink() {
                    continue;
                }
                stored.bytes += data.len();
                if path
                    .extension()
                    .is_some_and(|ending| ending == "incomplete")
                {
                    stored.incomplete.0 += 1;
                    stored.incomplete.1 += data.len();
                }
                stored.modified = stored.modified.max(data.modified().ok());
                stored.used = stored.used.max(data.accessed().ok());
            }
            stored
        })
    }

    /// What goes with a model, or with one of its snapshots alone: contents that others use stay.
    pub fn removal(&self, stored: &StoredModel, only: Option<&Snapshot>) -> Removal {
        let Some(gone) = only.filter(|_| stored.snapshots.len() > 1) else {
            let locks = Some(self.locks(&stored.id)).filter(|locks| locks.is_dir());
            return Removal {
                paths: [stored.folder.clone()].into_iter().chain(locks).collect(),
                bytes: stored.bytes,
            };
        };
        let others = stored.snapshots.iter().filter(|s| s.commit != gone.commit);
        let used: HashSet<String> = others.flat_map(|s| contents(&s.folder)).collect();
        let mut removal = Removal::default();
        // Where there are no links, files lie in the snapshot itself.
        let own = files(&gone.folder)
            .into_iter()
            .filter(|(_, data)| !data.is_symlink());
        removal.bytes += own.map(|(_, data)| data.len()).sum::<u64>();
        removal.paths.push(gone.folder.clone());
        let nowhere = stored.folder.join(".no_exist").join(&gone.commit);
        let tree = stored.folder.join(format!("trees/{}.json", gone.commit));
        let refs = gone.revisions.iter();
        let refs = refs.map(|revision| stored.folder.join("refs").join(revision));
        let beside = refs.chain([nowhere, tree]).filter(|path| path.exists());
        removal.paths.extend(beside);
        let mut of_it: Vec<String> = contents(&gone.folder);
        of_it.sort_unstable();
        of_it.dedup();
        for content in of_it.iter().filter(|content| !used.contains(*content)) {
            let blob = self.blob(&stored.id, content);
            if let Ok(data) = blob.metadata() {
                removal.bytes += data.len();
                removal.paths.push(blob);
            }
        }
        removal
    }

    /// Whether a process fetches something of a model at this moment.
    pub fn is_busy(&self, id: &str) -> bool {
        let held = |(path, _): (PathBuf, std::fs::Metadata)| {
            let lock = File::options().write(true).open(path);
            lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
        };
        files(&self.locks(id)).into_iter().any(held)
    }

    /// Takes it away: links first, so that none ever leads nowhere.
    pub fn remove(&self, removal: &Removal) -> Result<()> {
        for path in &removal.paths {
            let removed = match path.is_dir() {
                true => std::fs::remove_dir_all(path),
                false => std::fs::remove_file(path),
            };
            match removed {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(self.cannot_write(&e));
                }
                _ => {}
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
    // What branches lead to comes first.
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
    let of_it = refs.iter().filter(|(_, to)| *to == commit);
    let mut revisions: Vec<String> = of_it.map(|(name, _)| name.clone()).collect();
    revisions.sort();
    let whole = files(&folder).into_iter();
    let sizes: Vec<u64> = whole
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
    /// Of a branch, a tag, a commit or its first signs.
    pub fn snapshot(&self, revision: &str) -> Option<&Snapshot> {
        let mut snapshots = self.snapshots.iter();
        let begins = |commit: &str| revision.len() >= 6 && commit.starts_with(revision);
        let is =
            |s: &&Snapshot| s.revisions.iter().any(|name| name == revision) || begins(&s.commit);
        match is_commit(revision) {
            true => snapshots.find(|s| s.commit == revision),
            false => snapshots.find(is),
        }
    }
}

/// Names of the contents that a folder's links lead to.
fn contents(folder: &Path) -> Vec<String> {
    let links = files(folder).into_iter();
    links.filter_map(|(path, _)| content_of(&path)).collect()
}

/// Every file and link below a folder.
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
