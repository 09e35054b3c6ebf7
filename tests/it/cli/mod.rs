//! Tests of the built binary, and the helpers they share. Each test runs in a temporary folder of its own,
//! offline.

mod bad_files;
mod bad_input;
mod batch;
mod batch_kill;
mod batch_says;
mod doctor;
mod dtype;
mod every_setting;
mod heatmap;
mod interrupt;
mod jobs;
mod manifest;
mod metadata;
mod no_source;
mod report;
mod rerun;
mod run_edits;
mod runs;
mod setup;
mod single_file;
mod sweep;
mod verify;

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use tempfile::TempDir;

/// A small, quick edit. Tests add flags to it.
const EDIT: [&str; 11] = [
    "edit",
    "--src",
    "a big red bicycle",
    "--dst",
    "a big red car",
    "--steps",
    "2",
    "--width",
    "64",
    "--height",
    "64",
];

/// A temporary folder that commands run in.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Sorted paths of all files and folders inside, hidden ones included.
    fn listing(&self) -> Vec<String> {
        let mut names = vec![];
        list(self.0.path(), "", &mut names);
        names.sort();
        names
    }

    fn p2p(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn p2p_with(&self, variable: &str, value: &str, args: &[&str]) -> Output {
        self.command(args).env(variable, value).output().unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_p2p"));
        command.args(args).current_dir(self.0.path());
        // A model name that is not a path must not cause a download.
        command.env("HF_HUB_OFFLINE", "1");
        command
    }

    /// Runs the quick edit with more flags, and checks that it succeeds.
    fn edit(&self, more: &[&str]) -> Output {
        self.succeed(&[&EDIT, more].concat())
    }

    fn succeed(&self, args: &[&str]) -> Output {
        let output = self.p2p(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        output
    }
}

fn list(folder: &Path, prefix: &str, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            list(&entry.path(), &format!("{name}/"), names);
        }
        names.push(name);
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
