//! Heatmaps of a run: which to record, what is said of them before and after.

use std::path::{Path, PathBuf};

use image::RgbImage;
use prompt_to_prompt::attention::Site;
use prompt_to_prompt::error::Result;
use prompt_to_prompt::heatmap::Selection;
use prompt_to_prompt::heatmap::cost::Cost;
use prompt_to_prompt::heatmap::write::{FOLDER, Maps};
use prompt_to_prompt::job::{Outcome, Prepared};
use prompt_to_prompt::report::console::Console;
use prompt_to_prompt::report::output::OutputFolder;
use prompt_to_prompt::sample::Recorder;

use crate::cli::MapArgs;

/// Which maps to record; that they can be had is checked before the work is done.
pub fn select(maps: &MapArgs, prepared: &Prepared, sites: &[Site]) -> Result<Selection> {
    Selection::new(&maps.spec, prepared, sites).map_err(|error| maps.as_typed(error))
}

/// What is not plain from what was asked for, and what it costs, before it is spent.
pub fn tell(
    console: &Console,
    maps: &MapArgs,
    selection: &Selection,
    prepared: &Prepared,
    sites: &[Site],
) {
    let cost = Cost::of(&maps.spec, &maps.look, selection, prepared, sites);
    let notes = selection.words.notes().into_iter().chain(cost.note());
    notes.for_each(|note| console.note(format!("heatmaps: {note}")));
}

/// Writes `attn/`; its grid comes back.
pub fn write(
    args: &MapArgs,
    selection: &Selection,
    recorder: &Recorder,
    prepared: &Prepared,
    outcome: &Outcome,
    output: &mut OutputFolder,
) -> Result<RgbImage> {
    let asked = (&args.spec, &args.look);
    Maps::new(asked, selection, prepared, outcome, recorder)?.write(output)
}

/// A line a file; of the maps in `attn/`, which can be thousands, a line a row's folder.
pub fn listed(target: &Path, files: &[PathBuf]) -> String {
    let attn = target.join(FOLDER);
    let line = |file: &PathBuf| match file.strip_prefix(&attn) {
        Ok(inside) if inside.components().count() > 1 => {
            let row = inside.components().next().expect("there are several");
            format!("{}/\n", attn.join(row).display())
        }
        _ => format!("{}\n", file.display()),
    };
    let mut lines: Vec<String> = vec![];
    for line in files.iter().map(line) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.concat()
}
