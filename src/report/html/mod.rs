//! The report: an HTML page with a card for each edit below a folder, built from the manifests alone.
//! Owns the steps from a folder to a page. It must never know how a picture is computed.
//!
//! [`build`] makes a page and [`write()`] writes it. Both can be repeated at any time, also while runs are
//! being added: damaged and foreign manifests are left out with a warning.

mod card;
mod manifest;
mod page;
pub mod pictures;
mod runs;
pub mod words;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use card::{Card, Row, cards};
use page::{BEGINNING, ShownCard, Side, page};
use pictures::Pictures;
use runs::Run;

use super::atomic::{AtomicFile, parent_of};
use crate::error::{Error, Result};
use crate::format::count;
use crate::message;
use crate::setting::Setting;

/// The page's default file name.
pub const REPORT: &str = "report.html";

/// Options of a page.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// The title. The default is the folder's name.
    pub title: Option<&'a str>,
    /// Relative path from the page to the folder. The default is a page inside the folder.
    pub way: Option<&'a Path>,
    /// Whether the page contains the pictures, so that it can be sent as one file.
    pub embed: bool,
}

/// A page, its summary and its warnings.
#[derive(Debug, Clone)]
pub struct Page {
    /// The HTML document.
    pub html: String,
    /// What the page shows, in one line: `60 edits of 6 prompts, 10 seeds, storybook`.
    pub summary: String,
    /// What is left out, and why.
    pub warnings: Vec<String>,
}

/// Builds the page of all runs below `folder`.
///
/// # Errors
///
/// [`Error::Usage`] if there is nothing to show, [`Error::Run`] if the folder cannot be read.
pub fn build(folder: &Path, options: &Options) -> Result<Page> {
    let mut warnings = vec![];
    let runs = runs::find(folder, &mut warnings).map_err(|e| cannot_read(folder, &e))?;
    let way = options.way.unwrap_or(Path::new(""));
    let mut pictures = Pictures::new(folder, way, options.embed);
    let mut shown = vec![];
    for card in runs.iter().flat_map(cards) {
        match show(card, &mut pictures) {
            Ok(card) => shown.push(card),
            Err(why) => warnings.push(format!("an edit is left out: {why}")),
        }
    }
    if shown.is_empty() {
        return Err(nothing(folder, warnings.first()));
    }
    let title = options.title.map_or_else(|| name(folder), str::to_owned);
    let summary = summary(&runs, &shown);
    Ok(Page {
        html: page(&title, &summary, &shown, options.embed),
        summary,
        warnings,
    })
}

/// Builds the page and writes it atomically to `file`, or to `report.html` in the folder. Returns the page's
/// path and the page.
///
/// # Errors
///
/// The errors of [`build`], [`Error::Usage`] if the file exists and is not a report, [`Error::Run`] if it
/// cannot be written.
pub fn write(folder: &Path, file: Option<&Path>, embed: bool) -> Result<(PathBuf, Page)> {
    let path = file.map_or_else(|| folder.join(REPORT), Path::to_owned);
    if path.is_file() && !is_ours(&path) {
        return Err(Error::usage(
            format!("{} exists and is not a report", path.display()),
            message!["choose another file with ", Setting::Output],
        )
        .about(Setting::Output));
    }
    let way = if embed {
        PathBuf::new()
    } else {
        way(&path, folder)?
    };
    let options = Options {
        way: Some(&way),
        embed,
        ..Options::default()
    };
    let page = build(folder, &options)?;
    AtomicFile::create(&path)?.finish(page.html.as_bytes())?;
    Ok((path, page))
}

/// Finds the pictures of a card. It is an error if a picture is missing that was drawn.
fn show(card: Card, pictures: &mut Pictures) -> std::result::Result<ShownCard, String> {
    let before = card.before.as_ref();
    let before = before.and_then(|row| side(row, pictures)).transpose()?;
    let after = side(&card.after, pictures).transpose()?;
    let other = |(name, file): &(&'static str, PathBuf)| Some((*name, pictures.url(file).ok()?));
    let others = card.others.iter().filter_map(other).collect();
    Ok(ShownCard {
        card,
        before,
        after,
        others,
    })
}

/// The picture and the heatmaps of a row, or `None` if the row was not drawn.
fn side(row: &Row, pictures: &mut Pictures) -> Option<std::result::Result<Side, String>> {
    let picture = pictures.source(row.file.as_ref()?);
    // A missing heatmap only makes its word plain text.
    let maps = row.maps.iter();
    let maps = maps.map(|map| pictures.heatmap(&map.file, map.grid).ok());
    Some(picture.map(|picture| Side {
        picture,
        maps: maps.collect(),
    }))
}

/// The page's summary: `60 edits of 6 prompts, 10 seeds, storybook`.
fn summary(runs: &[Run], shown: &[ShownCard]) -> String {
    let cards = || shown.iter().map(|shown| &shown.card);
    let edits = cards().filter(|card| card.before.is_some()).count();
    let prompts: BTreeSet<&str> = runs.iter().map(|run| run.manifest.prompt(0)).collect();
    let seeds: BTreeSet<u64> = cards().map(|card| card.seed).collect();
    let models: BTreeSet<&str> = runs.iter().map(|run| &*run.manifest.model.id).collect();
    let drawn = match (edits, shown.len() - edits) {
        (0, pictures) => count(pictures, "picture"),
        (edits, 0) => format!(
            "{} of {}",
            count(edits, "edit"),
            count(prompts.len(), "prompt")
        ),
        (edits, pictures) => format!("{}, {}", count(edits, "edit"), count(pictures, "picture")),
    };
    let seeds = match seeds.first() {
        Some(seed) if seeds.len() == 1 => format!("seed {seed}"),
        _ => count(seeds.len(), "seed"),
    };
    let models: Vec<&str> = models.into_iter().collect();
    [vec![drawn.as_str(), &seeds], models].concat().join(", ")
}

/// The name of a folder, also if its path is `.`.
fn name(folder: &Path) -> String {
    let full = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let name = full.file_name().unwrap_or(full.as_os_str());
    name.to_string_lossy().into_owned()
}

/// The relative path from a page to a folder.
fn way(page: &Path, folder: &Path) -> Result<PathBuf> {
    let full = |path: &Path| fs::canonicalize(path).map_err(|e| cannot_read(path, &e));
    let (from, to) = (full(&parent_of(page))?, full(folder)?);
    pathdiff::diff_paths(&to, &from).ok_or_else(|| {
        Error::usage(
            format!(
                "a link from {} to {} is not possible",
                page.display(),
                folder.display()
            ),
            message![
                "write the page to the same drive, or put the pictures into it with ",
                Setting::Embed
            ],
        )
    })
}

/// Whether a file is a report of ours, which may be replaced.
fn is_ours(path: &Path) -> bool {
    let mut beginning = vec![];
    let file = fs::File::open(path);
    let read = file.and_then(|f| f.take(BEGINNING.len() as u64).read_to_end(&mut beginning));
    read.is_ok() && beginning == BEGINNING.as_bytes()
}

fn nothing(folder: &Path, warning: Option<&String>) -> Error {
    let below = folder.display();
    Error::usage(
        match warning {
            None => format!("there is no edit below {below}: no manifest.json was found"),
            Some(warning) => format!("nothing below {below} can be shown: {warning}"),
        },
        "name the folder that `p2p edit` wrote, or one that holds such folders",
    )
}

fn cannot_read(folder: &Path, error: &io::Error) -> Error {
    let cause = format!("cannot read {}: {error}", folder.display());
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::usage(
            cause,
            "name the folder that `p2p edit` wrote, or one around it",
        ),
        _ => Error::run(cause, "make it readable, or name another folder"),
    }
}
