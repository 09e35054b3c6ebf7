//! From entries of a job file to tasks: jobs that are checked against their model and have a folder
//! of their own. What cannot be carried out becomes a failure beside them, and the rest goes on.

use std::collections::hash_map;
use std::collections::{HashMap, HashSet};
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

use crate::cli::{Entry, KeyValues, Order, Problem, RunArgs, Vocabulary, plain};
use crate::commands::draw::{Checked, Latents, Request, go_on, interrupt_flag};
use crate::commands::open::open_quietly;

/// A job that can be drawn.
pub struct Task {
    /// Its folder, in the output folder.
    pub name: String,
    pub folder: PathBuf,
    pub checked: Checked,
    /// Its place in [`Tasks::models`].
    pub model: usize,
    /// Of all that determines its files; `None` while its model's weights are not here.
    pub fingerprint: Option<String>,
    /// Of runs of its size; the same.
    pub footprint: Option<Footprint>,
}

/// A job that cannot.
pub struct Failure {
    pub name: String,
    pub problem: Problem,
}

#[derive(Default)]
pub struct Tasks {
    pub tasks: Vec<Task>,
    pub failures: Vec<Failure>,
    /// Every model that is asked for, once.
    pub models: Vec<Opened>,
}

pub struct Opened {
    source: ModelSource,
    /// And its hashes, if its weights are here.
    folder: Result<(ModelFolder, Option<(String, String)>)>,
    /// By the latents' size and how weights are kept.
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

    /// # Panics
    /// Where it could not be opened: no task has such a model.
    pub fn folder(&self) -> &ModelFolder {
        let opened = self.folder.as_ref().ok();
        &opened.expect("tasks have models that opened").0
    }
}

/// What tasks are made for.
#[derive(Debug, Clone, Copy)]
pub struct Purpose {
    /// To draw them, or to plan alone: then no weights are fetched.
    pub need: Need,
    pub low_memory: bool,
}

impl Purpose {
    pub const CHECK: Self = Self {
        need: Need::Plan,
        low_memory: false,
    };

    pub fn of(args: &RunArgs) -> Self {
        Self {
            need: match args.dry_run {
                true => Need::Plan,
                false => Need::Weights,
            },
            low_memory: args.low_memory,
        }
    }
}

impl Tasks {
    /// `over` is what the command line says.
    ///
    /// Errors: interrupted, while a model is fetched.
    pub fn new(
        entries: &[Entry],
        vocabulary: &Vocabulary,
        over: &KeyValues,
        purpose: Purpose,
        out: &Path,
        console: &Console,
    ) -> Result<Self> {
        let mut tasks = Self::default();
        let orders: Vec<_> = entries
            .iter()
            .map(|entry| (entry, entry.order(vocabulary, over)))
            .collect();
        let mut failed = vec![];
        for (entry, order, name) in named(orders, &mut failed) {
            if let Err(problem) =
                tasks.add(entry, order, &name, (vocabulary, console), purpose, out)
            {
                failed.push((entry, Failure { name, problem }));
            }
            // A model may have been fetched.
            go_on(&interrupt_flag(console))?;
        }
        let sure =
            |(entry, failure): &(&Entry, Failure)| !entry.unreadable.explains(&failure.problem);
        let failed = failed.into_iter().filter(sure);
        tasks.failures = failed.map(|(_, failure)| failure).collect();
        Ok(tasks)
    }

    fn add(
        &mut self,
        entry: &Entry,
        order: Order,
        name: &str,
        (vocabulary, console): (&Vocabulary, &Console),
        purpose: Purpose,
        out: &Path,
    ) -> std::result::Result<(), Problem> {
        let target = out.join(name);
        let blamed = |error: Error| entry.blamed(vocabulary, error.report());
        let request = Request::new(&order.args, order.job);
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
            Some(_) => Some(fitting(folder, &mut opened.footprints, &checked, packing)),
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

    fn model(&mut self, source: &ModelSource, need: Need, console: &Console) -> usize {
        let known = self.models.iter().position(|model| model.source == *source);
        known.unwrap_or_else(|| {
            self.models.push(Opened::new(source, need, console));
            self.models.len() - 1
        })
    }

    /// Models whose weights would be fetched.
    pub fn tell_missing(&self, console: &Console) {
        for model in &self.models {
            if let Ok((folder, None)) = &model.folder {
                let (id, pull) = (&folder.id, model.source.pull_arguments());
                console.note(format!(
                    "the weights of {id} are not on this machine: a run fetches them, and so does p2p models pull {pull}"
                ));
            }
        }
    }

    /// What is amiss with jobs that can be drawn; once, where many say the same.
    pub fn tell_warnings(&self, console: &Console) {
        let mut said = vec![];
        for task in &self.tasks {
            for warning in &task.checked.prepared.warnings {
                if !said.contains(warning) {
                    said.push(warning.clone());
                    console.warn(warning.clone().after(format!("{}: ", task.name)));
                }
            }
        }
    }

    /// Why jobs cannot be drawn.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.failures.iter().map(|failure| &failure.problem)
    }
}

/// What a job's runs take, which the machine must have for the job by itself.
fn fitting(
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
    // Jobs are many, sizes few, and each reads the headers of all weights.
    let footprint = match known.entry((latents, packing)) {
        hash_map::Entry::Occupied(known) => *known.get(),
        hash_map::Entry::Vacant(place) => {
            *place.insert(folder.footprint_with(latents, memory_options)?)
        }
    };
    let rows = controller.rows.len();
    // Not what is free at this moment: the batch may run for hours.
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

type Ordered<'a> = (&'a Entry, std::result::Result<Order, Problem>);

/// Gives each order a name of its own.
fn named<'a>(
    orders: Vec<Ordered<'a>>,
    failures: &mut Vec<(&'a Entry, Failure)>,
) -> Vec<(&'a Entry, Order, String)> {
    let mut good = vec![];
    for (i, (entry, order)) in orders.into_iter().enumerate() {
        match order {
            Ok(order) => good.push((entry, order)),
            Err(problem) => {
                let name = entry.name.as_ref().map(|name| name.text.clone());
                let name = name.unwrap_or_else(|| format!("job {}", i + 1));
                failures.push((entry, Failure { name, problem }));
            }
        }
    }
    let mut met: HashMap<String, usize> = HashMap::new();
    for (_, order) in &good {
        *met.entry(order.folder.to_lowercase()).or_default() += 1;
    }
    let (mut taken, mut named) = (Taken::default(), vec![]);
    for (entry, order) in good {
        let mut name = order.folder.clone();
        if met[&name.to_lowercase()] > 1 {
            let varied = entry.point.0.iter();
            let varied = varied.map(|(key, value)| format!("-{key}-{}", plain(value)));
            name += &varied.collect::<String>();
        }
        if let Err(cause) = taken.take(&name) {
            let called = entry.folder.as_ref().or(entry.name.as_ref());
            if let Some(called) = called {
                let cure = "give each a name of its own, such as \"{name}-{seed}\" for `folder`";
                let problem = Problem::new(called.place.clone(), cause, cure);
                failures.push((entry, Failure { name, problem }));
                continue;
            }
            name = numbered(&name, &mut taken);
        }
        named.push((entry, order, name));
    }
    named
}

/// The first of the name with a number behind it.
fn numbered(name: &str, taken: &mut Taken) -> String {
    let mut names = (2..).map(|n| format!("{name}-{n}"));
    let free = names.find(|name| taken.take(name).is_ok());
    free.expect("there are more numbers than jobs")
}

/// Folders that are taken, in lower case: not every file system tells `A` from `a`.
#[derive(Default)]
struct Taken {
    jobs: HashSet<String>,
    /// Folders that jobs lie in.
    around: HashSet<String>,
}

impl Taken {
    /// Errors: why no job can be called so as well.
    fn take(&mut self, name: &str) -> std::result::Result<(), String> {
        let lower = name.to_lowercase();
        let slashes = lower.match_indices('/');
        let around: Vec<String> = slashes.map(|(at, _)| lower[..at].to_owned()).collect();
        if self.jobs.contains(&lower) {
            return Err(format!("two jobs are called {name:?}"));
        }
        // A job's folder is made and replaced as a whole.
        if let Some(outer) = around.iter().find(|outer| self.jobs.contains(*outer)) {
            return Err(format!("{name:?} lies in the folder of the job {outer:?}"));
        }
        if self.around.contains(&lower) {
            return Err(format!("another job lies in the folder of {name:?}"));
        }
        self.jobs.insert(lower);
        self.around.extend(around);
        Ok(())
    }
}

/// A hash of everything that determines a job's files. Any difference gives another hash.
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
        checked.request.kept(),
        loras
            .iter()
            .map(|l| format!(" {} {}", l.sha256, l.scale))
            .collect::<String>()
    );
    hex(Sha256::digest(all.as_bytes()))
}

/// A job's latents stand in its own folder: a place apart would be written once by each of many jobs.
fn name_of_latents(file: &Path) -> Result<&OsStr> {
    let name = file.file_name().unwrap_or_default();
    if Path::new(name) != file {
        return Err(Error::usage(
            message![
                Setting::SaveLatents.to(file.display()),
                " leads out of the job's folder",
            ],
            "give a name without folders, such as latents.safetensors",
        )
        .about(Setting::SaveLatents));
    }
    Latents::check_name(&name.to_string_lossy())?;
    Ok(name)
}
