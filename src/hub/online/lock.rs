//! The lock that keeps two processes from downloading the same file at once. Python's `huggingface_hub`
//! takes the same one (`flock` through `filelock`). It must never know what the file is for.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::hub::cache::Cache;
use crate::hub::progress::ProgressReporter;

const TICK: Duration = Duration::from_millis(50);
/// A wait that is longer than this is reported.
const NOTE_AFTER: Duration = Duration::from_millis(400);

/// A held lock. Dropping it, or the end of the process, releases it.
pub struct Lock(#[expect(dead_code, reason = "closing the file unlocks it")] Option<File>);

impl Lock {
    /// Waits until no other process holds the lock. `what` names the file in messages.
    ///
    /// # Errors
    /// If the lock's folder cannot be written, or `reporter` ends the wait.
    pub fn take(
        cache: &Cache,
        path: &Path,
        what: &str,
        reporter: &dyn ProgressReporter,
    ) -> Result<Self> {
        let (start, mut is_noted) = (Instant::now(), false);
        loop {
            let file = open(path).map_err(|e| cache.cannot_write(&e))?;
            match file.try_lock() {
                // Python deletes the lock file when it releases it. A lock on a deleted file excludes nobody.
                Ok(()) if is_at(&file, path) => return Ok(Self(Some(file))),
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => {}
                // Some file systems have no locks. Two downloads of one file still give a correct file.
                Err(TryLockError::Error(_)) => return Ok(Self(None)),
            }
            if !is_noted && start.elapsed() >= NOTE_AFTER {
                reporter.note(&format!(
                    "waiting for another process that is downloading {what}"
                ));
                is_noted = true;
            }
            reporter.check_interrupted()?;
            std::thread::sleep(TICK);
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    std::fs::create_dir_all(path.parent().expect("a lock has a folder"))?;
    let mut options = File::options();
    options.create(true).truncate(false).write(true).open(path)
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |data: std::fs::Metadata| (data.dev(), data.ino());
    let (held, found) = (file.metadata().map(id), path.metadata().map(id));
    held.is_ok_and(|held| found.is_ok_and(|found| held == found))
}

#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}
