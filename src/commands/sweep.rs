//! `p2p sweep`: draws an edit for all values of one or two settings. Owns the grid, its sheet and its table of scores.
//! `batch` draws the cells; this file must never draw.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::format::count;
use prompt_to_prompt::report::atomic::AtomicFile;
use prompt_to_prompt::report::console::Console;
use prompt_to_prompt::report::output::MANIFEST;
use prompt_to_prompt::report::png;
use prompt_to_prompt::report::sheet::{Cell, Row, Sheet};
use prompt_to_prompt::report::xmp::ai_mark;
use serde_json::{Value, json};

use super::batch::{Events, Purpose, Run, Tasks};
use super::print;
use crate::cli::{Axis, Entry, KeyValues, Sources, SweepArgs, Vocabulary, axis_of};

/// The paper's figure (section 4): injection from 0 % to 100 % of the run.
const DEFAULT: &str = "cross-steps=0:1:0.2";
/// Range of the longer side of a cell's picture, in pixels.
const CELL: std::ops::RangeInclusive<u32> = 128..=256;
/// Colour of cells that were not drawn.
const MISSING: Rgb<u8> = Rgb([224, 224, 224]);

/// Runs `p2p sweep`.
///
/// # Errors
/// A usage error if a setting that varies is not valid, and those of drawing and writing.
pub fn sweep(args: &SweepArgs, console: &Console) -> Result<()> {
    let vocabulary = Vocabulary::new();
    let (columns, rows) = axes(args, &vocabulary)?;
    let grid = Grid::new(&args.base.0, &columns, rows.as_ref());
    let usage = |cause: String, cure: String| Error::usage(cause, cure);
    // Most mistakes affect all cells. Checking the first cell reports them once, as for a single edit.
    let first = grid.cells[0].job_request(&vocabulary, &KeyValues::new());
    let first = first.map_err(|problem| usage(problem.cause, problem.cure))?;
    let out = args.run.folder.clone();
    let out =
        out.unwrap_or_else(|| Path::new("p2p-out").join(format!("sweep-{}", first.job.slug())));
    let tasks = Tasks::new(
        &grid.cells,
        &vocabulary,
        &KeyValues::new(),
        Purpose::of(&args.run),
        &out,
        console,
    )?;
    let ended = Run {
        tasks: &tasks,
        sources: &Sources::default(),
        args: &args.run,
        out: &out,
        console,
        events: Events::new(args.run.jsonl),
    }
    .execute();
    if args.run.dry_run {
        return ended;
    }
    grid.print_other_folders(&out, console);
    let paths = grid.write(&out, &first.job.src)?;
    let line = |path: &PathBuf| {
        if args.run.jsonl {
            format!("{}\n", json!({ "event": "sheet", "file": path }))
        } else {
            format!("{}\n", path.display())
        }
    };
    print(&paths.iter().map(line).collect::<String>())?;
    ended
}

/// The columns, and the rows if two settings vary.
fn axes(args: &SweepArgs, vocabulary: &Vocabulary) -> Result<(Axis, Option<Axis>)> {
    let axis =
        |text: &str| axis_of(vocabulary, text).map_err(|(cause, cure)| Error::usage(cause, cure));
    let axes: Vec<Axis> = args
        .vary
        .iter()
        .map(|text| axis(text))
        .collect::<Result<_>>()?;
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

/// The cells of a sweep, row by row.
struct Grid<'a> {
    columns: &'a Axis,
    rows: Option<&'a Axis>,
    cells: Vec<Entry>,
}

/// The results of a cell, read from its folder. An earlier run may have drawn it.
struct Drawn {
    source: Option<RgbImage>,
    /// The picture of each edit, and its entry in the manifest.
    edits: Vec<(RgbImage, Value)>,
    prompt: String,
}

impl<'a> Grid<'a> {
    fn new(base: &KeyValues, columns: &'a Axis, rows: Option<&'a Axis>) -> Self {
        let cell = |at: Vec<(&Axis, usize)>| {
            let (mut settings, mut point) = (base.clone(), vec![]);
            for (axis, i) in at {
                axis.apply(i, &mut settings);
                point.push((axis.name.clone(), axis.values[i].label.clone()));
            }
            Entry::cell(settings, point)
        };
        let width = columns.values.len();
        let row = |row: usize| {
            let of_row = rows.map(|axis| (axis, row));
            (0..width)
                .map(move |column| Vec::from_iter(of_row.into_iter().chain([(columns, column)])))
        };
        let height = rows.map_or(1, |rows| rows.values.len());
        Self {
            columns,
            rows,
            cells: (0..height).flat_map(row).map(cell).collect(),
        }
    }

    /// Prints the folders of earlier sweeps. They stay in the output folder and in the report.
    fn print_other_folders(&self, out: &Path, console: &Console) {
        let own: HashSet<&str> = self.cells.iter().map(Entry::folder_name).collect();
        let folders = std::fs::read_dir(out).into_iter().flatten().flatten();
        let names = folders
            .filter(|entry| entry.path().join(MANIFEST).is_file())
            .filter_map(|entry| entry.file_name().into_string().ok());
        let mut others: Vec<String> = names.filter(|name| !own.contains(&**name)).collect();
        others.sort();
        let named = others
            .iter()
            .take(3)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        let more = if others.len() > 3 { ", ..." } else { "" };
        match others.len() {
            0 => {}
            n => console.note(format!(
                "{} in {} of earlier sweeps, not on this sheet: {named}{more}",
                count(n, "folder"),
                out.display()
            )),
        }
    }

    /// Writes a sheet for each edit, and the scores. Returns their paths.
    fn write(&self, out: &Path, src: &str) -> Result<Vec<PathBuf>> {
        let drawn = self
            .cells
            .iter()
            .map(|cell| Drawn::read(&out.join(cell.folder_name())));
        let drawn: Vec<Option<Drawn>> = drawn.collect();
        let edits = drawn.iter().flatten().map(|cell| cell.edits.len()).max();
        let mut files = vec![];
        for edit in 0..edits.unwrap_or(0) {
            let sheet = self.sheet(&drawn, edit, src).draw();
            let bytes = png::encode(&sheet, &[ai_mark()]).map_err(|e| {
                Error::run(
                    format!("cannot encode the sheet: {e}"),
                    "please report this",
                )
            })?;
            let number = if edit == 0 {
                String::new()
            } else {
                format!("-{}", edit + 1)
            };
            files.push((format!("sweep{number}.png"), bytes));
        }
        if !files.is_empty() {
            files.push(("scores.csv".to_owned(), self.scores(&drawn).into_bytes()));
        }
        let save = |(name, bytes): (String, Vec<u8>)| {
            let path = out.join(name);
            AtomicFile::create(&path)?.finish(&bytes)?;
            Ok(path)
        };
        files.into_iter().map(save).collect()
    }

    fn sheet(&self, drawn: &[Option<Drawn>], edit: usize, src: &str) -> Sheet {
        let width = self.columns.values.len();
        let shown = drawn.iter().flatten();
        let size = shown
            .clone()
            .next()
            .map_or((1, 1), |cell| cell.edits[0].0.dimensions());
        let scale = |side: u32| side.clamp(*CELL.start(), *CELL.end());
        let cell = if size.0 >= size.1 {
            (scale(size.0), scale(size.0) * size.1 / size.0)
        } else {
            (scale(size.1) * size.0 / size.1, scale(size.1))
        };
        // If all cells of each row share a source, the source is shown in front of the row.
        let rows = drawn.chunks(width);
        let sources: Option<Vec<&RgbImage>> = rows.clone().map(shared_source).collect();
        let row = |(i, cells): (usize, &[Option<Drawn>])| {
            let source = sources.as_ref().map(|sources| Cell {
                picture: sources[i].clone(),
                caption: String::new(),
            });
            let cells = cells.iter().map(|cell| match cell {
                Some(cell) => cell.shown(edit),
                None => Cell {
                    picture: RgbImage::from_pixel(size.0, size.1, MISSING),
                    caption: "not drawn".to_owned(),
                },
            });
            Row {
                heading: self.rows.map_or(String::new(), |rows| {
                    format!("{} {}", rows.name, rows.values[i].label)
                }),
                cells: source.into_iter().chain(cells).map(Some).collect(),
            }
        };
        let heading =
            |value: &crate::cli::AxisValue| format!("{} {}", self.columns.name, value.label);
        let source = sources.as_ref().map(|_| "source".to_owned());
        let prompts: HashSet<&str> = shown.map(|cell| &*cell.prompt).collect();
        Sheet {
            title: match prompts.into_iter().collect::<Vec<_>>()[..] {
                [prompt] if prompt != src => vec![src.to_owned(), prompt.to_owned()],
                _ => vec![src.to_owned()],
            },
            columns: source
                .into_iter()
                .chain(self.columns.values.iter().map(heading))
                .collect(),
            rows: rows.enumerate().map(row).collect(),
            bar: None,
            note: Some(note(drawn).to_owned()),
            cell,
        }
    }

    /// The scores of every cell and edit as CSV.
    fn scores(&self, drawn: &[Option<Drawn>]) -> String {
        let names = self
            .rows
            .iter()
            .map(|axis| &axis.name)
            .chain([&self.columns.name]);
        let mut csv = names.map(|name| field(name) + ",").collect::<String>();
        csv += "edit,changed,changed_inside,changed_outside,psnr_outside,folder\n";
        for (entry, cell) in self.cells.iter().zip(drawn) {
            let Some(cell) = cell else { continue };
            for (i, (_, edit)) in cell.edits.iter().enumerate() {
                for (_, value) in &entry.point.0 {
                    csv += &(field(value) + ",");
                }
                let number = |path: &str| edit.pointer(path).and_then(Value::as_f64);
                let text = |path: &str| number(path).map_or(String::new(), |n| format!("{n:.3}"));
                let _ = writeln!(
                    csv,
                    "{},{},{},{},{},{}",
                    i + 1,
                    text("/change/whole/mean_abs"),
                    text("/change/inside/mean_abs"),
                    text("/change/outside/mean_abs"),
                    text("/change/outside/psnr"),
                    field(entry.folder_name()),
                );
            }
        }
        csv
    }
}

impl Drawn {
    /// Reads the folder of a cell. `None` if the cell was not drawn.
    fn read(folder: &Path) -> Option<Self> {
        let manifest = std::fs::read(folder.join(MANIFEST)).ok()?;
        let manifest: Value = serde_json::from_slice(&manifest).ok()?;
        let picture = |name: String| Some(image::open(folder.join(name)).ok()?.into_rgb8());
        let edits = manifest["edits"].as_array()?.iter().enumerate();
        let edits =
            edits.map(|(i, edit)| Some((picture(format!("edited-{}.png", i + 1))?, edit.clone())));
        let edits: Vec<(RgbImage, Value)> = edits.collect::<Option<_>>()?;
        Some(Self {
            source: picture("source.png".to_owned()),
            prompt: edits.first()?.1["prompt"].as_str()?.to_owned(),
            edits,
        })
    }

    /// The picture of an edit with its scores. A cell with fewer edits shows its last one.
    fn shown(&self, edit: usize) -> Cell {
        let (picture, edit) = &self.edits[edit.min(self.edits.len() - 1)];
        let part = |path: &str| edit.pointer(path).and_then(Value::as_f64);
        let caption = match (
            part("/change/inside/mean_abs"),
            part("/change/outside/mean_abs"),
        ) {
            (Some(inside), Some(outside)) => format!("in {inside:.1}, out {outside:.1}"),
            _ => {
                part("/change/whole/mean_abs").map_or(String::new(), |n| format!("changed {n:.1}"))
            }
        };
        Cell {
            picture: picture.clone(),
            caption,
        }
    }
}

/// The legend of the captions.
fn note(drawn: &[Option<Drawn>]) -> &'static str {
    let inside = |(_, edit): &(RgbImage, Value)| edit.pointer("/change/inside").is_some();
    if drawn
        .iter()
        .flatten()
        .any(|cell| cell.edits.iter().any(inside))
    {
        "in, out: mean change of a pixel where the edit acts and elsewhere, of 255"
    } else {
        "changed: mean change of a pixel, of 255"
    }
}

/// The source of a row's cells, if all have the same one.
fn shared_source(cells: &[Option<Drawn>]) -> Option<&RgbImage> {
    let mut sources = cells.iter().flatten().map(|cell| cell.source.as_ref());
    let first = sources.next()??;
    sources.all(|source| source == Some(first)).then_some(first)
}

/// A field of a CSV file (RFC 4180).
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
