//! The output folder of many jobs: who may write there, what is finished, and what a killed run left.
//! Results are made in a hidden folder of the output folder, which one run at a time owns.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::report::output::MANIFEST;

use super::task::Task;

/// What is in the making; what is found there at the start belongs to nobody.
const STAGING: &str = ".p2p-batch";

pub struct Place {
    staging: PathBuf,
    /// Held for as long as the run lasts; a killed process loses it.
    lock: File,
}

impl Place {
    /// Makes the folder, and clears away what a killed run left in the making.
    ///
    /// Errors: usage, where another run writes there; run, where the disk refuses.
    pub fn take(out: &Path) -> Result<Self> {
        let refused = |e: std::io::Error| {
            Error::run(
                format!("cannot write {}: {e}", out.display()),
                "choose a folder you may write to with -o",
            )
        };
        let staging = out.join(STAGING);
        fs::create_dir_all(&staging).map_err(refused)?;
        let lock = File::create(staging.join("lock")).map_err(refused)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::usage(
                    format!("another run is writing to {}", out.display()),
                    "wait for it, or choose another folder with -o",
                ));
            }
            // A file system without locks: then it is on the user.
            Err(TryLockError::Error(_)) => {}
        }
        for left in fs::read_dir(&staging).map_err(refused)?.flatten() {
            if left.path().is_dir() {
                fs::remove_dir_all(left.path()).map_err(refused)?;
            }
        }
        Ok(Self { staging, lock })
    }

    pub fn staging(&self) -> &Path {
        &self.staging
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.lock.unlock();
        let _ = fs::remove_dir_all(&self.staging);
    }
}

/// Whether a task's files are there, drawn from the same settings. A file that is there is whole: it
/// came by a rename.
pub fn finished(task: &Task) -> bool {
    let manifest = fs::read(task.folder.join(MANIFEST)).ok();
    let manifest =
        manifest.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    let Some(manifest) = manifest else {
        return false;
    };
    let files = manifest["files"].as_array();
    let there =
        |file: &serde_json::Value| file.as_str().is_some_and(|f| task.folder.join(f).is_file());
    manifest["fingerprint"] == task.fingerprint.as_str()
        && files.is_some_and(|files| files.iter().all(there))
}
