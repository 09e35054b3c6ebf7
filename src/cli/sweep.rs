//! The flags of `p2p sweep`.

use clap::Args;

use super::batch::RunArgs;
use super::job_file::Base;

/// Draw an edit for many values of one or two settings, side by side on one sheet
///
/// Without --vary, draws the paper's figure: cross-attention injected in 0 % to 100 % of the run.
/// Writes sweep.png (a sheet with headings), scores.csv (how much each cell changed, inside and outside
/// the place of the edit) and a folder per cell. All flags of `p2p edit` apply to every cell.
#[derive(Debug, Args)]
#[command(after_help = SWEEP_EXAMPLES)]
pub struct SweepArgs {
    /// Setting that varies, with its values: KEY=FROM:TO:STEP, KEY=A,B,C (with | between values that contain
    /// commas), or KEY=FROM..TO for whole numbers. KEY is the name of a flag, or FLAG.WORD for one word. If given
    /// twice, the first makes the columns and the second the rows [default: cross-steps=0:1:0.2]
    #[arg(
        help_heading = "Sweep",
        long,
        value_name = "KEY=VALUES",
        allow_hyphen_values = true
    )]
    pub vary: Vec<String>,

    #[command(flatten)]
    pub base: Base,

    #[command(flatten)]
    pub run: RunArgs,
}

const SWEEP_EXAMPLES: &str = "\
Examples:
  # the paper's figure: injection from 0 % to 100 %, for four seeds
  p2p sweep --src \"a cat on the beach\" --dst \"a dog on the beach\" --vary cross-steps=0:1:0.2 --vary seed=0..3
  # a fader for one word
  p2p sweep --src \"a fluffy dog\" --vary weight.fluffy=-2:2:1
  # several prompts
  p2p sweep --src \"a cat on the beach\" --vary \"dst=a dog on the beach|a bear on the beach\" --seed 3";
