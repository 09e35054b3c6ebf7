//! Messages before and after a run: what it will do, and what it changed. Owns their wording; it must never draw.

use prompt_to_prompt::job::{Explanation, Outcome, Prepared, PreparedEdit};
use prompt_to_prompt::model::ModelFolder;
use prompt_to_prompt::report::console::Console;

/// Warns if masks are wanted, but no edit has one.
pub fn warn_without_masks(console: &Console, wanted: bool, outcome: &Outcome) {
    if wanted && outcome.masks.iter().all(Option::is_none) {
        console.warn("there is no mask to save: no edit is confined to a place");
    }
}

/// Prints what each edit changed. `of` begins each line: the job's name, where there are several jobs.
pub fn print_changes(console: &Console, of: &str, prepared: &Prepared, outcome: &Outcome) {
    let edits = prepared.edits.iter().zip(&outcome.manifest.edits);
    for (i, (edit, done)) in edits.enumerate() {
        let name = name(i, edit);
        let Some(change) = &done.change else {
            continue;
        };
        console.note(format!("{of}{name}: {}", change.describe()));
        if let Some(warning) = change.warning(edit) {
            console.warn(warning.after(format!("{of}{name}: ")));
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

/// Prints the notes on a model, and the LoRAs that are added to it.
pub fn print_model(console: &Console, folder: &ModelFolder) {
    folder.notes.iter().for_each(|note| console.note(note));
    for lora in folder.loras() {
        console.note(format!("with {} at {}", lora.name, lora.scale));
    }
}

/// Prints what the run will do, before it takes time.
pub fn announce(console: &Console, prepared: &Prepared, folder: &ModelFolder) {
    if console.is_verbose() {
        console.detail(Explanation::new(prepared, folder, false).to_string());
    } else {
        summarise(console, prepared, folder);
    }
    for warning in &prepared.warnings {
        console.warn(warning.clone());
    }
}

fn summarise(console: &Console, prepared: &Prepared, folder: &ModelFolder) {
    let run = &prepared.run;
    let is_usual = prepared.compute.is_plain() && !prepared.compute.vae_tiling;
    let how = if is_usual {
        String::new()
    } else {
        format!(", {}", prepared.compute)
    };
    console.note(format!(
        "{}: {}x{}, {} steps, guidance {}, seed {}{how}",
        folder.id, run.width, run.height, run.steps, run.guidance, run.seed
    ));
    for (i, edit) in prepared.edits.iter().enumerate() {
        let (kind, reason) = (edit.alignment.kind.name(), &edit.reason);
        let what = if prepared.control {
            format!("{}: {kind} ({reason})", name(i, edit))
        } else {
            format!("edit {}: without control", i + 1)
        };
        console.note(&what);
    }
}
