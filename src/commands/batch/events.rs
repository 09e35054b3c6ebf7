//! What a run of many jobs says on stdout: a folder a finished job, or under `--jsonl` one event a line.
//!
//! A stdout that cannot be written is no job's fault and costs no picture: the first refusal is kept for
//! the run's end.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use prompt_to_prompt::error::{Error, Result};
use serde_json::{Value, json};

use super::task::Task;
use crate::commands::print;

pub struct Events {
    jsonl: bool,
    refused: Mutex<Option<Error>>,
}

impl Events {
    pub fn new(jsonl: bool) -> Self {
        let refused = Mutex::default();
        Self { jsonl, refused }
    }

    /// Errors: what stdout refused first.
    pub fn end(&self) -> Result<()> {
        self.refused().take().map_or(Ok(()), Err)
    }

    pub fn queued(&self, tasks: &[&Task]) {
        for task in tasks {
            self.of("queued", task, json!({}));
        }
    }

    pub fn skipped(&self, task: &Task) {
        match self.jsonl {
            true => self.of("skipped", task, json!({ "folder": task.folder })),
            false => self.say(&format!("{}\n", task.folder.display())),
        }
    }

    pub fn started(&self, tasks: &[&Task], rows: usize, steps: usize) {
        let names: Vec<&str> = tasks.iter().map(|task| &*task.name).collect();
        self.event(json!({ "event": "started", "jobs": names, "rows": rows, "steps": steps }))
    }

    pub fn step(&self, tasks: &[&Task], step: usize, of: usize) {
        let names: Vec<&str> = tasks.iter().map(|task| &*task.name).collect();
        self.event(json!({ "event": "step", "jobs": names, "step": step, "of": of }));
    }

    pub fn finished(&self, task: &Task, files: &[PathBuf], seconds: f64) {
        let seconds = (seconds * 1000.0).round() / 1000.0;
        match self.jsonl {
            true => self.of(
                "finished",
                task,
                json!({ "folder": task.folder, "files": files, "seconds": seconds }),
            ),
            false => self.say(&format!("{}\n", task.folder.display())),
        }
    }

    /// `at` is `jobs.toml:3:5`, where the file is to blame.
    pub fn failed(&self, name: &str, cause: &str, cure: &str, at: Option<&str>) {
        self.event(
            json!({ "event": "failed", "job": name, "cause": cause, "cure": cure, "at": at }),
        );
    }

    pub fn report(&self, path: &Path) {
        match self.jsonl {
            true => self.event(json!({ "event": "report", "file": path })),
            false => self.say(&format!("{}\n", path.display())),
        }
    }

    /// `whole`: not where the run was interrupted, or ended at the first failure.
    pub fn done(&self, drawn: usize, skipped: usize, failed: usize, whole: bool) {
        self.event(json!({
            "event": "done", "finished": drawn, "skipped": skipped, "failed": failed, "whole": whole
        }));
    }

    fn of(&self, event: &str, task: &Task, more: Value) {
        let mut value = json!({ "event": event, "job": task.name });
        if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
            value.extend(more);
        }
        self.event(value);
    }

    fn event(&self, value: Value) {
        if self.jsonl {
            self.say(&format!("{value}\n"));
        }
    }

    fn refused(&self) -> MutexGuard<'_, Option<Error>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, text: &str) {
        if let Err(error) = print(text) {
            self.refused().get_or_insert(error);
        }
    }
}
