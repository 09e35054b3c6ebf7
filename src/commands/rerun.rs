//! `p2p rerun` and `p2p verify`: draw a picture again from its metadata. `recorded_run` reads the metadata and finds the
//! model. It must never know what a setting does.

use image::{ImageFormat, RgbImage};
use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::job::{Job, Prepared, run};
use prompt_to_prompt::kernels::{Packing, family};
use prompt_to_prompt::metadata::PixelDifference;
use prompt_to_prompt::model::ModelFolder;
use prompt_to_prompt::report::console::Console;
use prompt_to_prompt::setting::Setting;
use serde_json::json;

use super::draw::{Request, check_memory, draw};
use super::interrupt::{check_interrupted, interrupt_flag};
use super::print;
use super::recorded_run::RecordedRun;
use crate::cli::{RerunArgs, VerifyArgs};

/// Runs `p2p rerun`.
///
/// # Errors
/// Those of [`RecordedRun`] and of drawing.
pub fn rerun(args: &RerunArgs, console: &Console) -> Result<()> {
    let recorded = RecordedRun::new(&args.picture, &args.set, args.metadata.no_metadata)?;
    recorded.folder(console)?;
    let mut request = Request::new(&recorded.request.args, recorded.request.job)?;
    request.model = recorded.model;
    draw(request, &args.output, console)
}

/// Runs `p2p verify`.
///
/// # Errors
/// A run error if the pixels differ, and those of [`RecordedRun`] and of drawing.
pub fn verify(args: &VerifyArgs, console: &Console) -> Result<()> {
    let recorded = RecordedRun::new(&args.picture, &[], false)?;
    let folder = recorded.folder(console)?;
    let stored = decode(&recorded.name, &recorded.bytes)?;
    // The picture is the last row of the job. The source need not be decoded unless it is that row.
    let job = Job {
        draw_source: recorded.request.job.edits.is_empty(),
        ..recorded.request.job.clone()
    };
    let redrawn = redraw(&job, &folder, args.low_memory, console)?;
    let name = &recorded.name;
    let difference = PixelDifference::between(&stored, &redrawn).ok_or_else(|| {
        let size = |picture: &RgbImage| format!("{}x{}", picture.width(), picture.height());
        let (now, recorded) = (size(&stored), size(&redrawn));
        Error::usage(
            format!("{name} is {now}, but was drawn {recorded}"),
            "give the picture as it was drawn, not scaled or cropped",
        )
    })?;
    if args.json {
        let verdict = json!({
            "schema": "p2p.verify/v1",
            "reproduces": difference.is_none(),
            "largest_difference": difference.largest,
            "differing_bytes": difference.bytes.0,
            "differing_share": difference.share(),
            "drawn_otherwise": recorded.metadata.drawn_otherwise(family(&folder.compute)),
        });
        print(&format!("{verdict:#}\n"))?;
    }
    if !difference.is_none() {
        return Err(recorded.differs(&difference, &folder));
    }
    if args.json {
        return Ok(());
    }
    print(&format!("{name} reproduces: every pixel is the same\n"))
}

/// The pixels of a PNG.
fn decode(name: &str, bytes: &[u8]) -> Result<RgbImage> {
    let picture = image::load_from_memory_with_format(bytes, ImageFormat::Png);
    let picture = picture.map_err(|e| {
        Error::usage(
            format!("cannot read {name}: {e}"),
            "give the picture as it was drawn",
        )
    })?;
    Ok(picture.to_rgb8())
}

/// Replaces the cure of a memory error unless it only adds settings: a picture cannot be verified at another
/// size.
fn keep_size_in_cure(error: Error) -> Error {
    let keeps_size = |about| {
        matches!(
            about,
            Some(Setting::VaeTiling | Setting::LowMemory | Setting::Dtype)
        )
    };
    match error {
        Error::Memory(report) if !keeps_size(report.about) => {
            Error::memory(report.cause, "verify it on a machine with more memory")
        }
        error => error,
    }
}

/// Draws a job and returns its last picture.
fn redraw(
    job: &Job,
    folder: &ModelFolder,
    low_memory: bool,
    console: &Console,
) -> Result<RgbImage> {
    let stop = interrupt_flag(console);
    let prepared = Prepared::new(job, folder)?;
    let packing = Packing {
        large_tiles: job.fast,
        on_demand: low_memory,
    };
    check_memory(&prepared, 0, folder, packing).map_err(keep_size_in_cure)?;
    let model = folder.open_components(packing, true)?;
    let mut progress = console.progress(prepared.controller.clock.calls, "drawing");
    let mut outcome = run(&prepared, &*model, &mut [], &mut |_| {
        progress.step();
        check_interrupted(&stop)
    })?;
    let last = outcome.pictures.pop().expect("a run draws a picture");
    Ok(last.image)
}
