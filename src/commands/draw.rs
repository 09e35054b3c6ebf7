//! Drawing a job into a folder: what `p2p edit` and `p2p heatmap` have in common.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use image::RgbImage;
use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::heatmap::Selection;
use prompt_to_prompt::heatmap::cost::Cost;
use prompt_to_prompt::job::{Job, Outcome, Picture, Prepared, run};
use prompt_to_prompt::kernels::Packing;
use prompt_to_prompt::message;
use prompt_to_prompt::metadata::Metadata;
use prompt_to_prompt::model::{ModelFolder, ModelSource, Need, RunSize};
use prompt_to_prompt::report::atomic::AtomicFile;
use prompt_to_prompt::report::console::Console;
use prompt_to_prompt::report::html::{self, REPORT};
use prompt_to_prompt::report::output::{MANIFEST, OutputFolder};
use prompt_to_prompt::report::strip::{Panel, strip};
use prompt_to_prompt::report::xmp::ai_mark;
use prompt_to_prompt::sample::{AttentionObserver, Controller, Heads, Recorder};
use prompt_to_prompt::setting::Setting;

use super::heatmaps::{listed, select, tell, write};
use super::messages::{announce, tell_changes, tell_masks};
use super::open::open;
use super::terminal::{can_show, show};
use super::{bare, print, random_seed};
use crate::cli::{DrawArgs, EditArgs, HeatmapArgs, MapArgs, OutputArgs};

/// What is drawn, and what is kept of it.
pub struct Request {
    pub job: Job,
    pub model: ModelSource,
    maps: Option<MapArgs>,
    save_masks: bool,
    /// No metadata.
    bare: bool,
    pub save_latents: Option<PathBuf>,
    /// A page of this one run.
    report: bool,
}

impl Request {
    /// Errors: usage, where the environment asks for what is not known.
    pub fn new(args: &DrawArgs, job: Job) -> Result<Self> {
        Ok(Self {
            job,
            bare: bare(args.metadata.no_metadata)?,
            model: args.job.picture.source(),
            maps: args.heatmaps.then(|| args.maps.0.clone()),
            save_masks: args.save_mask,
            save_latents: args.save_latents.as_ref().map(|file| file.0.clone()),
            report: false,
        })
    }

    /// What is kept beside the pictures, as text: another of these, other files.
    pub fn kept(&self) -> String {
        let latents = self.save_latents.as_deref().and_then(Path::file_name);
        format!(
            "{:?} {} {} {latents:?}",
            self.maps, self.save_masks, self.bare
        )
    }
}

/// A request that its model can carry out.
pub struct Checked {
    pub request: Request,
    pub prepared: Prepared,
    selection: Option<Selection>,
}

impl Checked {
    pub fn new(request: Request, folder: &ModelFolder) -> Result<Self> {
        let mut prepared = Prepared::new(&request.job, folder)?;
        let maps = request.maps.as_ref();
        prepared.controller.keep_source |= maps.is_some_and(|maps| maps.spec.shows_source());
        check_masks(&request, &prepared)?;
        let sites = folder.unet.sites(prepared.latent_size);
        let selection = match &request.maps {
            Some(maps) => Some(select(maps, &prepared, &sites)?),
            None => None,
        };
        Ok(Self {
            request,
            prepared,
            selection,
        })
    }

    /// Who records the maps that are wanted.
    pub fn recorder(&self) -> Option<Recorder> {
        let selection = self.selection.as_ref()?;
        Some(Recorder::new(selection.recording.clone()))
    }

    /// That it fits into memory by itself.
    fn fits(&self, folder: &ModelFolder, packing: Packing) -> Result<()> {
        let sites = folder.unet.sites(self.prepared.latent_size);
        let kept = match (&self.request.maps, &self.selection) {
            (Some(maps), Some(selection)) => {
                Cost::of(&maps.spec, &maps.look, selection, &self.prepared, &sites).bytes as u64
            }
            _ => 0,
        };
        fits(&self.prepared, kept, folder, packing)
    }

    /// Pictures of its rows.
    pub fn pictures(&self) -> usize {
        self.prepared.controller.rows.len()
    }

    /// Whether it looks at each head, and so changes how others' means are summed.
    pub fn looks_at_heads(&self) -> bool {
        let heads = |selection: &Selection| selection.recording.heads != Heads::Mean;
        self.selection.as_ref().is_some_and(heads)
    }

    /// Writes what was drawn: the files, and the grid of maps where there is one.
    pub fn write(
        &self,
        outcome: &mut Outcome,
        recorder: Option<&Recorder>,
        output: OutputFolder,
        latents: Option<Latents>,
    ) -> Result<(Vec<PathBuf>, Option<RgbImage>)> {
        let mut output = output.bare(self.request.bare);
        let grid = match (&self.request.maps, &self.selection, recorder) {
            (Some(args), Some(selection), Some(recorder)) => {
                let prepared = &self.prepared;
                let grid = write(args, selection, recorder, prepared, outcome, &mut output)?;
                Some(grid).filter(|_| args.show)
            }
            _ => None,
        };
        let paths = write_outputs(output, &self.request, outcome, latents)?;
        Ok((paths, grid))
    }
}

pub fn edit(args: &EditArgs, console: &Console) -> Result<()> {
    let job = args.draw.job.job(random_seed())?;
    draw(Request::new(&args.draw, job)?, &args.output, console)
}

pub fn heatmap(args: &HeatmapArgs, console: &Console) -> Result<()> {
    if args.prompt.trim().is_empty() {
        return Err(Error::usage(
            message!["the prompt of ", Setting::Src, " is empty"],
            "write what the picture shows, such as \"a cat on the beach\"",
        ));
    }
    let request = Request {
        job: args.picture.job(&args.prompt, random_seed()),
        model: args.picture.source(),
        maps: Some(args.maps.clone()),
        save_masks: false,
        bare: bare(args.metadata.no_metadata)?,
        save_latents: None,
        report: false,
    };
    draw(request, &args.output, console)
}

pub fn draw(mut request: Request, args: &OutputArgs, console: &Console) -> Result<()> {
    request.report = args.report;
    let stop = interrupt_flag(console);
    let folder = open(&request.model, Need::Weights, console)?;
    if request.maps.as_ref().is_some_and(|maps| maps.show) {
        can_show(args.json)?;
    }
    let checked = Checked::new(request, &folder)?;
    let (request, prepared) = (&checked.request, &checked.prepared);
    let packing = Packing {
        large_tiles: prepared.run.fast,
        on_demand: args.low_memory,
    };
    checked.fits(&folder, packing)?;
    // Where nothing can be written, that shows before the work is done.
    let target = target(&request.job, args);
    let output = OutputFolder::create(&target, args.force)?;
    let latents = request.save_latents.as_deref();
    let latents = latents.map(|file| Latents::at(file, &output)).transpose()?;
    announce(console, prepared, &folder);
    if let (Some(maps), Some(selection)) = (&request.maps, &checked.selection) {
        let sites = folder.unet.sites(prepared.latent_size);
        tell(console, maps, selection, prepared, &sites);
    }
    let start = Instant::now();
    let model = folder.open_components(packing, true)?;
    let load_s = start.elapsed().as_secs_f64();
    let mut recorder = checked.recorder();
    let mut outcome = {
        let mut progress = console.progress(prepared.controller.clock.calls, "drawing");
        let observers = recorder.as_mut().map(|r| r as &mut dyn AttentionObserver);
        run(
            prepared,
            &*model,
            &mut Vec::from_iter(observers),
            &mut |_| {
                progress.step();
                go_on(&stop)
            },
        )?
    };
    outcome.manifest.timings.load_s = load_s;
    // The pictures are decoded after the last step; an interrupt meanwhile counts too.
    go_on(&stop)?;
    tell_changes(console, "", prepared, &outcome);
    tell_masks(console, request.save_masks, &outcome);
    let (paths, grid) = checked.write(&mut outcome, recorder.as_ref(), output, latents)?;
    if args.json {
        console.note(format!("wrote {}", target.display()));
        return print(&outcome.manifest.to_json());
    }
    grid.map_or(Ok(()), show)?;
    print(&listed(&target, &paths))
}

/// That a single run fits into memory, with so many bytes `kept` besides.
pub fn fits(prepared: &Prepared, kept: u64, folder: &ModelFolder, packing: Packing) -> Result<()> {
    let Some(memory) = prepared.compute.memory() else {
        return Ok(());
    };
    let size = RunSize {
        rows: prepared.controller.rows.len(),
        latents: prepared.latent_size,
        extra_bytes: kept,
    };
    folder.fits(size, folder.memory_options(packing, true), memory)
}

/// Where an edit acts is read off the source's attention too.
fn check_masks(request: &Request, prepared: &Prepared) -> Result<()> {
    let controller = &prepared.controller;
    let located = || controller.edits().any(|(row, _)| controller.locates(row));
    if request.save_masks && !request.job.draw_source && !located() {
        return Err(Error::usage(
            message![
                Setting::SaveMask,
                " with ",
                Setting::Source,
                " has nothing to save: the place of an edit is read from the source's attention too",
            ],
            message![
                "leave one of them out, or confine the edit with ",
                Setting::Blend,
                " or ",
                Setting::Mask,
            ],
        )
        .about(Setting::SaveMask));
    }
    Ok(())
}

/// The folder to write.
fn target(job: &Job, args: &OutputArgs) -> PathBuf {
    let given = args.folder.clone();
    given.unwrap_or_else(|| match args.force {
        true => default_target(job),
        false => unused(default_target(job)),
    })
}

/// The first Ctrl-C ends the run after the step, the second at once. One flag for all who ask.
pub fn interrupt_flag(console: &Console) -> Arc<AtomicBool> {
    static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    let start = || {
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, console) = (stop.clone(), console.clone());
        // Without a handler an interrupt still ends the process; it only leaves the hidden folder.
        let _ = ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
            // A step of a large model takes a minute.
            console.note("interrupted: ending after this step; once more ends it at once");
        });
        stop
    };
    STOP.get_or_init(start).clone()
}

pub fn go_on(stop: &AtomicBool) -> Result<()> {
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    Ok(())
}

fn default_target(job: &Job) -> PathBuf {
    Path::new("p2p-out").join(job.slug())
}

/// The folder, or the first of its name with a number behind it: other settings of the same prompts
/// and seed are what one tries next.
fn unused(folder: PathBuf) -> PathBuf {
    let numbered = |n: usize| {
        folder.with_file_name(format!(
            "{}-{n}",
            folder.file_name().unwrap_or_default().display()
        ))
    };
    let names = std::iter::once(folder.clone()).chain((2..).map(numbered));
    let free = |folder: &PathBuf| std::fs::symlink_metadata(folder).is_err();
    names.into_iter().find(free).unwrap_or(folder)
}

/// Where the latents go.
pub enum Latents {
    /// A file of the output folder, which comes into being with it.
    Inside(String),
    Apart(PathBuf, AtomicFile),
}

impl Latents {
    pub fn at(file: &Path, output: &OutputFolder) -> Result<Self> {
        Ok(match output.name_of(file) {
            Some(name) => {
                Self::check_name(&name)?;
                Self::Inside(name)
            }
            None => Self::Apart(file.to_owned(), AtomicFile::create(file)?),
        })
    }

    /// Errors: usage, where an output is called so.
    pub fn check_name(name: &str) -> Result<()> {
        match name.ends_with(".png") || [MANIFEST, REPORT].contains(&name) {
            false => Ok(()),
            true => Err(Error::usage(
                message![Setting::SaveLatents.to(name), " would replace an output"],
                "give it a name of its own, such as latents.safetensors",
            )
            .about(Setting::SaveLatents)),
        }
    }
}

fn write_outputs(
    mut output: OutputFolder,
    request: &Request,
    outcome: &mut Outcome,
    latents: Option<Latents>,
) -> Result<Vec<PathBuf>> {
    // It may have been drawn for its heatmaps alone.
    let draw_source = request.job.draw_source;
    let wanted = |picture: &&Picture| draw_source || picture.row != Controller::SOURCE;
    let pictures: Vec<&Picture> = outcome.pictures.iter().filter(wanted).collect();
    for picture in &pictures {
        let metadata = Metadata::new(
            &outcome.manifest.model,
            outcome.manifest.kernels,
            picture.role,
            &picture.settings,
        );
        let name = format!("{}.png", picture.name);
        output.write_png(&name, &picture.image, &metadata.texts())?;
    }
    let masks = outcome
        .masks
        .iter()
        .enumerate()
        .filter(|_| request.save_masks);
    for (i, mask) in masks.filter_map(|(i, mask)| Some((i, mask.as_ref()?))) {
        output.write_png(&format!("mask-{}.png", i + 1), mask, &[])?;
    }
    let panels: Vec<Panel> = pictures.into_iter().map(panel).collect();
    if panels.len() > 1 {
        output.write_png("strip.png", &strip(&panels), &[ai_mark()])?;
    }
    if let Some(Latents::Inside(name)) = &latents {
        output.write_bytes(name, &safetensors_bytes(outcome)?)?;
    }
    if request.report {
        // The manifest lists it, and it is made from the manifest.
        output.path(REPORT);
    }
    outcome.manifest.files = output.files_with(MANIFEST);
    output.write_text(MANIFEST, &outcome.manifest.to_json())?;
    if request.report {
        write_report(&mut output)?;
    }
    let mut paths = output.finish()?;
    if let Some(Latents::Apart(path, file)) = latents {
        file.finish(&safetensors_bytes(outcome)?)?;
        paths.push(path);
    }
    Ok(paths)
}

/// The page of this one run, before its folder is in its place.
fn write_report(output: &mut OutputFolder) -> Result<()> {
    let options = html::Options {
        title: Some(&output.name()),
        ..html::Options::default()
    };
    let page = html::build(output.making(), &options)?;
    output.write_text(REPORT, &page.html)
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
