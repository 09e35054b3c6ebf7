//! Finds the runs below a folder: every folder with a manifest, and its heatmaps. Owns which folders are searched. A file
//! that is damaged or of another program is left out with a warning. It must never know how runs are shown.

use std::cmp::Ordering;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::manifest::Manifest;
use crate::report::output::{MANIFEST, is_inside};

/// Folder of a run's heatmaps. It is not searched for runs.
const MAPS: &str = "attn";

/// A folder with the results of a run.
pub(super) struct Run {
    /// The path relative to the searched folder; empty if it is that folder.
    pub folder: PathBuf,
    /// The manifest.
    pub manifest: Manifest,
    /// The heatmaps of words.
    pub maps: Vec<Heatmap>,
}

/// The heatmap of a word in the prompt of a row.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Heatmap {
    /// The path relative to the run's folder.
    pub file: String,
    /// `source`, `edited-1`
    pub row: String,
    /// The ranges `[start, end)` of the word in the prompt, in characters.
    #[serde(default)]
    pub places: Vec<[usize; 2]>,
    /// `[height, width]` in cells.
    pub grid: [u32; 2],
}

impl Heatmap {
    /// The number of cells.
    pub fn cells(&self) -> u32 {
        self.grid[0].saturating_mul(self.grid[1])
    }
}

#[derive(Deserialize)]
struct Index {
    schema: String,
    maps: Vec<Heatmap>,
}

/// All runs below `root`, sorted by path. Folders and files that cannot be read are left out with a warning.
///
/// # Errors
/// If `root` itself cannot be read.
pub(super) fn find(root: &Path, warnings: &mut Vec<String>) -> io::Result<Vec<Run>> {
    let (mut runs, mut folders) = (vec![], vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        let here = root.join(&folder);
        match inner_folders(&here) {
            // Reversed, because folders are taken from the end.
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

/// The sorted names of the folders in a folder. Links are left out, because they may form a cycle. Hidden folders are left
/// out, because they contain unfinished results.
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

/// Compares names so that numbers are in order: `edit-2` before `edit-10`.
fn natural(a: &[u8], b: &[u8]) -> Ordering {
    let is_digit = |c: &u8| c.is_ascii_digit();
    let runs = |name: &[u8]| -> Vec<Vec<u8>> {
        let same = |a: &u8, b: &u8| is_digit(a) == is_digit(b);
        let run = |run: &[u8]| {
            if is_digit(&run[0]) {
                // Without leading zeros, the longer of two numbers is larger.

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

/// The heatmaps of words in a run's folder, if there are any.
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
