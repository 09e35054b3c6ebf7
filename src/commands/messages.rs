//! What a user is told around a run: what will be done, what it did.

use prompt_to_prompt::job::{Explanation, Job, Outcome, Prepared, PreparedEdit};
use prompt_to_prompt::model::ModelFolder;
use prompt_to_prompt::report::console::Console;

/// Whether there is what was asked to be saved.
pub fn tell_masks(console: &Console, wanted: bool, outcome: &Outcome) {
    if wanted && outcome.masks.iter().all(Option::is_none) {
        console.warn("there is no mask to save: nothing says where the edits act");
    }
}

/// Whether anything happened. `of` comes first in each line: a job's name, where there are many.
pub fn tell_changes(console: &Console, of: &str, prepared: &Prepared, outcome: &Outcome) {
    let edits = prepared.edits.iter().zip(&outcome.manifest.edits);
    for (i, (edit, done)) in edits.enumerate() {
        let name = name(i, edit);
        let Some(change) = &done.change else {
            continue;
        };
        console.note(format!("{of}{name}: {}", change.describe()));
        if let Some(warning) = change.warning(edit) {
            console.warn(format!("{of}{name}: {warning}"));
        }
    }
}

/// `edit 2 (of edit 1)`
fn name(i: usize, edit: &PreparedEdit) -> String {
    match edit.base {
        0 => format!("edit {}", i + 1),
        base => format!("edit {} (of edit {base})", i + 1),
    }
}

/// What a model turned out to be, and what is added to it.
pub fn tell_model(console: &Console, folder: &ModelFolder) {
    folder.notes.iter().for_each(|note| console.note(note));
    for lora in folder.loras() {
        console.note(format!("with {} at {}", lora.name, lora.scale));
    }
}

/// What will be done, before it costs anything.
pub fn announce(console: &Console, job: &Job, prepared: &Prepared, folder: &ModelFolder) {
    if console.is_verbose() {
        console.detail(Explanation::new(job, Some(job.seed), prepared, folder).to_string());
    } else {
        summarise(console, job, prepared, folder);
    }
    prepared
        .warnings
        .iter()
        .for_each(|warning| console.warn(warning));
}

fn summarise(console: &Console, job: &Job, prepared: &Prepared, folder: &ModelFolder) {
    let Prepared {
        steps,
        guidance,
        width,
        height,
        ..
    } = prepared;
    let how = match prepared.compute.is_plain() && !prepared.compute.vae_tiling {
        true => String::new(),
        false => format!(", {}", prepared.compute),
    };
    console.note(format!(
        "{}: {width}x{height}, {steps} steps, guidance {guidance}, seed {}{how}",
        folder.id, job.seed
    ));
    for (i, edit) in prepared.edits.iter().enumerate() {
        let (kind, reason) = (edit.alignment.kind.name(), &edit.reason);
        console.note(&match job.control {
            true => format!("{}: {kind} ({reason})", name(i, edit)),
            false => format!("edit {}: without control", i + 1),
        });
    }
}
