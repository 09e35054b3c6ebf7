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
