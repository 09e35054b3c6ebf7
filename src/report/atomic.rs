//! Atomic writes of single files, and the parts that other writers share: hidden temporary names with normal
//! permissions, parent folders that are removed again, one wording for write errors.
//! Owns temporary names beside a target. It must never know what a run writes or why.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// A file that is being written. If it is dropped unfinished, an existing file stays unchanged and no new
/// file appears.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    /// `None` if the target is a device or a pipe, which a file must not replace.
    temporary: Option<NamedTempFile>,
}

impl AtomicFile {
    /// Creates a hidden file beside `path`, so that an unwritable folder is an error before the work is done.
    /// [`finish`](Self::finish) replaces an existing file. Symbolic links are followed.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if `path` is a folder, [`Error::Run`] if the file cannot be created.
    pub fn create(path: &Path) -> Result<Self> {
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        if target.is_dir() || target.file_name().is_none() {
            let cause = format!("{} is a folder, not a file", path.display());
            return Err(Error::usage(cause, "name a file inside it"));
        }
        let temporary = if target.exists() && !target.is_file() {
            None
        } else {
            let file = hidden(0o666).tempfile_in(parent_of(&target));
            Some(file.map_err(|e| cannot_write(path, &e))?)
        };
        Ok(Self { target, temporary })
    }

    /// Writes `bytes` and moves the file into place.
    ///
    /// # Errors
    ///
    /// [`Error::Run`] if the file cannot be written or moved.
    pub fn finish(self, bytes: &[u8]) -> Result<()> {
        let written = match self.temporary {
            None => fs::write(&self.target, bytes),
            Some(file) => write_through(file.path(), bytes)
                .and_then(|()| file.persist(&self.target).map_err(io::Error::from))
                .map(drop),
        };
        written.map_err(|e| cannot_write(&self.target, &e))
    }
}

/// Writes a file and flushes it to the disk. A file that is renamed before its bytes are on the disk can be
/// empty after a power failure.
pub(super) fn write_through(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}

/// Parent folders that were created for a target. Dropping it removes those that are empty, unless
/// [`keep`](Self::keep) was called.
#[derive(Debug, Default)]
pub(super) struct CreatedParents(Vec<PathBuf>);

impl CreatedParents {
    /// Creates a folder and its parents, and remembers those that did not exist.
    pub(super) fn create(&mut self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        if let Some(parent) = folder.parent().filter(|p| !p.as_os_str().is_empty()) {
            self.create(parent)?;
        }
        match fs::create_dir(folder) {
            Ok(()) => self.0.push(folder.to_path_buf()),
            // Another process created the folder meanwhile, so this one must not remove it.
            Err(_) if folder.is_dir() => {}
            Err(_) if fs::symlink_metadata(folder).is_ok() => {
                let cause = format!("{} is not a folder", folder.display());
                return Err(io::Error::new(io::ErrorKind::NotADirectory, cause));
            }
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// Keeps the folders when the value is dropped.
    pub(super) fn keep(&mut self) {
        self.0.clear();
    }
}

impl Drop for CreatedParents {
    fn drop(&mut self) {
        for folder in self.0.iter().rev() {
            // This fails if another process wrote into the folder meanwhile, which is right.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// The folder that holds `path`, in a form that can be opened.
pub(super) fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Hidden temporary names with normal permissions: `mode` without the umask. The permissions that `tempfile`
/// sets would make the finished files private.
pub(super) fn hidden(mode: u32) -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".p2p-");
    if let Some(permissions) = permissions(mode) {
        builder.permissions(permissions);
    }
    builder
}

#[cfg(unix)]
fn permissions(mode: u32) -> Option<Permissions> {
    Some(std::os::unix::fs::PermissionsExt::from_mode(mode))
}

#[cfg(not(unix))]
fn permissions(_mode: u32) -> Option<Permissions> {
    None
}

/// The error for a file that cannot be written.
pub(super) fn cannot_write(path: &Path, error: &io::Error) -> Error {
    let said = error.to_string();
    // `tempfile` appends the hidden name, which means nothing to users.
    let said = said.split(" at path ").next().unwrap_or_default();
    let cause = format!("cannot write {}: {said}", path.display());
    let cure = match error.kind() {
        io::ErrorKind::NotFound => "create its folder first, or choose another place",
        io::ErrorKind::NotADirectory => "choose a place inside a folder",
        _ => "choose a place that is writable and has space left",
    };
    Error::run(cause, cure)
}
