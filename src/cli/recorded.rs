//! The flags of the commands that read a picture's metadata: info, rerun, verify.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::model::ModelArgs;
use super::values::whole;
use super::{MetadataArgs, OutputArgs};

/// Show how a picture was drawn, from its metadata
///
/// Reads PNG pictures of p2p, and prompts and settings in pictures of A1111, ComfyUI and InvokeAI. Loads no model.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// PNG picture
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A picture that p2p drew, and the model to draw it again with.
#[derive(Debug, Args)]
pub struct RepeatArgs {
    /// PNG picture that p2p drew: an edit, a source, a baseline
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// Model to draw the picture with: a folder, file or name [default: the model that drew it, if it is the
    /// embedded model or on the hub]
    #[arg(help_heading = "Model", short, long, value_name = "MODEL", value_hint = ValueHint::AnyPath)]
    pub model: Option<String>,

    #[command(flatten)]
    pub parts: ModelArgs,
}

/// Draw a picture again from its metadata, unchanged or with other settings
///
/// Writes a folder as `p2p edit` does, with this picture and the pictures that it is an edit of. The same build
/// on the same family of kernels draws the same bytes.
#[derive(Debug, Args)]
#[command(after_help = RERUN_EXAMPLES)]
pub struct RerunArgs {
    #[command(flatten)]
    pub picture: RepeatArgs,

    /// Change a setting: KEY is the name of a flag of `p2p edit`, or FLAG.WORD for one word; repeatable. In a chain
    /// of edits, settings of edits change in the last edit. Values are written as in a job file, or as plain text
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

/// Draw a picture again and compare it with the file; write nothing
///
/// If the pixels differ, prints the largest difference of each channel and the share of bytes that differ.
#[derive(Debug, Args)]
#[command(after_help = VERIFY_CODES)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub picture: RepeatArgs,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,

    /// Number of worker threads; the result does not depend on it [default: all cores]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = whole::<1, 1024>)]
    pub threads: Option<usize>,

    /// Use less memory and somewhat more time
    #[arg(long)]
    pub low_memory: bool,

    /// Print only warnings and errors
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
  0 the picture reproduces  1 it does not, or the run failed
  2 wrong usage, or p2p did not draw the picture  4 the model is not available
  5 not enough memory  130 interrupted";
