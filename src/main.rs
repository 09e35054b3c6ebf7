//! The binary: from flags to files to an exit code. Owns what touches the process: environment,
//! interrupts, streams. Everything else is the library's.

mod cli;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::Parser;

use cli::{Cli, Command, EditArgs};
use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::job::{EditSpec, Job, Outcome, Picture, Prepared, run};
use prompt_to_prompt::model::ModelFolder;
use prompt_to_prompt::report::atomic::AtomicFile;
use prompt_to_prompt::report::console::Console;
use prompt_to_prompt::report::output::{MANIFEST, OutputFolder};
use prompt_to_prompt::report::slug::slug;
use prompt_to_prompt::report::strip::{Panel, strip};

fn main() -> ExitCode {
    let Cli {
        command: Command::Edit(args),
    } = Cli::parse();
    if let Some(threads) = args.threads {
        // SAFETY: no thread has been started yet. candle and rayon both read this variable.
        unsafe { std::env::set_var("RAYON_NUM_THREADS", threads.to_string()) };
    }
    let console = Console::new(args.verbosity());
    match edit(&args, &console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console.error(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Usage(_) => 2,
        Error::Interrupted => 130,
        _ => 1,
    }
}

fn edit(args: &EditArgs, console: &Console) -> Result<()> {
    let stop = interrupt_flag();
    let job = args.job(random_seed())?;
    let folder = ModelFolder::open(&args.model)?;
    let prepared = Prepared::new(&job, &folder)?;
    // Where nothing can be written, that shows before the work is done.
    let target = args.output.clone().unwrap_or_else(|| default_target(&job));
    let output = OutputFolder::create(&target, args.force)?;
    let latents = args.save_latents.as_deref();
    let latents = latents.map(|file| Latents::at(file, &output)).transpose()?;
    announce(console, &job, &prepared, &folder);
    let start = Instant::now();
    let model = folder.load()?;
    let load_s = start.elapsed().as_secs_f64();
    let mut outcome = {
        let mut progress = console.progress(prepared.calls, "drawing");
        run(&job, &prepared, &model, &mut |_| {
            progress.step();
            go_on(&stop)
        })?
    };
    outcome.manifest.timings.load_s = load_s;
    // The pictures are decoded after the last step; an interrupt meanwhile counts too.
    go_on(&stop)?;
    let paths = write_outputs(output, &mut outcome, latents)?;
    if args.json {
        console.note(&format!("wrote {}", target.display()));
        return print(&outcome.manifest.to_json());
    }
    print(
        &paths
            .iter()
            .map(|path| format!("{}\n", path.display()))
            .collect::<String>(),
    )
}

/// The first Ctrl-C ends the run after the step, the second at once.
fn interrupt_flag() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    // Without a handler an interrupt still ends the process; it only leaves the hidden folder.
    let _ = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    stop
}

fn go_on(stop: &AtomicBool) -> Result<()> {
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    Ok(())
}

/// Every `RandomState` is seeded by the system: enough for a seed that a user may type again.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish() & 0xffff_ffff
}

fn default_target(job: &Job) -> PathBuf {
    let named = |spec: &EditSpec| match &spec.dst {
        Some(dst) => dst.clone(),
        None => spec
            .weights
            .iter()
            .map(|(w, f)| format!("{w} {f}"))
            .collect::<Vec<_>>()
            .join(" "),
    };
    let edits: Vec<String> = job.edits.iter().map(named).collect();
    let edits: Vec<&str> = edits.iter().map(String::as_str).collect();
    Path::new("p2p-out").join(format!("{}-{}", slug(&job.src, &edits), job.seed))
}

/// What will be done, before it costs anything.
fn announce(console: &Console, job: &Job, prepared: &Prepared, folder: &ModelFolder) {
    let Prepared {
        steps,
        guidance,
        width,
        height,
        ..
    } = prepared;
    console.note(&format!(
        "{}: {width}x{height}, {steps} steps, guidance {guidance}, seed {}",
        folder.id, job.seed
    ));
    for (i, edit) in prepared.edits.iter().enumerate() {
        console.note(&match job.control {
            true => {
                format!(
                    "edit {}: {} ({})",
                    i + 1,
                    edit.alignment.kind.name(),
                    edit.reason
                )
            }
            false => format!("edit {}: without control", i + 1),
        });
        console.detail(&edit.describe(&prepared.source, job.rules));
    }
    prepared
        .warnings
        .iter()
        .for_each(|warning| console.warn(warning));
}

/// Where the latents go.
enum Latents {
    /// A file of the output folder, which comes into being with it.
    Inside(String),
    Apart(PathBuf, AtomicFile),
}

impl Latents {
    fn at(file: &Path, output: &OutputFolder) -> Result<Self> {
        Ok(match output.name_of(file) {
            Some(name) if name.ends_with(".png") || name == MANIFEST => {
                return Err(Error::usage(
                    format!("--save-latents {} would replace an output", file.display()),
                    "give it a name of its own, such as latents.safetensors",
                ));
            }
            Some(name) => Self::Inside(name),
            None => Self::Apart(file.to_owned(), AtomicFile::create(file)?),
        })
    }
}

fn write_outputs(
    mut output: OutputFolder,
    outcome: &mut Outcome,
    latents: Option<Latents>,
) -> Result<Vec<PathBuf>> {
    if let Some(Latents::Inside(name)) = &latents {
        outcome.manifest.files.push(name.clone());
    }
    for picture in &outcome.pictures {
        output.write_png(&format!("{}.png", picture.name), &picture.image)?;
    }
    let panels: Vec<Panel> = outcome.pictures.iter().map(panel).collect();
    output.write_png("strip.png", &strip(&panels))?;
    output.write_text(MANIFEST, &outcome.manifest.to_json())?;
    if let Some(Latents::Inside(name)) = &latents {
        output.write_bytes(name, &safetensors_bytes(outcome)?)?;
    }
    let mut paths = output.finish()?;
    if let Some(Latents::Apart(path, file)) = latents {
        file.finish(&safetensors_bytes(outcome)?)?;
        paths.push(path);
    }
    Ok(paths)
}

fn panel(picture: &Picture) -> Panel<'_> {
    Panel {
        picture: &picture.image,
        label: &picture.label,
        caption: &picture.caption,
    }
}

fn safetensors_bytes(outcome: &Outcome) -> Result<Vec<u8>> {
    let tensors = [("latents", &outcome.latents)];
    safetensors::serialize(tensors, None).map_err(|e| {
        Error::run(
            format!("cannot encode the latents: {e}"),
            "please report this",
        )
    })
}

/// A reader that went away has all it wanted.
fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::run(
            format!("cannot write to stdout: {e}"),
            "check where it is redirected to",
        )),
        _ => Ok(()),
    }
}
