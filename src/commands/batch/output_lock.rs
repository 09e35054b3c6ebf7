//! The output folder of many jobs: locks it, removes what a killed run left behind, and finds finished results.
//! Unfinished results are written to a hidden folder inside the output folder, which one run at a time owns. It must
//! never know how jobs are drawn.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::report::output::MANIFEST;

use super::task::Task;

/// The hidden folder of unfinished results.
const STAGING: &str = ".p2p-batch";

/// The exclusive right to write to an output folder.
pub struct OutputLock {
    staging: PathBuf,
    /// The locked file. The operating system releases the lock if the process is killed.
    lock: File,
}

impl OutputLock {
    /// Creates and locks the folder, and removes unfinished results of a killed run.
    ///
    /// # Errors
    /// A usage error if another run is writing to the folder, a run error if the folder cannot be written.
    pub fn take(out: &Path) -> Result<Self> {
        let refused = |e: std::io::Error| {
            Error::run(
                format!("cannot write {}: {e}", out.display()),
                "choose a writable folder with -o",
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
                    "wait until it ends, or choose another folder with -o",
                ));
            }
            // The file system has no locks. The user must not start two runs there.
            Err(TryLockError::Error(_)) => {}
        }
        for left in fs::read_dir(&staging).map_err(refused)?.flatten() {
            if left.path().is_dir() {
                fs::remove_dir_all(left.path()).map_err(refused)?;
            }
        }
        Ok(Self { staging, lock })
    }

    /// The folder for unfinished results.
    pub fn staging(&self) -> &Path {
        &self.staging
    }
}

impl Drop for OutputLock {
    fn drop(&mut self) {
        let _ = self.lock.unlock();
        let _ = fs::remove_dir_all(&self.staging);
    }
}

/// Whether all files of a task exist and were drawn with the same settings.
pub fn finished(task: &Task) -> bool {
    let manifest = fs::read(task.folder.join(MANIFEST)).ok();
    let manifest =
        manifest.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    let Some(manifest) = manifest else {
        return false;
    };
    let files = manifest["files"].as_array();
    let there = |file: &serde_json::Value| {
        file.as_str()
            .is_some_and(|f| is_whole(&task.folder.join(f)))
    };
    task.fingerprint
        .as_ref()
        .is_some_and(|of_it| manifest["fingerprint"] == of_it.as_str())
        && files.is_some_and(|files| files.iter().all(there))
}

/// Whether a file is complete. Files are complete when they are renamed into place, but a later copy onto a full disk
/// may have cut them.
fn is_whole(file: &Path) -> bool {
    /// The chunk that ends every PNG: length 0, name, checksum.
    const END: &[u8; 12] = b"\0\0\0\0IEND\xaeB`\x82";
    let is_png = file.extension().is_some_and(|extension| extension == "png");
    let tail = || -> std::io::Result<[u8; 12]> {
        let (mut open, mut tail) = (File::open(file)?, [0; 12]);
        open.seek(SeekFrom::End(-12))?;
        open.read_exact(&mut tail)?;
        Ok(tail)
    };
    if is_png {
        tail().is_ok_and(|tail| tail == *END)
    } else {
        fs::metadata(file).is_ok_and(|of| of.is_file() && of.len() > 0)
    }
}
