//! `p2p sweep`: an edit over a grid of one or two settings, as folders, a sheet and scores.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use image::RgbImage;
use prompt_to_prompt::error::{Error, Report, Result};
use prompt_to_prompt::report::atomic::AtomicFile;
use prompt_to_prompt::report::console::Console;
use prompt_to_prompt::report::output::{MANIFEST, png};
use prompt_to_prompt::report::sheet::{Cell, Row, Sheet};
use serde_json::Value;

use super::batch::{Run, Task, Tasks, count};
use super::{print, random_seed};
use crate::cli::{Axis, Entry, Sources, SweepArgs, Vocabulary, axis_of};

/// The paper's figure (section 4, figures 5 and 9).
const DEFAULT: &str = "cross-steps=0:1:0.2";
/// Pixels of a cell's longer side; smaller pictures are enlarged, larger ones reduced.
const CELL: u32 = 256;

pub fn sweep(args: &SweepArgs, console: &Console) -> Result<()> {
    let vocabulary = Vocabulary::new();
    let (columns, rows) = axes(args, &vocabulary)?;
    let entries = entries(args, &vocabulary, &columns, rows.as_ref());
    let first = entries[0].order(&vocabulary, &args.base.0.clone());
    let first = first.map_err(|problem| Error::usage(problem.cause, problem.cure))?;
    let out = args.run.folder.clone();
    let out = out.unwrap_or_else(|| Path::new("p2p-out").join(format!("sweep-{}", first.job.slug())));
    let tasks = Tasks::new(&entries, &vocabulary, &Default::default(), &out);
    let sources = Sources::default();
    let run = Run {
        tasks: &tasks,
        sources: &sources,
        args: &args.run,
        out: &out,
        console,
    };
    let ended = run.go();
    if args.run.dry_run || matches!(ended, Err(Error::Interrupted)) {
        return ended;
    }
    let sheets = Sheets {
        tasks: &tasks.tasks,
        columns: &columns,
        rows: rows.as_ref(),
    };
    for path in sheets.write(&out)? {
        if !args.run.jsonl {
            print(&format!("{}\n", path.display()))?;
        }
    }
    ended
}

/// Columns, and rows where two settings vary.
fn axes(args: &SweepArgs, vocabulary: &Vocabulary) -> Result<(Axis, Option<Axis>)> {
    let axis = |text: &str| axis_of(vocabulary, text).map_err(|(cause, cure)| Error::usage(cause, cure));
    let axes: Vec<Axis> = args.vary.iter().map(|text| axis(text)).collect::<Result<_>>()?;
    let mut axes = axes.into_iter();
    let columns = axes.next().map_or_else(|| axis(DEFAULT), Ok)?;
    let rows = axes.next();
    if axes.next().is_some() {
        return Err(Error::usage(
            "--vary is given more than twice: a sheet has columns and rows",
            "vary the rest under [job.grid] of a job file: p2p job init",
        ));
    }
    if rows.as_ref().is_some_and(|rows| rows.name == columns.name) {
        return Err(Error::usage(
            format!("--vary gives {} twice", columns.name),
            "put all its values into one of them",
        ));
    }
    Ok((columns, rows))
}

/// A job for each cell, row by row.
fn entries(
    args: &SweepArgs,
    vocabulary: &Vocabulary,
    columns: &Axis,
    rows: Option<&Axis>,
) -> Vec<Entry> {
    let mut base = args.base.0.clone();
    // Cells are compared: they start from the same noise.
    let seed = vocabulary.find("seed").expect("a key");
    base.entry(seed).or_insert_with(|| random_seed().into());
    let row_of = |i: usize| rows.map(|axis| (axis, i));
    let cell = |row: usize, column: usize| {
        let axes = row_of(row).into_iter().chain([(columns, column)]);
        let mut settings = base.clone();
        let mut point = vec![];
        for (axis, i) in axes {
            axis.apply(i, &mut settings);
            point.push((axis.name.clone(), axis.values[i].label.clone()));
        }
        Entry::cell(settings, point)
    };
    let height = rows.map_or(1, |rows| rows.values.len());
    let cells = (0..height).flat_map(|row| (0..columns.values.len()).map(move |column| (row, column)));
    cells.map(|(row, column)| cell(row, column)).collect()
}

/// What was drawn, side by side: read back from the folders, whichever run drew them.
struct Sheets<'a> {
    tasks: &'a [Task],
    columns: &'a Axis,
    rows: Option<&'a Axis>,
}

/// A cell that was drawn.
struct Drawn {
    source: Option<RgbImage>,
    /// Of each edit.
    edits: Vec<(RgbImage, Value)>,
}

impl Sheets<'_> {
    /// A sheet per edit, and the scores.
    fn write(&self, out: &Path) -> Result<Vec<PathBuf>> {
        let drawn: Vec<Option<Drawn>> = self.points().map(|(name, _)| Drawn::read(&out.join(name))).collect();
        let edits = drawn.iter().flatten().map(|cell| cell.edits.len()).max().unwrap_or(0);
        let mut paths = vec![];
        let mut save = |name: String, bytes: &[u8]| {
            let path = out.join(name);
            AtomicFile::create(&path)?.finish(bytes)?;
            paths.push(path);
            Ok::<(), Error>(())
        };
        for edit in 0..edits {
            let number = if edit == 0 { String::new() } else { format!("-{}", edit + 1) };
            let sheet = self.sheet(&drawn, edit).draw();
            save(format!("sweep{number}.png"), &png(&sheet)?)?;
        }
        if edits > 0 {
            save("scores.csv".to_owned(), self.scores(&drawn).as_bytes())?;
        }
        Ok(paths)
    }
}
