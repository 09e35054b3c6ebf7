//! The flags that make up a job, shared by all commands that take one, and how they fill a `Job`.

use clap::{Args, ValueEnum, ValueHint};

use prompt_to_prompt::edit::Rules;
use prompt_to_prompt::error::Error;
use prompt_to_prompt::job::Job;

use super::edits::EachEditArgs;
use super::picture::PictureArgs;
use super::values::downscale;

/// What to draw and how to edit it.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// The source prompt: what the picture shows before the edit
    #[arg(help_heading = "Edit", long, value_name = "PROMPT", value_hint = ValueHint::Other)]
    src: String,

    #[command(flatten)]
    each: EachEditArgs,

    /// Finest downscale of the latents at which self-attention is injected: 1, 2, 4, 8
    /// [default: the model's layout grid, 16x16 for Stable Diffusion at 512 px]
    #[arg(help_heading = "Edit", long, value_name = "DOWNSCALE", value_parser = downscale)]
    self_res: Option<usize>,

    #[command(flatten)]
    pub picture: PictureArgs,

    /// Run the edited prompts from the same noise without touching attention (the paper's figure 2)
    #[arg(help_heading = "Edit", long)]
    no_edit_control: bool,

    /// Add the edits without attention control to the strip
    #[arg(help_heading = "Output", long, conflicts_with = "no_edit_control")]
    baseline: bool,

    /// Draw the edits alone: once no edit needs the source any more, it stops. Not a byte of the edits
    /// depends on it
    #[arg(help_heading = "Output", long)]
    no_source: bool,

    /// Reproduce another implementation's quirks: those of the paper's own code
    #[arg(help_heading = "Edit", long, value_enum, value_name = "OF")]
    compat: Option<CompatArg>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CompatArg {
    Reference,
}

impl JobArgs {
    /// The job these flags ask for; `seed` is used where no --seed was given.
    pub fn job(&self, seed: u64) -> Result<Job, Error> {
        let edits = self.each.specs()?;
        self.check_control()?;
        Ok(Job {
            edits,
            self_res: self.self_res,
            control: !self.no_edit_control,
            baseline: self.baseline,
            draw_source: !self.no_source,
            ..self.source(seed)
        })
    }

    /// The source of the job and no edit of it.
    pub fn source(&self, seed: u64) -> Job {
        Job {
            rules: match self.compat {
                Some(CompatArg::Reference) => Rules::Reference,
                None => Rules::Ours,
            },
            ..self.picture.job(&self.src, seed)
        }
    }

    /// What does nothing without attention control.
    fn check_control(&self) -> Result<(), Error> {
        if !self.no_edit_control {
            return Ok(());
        }
        if !self.each.has_prompts() {
            return Err(Error::usage(
                "--no-edit-control without --dst would draw the source twice",
                "add an edited prompt, --dst \"a big red car\", or leave --no-edit-control out",
            ));
        }
        match self.each.needs_control() {
            Some(flag) => Err(Error::usage(
                format!("{flag} does nothing beside --no-edit-control"),
                "leave one of them out",
            )),
            None => Ok(()),
        }
    }
}
