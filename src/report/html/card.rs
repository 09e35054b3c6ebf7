//! What one card of the report shows, as plain data: an edit, or a picture that nothing is an edit of.
//! Owns what stands on a card and in which words; knows neither markup nor where pictures come from.

use std::ops::Range;
use std::path::PathBuf;

use serde_json::Value;

use super::manifest::{Change, Manifest};
use super::runs::{Heatmap, Run};
use super::words::{Piece, changes, pieces};
use crate::report::command::{command_line, text};

/// Shown elsewhere on the card, or in other words.
const NOT_LISTED: [&str; 5] = ["src", "dst", "then", "edit", "seed"];

/// One edit, or one picture.
pub(super) struct Card {
    /// The run's folder, and which edit of it where it has several.
    pub name: String,
    pub seed: u64,
    pub before: Row,
    /// Absent where a run drew only a picture.
    pub after: Option<Row>,
    /// What may stand in the edited picture's place: its name and its file.
    pub others: Vec<(&'static str, PathBuf)>,
    pub change: Option<Change>,
    /// Names and values.
    pub settings: Vec<(String, String)>,
    pub command: String,
}

/// A picture and its prompt. Paths are below the folder that is shown.
pub(super) struct Row {
    /// `source`, `edit 2`
    pub label: String,
    pub file: PathBuf,
    /// `[width, height]`
    pub size: [u32; 2],
    pub prompt: String,
    /// A piece's `map` counts in `maps`.
    pub pieces: Vec<Piece>,
    pub maps: Vec<Map>,
}

/// A word's heatmap.
pub(super) struct Map {
    pub file: PathBuf,
    /// `[height, width]` in cells.
    pub grid: [u32; 2],
}

/// The cards of a run: one an edit, else one of its picture.
pub(super) fn cards(run: &Run) -> Vec<Card> {
    match run.manifest.edits.len() {
        0 => vec![picture(run)],
        edits => (0..edits).map(|i| edit(run, i)).collect(),
    }
}

fn picture(run: &Run) -> Card {
    let settings = run.manifest.settings(None);
    Card {
        name: run.folder.display().to_string(),
        seed: run.manifest.seed,
        before: row(run, 0, &[]),
        after: None,
        others: vec![],
        change: None,
        command: command(run, &settings, 0),
        settings: listed(&run.manifest, &settings, None),
    }
}

fn edit(run: &Run, i: usize) -> Card {
    let manifest = &run.manifest;
    let edit = &manifest.edits[i];
    let base = edit.of_edit.unwrap_or(0);
    let [removed, added] = changes(manifest.prompt(base), &edit.prompt);
    let after = row(run, i + 1, &added);
    let settings = manifest.settings(Some(i));
    let other = |(name, kind): (&'static str, &str)| {
        let file = format!("{kind}-{}.png", i + 1);
        let drawn = manifest.files.contains(&file);
        drawn.then(|| (name, run.folder.join(file)))
    };
    let others = [("without control", "baseline"), ("mask", "mask")];
    let folder = run.folder.display().to_string();
    Card {
        name: match (folder.as_str(), manifest.edits.len()) {
            (_, 1) => folder,
            ("", _) => after.label.clone(),
            _ => format!("{folder}, {}", after.label),
        },
        seed: manifest.seed,
        before: row(run, base, &removed),
        others: others.into_iter().filter_map(other).collect(),
        change: edit.change,
        command: command(run, &settings, i + 1),
        settings: listed(manifest, &settings, Some(i)),
        after: Some(after),
    }
}

/// Row 0 is the source, row `i` the `i`-th edit.
fn row_name(row: usize) -> String {
    match row {
        0 => "source".to_owned(),
        row => format!("edited-{row}"),
    }
}

fn row(run: &Run, row: usize, changed: &[Range<usize>]) -> Row {
    let manifest = &run.manifest;
    let name = row_name(row);
    let label = match row {
        0 => "source".to_owned(),
        _ if manifest.edits.len() == 1 => "edited".to_owned(),
        row => format!("edit {row}"),
    };
    let mut maps: Vec<&Heatmap> = vec![];
    for heat in run.maps.iter().filter(|heat| heat.row == name) {
        // Of several steps, heads and layers the last of the finest: a word shows one map.
        match maps.iter_mut().find(|known| known.places == heat.places) {
            Some(known) if known.cells() <= heat.cells() => *known = heat,
            Some(_) => {}
            None => maps.push(heat),
        }
    }
    let stretches: Vec<(usize, Range<usize>)> = maps
        .iter()
        .enumerate()
        .flat_map(|(i, map)| map.places.iter().map(move |[from, to]| (i, *from..*to)))
        .collect();
    let map = |heat: &&Heatmap| Map {
        file: run.folder.join(&heat.file),
        grid: heat.grid,
    };
    let prompt = manifest.prompt(row).to_owned();
    Row {
        label,
        file: run.folder.join(format!("{name}.png")),
        size: [manifest.width, manifest.height],
        pieces: pieces(&prompt, changed, &stretches),
        prompt,
        maps: maps.iter().map(map).collect(),
    }
}

fn command(run: &Run, settings: &Value, row: usize) -> String {
    command_line(settings).unwrap_or_else(|| {
        let file = run.folder.join(format!("{}.png", row_name(row)));
        let rerun = ["p2p", "rerun", &file.to_string_lossy()];
        // A file's name holds no NUL, the one thing that can't be quoted.
        shlex::try_join(rerun).unwrap_or_default()
    })
}

/// Settings for people: those of the edit before those of the picture.
fn listed(manifest: &Manifest, settings: &Value, edit: Option<usize>) -> Vec<(String, String)> {
    let own = settings["edit"].as_array().and_then(|edits| edits.last());
    let tables = [own, Some(settings)].into_iter().flatten();
    let set = tables.filter_map(Value::as_object).flatten();
    let set = set.filter(|(key, _)| !NOT_LISTED.contains(&key.as_str()));
    let set = set.map(|(key, value)| (key.replace('_', " "), shown(value)));
    let edit = edit.map(|i| &manifest.edits[i]);
    let kind = edit.map(|edit| {
        let (kind, why) = (&edit.kind, &edit.kind_chosen_because);
        ("edit".to_owned(), format!("{kind} ({why})"))
    });
    let weights = &manifest.model.weights_sha256;
    let drawn_by = [
        ("weights sha256".to_owned(), weights.clone()),
        ("drawn by".to_owned(), format!("p2p {}", manifest.version)),
    ];
    kind.into_iter().chain(set).chain(drawn_by).collect()
}

/// A value for people.
fn shown(value: &Value) -> String {
    match value {
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(", "),
        Value::Object(words) => {
            let word = |(word, value): (&String, &Value)| match word.as_str() {
                "default" => shown(value),
                word => format!("{word} = {}", shown(value)),
            };
            words.iter().map(word).collect::<Vec<_>>().join(", ")
        }
        value => text(value),
    }
}
