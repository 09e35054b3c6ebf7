//! The interface that a download reports to, and that can interrupt it. It must never know how progress
//! is shown.

use std::path::Path;

use crate::error::Result;

/// Receives the progress of downloads. Every method has a default that does nothing.
pub trait ProgressReporter: Sync {
    /// Information for every user.
    fn note(&self, _line: &str) {}

    /// Something that the user probably did not intend.
    fn warn(&self, _line: &str) {}

    /// Called several times a second while a download runs.
    ///
    /// # Errors
    /// An error ends the download, for example because the user asked to stop.
    fn check_interrupted(&self) -> Result<()> {
        Ok(())
    }

    /// The download of `files` files of a repository into the folder `into` starts, `bytes` bytes in total.
    fn start(&self, _files: usize, _bytes: u64, _repo: &str, _into: &Path) {}

    /// The next file starts. Its size is in bytes.
    fn file(&self, _path: &str, _size: u64) {}

    /// The number of bytes of the current file that are on the disk. It falls when the file starts over.
    fn position(&self, _bytes: u64) {}

    /// The download ended, successfully or not.
    fn finish(&self) {}
}

/// A reporter that shows nothing and never interrupts.
#[derive(Debug)]
pub struct Silent;

impl ProgressReporter for Silent {}
