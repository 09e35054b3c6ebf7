//! Heatmaps of a run for the commands: selects what is recorded, prints notes and costs, writes the files and
//! lists them. It must never know how heatmaps are computed.

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

/// The maps to record. The request is checked before anything is drawn.
pub fn select(maps: &MapArgs, prepared: &Prepared, sites: &[Site]) -> Result<Selection> {
    Selection::new(&maps.spec, prepared, sites)
}

/// Prints notes on the selected words and the cost of the maps, before anything is drawn.
pub fn print_notes(
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

/// Writes the folder `attn/` and returns the picture of all heatmaps.
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

/// The paths to print: a line for each file. `attn/` can have thousands of maps, so it has a line for the
/// folder of each row.
pub fn path_lines(target: &Path, files: &[PathBuf]) -> String {
    let attn = target.join(FOLDER);
    let line = |file: &PathBuf| match file.strip_prefix(&attn) {
        Ok(inside) if inside.components().count() > 1 => {
            let row = inside
                .components()
                .next()
                .expect("there are several components");
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
