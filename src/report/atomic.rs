//! Single files written whole or not at all, and what every such write stands on: hidden temporary
//! names with normal permissions, parents that vanish again, one wording for a disk that refuses.
//! Owns temporary names beside a target; it must never know what a run writes or why.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// A single file in the making; dropped unfinished, it leaves nothing and an old file as it was.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    /// None where the target is a device or a pipe, which must not be replaced by a file.
    temporary: Option<NamedTempFile>,
}

impl AtomicFile {
    /// Makes a hidden file beside `path`, so that an unwritable place shows before the work is
    /// done. An existing file is replaced on [`finish`](Self::finish); a link is followed.
    ///
    /// # Errors
    /// [`Error::Usage`] where `path` is a folder, [`Error::Run`] where the disk refuses.
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

/// Writes a file down to the disk: renamed before its bytes are there, it could be found empty after a
/// power cut.
pub(super) fn write_through(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}

/// Folders made on the way to the target; removed again, where empty, unless kept.
#[derive(Debug, Default)]
pub(super) struct CreatedParents(Vec<PathBuf>);

impl CreatedParents {
    pub(super) fn create(&mut self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        if let Some(parent) = folder.parent().filter(|p| !p.as_os_str().is_empty()) {
            self.create(parent)?;
        }
        match fs::create_dir(folder) {
            Ok(()) => self.0.push(folder.to_path_buf()),
            // Another run was faster; then it is not ours to remove.
            Err(_) if folder.is_dir() => {}
            Err(_) if fs::symlink_metadata(folder).is_ok() => {
                let cause = format!("{} is not a folder", folder.display());
                return Err(io::Error::new(io::ErrorKind::NotADirectory, cause));
            }
            Err(e) => return Err(e),
        }
        Ok(())
    }

    pub(super) fn keep(&mut self) {
        self.0.clear();
    }
}

impl Drop for CreatedParents {
    fn drop(&mut self) {
        for folder in self.0.iter().rev() {
            // Refused where somebody else has put something there meanwhile, as it should be.
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

/// Temporary names with the permissions that any program's files get: `mode` less the umask,
/// where `tempfile` would lock everyone else out of the finished result.
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

pub(super) fn cannot_write(path: &Path, error: &io::Error) -> Error {
    let said = error.to_string();
    // `tempfile` appends the hidden name, which nobody asked about.
    let said = said.split(" at path ").next().unwrap_or_default();
    let cause = format!("cannot write {}: {said}", path.display());
    let cure = match error.kind() {
        io::ErrorKind::NotFound => "create its folder first, or choose another place",
        io::ErrorKind::NotADirectory => "choose a place inside a folder",
        _ => "choose a place you may write to that has space left",
    };
    Error::run(cause, cure)
}
