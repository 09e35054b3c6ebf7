//! Turns entries of a job file into tasks: jobs that are checked against their model and have their own folders. A job
//! that cannot be drawn becomes a failure, and the other jobs become tasks all the same. It must never draw anything.

use std::collections::HashMap;
use std::collections::hash_map;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use prompt_to_prompt::error::{Error, Report, Result};
use prompt_to_prompt::format::hex;
use prompt_to_prompt::job::Prepared;
use prompt_to_prompt::kernels::{Packing, family};
use prompt_to_prompt::machine::Memory;
use prompt_to_prompt::message;
use prompt_to_prompt::model::{Footprint, LoraId, ModelFolder, ModelSource, Need, RunSize};
use prompt_to_prompt::report::console::Console;
use prompt_to_prompt::setting::Setting;
use sha2::{Digest, Sha256};

use super::names::named;
use crate::cli::{Entry, JobRequest, KeyValues, Problem, RunArgs, Vocabulary};
use crate::commands::draw::{Checked, Request};
use crate::commands::interrupt::{check_interrupted, interrupt_flag};
use crate::commands::open::open_quietly;
use crate::commands::outputs::Latents;

/// A job that can be drawn.
pub struct Task {
    /// The name: the path of the task's folder inside the output folder.
    pub name: String,
    /// The folder to write.
    pub folder: PathBuf,
    /// The checked request.
    pub checked: Checked,
    /// The index of the model in [`Tasks::models`].
    pub model: usize,
    /// A hash of everything that determines the files. `None` if the model's weights are not on this machine.
    pub fingerprint: Option<String>,
    /// The memory that a run of this size needs. `None` if the model's weights are not on this machine.
    pub footprint: Option<Footprint>,
}

/// A job that cannot be drawn.
pub struct Failure {
    /// The job's name.
    pub name: String,
    /// Why it cannot be drawn.
    pub problem: Problem,
}

/// All jobs of a run.
#[derive(Default)]
pub struct Tasks {
    /// The jobs that can be drawn.
    pub tasks: Vec<Task>,
    /// The jobs that cannot be drawn.
    pub failures: Vec<Failure>,
    /// The models of all jobs, each once.
    pub models: Vec<Opened>,
}

/// A model that was opened, or the error of opening it.
pub struct Opened {
    source: ModelSource,
    /// The folder, and the hashes of weights and configs if the weights are on this machine.
    folder: Result<(ModelFolder, Option<(String, String)>)>,
    /// Memory footprints by the size of the latents and the packing of the weights.
    footprints: HashMap<((usize, usize), Packing), Footprint>,
}

impl Opened {
    fn new(source: &ModelSource, need: Need, console: &Console) -> Self {
        let folder = open_quietly(source, need, console).and_then(|folder| {
            let here = need == Need::Weights || folder.has_weights();
            let hashes = here.then(|| folder.hashes()).transpose()?;
            Ok((folder, hashes))
        });
        Self {
            source: source.clone(),
            folder,
            footprints: HashMap::new(),
        }
    }

    /// The folder of the model.
    ///
    /// # Panics
    /// If the model could not be opened. No task has such a model.
    pub fn folder(&self) -> &ModelFolder {
        let opened = self.folder.as_ref().ok();
        &opened.expect("tasks have models that opened").0
    }
}

/// What the tasks are for.
#[derive(Debug, Clone, Copy)]
pub struct Purpose {
    /// Whether the weights are needed, or only the configs.
    pub need: Need,
    /// Whether `--low-memory` is given.
    pub low_memory: bool,
}

impl Purpose {
    /// Tasks that are only checked.
    pub const CHECK: Self = Self {
        need: Need::Plan,
        low_memory: false,
    };

    /// Tasks for these flags.
    pub fn of(args: &RunArgs) -> Self {
        Self {
            need: if args.dry_run {
                Need::Plan
            } else {
                Need::Weights
            },
            low_memory: args.low_memory,
        }
    }
}

impl Tasks {
    /// The tasks of entries. `over` are the settings of the command line, which win over those of the file.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the user interrupts the download of a model.
    pub fn new(
        entries: &[Entry],
        vocabulary: &Vocabulary,
        over: &KeyValues,
        purpose: Purpose,
        out: &Path,
        console: &Console,
    ) -> Result<Self> {
        let mut tasks = Self::default();
        let requests: Vec<_> = entries
            .iter()
            .map(|entry| (entry, entry.job_request(vocabulary, over)))
            .collect();
        let mut failed = vec![];
        for (entry, request, name) in named(requests, &mut failed) {
            if let Err(problem) =
                tasks.add(entry, request, &name, (vocabulary, console), purpose, out)
            {
                failed.push((entry, Failure { name, problem }));
            }
            // The user may have interrupted the download of a model.
            check_interrupted(&interrupt_flag(console))?;
        }
        // A problem that follows from an unreadable key is left out: the key is reported already.
        let is_independent =
            |(entry, failure): &(&Entry, Failure)| !entry.unreadable.explains(&failure.problem);
        let failed = failed.into_iter().filter(is_independent);
        tasks.failures = failed.map(|(_, failure)| failure).collect();
        Ok(tasks)
    }

    /// Checks a job and adds it as a task.
    fn add(
        &mut self,
        entry: &Entry,
        job_request: JobRequest,
        name: &str,
        (vocabulary, console): (&Vocabulary, &Console),
        purpose: Purpose,
        out: &Path,
    ) -> std::result::Result<(), Problem> {
        let target = out.join(name);
        let blamed = |error: Error| entry.blamed(vocabulary, error.report());
        let request = Request::new(&job_request.args, job_request.job);
        let mut request = request.map_err(blamed)?;
        if let Some(file) = request.save_latents.take() {
            let name = name_of_latents(&file).map_err(blamed)?;
            request.save_latents = Some(target.join(name));
        }
        let model = self.model(&request.model, purpose.need, console);
        let opened = &mut self.models[model];
        let of_model = |error: &Error| {
            let report = error.report();
            let about = report.about.or(Some(Setting::Model));
            entry.blamed(vocabulary, Report { about, ..report })
        };
        let (folder, hashes) = opened.folder.as_ref().map_err(of_model)?;
        let checked = Checked::new(request, folder).map_err(blamed)?;
        let packing = Packing {
            large_tiles: checked.prepared.run.fast,
            on_demand: purpose.low_memory,
        };
        let footprint = match hashes {
            Some(_) => {
                let footprints = &mut opened.footprints;
                Some(checked_footprint(folder, footprints, &checked, packing))
            }
            None => None,
        };
        let footprint = footprint.transpose().map_err(blamed)?;
        self.tasks.push(Task {
            footprint,
            fingerprint: hashes
                .as_ref()
                .map(|hashes| fingerprint(&checked, hashes, folder.loras())),
            name: name.to_owned(),
            folder: target,
            checked,
            model,
        });
        Ok(())
    }

    /// The index of a model, which is opened if it is new.
    fn model(&mut self, source: &ModelSource, need: Need, console: &Console) -> usize {
        let known = self.models.iter().position(|model| model.source == *source);
        known.unwrap_or_else(|| {
            self.models.push(Opened::new(source, need, console));
            self.models.len() - 1
        })
    }

    /// Prints the models whose weights a run would download.
    pub fn print_missing_weights(&self, console: &Console) {
        for model in &self.models {
            if let Ok((folder, None)) = &model.folder {
                let (id, pull) = (&folder.id, model.source.pull_arguments());
                console.note(format!(
                    "the weights of {id} are not on this machine: a run downloads them; p2p models pull {pull} downloads them now"
                ));
            }
        }
    }

    /// Prints the warnings of all tasks, each once.
    pub fn print_warnings(&self, console: &Console) {
        let mut printed = vec![];
        for task in &self.tasks {
            for warning in &task.checked.prepared.warnings {
                if !printed.contains(warning) {
                    printed.push(warning.clone());
                    console.warn(warning.clone().after(format!("{}: ", task.name)));
                }
            }
        }
    }

    /// The problems of the jobs that cannot be drawn.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.failures.iter().map(|failure| &failure.problem)
    }
}

/// The memory footprint of a job's run.
///
/// # Errors
/// A memory error if the machine has too little memory for this job alone.
fn checked_footprint(
    folder: &ModelFolder,
    known: &mut HashMap<((usize, usize), Packing), Footprint>,
    checked: &Checked,
    packing: Packing,
) -> Result<Footprint> {
    let Prepared {
        latent_size,
        compute,
        controller,
        ..
    } = &checked.prepared;
    let (latents, memory_options) = (*latent_size, folder.memory_options(packing, false));
    // Computing a footprint reads the headers of all weights, and many jobs have the same size.
    let footprint = match known.entry((latents, packing)) {
        hash_map::Entry::Occupied(known) => *known.get(),
        hash_map::Entry::Vacant(place) => {
            *place.insert(folder.footprint_with(latents, memory_options)?)
        }
    };
    let rows = controller.rows.len();
    // The total memory counts, not what is free at this moment: a batch may run for hours.
    let total = compute.memory().map(|memory| Memory {
        available: memory.total,
        ..memory
    });
    match total.filter(|total| footprint.of(rows) > total.available) {
        Some(total) => {
            let size = RunSize {
                rows,
                latents,
                extra_bytes: 0,
            };
            folder.fits(size, memory_options, total).map(|()| footprint)
        }
        None => Ok(footprint),
    }
}

/// A hash of everything that determines a job's files.
fn fingerprint(
    checked: &Checked,
    (weights, configs): &(String, String),
    loras: &[LoraId],
) -> String {
    let prepared = &checked.prepared;
    let edits: Vec<_> = prepared.edits.iter().map(|edit| &edit.settings).collect();
    let rows = (prepared.control, prepared.baseline, prepared.draw_source);
    let prompts: Vec<_> = prepared
        .edits
        .iter()
        .map(|e| (&e.tokens.text, e.base))
        .collect();
    let settings = (&prepared.run, prompts, edits, rows);
    let settings = serde_json::to_string(&settings).expect("plain data with string keys");
    let compute = &prepared.compute;
    let all = format!(
        "{} {} {compute} {weights} {configs} {settings} {}{}",
        env!("CARGO_PKG_VERSION"),
        family(compute),
        checked.request.output_settings(),
        loras
            .iter()
            .map(|l| format!(" {} {}", l.sha256, l.scale))
            .collect::<String>()
    );
    hex(Sha256::digest(all.as_bytes()))
}

/// The name of a job's latents. They belong in the job's own folder, because several jobs of a grid would overwrite
/// a shared file.
fn name_of_latents(file: &Path) -> Result<&OsStr> {
    let name = file.file_name().unwrap_or_default();
    if Path::new(name) != file {
        return Err(Error::usage(
            message![
                Setting::SaveLatents.to(file.display()),
                " is outside of the job's folder",
            ],
            "give a name without folders, such as latents.safetensors",
        )
        .about(Setting::SaveLatents));
    }
    Latents::check_name(&name.to_string_lossy())?;
    Ok(name)
}
