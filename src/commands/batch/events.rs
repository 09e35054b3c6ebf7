//! What a run of many jobs says on stdout: a folder a finished job, or under `--jsonl` one event a line.

use std::path::{Path, PathBuf};

use prompt_to_prompt::error::Result;
use serde_json::{Value, json};

use super::task::Task;
use crate::commands::print;

pub struct Events {
    pub jsonl: bool,
}

impl Events {
    pub fn queued(&self, tasks: &[&Task]) -> Result<()> {
        tasks
            .iter()
            .try_for_each(|task| self.of("queued", task, json!({})))
    }

    pub fn skipped(&self, task: &Task) -> Result<()> {
        match self.jsonl {
            true => self.of("skipped", task, json!({ "folder": task.folder })),
            false => print(&format!("{}\n", task.folder.display())),
        }
    }

    pub fn started(&self, tasks: &[&Task], rows: usize, steps: usize) -> Result<()> {
        let names: Vec<&str> = tasks.iter().map(|task| &*task.name).collect();
        self.event(json!({ "event": "started", "jobs": names, "rows": rows, "steps": steps }))
    }

    pub fn step(&self, tasks: &[&Task], step: usize, of: usize) -> Result<()> {
        if !self.jsonl {
            return Ok(());
        }
        let names: Vec<&str> = tasks.iter().map(|task| &*task.name).collect();
        self.event(json!({ "event": "step", "jobs": names, "step": step, "of": of }))
    }

    pub fn finished(&self, task: &Task, files: &[PathBuf], seconds: f64) -> Result<()> {
        let seconds = (seconds * 1000.0).round() / 1000.0;
        match self.jsonl {
            true => self.of(
                "finished",
                task,
                json!({ "folder": task.folder, "files": files, "seconds": seconds }),
            ),
            false => print(&format!("{}\n", task.folder.display())),
        }
    }

    /// `at` is `jobs.toml:3:5`, where the file is to blame.
    pub fn failed(&self, name: &str, cause: &str, cure: &str, at: Option<&str>) -> Result<()> {
        self.event(
            json!({ "event": "failed", "job": name, "cause": cause, "cure": cure, "at": at }),
        )
    }

    pub fn report(&self, path: &Path) -> Result<()> {
        match self.jsonl {
            true => self.event(json!({ "event": "report", "file": path })),
            false => print(&format!("{}\n", path.display())),
        }
    }

    /// `whole`: not where the run was interrupted, or ended at the first failure.
    pub fn done(&self, drawn: usize, skipped: usize, failed: usize, whole: bool) -> Result<()> {
        self.event(json!({
            "event": "done", "finished": drawn, "skipped": skipped, "failed": failed, "whole": whole
        }))
    }

    fn of(&self, event: &str, task: &Task, more: Value) -> Result<()> {
        let mut value = json!({ "event": event, "job": task.name });
        if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
            value.extend(more);
        }
        self.event(value)
    }

    fn event(&self, value: Value) -> Result<()> {
        match self.jsonl {
            true => print(&format!("{value}\n")),
            false => Ok(()),
        }
    }
}
