//! `p2p rerun` and `p2p verify`: a picture drawn again from what it records of itself.

use image::{ImageFormat, RgbImage};
use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::job::{Job, Prepared, run};
use prompt_to_prompt::kernels::{Packing, family};
use prompt_to_prompt::metadata::PixelDifference;
use prompt_to_prompt::model::ModelFolder;
use prompt_to_prompt::report::console::Console;
use prompt_to_prompt::setting::Setting;
use serde_json::json;

use super::draw::{Request, draw, fits, go_on, interrupt_flag};
use super::print;
use super::recorded_run::RecordedRun;
use crate::cli::{RerunArgs, VerifyArgs};

pub fn rerun(args: &RerunArgs, console: &Console) -> Result<()> {
    let again = RecordedRun::new(&args.picture, &args.set, args.metadata.no_metadata)?;
    again.folder(console)?;
    let mut request = Request::new(&again.order.args, again.order.job)?;
    request.model = again.model;
    draw(request, &args.output, console)
}

pub fn verify(args: &VerifyArgs, console: &Console) -> Result<()> {
    let again = RecordedRun::new(&args.picture, &[], false)?;
    let folder = again.folder(console)?;
    let there = decode(&again.name, &again.bytes)?;
    // The picture is the last row; of the others nothing need be seen.
    let job = Job {
        draw_source: again.order.job.edits.is_empty(),
        ..again.order.job.clone()
    };
    let here = redraw(&job, &folder, args.low_memory, console)?;
    let name = &again.name;
    let difference = PixelDifference::between(&there, &here).ok_or_else(|| {
        let size = |picture: &RgbImage| format!("{}x{}", picture.width(), picture.height());
        Error::usage(
            format!("{name} is {}, but was drawn {}", size(&there), size(&here)),
            "give the picture as it was drawn, not scaled or cut",
        )
    })?;
    if args.json {
        let verdict = json!({
            "schema": "p2p.verify/v1",
            "reproduces": difference.is_none(),
            "largest_difference": difference.largest,
            "differing_bytes": difference.bytes.0,
            "differing_share": difference.share(),
            "drawn_otherwise": again.metadata.drawn_otherwise(family(&folder.compute)),
        });
        print(&format!("{verdict:#}\n"))?;
    }
    match difference.is_none() {
        true if args.json => Ok(()),
        true => print(&format!("{name} reproduces: every pixel is the same\n")),
        false => Err(again.differs(&difference, &folder)),
    }
}

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
fn of_its_size(error: Error) -> Error {
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

/// The last picture of a job.
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
    fits(&prepared, 0, folder, packing).map_err(of_its_size)?;
    let model = folder.open_components(packing, true)?;
    let mut progress = console.progress(prepared.controller.clock.calls, "drawing");
    let mut outcome = run(&prepared, &*model, &mut [], &mut |_| {
        progress.step();
        go_on(&stop)
    })?;
    let last = outcome.pictures.pop().expect("a run draws a picture");
    Ok(last.image)
}
