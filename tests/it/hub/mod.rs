//! Models of the hub, tested against a hub in the test process.

mod broken;
mod commands;
mod connections;
mod cures;
mod damaged;
mod fetch;

mod mistakes;
mod mock;
mod names;
mod offline;
mod progress;
mod refusals;
mod rerun;
mod shared_cache;
mod weights;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use assert_cmd::Command;
use prompt_to_prompt::error::Error;
use prompt_to_prompt::hub::{Connection, HubSettings, ProgressReporter, Silent};
use prompt_to_prompt::model::{ModelFolder, ModelSource, Need};

pub use mock::{Mock, Request, Response};

use crate::common::fixture;

/// The id of most tests.
const ID: &str = "ada/mini-sd";
const TOKEN: &str = "hf_secretSecretSecret";

/// Variables that change the hub's behaviour. The tests' own environment must not set them.
const VARIABLES: [&str; 24] = [
    "HF_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "XDG_CACHE_HOME",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "HF_TOKEN_PATH",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "HF_HUB_DOWNLOAD_TIMEOUT",
    "HF_HUB_ETAG_TIMEOUT",
    "HF_HUB_DISABLE_PROGRESS_BARS",
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
];

/// A hub with a miniature model, a cache of its own, and a folder to run in.
struct Place {
    mock: Mock,
    home: tempfile::TempDir,
    work: tempfile::TempDir,
}

/// The miniature model, with additional files that p2p does not use.
fn miniature() -> BTreeMap<String, Vec<u8>> {
    let mut files = mock::files_of(&fixture("mini-sd"));
    for (path, bytes) in [
        ("README.md", "# A model"),
        ("mini.safetensors", "a checkpoint"),
        ("unet/diffusion_pytorch_model.bin", "a pickle"),
        ("unet/diffusion_flax_model.msgpack", "for Flax"),
        ("vae_decoder/model.onnx", "for ONNX"),
        ("safety_checker/model.safetensors", "not looked at"),
        ("feature_extractor/preprocessor_config.json", "{}"),
    ] {
        files.insert(path.to_owned(), bytes.into());
    }
    files
}

impl Place {
    fn new() -> Self {
        Self::with(miniature())
    }

    fn with(files: BTreeMap<String, Vec<u8>>) -> Self {
        let mock = Mock::new();
        mock.add(ID, files);
        Self {
            mock,
            home: tempfile::tempdir().unwrap(),
            work: tempfile::tempdir().unwrap(),
        }
    }

    fn cache(&self) -> PathBuf {
        self.home.path().join("hub")
    }

    fn repo(&self) -> PathBuf {
        self.cache().join("models--ada--mini-sd")
    }

    /// The only snapshot.
    fn snapshot(&self) -> PathBuf {
        let entries = std::fs::read_dir(self.repo().join("snapshots")).unwrap();
        let mut entries: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(entries.len(), 1);
        entries.remove(0)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_p2p"));
        VARIABLES.iter().for_each(|name| {
            command.env_remove(name);
        });
        command
            .args(args)
            .current_dir(self.work.path())
            .env("HF_HOME", self.home.path())
            .env("HF_ENDPOINT", &self.mock.endpoint);
        command
    }

    fn p2p(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn succeed(&self, args: &[&str]) -> Output {
        let output = self.p2p(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        output
    }

    fn settings(&self, more: &[(&str, &str)]) -> HubSettings {
        let home = self.home.path().as_os_str().to_owned();
        let variable = |name: &str| match name {
            "HF_HOME" => Some(home.clone()),
            "HF_ENDPOINT" => Some(self.mock.endpoint.clone().into()),
            name => more.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into()),
        };
        HubSettings {
            pause: Duration::ZERO,
            ..HubSettings::new(variable, None)
        }
    }

    /// Opens a model in this process, with further variables.
    fn open_with(&self, source: &ModelSource, more: &[(&str, &str)]) -> Result<ModelFolder, Error> {
        self.open_watched(source, more, &Silent)
    }

    fn open_watched(
        &self,
        source: &ModelSource,
        more: &[(&str, &str)],
        reporter: &dyn ProgressReporter,
    ) -> Result<ModelFolder, Error> {
        let hub = Connection::new(self.settings(more), reporter);
        ModelFolder::open_with(source, Need::Weights, &hub)
    }

    fn open(&self, model: &str) -> Result<ModelFolder, Error> {
        self.open_with(&ModelSource::named(model), &[])
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Every file and link below a folder.
fn listing(folder: &Path) -> Vec<String> {
    let mut names = vec![];
    list(folder, "", &mut names);
    names.sort();
    names
}

fn list(folder: &Path, before: &str, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{before}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            list(&entry.path(), &format!("{name}/"), names);
        } else {
            names.push(name);
        }
    }
}

/// Records notes and warnings.
#[derive(Default)]
struct Heard(std::sync::Mutex<Vec<String>>);

impl Heard {
    fn lines(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

impl ProgressReporter for Heard {
    fn note(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }

    fn warn(&self, line: &str) {
        self.note(line);
    }
}
