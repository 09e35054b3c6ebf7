//! The flags that make up a job, shared by all commands that draw edits.

use clap::{Args, ValueEnum, ValueHint};

use prompt_to_prompt::edit::Rules;
use prompt_to_prompt::error::Error;
use prompt_to_prompt::job::Job;
use prompt_to_prompt::message;
use prompt_to_prompt::setting::Setting;

use super::edits::EachEditArgs;
use super::picture::PictureArgs;
use super::values::{PromptText, downscale};

/// What to draw and how to edit it.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// Source prompt: what the picture shows before the edit
    #[arg(help_heading = "Edit", long, value_name = "PROMPT", value_hint = ValueHint::Other)]
    src: PromptText,

    #[command(flatten)]
    each: EachEditArgs,

    /// Finest downscale of the latents at which self-attention is injected: 1, 2, 4, 8
    /// [default: the model's layout grid, 16x16 for Stable Diffusion at 512 px]
    #[arg(help_heading = "Edit", long, value_name = "DOWNSCALE", value_parser = downscale)]
    self_res: Option<usize>,

    #[command(flatten)]
    pub picture: PictureArgs,

    /// Draw the edited prompts from the same noise without attention control (figure 2 of the paper)
    #[arg(help_heading = "Edit", long)]
    no_edit_control: bool,

    /// Add the edited prompts without attention control to the strip
    #[arg(help_heading = "Output", long, conflicts_with = "no_edit_control")]
    baseline: bool,

    /// Draw the edits alone. The source stops once no edit needs it any more; the edits are the same, byte for
    /// byte
    #[arg(help_heading = "Output", long)]
    no_source: bool,

    /// Follow the rules of another implementation, quirks included: `reference` is the paper's own code
    #[arg(help_heading = "Edit", long, value_enum, value_name = "OF")]
    compat: Option<CompatArg>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CompatArg {
    Reference,
}

impl JobArgs {
    /// The job that these flags ask for. `seed` is used where no seed was given.
    pub fn job(&self, seed: u64) -> Result<Job, Error> {
        let edits = self.each.edits()?;
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

    /// The source of the job without edits.
    pub fn source(&self, seed: u64) -> Job {
        Job {
            rules: match self.compat {
                Some(CompatArg::Reference) => Rules::Reference,
                None => Rules::Ours,
            },
            ..self.picture.job(&self.src.0, seed)
        }
    }

    /// Refuses settings that have no effect without attention control.
    fn check_control(&self) -> Result<(), Error> {
        if !self.no_edit_control {
            return Ok(());
        }
        if !self.each.has_prompts() {
            return Err(Error::usage(
                message![
                    Setting::EditControl,
                    " without ",
                    Setting::Dst,
                    " would draw the source twice"
                ],
                message![
                    "add an edited prompt, ",
                    Setting::Dst.to("a big red car"),
                    ", or leave ",
                    Setting::EditControl,
                    " out",
                ],
            )
            .about(Setting::EditControl));
        }
        match self.each.needs_control() {
            Some(setting) => Err(Error::usage(
                message![setting, " has no effect with ", Setting::EditControl],
                "leave one of them out",
            )
            .about(setting)),
            None => Ok(()),
        }
    }
}
