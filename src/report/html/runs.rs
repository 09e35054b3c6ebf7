//! What there is to show below a folder: every run with a manifest, and its heatmaps.
//! Owns which folders are looked into and that a foreign or torn file is passed over with a warning;
//! it must never know how anything is shown.

use std::cmp::Ordering;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::manifest::Manifest;
use crate::report::output::{MANIFEST, is_inside};

/// Folder of a run's heatmaps; holds no runs.
const MAPS: &str = "attn";

/// One run's folder.
pub(super) struct Run {
    /// Below the folder that is shown; empty where it is that one.
    pub folder: PathBuf,
    pub manifest: Manifest,
    pub maps: Vec<Heatmap>,
}

/// What one word of a row's prompt looks at.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Heatmap {
    /// Below the run's folder.
    pub file: String,
    /// `source`, `edited-1`
    pub row: String,
    /// Where it stands in the prompt, first and last but one, in characters.
    #[serde(default)]
    pub places: Vec<[usize; 2]>,
    /// `[height, width]` in cells.
    pub grid: [u32; 2],
}

impl Heatmap {
    pub fn cells(&self) -> u32 {
        self.grid[0].saturating_mul(self.grid[1])
    }
}

#[derive(Deserialize)]
struct Index {
    schema: String,
    maps: Vec<Heatmap>,
}

/// Every run below `root`, by path. What can't be read is left out, with a warning that says why.
///
/// # Errors
/// Where `root` itself can't be read.
pub(super) fn find(root: &Path, warnings: &mut Vec<String>) -> io::Result<Vec<Run>> {
    let (mut runs, mut folders) = (vec![], vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        let here = root.join(&folder);
        match inner_folders(&here) {
            // The first of them lies on top.
            Ok(names) => folders.extend(names.iter().rev().map(|name| folder.join(name))),
            Err(e) if folder.as_os_str().is_empty() => return Err(e),
            Err(e) => warnings.push(format!("{} is left out: {e}", here.display())),
        }
        let manifest = here.join(MANIFEST);
        if !manifest.is_file() {
            continue;
        }
        match Manifest::read(&here) {
            Ok(manifest) => runs.push(Run {
                maps: heatmaps(&here, warnings),
                folder,
                manifest,
            }),
            Err(why) => warnings.push(format!("{} is left out: {why}", manifest.display())),
        }
    }
    Ok(runs)
}

/// Names of folders in a folder, in order; not through links, which may lead in circles, nor hidden ones,
/// which are outputs in the making.
fn inner_folders(folder: &Path) -> io::Result<Vec<OsString>> {
    let mut names = vec![];
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if !hidden && name != MAPS && entry.file_type()?.is_dir() {
            names.push(name);
        }
    }
    names.sort_by(|a, b| natural(a.as_encoded_bytes(), b.as_encoded_bytes()));
    Ok(names)
}

/// `edit-2` before `edit-10`.
fn natural(a: &[u8], b: &[u8]) -> Ordering {
    let is_digit = |c: &u8| c.is_ascii_digit();
    let runs = |name: &[u8]| -> Vec<Vec<u8>> {
        let same = |a: &u8, b: &u8| is_digit(a) == is_digit(b);
        let run = |run: &[u8]| {
            if is_digit(&run[0]) {
                // Of two numbers the longer is larger, once zeros in front are gone.

                let zeros = run.iter().take_while(|c| **c == b'0').count();
                let number = &run[zeros..];
                [&(number.len() as u32).to_be_bytes(), number].concat()
            } else {
                run.to_vec()
            }
        };
        name.chunk_by(same).map(run).collect()
    };
    runs(a).cmp(&runs(b)).then_with(|| a.cmp(b))
}

/// The heatmaps of words; none where none were drawn.
fn heatmaps(folder: &Path, warnings: &mut Vec<String>) -> Vec<Heatmap> {
    let path = folder.join(MAPS).join("index.json");
    let Ok(bytes) = fs::read(&path) else {
        return vec![];
    };
    match serde_json::from_slice::<Index>(&bytes) {
        Ok(index) if index.schema == "p2p.maps/v1" => {
            let usable = |map: &Heatmap| !map.places.is_empty() && is_inside(&map.file);
            index.maps.into_iter().filter(usable).collect()
        }
        Ok(index) => {
            let why = format!("its schema is {}", index.schema);
            warnings.push(format!("{} is left out: {why}", path.display()));
            vec![]
        }
        Err(e) => {
            warnings.push(format!("{} is left out: {e}", path.display()));
            vec![]
        }
    }
}
