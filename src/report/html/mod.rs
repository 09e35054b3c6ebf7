//! The report: one page with a card for each edit below a folder, made from the manifests alone.
//! Owns the way from a folder to a page; it must never know how a picture came about.
//!
//! [`build`] reads, [`write()`] reads and writes; either may be repeated at any time, while runs are being
//! added too: what is torn or foreign is passed over with a warning.

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
use page::{BEGINNING, Shown, Side, page};
use pictures::Pictures;
use runs::Run;

use super::atomic::{AtomicFile, parent_of};
use crate::error::{Error, Result};
use crate::format::count;

/// The page's name where none is given.
pub const REPORT: &str = "report.html";

/// How a page is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// Its title; the folder's name where absent.
    pub title: Option<&'a str>,
    /// The way from the page to the folder; empty where it lies in the folder itself.
    pub way: Option<&'a Path>,
    /// Puts the pictures into the page, which can then be sent alone.
    pub embed: bool,
}

/// A page, and what is to be said of it.
#[derive(Debug, Clone)]
pub struct Page {
    pub html: String,
    /// What is on it, in one line.
    pub summary: String,
    /// What was left out, and why.
    pub warnings: Vec<String>,
}

/// The page of all runs below `folder`.
///
/// # Errors
/// [`Error::Usage`] where there is nothing to show, [`Error::Run`] where the folder can't be read.
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

/// Builds the page and writes it, whole or not at all, to `file`, else to `report.html` in the folder.
/// Answers the page and where it is.
///
/// # Errors
/// Those of [`build`]; [`Error::Usage`] where something else than a report stands in the way.
pub fn write(folder: &Path, file: Option<&Path>, embed: bool) -> Result<(PathBuf, Page)> {
    let path = file.map_or_else(|| folder.join(REPORT), Path::to_owned);
    if path.is_file() && !is_ours(&path) {
        return Err(Error::usage(
            format!("{} exists and is not a report", path.display()),
            "choose another file with -o",
        ));
    }
    let way = match embed {
        true => PathBuf::new(),
        false => way(&path, folder)?,
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

/// Finds the pictures of a card; why not, where one is missing that was drawn.
fn show(card: Card, pictures: &mut Pictures) -> std::result::Result<Shown, String> {
    let before = card.before.as_ref();
    let before = before.and_then(|row| side(row, pictures)).transpose()?;
    let after = side(&card.after, pictures).transpose()?;
    let other = |(name, file): &(&'static str, PathBuf)| Some((*name, pictures.url(file).ok()?));
    let others = card.others.iter().filter_map(other).collect();
    Ok(Shown {
        card,
        before,
        after,
        others,
    })
}

/// `None` where the row was not drawn.
fn side(row: &Row, pictures: &mut Pictures) -> Option<std::result::Result<Side, String>> {
    let picture = pictures.source(row.file.as_ref()?);
    // Without its heatmap a word is a word.
    let maps = row.maps.iter();
    let maps = maps.map(|map| pictures.heatmap(&map.file, map.grid).ok());
    Some(picture.map(|picture| Side {
        picture,
        maps: maps.collect(),
    }))
}

/// `60 edits of 6 prompts, 10 seeds, storybook`
fn summary(runs: &[Run], shown: &[Shown]) -> String {
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

/// A folder's own name, also of `.`.
fn name(folder: &Path) -> String {
    let full = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let name = full.file_name().unwrap_or(full.as_os_str());
    name.to_string_lossy().into_owned()
}

/// From a page to a folder, as links go.
fn way(page: &Path, folder: &Path) -> Result<PathBuf> {
    let full = |path: &Path| fs::canonicalize(path).map_err(|e| cannot_read(path, &e));
    let (from, to) = (full(&parent_of(page))?, full(folder)?);
    pathdiff::diff_paths(&to, &from).ok_or_else(|| {
        Error::usage(
            format!(
                "no link leads from {} to {}",
                page.display(),
                folder.display()
            ),
            "write the page to the same drive, or put the pictures into it with --embed",
        )
    })
}

/// Whether a file is a report, which may be replaced.
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
            None => format!("no edit lies below {below}: there is no manifest.json"),
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
