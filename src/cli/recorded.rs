//! The flags of the commands that take a picture for what it says of itself.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::model::ModelArgs;
use super::values::whole;
use super::{MetadataArgs, OutputArgs};

/// Say how a picture was drawn, from its metadata
///
/// Reads PNG pictures of p2p, and of A1111, ComfyUI and InvokeAI as far as their prompts and settings
/// stand plainly in them. Loads no model.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// A PNG picture
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// A picture that p2p drew, and the model to draw it with again.
#[derive(Debug, Args)]
pub struct RepeatArgs {
    /// A PNG picture that p2p drew: an edit, a source, a baseline
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// The folder or file of the model that drew it, or another to draw it with
    /// [default: the one that drew it, if it is the embedded one or of the hub]
    #[arg(help_heading = "Model", short, long, value_name = "MODEL", value_hint = ValueHint::AnyPath)]
    pub model: Option<String>,

    #[command(flatten)]
    pub parts: ModelArgs,
}

/// Draw a picture again from its metadata, as it was or with changes
///
/// Writes a folder as `p2p edit` would, with this picture and those that it is an edit of. On the same
/// build and family of kernels the bytes are the same.
#[derive(Debug, Args)]
#[command(after_help = RERUN_EXAMPLES)]
pub struct RerunArgs {
    #[command(flatten)]
    pub picture: RepeatArgs,

    /// Change a setting: a flag of `p2p edit` without the hyphens before it, or of one word FLAG.WORD; repeatable.
    /// In a chain of edits it is the last one's. Values are written as in a job file or plainly
    #[arg(
        help_heading = "Picture",
        long,
        value_name = "KEY=VALUE",
        allow_hyphen_values = true,
        value_hint = ValueHint::Other
    )]
    pub set: Vec<String>,

    #[command(flatten)]
    pub metadata: MetadataArgs,

    #[command(flatten)]
    pub output: OutputArgs,
}

/// Draw a picture again and say whether it comes out the same; writes nothing
///
/// Where it does not: how far its channels are off at most, and the share of its bytes that differ.
#[derive(Debug, Args)]
#[command(after_help = VERIFY_CODES)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub picture: RepeatArgs,

    /// Print the verdict as JSON
    #[arg(long)]
    pub json: bool,

    /// Worker threads [default: all cores]; the verdict doesn't depend on it
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = whole::<1, 1024>)]
    pub threads: Option<usize>,

    /// Take less memory and somewhat more time
    #[arg(long)]
    pub low_memory: bool,

    /// Say only warnings and errors
    #[arg(short, long)]
    pub quiet: bool,
}

const RERUN_EXAMPLES: &str = "\
Examples:
  p2p rerun edited-1.png
  p2p rerun edited-1.png --set seed=7 --set cross_steps.car=0.2
  p2p rerun edited-1.png --set dst=\"a big red boat\" --set edit=auto -o boat
  p2p rerun edited-1.png --set heatmaps=true";

const VERIFY_CODES: &str = "\
Exit codes:
  0 it reproduces  1 it does not, or the run failed
  2 wrong usage, or no picture of p2p's  4 the model that drew it cannot be had
  5 too little memory  130 interrupted";
