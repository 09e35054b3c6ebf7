//! The output folder, written all or nothing.
//! Owns existence checks, renames and the removal of an earlier run's files; it must never know what
//! the files mean, except the list of names an earlier `manifest.json` keeps.
//!
//! A run that fails or is dropped leaves nothing behind. A killed process can leave its hidden
//! `.p2p-*` folder, never a half-written result.

use std::collections::HashSet;
use std::fs;
use std::path::{self, Component, Path, PathBuf};

use image::{ImageBuffer, Pixel};
use tempfile::TempDir;

use super::atomic::{CreatedParents, cannot_write, hidden, parent_of, write_through};
use super::png::{self, TextChunk};
use crate::error::{Error, Result};

/// The file whose `"files"` list says what a run wrote.
pub const MANIFEST: &str = "manifest.json";

/// A folder of outputs in the making: hidden until [`finish`](Self::finish).
#[derive(Debug)]
pub struct OutputFolder {
    target: PathBuf,
    /// Whether `target` stood there already, so that files move into it one by one.
    exists: bool,
    temporary: TempDir,
    written: Vec<String>,
    /// Pictures get no texts, whatever is given.
    bare: bool,
    /// Dropped after `temporary`, so that the parents are empty by then.
    parents: CreatedParents,
}

impl OutputFolder {
    /// Checks that `path` can be written and makes a hidden folder on the same file system, and
    /// `path`'s parents where they are missing.
    ///
    /// # Errors
    /// [`Error::Usage`] where `path` exists and `force` is not given, or is no folder;
    /// [`Error::Run`] where the disk refuses.
    pub fn create(path: &Path, force: bool) -> Result<Self> {
        let exists = check_target(path, force)?;
        // An existing folder may be a mount of its own: a rename into it must start inside it.
        let place = if exists {
            path.to_path_buf()
        } else {
            parent_of(path)
        };
        Self::hidden_in(&place, path, exists)
    }

    /// The same with the hidden folder in `staging`, a folder on the same file system, whose owner
    /// removes what a killed process leaves there. A folder that exists is filled anew.
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

    /// Leaves out the texts of all pictures to come, if so wished.
    pub fn bare(self, bare: bool) -> Self {
        Self { bare, ..self }
    }

    /// Where to write the file that will be `name` in the finished folder, which then counts as
    /// one of its files.
    ///
    /// # Panics
    /// Where `name` leads out of the folder: names of outputs are the program's own.
    pub fn path(&mut self, name: &str) -> PathBuf {
        assert!(is_inside(name), "{name:?} is not a name inside the folder");
        if !self.written.iter().any(|known| known == name) {
            self.written.push(name.to_string());
        }
        self.temporary.path().join(name)
    }

    /// The folder's own name.
    pub fn name(&self) -> String {
        let full = path::absolute(&self.target).unwrap_or_else(|_| self.target.clone());
        full.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// Where the files are until they are [finished](Self::finish).
    pub fn making(&self) -> &Path {
        self.temporary.path()
    }

    /// The name of `path` where it lies directly in this folder, which need not exist yet.
    pub fn name_of(&self, path: &Path) -> Option<String> {
        let absolute = |path: &Path| path::absolute(path).ok();
        let inside = absolute(path)?.parent()? == absolute(&self.target)?;
        let name = path.file_name()?.to_str()?;
        (inside && is_plain(name)).then(|| name.to_string())
    }

    /// Writes `bytes` as the file `name`.
    pub fn write_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(name);
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        let written = folder.and_then(|()| write_through(&path, bytes));
        written.map_err(|e| cannot_write(&self.target.join(name), &e))
    }

    /// Writes `text` as the file `name`.
    pub fn write_text(&mut self, name: &str, text: &str) -> Result<()> {
        self.write_bytes(name, text.as_bytes())
    }

    /// The names of the files begun so far, and `name`, which comes last.
    pub fn files_with(&self, name: &str) -> Vec<String> {
        self.written
            .iter()
            .cloned()
            .chain([name.to_owned()])
            .collect()
    }

    /// Writes `picture` as the PNG file `name`, with these texts in it.
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

    /// Moves everything into place and answers the files' paths in the order they were begun.
    ///
    /// A new folder appears in one step. In an existing one each file is replaced by a rename and
    /// the plain files that only its old manifest lists are removed; the manifest moves last, so
    /// that at every moment the one in place lists whatever a later run may have to remove.
    pub fn finish(mut self) -> Result<Vec<PathBuf>> {
        if self.exists {
            self.replace_files()?;
        } else {
            fs::rename(self.temporary.path(), &self.target)
                .map_err(|e| cannot_write(&self.target, &e))?;
            // It has a new name and is nobody's to remove any more.
            self.temporary.disable_cleanup(true);
        }
        self.parents.keep();
        Ok(self.written.iter().map(|n| self.target.join(n)).collect())
    }

    fn replace_files(&self) -> Result<()> {
        // Before the first move: a folder in the way would stop the rest half-way.
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

    /// Folders inside the target that `path` was the last file of.
    fn remove_empty_folders(&self, path: &Path) {
        let folders = path
            .ancestors()
            .skip(1)
            .take_while(|folder| *folder != self.target);
        for folder in folders {
            // One that holds something stays, and so do those around it.
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

    /// Regular files of the target that an earlier run lists and this one does not write.
    fn stale_files(&self) -> Vec<PathBuf> {
        let new: HashSet<&str> = self.written.iter().map(String::as_str).collect();
        listed_files(&self.target.join(MANIFEST))
            .into_iter()
            .filter(|name| is_inside(name) && !new.contains(name.as_str()))
            .map(|name| self.target.join(name))
            // Not through links: what they point at is not ours.
            .filter(|path| fs::symlink_metadata(path).is_ok_and(|m| m.is_file()))
            .collect()
    }
}

/// Whether the target exists; an error where it may not be used.
fn check_target(path: &Path, force: bool) -> Result<bool> {
    if path.as_os_str().is_empty() {
        return Err(Error::usage("the output folder has no name", "give -o DIR"));
    }
    // Not `exists`: a link that points nowhere is there, but not as a folder.
    if fs::symlink_metadata(path).is_err() {
        return Ok(false);
    }
    let name = path.display();
    if !path.is_dir() {
        let cause = format!("{name} exists and is not a folder");
        return Err(Error::usage(cause, "choose another folder with -o"));
    }
    if !force {
        let cause = format!("the output folder {name} exists already");
        let cure = "add --force to replace its pictures, or choose another folder with -o";
        return Err(Error::usage(cause, cure));
    }
    Ok(true)
}

/// One file's name and nothing else, on every system.
fn is_plain(name: &str) -> bool {
    let parts: Vec<Component> = Path::new(name).components().collect();
    matches!(parts[..], [Component::Normal(part)] if part == name)
        && !name.contains(['/', '\\', ':'])
}

/// A file in the folder or in folders of it, by plain names only.
pub(super) fn is_inside(name: &str) -> bool {
    !name.is_empty() && name.split('/').all(is_plain)
}

/// The names under `"files"` in a manifest; none where there is no manifest or it is not ours.
fn listed_files(manifest: &Path) -> Vec<String> {
    fs::read(manifest)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok())
        .and_then(|value| serde_json::from_value(value.get("files")?.clone()).ok())
        .unwrap_or_default()
}

fn in_the_way(path: &Path) -> Error {
    let cause = format!("cannot write {}: a folder has this name", path.display());
    Error::run(cause, "move it away, or choose another folder with -o")
}
