//! The facts that `p2p doctor` reports, as data, which `--json` prints. Owns how they are collected. It reads
//! weights only to hash them, and must never read the access token.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;

use prompt_to_prompt::device::{ComputeChoice, DeviceChoice, DeviceKind, DtypeChoice, kinds};
use prompt_to_prompt::error::Result;
use prompt_to_prompt::hub::{HubSettings, StoredModel, TokenSource};
use prompt_to_prompt::kernels::Form;
use prompt_to_prompt::machine::{Cpu, Memory};
use prompt_to_prompt::message::Flags;
use prompt_to_prompt::model::{ModelFolder, ModelSource, STORYBOOK, family_of};
use serde::Serialize;

use super::environment::{self, EnvironmentSetting};
use super::hints::hints;
use crate::commands::terminal::{Protocol, is_dumb};

/// All facts, and the hints that follow from them.
#[derive(Serialize)]
pub struct Diagnosis {
    /// Version of the JSON format.
    pub schema: &'static str,
    /// The program and its build.
    pub program: Program,
    /// The processor and its threads.
    pub processor: Processor,
    /// The CPU kernels in use.
    pub kernels: Kernels,
    /// The memory, if the operating system reports it.
    pub memory: Option<MemoryFacts>,
    /// The kinds of devices.
    pub devices: Vec<DeviceFacts>,
    /// What `--device auto` and `--dtype auto` choose, or why they fail.
    pub auto: String,
    /// The embedded model.
    pub model: EmbeddedModel,
    /// The hub, if a folder for its cache is known.
    pub hub: Option<HubDiagnosis>,
    /// The terminal.
    pub terminal: Terminal,
    /// The environment variables that p2p reads.
    pub environment: Vec<EnvironmentSetting>,
    /// Problems, each with its cure.
    pub hints: Vec<String>,
}

/// The program and its build.
#[derive(Serialize)]
pub struct Program {
    pub version: &'static str,
    /// The commit, if the environment variable `P2P_COMMIT` was set for the build.
    pub commit: Option<&'static str>,
    pub build: &'static str,
    pub os: &'static str,
    pub arch: &'static str,
}

/// The processor and its threads.
#[derive(Serialize)]
pub struct Processor {
    pub name: String,
    pub cores: Option<usize>,
    /// Number of threads that this process may run at once.
    pub threads: usize,
    /// Number of worker threads that a run uses.
    pub workers: usize,
    pub features: BTreeMap<&'static str, bool>,
}

/// The CPU kernels that runs use.
#[derive(Serialize)]
pub struct Kernels {
    pub form: &'static str,
    /// The available kernels, from slow to fast.
    pub available: Vec<&'static str>,
    pub reason: String,
}

/// The memory of the machine, in bytes.
#[derive(Serialize)]
pub struct MemoryFacts {
    pub total_bytes: u64,
    pub available_bytes: u64,
    /// Whether `total_bytes` is the limit of a container.
    pub limited: bool,
}

/// The devices of one kind.
#[derive(Serialize)]
pub struct DeviceFacts {
    pub name: &'static str,
    pub compiled_in: bool,
    pub found: usize,
    /// Names of the devices as `--device` takes them, with their product names.
    pub names: Vec<String>,
}

/// The model that is part of the binary.
#[derive(Serialize)]
pub struct EmbeddedModel {
    pub id: String,
    pub weights_sha256: String,
    pub configs_sha256: String,
}

/// The settings of the Hugging Face hub and the models in its cache.
#[derive(Serialize)]
pub struct HubDiagnosis {
    /// Whether this build can download models.
    pub compiled_in: bool,
    pub endpoint: String,
    /// The environment variable that forbids network access.
    pub offline: Option<&'static str>,
    pub cache: String,
    pub cache_exists: bool,
    pub cache_bytes: u64,
    pub models: Vec<CachedModel>,
    /// Where the access token is: the name of a variable, or `file`. Never the token itself.
    pub token: Option<&'static str>,
    pub token_file: String,
}

/// A model in the cache.
#[derive(Serialize)]
pub struct CachedModel {
    pub id: String,
    /// The model family, if its configs say so.
    pub family: Option<&'static str>,
    pub bytes: u64,
}

/// The terminal.
#[derive(Serialize)]
pub struct Terminal {
    pub stdout_is_terminal: bool,
    pub stderr_is_terminal: bool,
    /// How `--show` prints pictures in this terminal.
    pub pictures: Option<&'static str>,
}

impl Diagnosis {
    /// Collects the facts of this machine.
    ///
    /// # Errors
    ///
    /// A model error if the embedded model cannot be read.
    pub fn new() -> Result<Self> {
        // The environment variables may ask for an unusable device. That is a hint, not an error here.
        let model = ModelFolder::open_source(&ModelSource {
            compute: ComputeChoice {
                device: DeviceChoice::Cpu,
                dtype: DtypeChoice::F32,
                vae_tiling: false,
            },
            ..ModelSource::named(STORYBOOK)
        })?;
        let (weights_sha256, configs_sha256) = model.hashes()?;
        let mut diagnosis = Self {
            schema: "p2p.doctor/v1",
            program: program(),
            processor: processor(),
            kernels: kernels(),
            memory: Memory::now().map(|memory| MemoryFacts {
                total_bytes: memory.total,
                available_bytes: memory.available,
                limited: memory.limited,
            }),
            devices: kinds().into_iter().map(device).collect(),
            auto: match ComputeChoice::default().open() {
                Ok(compute) => compute.to_string(),
                Err(error) => error.parts(&Flags).0,
            },
            model: EmbeddedModel {
                weights_sha256,
                configs_sha256,
                id: model.id,
            },
            hub: hub(&HubSettings::from_env()),
            terminal: Terminal {
                stdout_is_terminal: std::io::stdout().is_terminal(),
                stderr_is_terminal: std::io::stderr().is_terminal(),
                pictures: (!is_dumb()).then(|| Protocol::detect().name()),
            },
            environment: environment::settings(),
            hints: vec![],
        };
        diagnosis.hints = hints(&diagnosis);
        Ok(diagnosis)
    }
}

fn program() -> Program {
    Program {
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("P2P_COMMIT"),
        build: if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        },
        os: std::env::consts::OS,
        arch: std::env::consts::ARCH,
    }
}

fn processor() -> Processor {
    let cpu = Cpu::detect();
    Processor {
        name: cpu.name,
        cores: cpu.cores,
        threads: cpu.threads,
        workers: rayon::current_num_threads(),
        features: cpu.features.into_iter().collect(),
    }
}

fn kernels() -> Kernels {
    let (form, available) = (Form::current(), Form::available());
    let fastest = available.last() == Some(&form);
    let asked = environment::value(Form::VARIABLE).filter(|name| name == form.name());
    let reason = match (asked, form) {
        (Some(_), _) => format!("{} chooses it", Form::VARIABLE),
        (None, Form::Portable) if cfg!(target_arch = "x86_64") && fastest => {
            "this processor lacks AVX2 or FMA".to_owned()
        }
        (None, Form::Portable) => "it works on every processor".to_owned(),
        _ => "the fastest form that this processor supports".to_owned(),
    };
    Kernels {
        form: form.name(),
        available: available.into_iter().map(Form::name).collect(),
        reason,
    }
}

fn device(kind: DeviceKind) -> DeviceFacts {
    DeviceFacts {
        name: kind.name,
        compiled_in: kind.compiled_in,
        found: kind.found.len(),
        names: kind.found,
    }
}

fn hub(settings: &HubSettings) -> Option<HubDiagnosis> {
    let (paths, cache) = (settings.paths.as_ref()?, settings.cache().ok()?);
    let token = settings.token.as_ref().map(|token| match token.source {
        TokenSource::Variable(name) => name,
        TokenSource::File(_) => "file",
    });
    let model = |stored: StoredModel| CachedModel {
        family: stored.snapshots.iter().find_map(|s| family_of(&s.folder)),
        bytes: stored.bytes,
        id: stored.id,
    };
    Some(HubDiagnosis {
        compiled_in: cfg!(feature = "hub"),
        endpoint: settings.shown(),
        offline: settings.offline,
        cache_exists: paths.cache.is_dir(),
        cache_bytes: size_of(&paths.cache),
        models: cache.stored().into_iter().map(model).collect(),
        cache: paths.cache.display().to_string(),
        token,
        token_file: paths.token.display().to_string(),
    })
}

/// Size in bytes of all files below a folder. Links are not counted: snapshots of the hub consist of links.
fn size_of(folder: &Path) -> u64 {
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => size_of(&entry.path()),
        Ok(data) if data.is_file() => data.len(),
        _ => 0,
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(size).sum()
}
