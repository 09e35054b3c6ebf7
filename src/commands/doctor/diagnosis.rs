//! The facts that `p2p doctor` reports, as data: what `--json` prints. Reads no weights but to hash them,
//! and no token.

use prompt_to_prompt::message::Flags;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;

use prompt_to_prompt::device::{ComputeChoice, DeviceChoice, DeviceKind, DtypeChoice, kinds};
use prompt_to_prompt::error::Result;
use prompt_to_prompt::hub::{HubSettings, StoredModel, TokenSource};
use prompt_to_prompt::kernels::Form;
use prompt_to_prompt::machine::{Cpu, Memory};
use prompt_to_prompt::model::{ModelFolder, ModelSource, STORYBOOK, family_of};
use serde::Serialize;

use super::environment::{self, EnvironmentSetting};
use super::hints::hints;
use crate::commands::terminal::{Protocol, is_dumb};

#[derive(Serialize)]
pub struct Diagnosis {
    pub schema: &'static str,
    pub program: Program,
    pub processor: Processor,
    pub kernels: Kernels,
    pub memory: Option<MemoryFacts>,
    pub devices: Vec<DeviceFacts>,
    /// What `--device auto` and `--dtype auto` come to, or why to nothing.
    pub auto: String,
    pub model: EmbeddedModel,
    pub hub: Option<HubDiagnosis>,
    pub terminal: Terminal,
    pub environment: Vec<EnvironmentSetting>,
    /// What is amiss, and the cure.
    pub hints: Vec<String>,
}

#[derive(Serialize)]
pub struct Program {
    pub version: &'static str,
    /// Where whoever built it set `P2P_COMMIT`.
    pub commit: Option<&'static str>,
    pub build: &'static str,
    pub os: &'static str,
    pub arch: &'static str,
}

#[derive(Serialize)]
pub struct Processor {
    pub name: String,
    pub cores: Option<usize>,
    /// That this process may run at once.
    pub threads: usize,
    /// Worker threads that a run would use.
    pub workers: usize,
    pub features: BTreeMap<&'static str, bool>,
}

#[derive(Serialize)]
pub struct Kernels {
    pub form: &'static str,
    /// From slow to fast.
    pub available: Vec<&'static str>,
    pub reason: String,
}

#[derive(Serialize)]
pub struct MemoryFacts {
    pub total_bytes: u64,
    pub available_bytes: u64,
    /// Whether a container's limit is what there is.
    pub limited: bool,
}

#[derive(Serialize)]
pub struct DeviceFacts {
    pub name: &'static str,
    pub compiled_in: bool,
    pub found: usize,
    /// As `--device` takes them, with their makers' names.
    pub names: Vec<String>,
}

#[derive(Serialize)]
pub struct EmbeddedModel {
    pub id: String,
    pub weights_sha256: String,
    pub configs_sha256: String,
}

#[derive(Serialize)]
pub struct HubDiagnosis {
    /// Whether models can be fetched at all.
    pub compiled_in: bool,
    pub endpoint: String,
    /// The variable that keeps us from the network.
    pub offline: Option<&'static str>,
    pub cache: String,
    pub cache_exists: bool,
    pub cache_bytes: u64,
    pub models: Vec<CachedModel>,
    /// The name of a variable, `file` or nothing; never the token.
    pub token: Option<&'static str>,
    pub token_file: String,
}

#[derive(Serialize)]
pub struct CachedModel {
    pub id: String,
    /// As far as its configs tell.
    pub family: Option<&'static str>,
    pub bytes: u64,
}

#[derive(Serialize)]
pub struct Terminal {
    pub stdout_is_terminal: bool,
    pub stderr_is_terminal: bool,
    /// How `--show` would draw, were stdout a terminal.
    pub pictures: Option<&'static str>,
}

impl Diagnosis {
    pub fn new() -> Result<Self> {
        // On the CPU, whatever the variables say: that they cannot be used is to be told, too.
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
        build: match cfg!(debug_assertions) {
            true => "debug",
            false => "release",
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
        (Some(_), _) => format!("{} asks for it", Form::VARIABLE),
        (None, Form::Portable) if cfg!(target_arch = "x86_64") && fastest => {
            "this processor lacks AVX2 or FMA".to_owned()
        }
        (None, Form::Portable) => "the form for every other processor".to_owned(),
        _ => "the fastest that this processor has".to_owned(),
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

/// Bytes of all files below a folder; links count for nothing, as in a hub's snapshots.
fn size_of(folder: &Path) -> u64 {
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => size_of(&entry.path()),
        Ok(data) if data.is_file() => data.len(),
        _ => 0,
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(size).sum()
}
