//! What a run of many jobs prints to stdout: the folder of each finished job, or with `--jsonl` one JSON event per
//! line. Owns the events. It must never end a run: if stdout cannot be written, the pictures are drawn all the same,
//! and the first error is reported at the end.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use prompt_to_prompt::error::{Error, Result};
use serde_json::{Value, json};

use super::task::Task;
use crate::commands::print;

/// Prints the events of a run.
pub struct Events {
    jsonl: bool,
    /// The first error of writing to stdout.
    refused: Mutex<Option<Error>>,
}

impl Events {
    pub fn new(jsonl: bool) -> Self {
        let refused = Mutex::default();
        Self { jsonl, refused }
    }

    /// Ends the output.
    ///
    /// # Errors
    /// The first error of writing to stdout.
    pub fn end(&self) -> Result<()> {
        self.refused().take().map_or(Ok(()), Err)
    }

    /// The tasks that are to be drawn.
    pub fn queued(&self, tasks: &[&Task]) {
        for task in tasks {
            self.job_event("queued", task, json!({}));
        }
    }

    /// A task whose results exist already.
    pub fn skipped(&self, task: &Task) {
        if self.jsonl {
            self.job_event("skipped", task, json!({ "folder": task.folder }))
        } else {
            self.print_line(&format!("{}\n", task.folder.display()))
        }
    }

    /// A run of tasks that are drawn together. `rows` includes the source.
    pub fn started(&self, tasks: &[&Task], rows: usize, steps: usize) {
        let names: Vec<&str> = tasks.iter().map(|task| &*task.name).collect();
        self.event(json!({ "event": "started", "jobs": names, "rows": rows, "steps": steps }))
    }

    /// A finished step of a run, counted from 1.
    pub fn step(&self, tasks: &[&Task], step: usize, of: usize) {
        let names: Vec<&str> = tasks.iter().map(|task| &*task.name).collect();
        self.event(json!({ "event": "step", "jobs": names, "step": step, "of": of }));
    }

    /// A task whose files are written. `seconds` is the time of its whole run.
    pub fn finished(&self, task: &Task, files: &[PathBuf], seconds: f64) {
        let seconds = (seconds * 1000.0).round() / 1000.0;
        if self.jsonl {
            self.job_event(
                "finished",
                task,
                json!({ "folder": task.folder, "files": files, "seconds": seconds }),
            )
        } else {
            self.print_line(&format!("{}\n", task.folder.display()))
        }
    }

    /// A job that failed. `at` is the position of the mistake in the job file, such as `jobs.toml:3:5`.
    pub fn failed(&self, name: &str, cause: &str, cure: &str, at: Option<&str>) {
        self.event(
            json!({ "event": "failed", "job": name, "cause": cause, "cure": cure, "at": at }),
        );
    }

    /// The report that was written.
    pub fn report(&self, path: &Path) {
        if self.jsonl {
            self.event(json!({ "event": "report", "file": path }))
        } else {
            self.print_line(&format!("{}\n", path.display()))
        }
    }

    /// The end of all runs. `whole` is false if the user interrupted them, or if the first failure ended them.
    pub fn done(&self, drawn: usize, skipped: usize, failed: usize, whole: bool) {
        self.event(json!({
            "event": "done", "finished": drawn, "skipped": skipped, "failed": failed, "whole": whole
        }));
    }

    fn job_event(&self, event: &str, task: &Task, more: Value) {
        let mut value = json!({ "event": event, "job": task.name });
        if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
            value.extend(more);
        }
        self.event(value);
    }

    fn event(&self, value: Value) {
        if self.jsonl {
            self.print_line(&format!("{value}\n"));
        }
    }

    fn refused(&self) -> MutexGuard<'_, Option<Error>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn print_line(&self, text: &str) {
        if let Err(error) = print(text) {
            self.refused().get_or_insert(error);
        }
    }
}
