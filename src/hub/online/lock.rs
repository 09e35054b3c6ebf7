//! The lock that keeps two processes, of Python's too, from fetching one content twice.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::hub::cache::Cache;
use crate::hub::progress::Watch;

const TICK: Duration = Duration::from_millis(50);
/// After which a wait is worth a line.
const SAID_AFTER: Duration = Duration::from_millis(400);

/// Held until it is dropped. `flock`, which Python's filelock takes as well; a process that dies lets go.
pub struct Lock(#[expect(dead_code, reason = "closing it unlocks")] Option<File>);

impl Lock {
    /// Waits for whoever holds it; `what` is being fetched.
    pub fn take(cache: &Cache, path: &Path, what: &str, watch: &dyn Watch) -> Result<Self> {
        let (start, mut said) = (Instant::now(), false);
        loop {
            let file = open(path).map_err(|e| cache.cannot_write(&e))?;
            match file.try_lock() {
                // Python removes a lock that it gives back: this may be one that nobody else will find.
                Ok(()) if is_at(&file, path) => return Ok(Self(Some(file))),
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => {}
                // Some file systems have no locks: what is fetched twice is still whole.
                Err(TryLockError::Error(_)) => return Ok(Self(None)),
            }
            if !said && start.elapsed() >= SAID_AFTER {
                watch.note(&format!(
                    "waiting for another process, which fetches {what}"
                ));
                said = true;
            }
            watch.go_on()?;
            std::thread::sleep(TICK);
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    std::fs::create_dir_all(path.parent().expect("it lies in .locks"))?;
    let mut options = File::options();
    options.create(true).truncate(false).write(true).open(path)
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |data: std::fs::Metadata| (data.dev(), data.ino());
    let (here, there) = (file.metadata().map(id), path.metadata().map(id));
    here.is_ok_and(|here| there.is_ok_and(|there| here == there))
}

#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}
