//! Who is told of a download while it runs, and may end it.

use std::path::Path;

use crate::error::Result;

/// All calls but `go_on` are for people only.
pub trait Watch: Sync {
    /// What everyone should know.
    fn note(&self, _line: &str) {}

    /// What is probably not meant.
    fn warn(&self, _line: &str) {}

    /// Errors: the user asked to stop. Asked many times a second.
    fn go_on(&self) -> Result<()> {
        Ok(())
    }

    /// So many files are fetched, of so many bytes in all, into a folder.
    fn begin(&self, _files: usize, _bytes: u64, _of: &str, _into: &Path) {}

    /// The next of them.
    fn file(&self, _path: &str, _bytes: u64) {}

    /// Bytes of it that are there; fewer than before where it begins anew.
    fn at(&self, _bytes: u64) {}

    fn end(&self) {}
}

/// Tells nobody.
pub struct Silent;

impl Watch for Silent {}
