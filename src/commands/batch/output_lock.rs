//! The output folder of many jobs: who may write there, what is finished, and what a killed run left.
//! Results are made in a hidden folder of the output folder, which one run at a time owns.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::report::output::MANIFEST;

use super::task::Task;

/// What is in the making; what is found there at the start belongs to nobody.
const STAGING: &str = ".p2p-batch";

pub struct OutputLock {
    staging: PathBuf,
    /// Held for as long as the run lasts; a killed process loses it.
    lock: File,
}

impl OutputLock {
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

impl Drop for OutputLock {
    fn drop(&mut self) {
        let _ = self.lock.unlock();
        let _ = fs::remove_dir_all(&self.staging);
    }
}

/// Whether a task's files are there, drawn from the same settings.
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

/// Files come by a rename and are whole then; a disk that ran full while they were copied, or somebody's
/// hand, can have cut them since.
fn is_whole(file: &Path) -> bool {
    /// The chunk that every PNG ends with: no bytes, its name, its checksum.
    const END: &[u8; 12] = b"\0\0\0\0IEND\xaeB`\x82";
    let is_png = file.extension().is_some_and(|extension| extension == "png");
    let tail = || -> std::io::Result<[u8; 12]> {
        let (mut open, mut tail) = (File::open(file)?, [0; 12]);
        open.seek(SeekFrom::End(-12))?;
        open.read_exact(&mut tail)?;
        Ok(tail)
    };
    match is_png {
        true => tail().is_ok_and(|tail| tail == *END),
        false => fs::metadata(file).is_ok_and(|of| of.is_file() && of.len() > 0),
    }
}
