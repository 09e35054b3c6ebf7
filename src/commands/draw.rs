//! Draws a job into a folder, for `p2p edit`, `p2p heatmap` and `p2p rerun`. Owns the order of the work: check,
//! announce, load, draw, write. It must never know how pictures are drawn.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use image::RgbImage;
use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::heatmap::Selection;
use prompt_to_prompt::heatmap::cost::Cost;
use prompt_to_prompt::job::{Job, Outcome, Prepared, run};
use prompt_to_prompt::kernels::Packing;
use prompt_to_prompt::message;
use prompt_to_prompt::model::{ModelFolder, ModelSource, Need, RunSize};
use prompt_to_prompt::report::console::Console;
use prompt_to_prompt::report::output::OutputFolder;
use prompt_to_prompt::sample::{AttentionObserver, Heads, Recorder};
use prompt_to_prompt::setting::Setting;

use super::heatmaps::{path_lines, print_notes, select, write};
use super::interrupt::{check_interrupted, interrupt_flag};
use super::messages::{announce, print_changes, warn_without_masks};
use super::open::open;
use super::outputs::{Latents, target, write_outputs};
use super::terminal::{can_show, show};
use super::{omits_metadata, print, random_seed};
use crate::cli::{DrawArgs, EditArgs, HeatmapArgs, MapArgs, OutputArgs};

/// What to draw, and which files to write.
pub struct Request {
    /// The job.
    pub job: Job,
    /// The model to draw with.
    pub model: ModelSource,
    /// Which heatmaps to write, if any.
    maps: Option<MapArgs>,
    /// Whether to write a mask for each edit.
    pub save_masks: bool,
    /// Whether to write pictures without metadata.
    omit_metadata: bool,
    /// The file for the final latents.
    pub save_latents: Option<PathBuf>,
    /// Whether to write `report.html` for this run.
    pub report: bool,
}

impl Request {
    /// The request for a job, with the outputs that flags ask for.
    ///
    /// # Errors
    /// A usage error if `P2P_METADATA` has an unknown value.
    pub fn new(args: &DrawArgs, job: Job) -> Result<Self> {
        Ok(Self {
            job,
            omit_metadata: omits_metadata(args.metadata.no_metadata)?,
            model: args.job.picture.source(),
            maps: args.heatmaps.then(|| args.maps.0.clone()),
            save_masks: args.save_mask,
            save_latents: args.save_latents.as_ref().map(|file| file.0.clone()),
            report: false,
        })
    }

    /// The settings of the files beside the pictures, as text for a fingerprint. Requests whose texts differ write
    /// different files.
    pub fn output_settings(&self) -> String {
        let latents = self.save_latents.as_deref().and_then(Path::file_name);
        format!(
            "{:?} {} {} {latents:?}",
            self.maps, self.save_masks, self.omit_metadata
        )
    }
}

/// A request that was checked against its model.
pub struct Checked {
    /// The request.
    pub request: Request,
    /// The job, resolved for the model.
    pub prepared: Prepared,
    /// The heatmaps to record, if any.
    selection: Option<Selection>,
}

impl Checked {
    /// Checks a request against its model.
    ///
    /// # Errors
    /// A usage error if the job or the heatmaps do not suit the model.
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

    /// The recorder of the heatmaps, if any are wanted.
    pub fn recorder(&self) -> Option<Recorder> {
        let selection = self.selection.as_ref()?;
        Some(Recorder::new(selection.recording.clone()))
    }

    /// Checks that the run fits into memory, together with its recorded maps.
    fn check_memory(&self, folder: &ModelFolder, packing: Packing) -> Result<()> {
        let sites = folder.unet.sites(self.prepared.latent_size);
        let map_bytes = match (&self.request.maps, &self.selection) {
            (Some(maps), Some(selection)) => {
                Cost::of(&maps.spec, &maps.look, selection, &self.prepared, &sites).bytes as u64
            }
            _ => 0,
        };
        check_memory(&self.prepared, map_bytes, folder, packing)
    }

    /// The number of rows, each of which becomes a picture.
    pub fn pictures(&self) -> usize {
        self.prepared.controller.rows.len()
    }

    /// Whether the heatmaps need each head by itself. This changes the order in which means over heads are summed,
    /// so such a job does not share a run.
    pub fn looks_at_heads(&self) -> bool {
        let heads = |selection: &Selection| selection.recording.heads != Heads::Mean;
        self.selection.as_ref().is_some_and(heads)
    }

    /// Writes the files of a run. Returns their paths, and the grid of heatmaps if it is to be shown in the terminal.
    ///
    /// # Errors
    /// A run error if a file cannot be written.
    pub fn write(
        &self,
        outcome: &mut Outcome,
        recorder: Option<&Recorder>,
        output: OutputFolder,
        latents: Option<Latents>,
    ) -> Result<(Vec<PathBuf>, Option<RgbImage>)> {
        let mut output = output.bare(self.request.omit_metadata);
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

/// Runs `p2p edit`.
pub fn edit(args: &EditArgs, console: &Console) -> Result<()> {
    let job = args.draw.job.job(random_seed())?;
    draw(Request::new(&args.draw, job)?, &args.output, console)
}

/// Runs `p2p heatmap`.
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
        omit_metadata: omits_metadata(args.metadata.no_metadata)?,
        save_latents: None,
        report: false,
    };
    draw(request, &args.output, console)
}

/// Draws a request into its folder and prints the paths, or the manifest as JSON.
///
/// # Errors
/// Those of opening the model, checking the request, drawing and writing.
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
    checked.check_memory(&folder, packing)?;
    // The outputs are created first, so that an unwritable folder is reported before the work starts.
    let target = target(&request.job, args);
    let output = OutputFolder::create(&target, args.force)?;
    let latents = request.save_latents.as_deref();
    let latents = latents.map(|file| Latents::at(file, &output)).transpose()?;
    announce(console, prepared, &folder);
    if let (Some(maps), Some(selection)) = (&request.maps, &checked.selection) {
        let sites = folder.unet.sites(prepared.latent_size);
        print_notes(console, maps, selection, prepared, &sites);
    }
    let mut recorder = checked.recorder();
    let mut outcome = compute(
        prepared,
        &folder,
        packing,
        recorder.as_mut(),
        &stop,
        console,
    )?;
    print_changes(console, "", prepared, &outcome);
    warn_without_masks(console, request.save_masks, &outcome);
    let (paths, grid) = checked.write(&mut outcome, recorder.as_ref(), output, latents)?;
    if args.json {
        console.note(format!("wrote {}", target.display()));
        return print(&outcome.manifest.to_json());
    }
    grid.map_or(Ok(()), show)?;
    print(&path_lines(&target, &paths))
}

/// Loads the model and draws the job, with a progress bar.
fn compute(
    prepared: &Prepared,
    folder: &ModelFolder,
    packing: Packing,
    recorder: Option<&mut Recorder>,
    stop: &AtomicBool,
    console: &Console,
) -> Result<Outcome> {
    let start = Instant::now();
    let model = folder.open_components(packing, true)?;
    let load_s = start.elapsed().as_secs_f64();
    let mut progress = console.progress(prepared.controller.clock.calls, "drawing");
    let observer = recorder.map(|recorder| recorder as &mut dyn AttentionObserver);
    let mut observers = Vec::from_iter(observer);
    let mut outcome = run(prepared, &*model, &mut observers, &mut |_| {
        progress.step();
        check_interrupted(stop)
    })?;
    outcome.manifest.timings.load_s = load_s;
    // Pictures are decoded after the last step, so an interrupt during decoding is checked here.
    check_interrupted(stop)?;
    Ok(outcome)
}

/// Checks that a single run fits into memory, with `extra_bytes` beside the model's own.
///
/// # Errors
/// A memory error if it does not.
pub fn check_memory(
    prepared: &Prepared,
    extra_bytes: u64,
    folder: &ModelFolder,
    packing: Packing,
) -> Result<()> {
    let Some(memory) = prepared.compute.memory() else {
        return Ok(());
    };
    let size = RunSize {
        rows: prepared.controller.rows.len(),
        latents: prepared.latent_size,
        extra_bytes,
    };
    folder.fits(size, folder.memory_options(packing, true), memory)
}

/// Refuses `--save-mask` if nothing locates an edit. Without `--blend` or `--mask`, the place of an edit is computed
/// from the attention of its source, which `--no-source` may stop early.
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
