//! The outputs of a run: where they are written, and in which order. Owns the names of files and of default folders;
//! it must never draw or read a model.

use std::path::{Path, PathBuf};

use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::job::{Job, Outcome, Picture};
use prompt_to_prompt::message;
use prompt_to_prompt::metadata::Metadata;
use prompt_to_prompt::report::atomic::AtomicFile;
use prompt_to_prompt::report::html::{self, REPORT};
use prompt_to_prompt::report::output::{MANIFEST, OutputFolder};
use prompt_to_prompt::report::strip::{Panel, strip};
use prompt_to_prompt::report::xmp::ai_mark;
use prompt_to_prompt::sample::Controller;
use prompt_to_prompt::setting::Setting;

use super::draw::Request;
use crate::cli::OutputArgs;

/// The folder to write: `--output`, else a folder named after the job. Without `--force` the default folder is one
/// that does not exist yet.
pub fn target(job: &Job, args: &OutputArgs) -> PathBuf {
    let given = args.folder.clone();
    given.unwrap_or_else(|| {
        if args.force {
            default_target(job)
        } else {
            unused(default_target(job))
        }
    })
}

fn default_target(job: &Job) -> PathBuf {
    Path::new("p2p-out").join(job.slug())
}

/// The folder, or the first free name with a number behind it. Users often try other settings with the same prompts
/// and seed, and an earlier result must not stop them.
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

/// Where the final latents are written.
pub enum Latents {
    /// A file of the output folder, which is written together with the folder.
    Inside(String),
    /// A file elsewhere, which is opened before the run starts.
    Apart(PathBuf, AtomicFile),
}

impl Latents {
    /// The destination for the path `file`.
    ///
    /// # Errors
    /// A usage error if the name belongs to another output, a run error if the file cannot be created.
    pub fn at(file: &Path, output: &OutputFolder) -> Result<Self> {
        Ok(match output.name_of(file) {
            Some(name) => {
                Self::check_name(&name)?;
                Self::Inside(name)
            }
            None => Self::Apart(file.to_owned(), AtomicFile::create(file)?),
        })
    }

    /// Checks that latents of this name do not replace another output.
    ///
    /// # Errors
    /// A usage error if they would.
    pub fn check_name(name: &str) -> Result<()> {
        if name.ends_with(".png") || [MANIFEST, REPORT].contains(&name) {
            return Err(Error::usage(
                message![Setting::SaveLatents.to(name), " would replace an output"],
                "give it a name of its own, such as latents.safetensors",
            )
            .about(Setting::SaveLatents));
        }
        Ok(())
    }
}

/// Writes pictures, masks, strip, latents, manifest and report. Returns the paths of all files.
///
/// # Errors
/// A run error if a file cannot be encoded or written.
pub fn write_outputs(
    mut output: OutputFolder,
    request: &Request,
    outcome: &mut Outcome,
    latents: Option<Latents>,
) -> Result<Vec<PathBuf>> {
    // With --no-source the source may still have been drawn, for its heatmaps.
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
        // The manifest lists the report, so the report is announced before the manifest is written.
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

/// Writes the report of this one run while its folder is still under its temporary name.
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
