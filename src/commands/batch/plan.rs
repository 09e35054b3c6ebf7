//! `--dry-run`: prints what would be drawn, with estimates of time, memory and disk space. Owns the estimates' factors
//! and the text.

use prompt_to_prompt::error::Result;
use prompt_to_prompt::format;
use prompt_to_prompt::kernels::fma_peak;

use super::groups::SharedRun;
use super::run::Run;
use super::task::Task;
use crate::commands::print;

/// Approximate share of the processor's peak that a run reaches.
const OF_PEAK: f64 = 0.5;
/// Approximate number of bytes of a PNG per pixel.
const PER_PIXEL: f64 = 1.6;

/// Prints the plan. `finished` is the number of jobs that are skipped.
///
/// # Errors
/// A run error if stdout cannot be written.
pub fn print_plan(run: &Run, groups: &[SharedRun], finished: usize) -> Result<()> {
    let peak = fma_peak();
    let (mut seconds, mut bytes, mut memory) = (0.0, 0.0, Some(0));
    let mut text = String::new();
    for (i, group) in groups.iter().enumerate() {
        let tasks: Vec<&Task> = group.tasks.iter().map(|t| &run.tasks.tasks[*t]).collect();
        let prepared = &tasks[0].checked.prepared;
        let work = run.tasks.models[group.model]
            .folder()
            .work(prepared.latent_size);
        let halves = if prepared.run.guided() { 2.0 } else { 1.0 };
        let rows = group.rows as f64;
        let flop = rows
            * (halves * prepared.controller.clock.calls as f64 * work.unet_row + work.vae_decode);
        let takes = flop / (OF_PEAK * peak);
        seconds += takes;
        let footprint = tasks[0].footprint;
        let takes_memory = footprint.map(|footprint| footprint.of(group.rows));
        memory = memory
            .zip(takes_memory)
            .map(|(most, takes)| most.max(takes));
        let pictures: usize = tasks.iter().map(|task| task.checked.pictures()).sum();
        bytes += pictures as f64 * (prepared.run.width * prepared.run.height) as f64 * PER_PIXEL;
        text += &format!(
            "run {}: {}, {}, {}x{}, about {}\n",
            i + 1,
            format::count(group.rows, "row"),
            format::count(prepared.run.steps, "step"),
            prepared.run.width,
            prepared.run.height,
            duration(takes)
        );
        for task in tasks {
            text += &format!("  {}\n", task.name);
        }
    }
    let jobs: usize = groups.iter().map(|group| group.tasks.len()).sum();
    let memory = match memory {
        Some(bytes) => format!("{} of memory", format::bytes(bytes)),
        None => "memory not known before the download".to_owned(),
    };
    text += &format!(
        "{} in {}, {finished} already finished; about {}, {memory} and {} on disk\n",
        format::count(jobs, "job"),
        format::count(groups.len(), "run"),
        duration(seconds),
        format::bytes(bytes as u64)
    );
    print(&text)
}

/// A duration for people: seconds, minutes or hours.
fn duration(seconds: f64) -> String {
    match seconds {
        0.0 => "0 s".to_owned(),
        s if s < 90.0 => format!("{:.0} s", s.max(1.0)),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
