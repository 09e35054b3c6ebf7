//! Draws many jobs: `p2p batch`, and what it shares with `p2p job check` and `p2p sweep`.
//!
//! `task` checks the jobs, `names` gives each a folder, `groups` decides which are drawn together, `run` draws one group after the other and
//! writes its files before the next one starts, `output_lock` guards the output folder, `plan` prints a dry run.

mod events;
mod groups;
mod names;
mod output_lock;
mod plan;
mod run;
mod task;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::format::count;
use prompt_to_prompt::report::console::Console;

use crate::cli::{BatchArgs, JobFile, KeyValues, Problem, Vocabulary, read};
pub use events::Events;
pub use run::Run;
pub use task::{Purpose, Tasks};

/// Runs `p2p batch`.
///
/// # Errors
/// A usage error if the job file has errors, [`Error::SomeFailed`] if some jobs failed.
pub fn batch(args: &BatchArgs, console: &Console) -> Result<()> {
    let vocabulary = Vocabulary::new();
    args.overrides.check(&vocabulary)?;
    let file = read(&args.file, &vocabulary);
    let out = args.run.folder.clone();
    let out = out.or_else(|| file.output.clone());
    let out = out.unwrap_or_else(|| default_folder(&args.file));
    let tasks = Tasks::new(
        &file.entries,
        &vocabulary,
        &args.overrides.0,
        Purpose::of(&args.run),
        &out,
        console,
    )?;
    // A job that cannot be drawn does not stop the others, but errors of the file itself do.
    if !file.problems.is_empty() {
        refuse(&args.file, &file, &tasks, console)?;
    }
    Run {
        tasks: &tasks,
        sources: &file.sources,
        args: &args.run,
        out: &out,
        console,
        events: Events::new(args.run.jsonl),
    }
    .execute()
}

/// Runs `p2p job check`: prints all errors of a job file.
///
/// # Errors
/// A usage error if the file has errors.
pub fn check(path: &Path, console: &Console) -> Result<()> {
    let vocabulary = Vocabulary::new();
    let file = read(path, &vocabulary);
    let out = default_folder(path);
    let tasks = Tasks::new(
        &file.entries,
        &vocabulary,
        &KeyValues::new(),
        Purpose::CHECK,
        &out,
        console,
    )?;
    refuse(path, &file, &tasks, console)?;
    tasks.print_warnings(console);
    tasks.print_missing_weights(console);
    let edits = tasks
        .tasks
        .iter()
        .map(|task| task.checked.prepared.edits.len());
    console.note(format!(
        "{} has no errors: {}, {}",
        path.display(),
        count(tasks.tasks.len(), "job"),
        count(edits.sum(), "edit")
    ));
    Ok(())
}

/// Prints all problems of a file and its jobs, in the order of the file. A problem that all cells of a grid share is
/// printed once.
///
/// # Errors
/// A usage error if there are problems.
fn refuse(path: &Path, file: &JobFile, tasks: &Tasks, console: &Console) -> Result<()> {
    let mut problems: Vec<&Problem> = file.problems.iter().chain(tasks.problems()).collect();
    let start = |problem: &&Problem| problem.place.clone().map(|at| (at.source, at.span.start));
    problems.sort_by_key(start);
    let line = |problem: &Problem| problem.place.as_ref().map(|at| file.sources.line(at));
    let mut seen = HashSet::new();
    problems.retain(|problem| seen.insert((line(problem), &problem.cause)));
    for problem in &problems {
        console.block(&file.sources.picture(problem, console.is_colourful()));
    }
    match problems.len() {
        0 => Ok(()),
        n => Err(Error::usage(
            format!("{} has {}", path.display(), count(n, "error")),
            "correct the errors above; nothing was drawn",
        )),
    }
}

/// The default output folder: `p2p-out/jobs` for `jobs.toml`.
fn default_folder(file: &Path) -> PathBuf {
    Path::new("p2p-out").join(file.file_stem().unwrap_or("jobs".as_ref()))
}
