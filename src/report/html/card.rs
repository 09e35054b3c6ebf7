//! A card of the report as plain data: an edit, or a picture without edits. Owns the contents of a card and their
//! wording. It must never know HTML, or where pictures are stored.

use std::ops::Range;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::manifest::{Edit, Manifest, Picture};
use super::runs::{Heatmap, Run};
use super::words::{PromptPiece, changes, pieces};
use crate::hub::Name;
use crate::job::{Change, PictureRole};
use crate::report::command::{command_line, text};

/// Settings that the card shows elsewhere, or that are not readable.
const NOT_LISTED: [&str; 6] = ["src", "dst", "then", "edit", "seed", "mask"];

/// One edit, or one picture.
pub(super) struct Card {
    /// The folder of the run, and the number of the edit if the run has several.
    pub name: String,
    /// The seed.
    pub seed: u64,
    /// The picture before the edit.
    pub before: Option<Row>,
    /// The edited picture, or the picture of a run without edits.
    pub after: Row,
    /// Pictures that can be shown instead of the edited one: name and file.
    pub others: Vec<(&'static str, PathBuf)>,
    /// How much the edit changed.
    pub change: Option<Change>,
    /// Names and values of the settings.
    pub settings: Vec<(String, String)>,
    /// The command that draws the picture again.
    pub command: String,
}

/// A prompt and its picture. Paths are relative to the report's folder.
pub(super) struct Row {
    /// `source`, `edit 2`
    pub label: String,
    /// The prompt.
    pub prompt: String,
    /// The prompt in pieces. The `map` of a piece is an index into `maps`.
    pub pieces: Vec<PromptPiece>,
    /// The heatmaps of words.
    pub maps: Vec<WordMap>,
    /// The factors of words. Some edits differ from their source only in these.
    pub weights: Vec<String>,
    /// The picture. `None` if it was not drawn.
    pub file: Option<PathBuf>,
    /// `[width, height]`
    pub size: [u32; 2],
}

/// The heatmap of a word.
pub(super) struct WordMap {
    /// The file.
    pub file: PathBuf,
    /// `[height, width]` in cells.
    pub grid: [u32; 2],
}

/// The cards of a run: one for each edit, or one for the picture of a run without edits.
pub(super) fn cards(run: &Run) -> Vec<Card> {
    match run.manifest.edits.len() {
        0 => picture(run).into_iter().collect(),
        edits => (1..=edits).filter_map(|row| edit(run, row)).collect(),
    }
}

fn picture(run: &Run) -> Option<Card> {
    let picture = run.manifest.pictures(0).next()?;
    Some(Card {
        name: run.folder.display().to_string(),
        seed: run.manifest.seed,
        before: None,
        after: row(run, 0, &[]),
        others: vec![],
        change: None,
        settings: setting_rows(&run.manifest, picture),
        command: command(run, picture),
    })
}

fn edit(run: &Run, number: usize) -> Option<Card> {
    let manifest = &run.manifest;
    let edit = &manifest.edits[number - 1];
    let mut pictures = manifest.pictures(number);
    let picture = pictures.next()?;
    let base = edit.of_edit.unwrap_or(0);
    let [removed, added] = changes(manifest.prompt(base), &edit.prompt);
    let after = row(run, number, &added);
    let folder = run.folder.display().to_string();
    let mask = format!("mask-{number}.png");
    let mask = manifest.files.contains(&mask).then_some(mask);
    let others = [
        ("without control", pictures.next().map(|p| p.file.clone())),
        ("mask", mask),
    ];
    let others = others.into_iter();
    Some(Card {
        name: match (folder.as_str(), manifest.edits.len()) {
            (_, 1) => folder,
            ("", _) => format!("edit {number}"),
            _ => format!("{folder}, edit {number}"),
        },
        seed: manifest.seed,
        before: Some(row(run, base, &removed)),
        after,
        others: others
            .filter_map(|(name, file)| Some((name, run.folder.join(file?))))
            .collect(),
        change: edit.change,
        settings: setting_rows(manifest, picture),
        command: command(run, picture),
    })
}

/// A row of a run: 0 is the source, `i` the `i`-th edit. `changed` are the ranges of the prompt that the edit changed.
fn row(run: &Run, row: usize, changed: &[Range<usize>]) -> Row {
    let manifest = &run.manifest;
    let picture = manifest.pictures(row).next();
    let label = match (row, picture.map(|picture| picture.role)) {
        (0, _) => "source".to_owned(),
        (_, Some(PictureRole::Baseline)) => "without control".to_owned(),
        _ if manifest.edits.len() == 1 => "edited".to_owned(),
        (row, _) => format!("edit {row}"),
    };
    // A heatmap is shown on top of its picture, so a row without a picture has none.
    let maps = picture.map_or(vec![], |_| row_maps(run, row));
    let stretches: Vec<(usize, Range<usize>)> = maps
        .iter()
        .enumerate()
        .flat_map(|(i, map)| map.places.iter().map(move |[from, to]| (i, *from..*to)))
        .collect();
    let map = |heat: &&Heatmap| WordMap {
        file: run.folder.join(&heat.file),
        grid: heat.grid,
    };
    let prompt = manifest.prompt(row).to_owned();
    Row {
        label,
        pieces: pieces(&prompt, changed, &stretches),
        prompt,
        maps: maps.iter().map(map).collect(),
        weights: picture.map_or(vec![], weights),
        file: picture.map(|picture| run.folder.join(&picture.file)),
        size: [manifest.width, manifest.height],
    }
}

/// The factors of the picture's last edit, such as `fluffy × 2`.
fn weights(picture: &Picture) -> Vec<String> {
    let edits = picture.settings.get("edit").and_then(Value::as_array);
    let weights = edits.and_then(|edits| edits.last()?.get("weight")?.as_object());
    let weights = weights.into_iter().flatten();
    weights
        .map(|(word, factor)| format!("{word} × {}", shown(factor)))
        .collect()
}

/// The heatmaps of a row, one for each word. Of several maps of a word, the last one with the finest grid is taken.
fn row_maps(run: &Run, row: usize) -> Vec<&Heatmap> {
    let name = match row {
        0 => "source".to_owned(),
        row => format!("edited-{row}"),
    };
    let mut maps: Vec<&Heatmap> = vec![];
    for heat in run.maps.iter().filter(|heat| heat.row == name) {
        match maps.iter_mut().find(|known| known.places == heat.places) {
            Some(known) if known.cells() <= heat.cells() => *known = heat,
            Some(_) => {}
            None => maps.push(heat),
        }
    }
    maps
}

fn command(run: &Run, picture: &Picture) -> String {
    let mut settings = picture.settings.clone();
    let model = &run.manifest.model;
    // The full address of a hub model, so that a local folder of the same name is not used.
    let page = |revision: &String| Some(Name::parse(&model.id)?.page(revision));
    let page = model.revision.as_ref().and_then(page);
    settings.insert(
        "model".to_owned(),
        json!(page.as_ref().unwrap_or(&model.id)),
    );
    let variant = model.variant.as_ref();
    settings.extend(variant.map(|variant| ("variant".to_owned(), json!(variant))));
    let overrides = model.overrides.iter();
    settings.extend(overrides.map(|(flag, from)| (flag.clone(), json!(from))));
    let loras: Vec<String> = model.loras.iter().map(ToString::to_string).collect();
    if !loras.is_empty() {
        settings.insert("lora".to_owned(), json!(loras));
    }
    let chain = picture.edit.map_or(vec![], |edit| run.manifest.chain(edit));
    let links = settings.get_mut("edit").and_then(Value::as_array_mut);
    if let Some(links) = links.filter(|links| links.len() == chain.len()) {
        leave_out_kinds(links, &chain);
    }
    command_line(&Value::Object(settings)).unwrap_or_else(|| {
        let file = run.folder.join(&picture.file);
        let rerun = ["p2p", "rerun", &file.to_string_lossy()];
        // File names contain no NUL, the only character that cannot be quoted.
        shlex::try_join(rerun).unwrap_or_default()
    })
}

/// Removes the kinds of edits that follow from the prompts, so that a chain of different kinds fits into one command.
fn leave_out_kinds(links: &mut [Value], chain: &[&Edit]) {
    for (link, edit) in links.iter_mut().zip(chain) {
        if let Some(link) = link.as_object_mut().filter(|_| edit.is_auto()) {
            link.shift_remove("edit");
        }
    }
}

/// The names and values of settings as text: those of the edit, then those of the picture.
fn setting_rows(manifest: &Manifest, picture: &Picture) -> Vec<(String, String)> {
    let edits = picture.settings.get("edit").and_then(Value::as_array);
    let own = edits.and_then(|edits| edits.last()?.as_object());
    let edit = picture.edit.map(|number| &manifest.edits[number - 1]);
    let kind = edit
        .filter(|_| picture.role == PictureRole::Edited)
        .map(|edit| {
            let (kind, why) = (&edit.kind, &edit.kind_chosen_because);
            ("edit".to_owned(), format!("{kind} ({why})"))
        });
    let set = own.into_iter().chain([&picture.settings]).flatten();
    let set = set
        .filter(|(key, _)| !NOT_LISTED.contains(&key.as_str()))
        .map(|(key, value)| (key.replace('_', " "), shown(value)))
        .filter(|(_, value)| !value.is_empty());
    let (model, version) = (&manifest.model, &manifest.version);
    let drawn_by = [
        ("model", model.id.clone()),
        (
            "weights sha256",
            model.weights_sha256.chars().take(12).collect(),
        ),
        ("drawn by", format!("p2p {version}")),
    ];
    let drawn_by = drawn_by.map(|(name, value)| (name.to_owned(), value));
    let of_hub = [("revision", &model.revision), ("variant", &model.variant)];
    let of_hub = of_hub
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
    let overrides = model.overrides.iter();
    let overrides = overrides.map(|(flag, from)| (flag.replace('_', " "), from.clone()));
    let loras = model
        .loras
        .iter()
        .map(|l| ("lora".to_owned(), l.to_string()));
    kind.into_iter()
        .chain(set)
        .chain(drawn_by)
        .chain(of_hub)
        .chain(overrides)
        .chain(loras)
        .collect()
}

/// A value as text.
fn shown(value: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(values) => joined(values.iter().map(shown).collect()),
        Value::Object(words) => joined(words.iter().map(word).collect()),
        value => text(value),
    }
}

fn word((word, value): (&String, &Value)) -> String {
    match word.as_str() {
        "default" => shown(value),
        word => format!("{word} = {}", shown(value)),
    }
}
