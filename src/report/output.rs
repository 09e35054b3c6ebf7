//! The output folder, which is written completely or not at all.
//! Owns existence checks, renames and the removal of an earlier run's files. It must never know what the files
//! mean, except the list of names in an earlier `manifest.json`.
//!
//! A run that fails leaves no files. A process that is killed can leave its hidden `.p2p-*` folder, but never
//! an incomplete result.

use std::collections::HashSet;
use std::fs;
use std::path::{self, Component, Path, PathBuf};

use image::{ImageBuffer, Pixel};
use tempfile::TempDir;

use super::atomic::{CreatedParents, cannot_write, hidden, parent_of, write_through};
use super::png::{self, TextChunk};
use crate::error::{Error, Result};
use crate::message;
use crate::setting::Setting;

/// The file that lists all files of a run under `"files"`.
pub const MANIFEST: &str = "manifest.json";

/// An output folder that is being written. Its files are hidden until [`finish`](Self::finish).
#[derive(Debug)]
pub struct OutputFolder {
    target: PathBuf,
    /// Whether `target` already exists, so that files are moved into it one by one.
    exists: bool,
    temporary: TempDir,
    written: Vec<String>,
    /// Whether pictures are written without their metadata.
    bare: bool,
    /// Dropped after `temporary`, so that the parents are empty by then.
    parents: CreatedParents,
}

impl OutputFolder {
    /// Checks that `path` can be written, and creates a hidden folder on the same file system and the missing
    /// parents of `path`.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if `path` exists and `force` is false, or if `path` is not a folder. [`Error::Run`] if a
    /// folder cannot be created.
    pub fn create(path: &Path, force: bool) -> Result<Self> {
        let exists = check_target(path, force)?;
        // An existing folder may be a mount point. A rename works only inside one file system.
        let place = if exists {
            path.to_path_buf()
        } else {
            parent_of(path)
        };
        Self::hidden_in(&place, path, exists)
    }

    /// Like [`create`](Self::create), with the hidden folder in `staging`, which must be on the same file system.
    /// The owner of `staging` removes what a killed process leaves there. An existing output folder is reused.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if `path` is not a folder, [`Error::Run`] if a folder cannot be created.
    pub fn create_in(path: &Path, staging: &Path) -> Result<Self> {
        let exists = check_target(path, true)?;
        Self::hidden_in(staging, path, exists)
    }

    fn hidden_in(place: &Path, path: &Path, exists: bool) -> Result<Self> {
        let mut parents = CreatedParents::default();
        let refused = |e| cannot_write(path, &e);
        parents.create(&parent_of(path)).map_err(refused)?;
        Ok(Self {
            target: path.to_path_buf(),
            exists,
            temporary: hidden(0o777).tempdir_in(place).map_err(refused)?,
            written: Vec::new(),
            bare: false,
            parents,
        })
    }

    /// Whether the pictures that follow are written without metadata.
    pub fn bare(self, bare: bool) -> Self {
        Self { bare, ..self }
    }

    /// The temporary path of the file `name`, which becomes one of the folder's files.
    ///
    /// # Panics
    ///
    /// If `name` leads out of the folder.
    pub fn path(&mut self, name: &str) -> PathBuf {
        assert!(is_inside(name), "{name:?} is not a name inside the folder");
        if !self.written.iter().any(|known| known == name) {
            self.written.push(name.to_string());
        }
        self.temporary.path().join(name)
    }

    /// The last part of the folder's path.
    pub fn name(&self) -> String {
        let full = path::absolute(&self.target).unwrap_or_else(|_| self.target.clone());
        full.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// The hidden folder that holds the files until [`finish`](Self::finish).
    pub fn making(&self) -> &Path {
        self.temporary.path()
    }

    /// The file name of `path` if `path` is directly inside this folder. The folder need not exist yet.
    pub fn name_of(&self, path: &Path) -> Option<String> {
        let absolute = |path: &Path| path::absolute(path).ok();
        let inside = absolute(path)?.parent()? == absolute(&self.target)?;
        let name = path.file_name()?.to_str()?;
        (inside && is_plain(name)).then(|| name.to_string())
    }

    /// Writes `bytes` as the file `name`.
    ///
    /// # Errors
    ///
    /// [`Error::Run`] if the file cannot be written.
    pub fn write_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(name);
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        let written = folder.and_then(|()| write_through(&path, bytes));
        written.map_err(|e| cannot_write(&self.target.join(name), &e))
    }

    /// Writes `text` as the file `name`.
    ///
    /// # Errors
    ///
    /// [`Error::Run`] if the file cannot be written.
    pub fn write_text(&mut self, name: &str, text: &str) -> Result<()> {
        self.write_bytes(name, text.as_bytes())
    }

    /// The names of all files so far, followed by `name`.
    pub fn files_with(&self, name: &str) -> Vec<String> {
        self.written
            .iter()
            .cloned()
            .chain([name.to_owned()])
            .collect()
    }

    /// Writes `picture` as the PNG file `name` with these text chunks.
    ///
    /// # Errors
    ///
    /// [`Error::Run`] if the picture cannot be encoded or written.
    pub fn write_png<P>(
        &mut self,
        name: &str,
        picture: &ImageBuffer<P, Vec<u8>>,
        texts: &[TextChunk],
    ) -> Result<()>
    where
        P: Pixel<Subpixel = u8>,
    {
        let texts = if self.bare { &[] } else { texts };
        let bytes = png::encode(picture, texts);
        let bytes = bytes.map_err(|e| cannot_write(&self.target.join(name), &e))?;
        self.write_bytes(name, &bytes)
    }

    /// Moves all files into place and returns their paths in the order in which they were begun.
    ///
    /// A new folder appears in one step. In an existing folder a rename replaces each file, and the regular
    /// files that only the old manifest lists are removed. The manifest is moved last: at every moment the
    /// manifest in the folder lists all files that a later run has to remove.
    ///
    /// # Errors
    ///
    /// [`Error::Run`] if a file cannot be moved or removed.
    pub fn finish(mut self) -> Result<Vec<PathBuf>> {
        if self.exists {
            self.replace_files()?;
        } else {
            fs::rename(self.temporary.path(), &self.target)
                .map_err(|e| cannot_write(&self.target, &e))?;
            // The hidden folder was renamed, so there is nothing to clean up.
            self.temporary.disable_cleanup(true);
        }
        self.parents.keep();
        Ok(self.written.iter().map(|n| self.target.join(n)).collect())
    }

    fn replace_files(&self) -> Result<()> {
        // Checked before the first move, because a folder in the way would leave the rest undone.
        for name in &self.written {
            let path = self.target.join(name);
            if path.is_dir() {
                return Err(in_the_way(&path));
            }
        }
        let (manifest, others): (Vec<&String>, Vec<&String>) =
            self.written.iter().partition(|name| *name == MANIFEST);
        let stale = self.stale_files();
        others.into_iter().try_for_each(|name| self.replace(name))?;
        for path in stale {
            fs::remove_file(&path).map_err(|e| cannot_write(&path, &e))?;
            self.remove_empty_folders(&path);
        }
        manifest.into_iter().try_for_each(|name| self.replace(name))
    }

    /// Removes the folders inside the target that are empty without `path`.
    fn remove_empty_folders(&self, path: &Path) {
        let folders = path
            .ancestors()
            .skip(1)
            .take_while(|folder| *folder != self.target);
        for folder in folders {
            // A folder with files stays, and so do its parents.
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }

    fn replace(&self, name: &str) -> Result<()> {
        let path = self.target.join(name);
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        folder.map_err(|e| cannot_write(&path, &e))?;
        fs::rename(self.temporary.path().join(name), &path).map_err(|e| cannot_write(&path, &e))
    }

    /// Regular files of the target that an earlier run lists and this run does not write.
    fn stale_files(&self) -> Vec<PathBuf> {
        let new: HashSet<&str> = self.written.iter().map(String::as_str).collect();
        listed_files(&self.target.join(MANIFEST))
            .into_iter()
            .filter(|name| is_inside(name) && !new.contains(name.as_str()))
            .map(|name| self.target.join(name))
            // Links are not followed: their targets may belong to others.
            .filter(|path| fs::symlink_metadata(path).is_ok_and(|m| m.is_file()))
            .collect()
    }
}

/// Whether the target exists. It is an error if it exists and may not be used.
fn check_target(path: &Path, force: bool) -> Result<bool> {
    if path.as_os_str().is_empty() {
        let cure = message!["use ", Setting::Output.to("DIR")];
        return Err(Error::usage("the output folder has no name", cure).about(Setting::Output));
    }
    // `Path::exists` would be false for a broken link.
    if fs::symlink_metadata(path).is_err() {
        return Ok(false);
    }
    let name = path.display();
    if !path.is_dir() {
        let cause = format!("{name} exists and is not a folder");
        let cure = message!["choose another folder with ", Setting::Output];
        return Err(Error::usage(cause, cure).about(Setting::Output));
    }
    if !force {
        let cause = format!("the output folder {name} exists already");
        let cure = message![
            "add ",
            Setting::Force.to(true),
            " to replace its pictures, or choose another folder with ",
            Setting::Output
        ];
        return Err(Error::usage(cause, cure).about(Setting::Output));
    }
    Ok(true)
}

/// Whether `name` is one plain file name on every operating system.
fn is_plain(name: &str) -> bool {
    let parts: Vec<Component> = Path::new(name).components().collect();
    matches!(parts[..], [Component::Normal(part)] if part == name)
        && !name.contains(['/', '\\', ':'])
}

/// Whether `name` is a path inside a folder, made of plain names.
pub(super) fn is_inside(name: &str) -> bool {
    !name.is_empty() && name.split('/').all(is_plain)
}

/// The names under `"files"` in a manifest. A missing or foreign manifest has none.
fn listed_files(manifest: &Path) -> Vec<String> {
    fs::read(manifest)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok())
        .and_then(|value| serde_json::from_value(value.get("files")?.clone()).ok())
        .unwrap_or_default()
}

fn in_the_way(path: &Path) -> Error {
    let cause = format!("cannot write {}: a folder has this name", path.display());
    let cure = message![
        "move it away, or choose another folder with ",
        Setting::Output
    ];
    Error::run(cause, cure).about(Setting::Output)
}
