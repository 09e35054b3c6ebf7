//! The command line: commands, flags and their help. Knows no model and does no work; what depends on a
//! model or on the tokens of prompts is checked later.

mod batch;
mod edits;
mod guide;
mod job;
mod job_file;
mod map_values;
mod maps;
mod model;
mod models;
mod picture;
mod prompts;
mod recorded;
mod setup;
mod sweep;
mod values;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueHint};

use prompt_to_prompt::report::console::Verbosity;

pub use batch::{BatchArgs, JobCommand, JobFileArgs, RunArgs};
pub use guide::GuideArgs;
pub use job::JobArgs;
pub use job_file::{
    Axis, AxisValue, EXAMPLE, Entry, JobFile, JobRequest, KeyValues, Problem, Repeat, Sources,
    Vocabulary, axis_of, plain, read, schema,
};
pub use maps::{MapArgs, Prefixed};
pub use models::{ModelsArgs, ModelsCommand};
pub use picture::PictureArgs;
pub use recorded::{InfoArgs, RepeatArgs, RerunArgs, VerifyArgs};
pub use setup::{CompletionsArgs, DoctorArgs, ManArgs};
pub use sweep::SweepArgs;

/// Edit generated images by changing words (Prompt-to-Prompt, Hertz et al., ICLR 2023).
#[derive(Debug, Parser)]
#[command(name = "p2p", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Edit(Box<EditArgs>),
    /// Show the plan of an edit without drawing it
    ///
    /// Takes the flags of `p2p edit`. Prints which token reads the attention of which other token, with what
    /// factor and in which steps, what else is injected, the layers that are edited, and an estimate of the work.
    /// --json prints the plan as data. Reads no weights and writes nothing.
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(Box<EditArgs>),
    Heatmap(Box<HeatmapArgs>),
    Batch(Box<BatchArgs>),
    Job(JobFileArgs),
    Sweep(Box<SweepArgs>),
    Report(ReportArgs),
    Sites(SitesArgs),
    Info(InfoArgs),
    Rerun(Box<RerunArgs>),
    Verify(VerifyArgs),
    Models(ModelsArgs),
    /// List the presets: settings for kinds of edits
    Presets,
    Guide(GuideArgs),
    Doctor(DoctorArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Draw a picture of --src and edit it towards --dst, keeping its layout
///
/// Writes source.png, edited-1.png (one per --dst), strip.png and manifest.json into a new folder and prints
/// their paths (for --heatmaps the paths of the grid, the index and the folders). Without --model, the embedded
/// model draws: it needs no network and no download.
#[derive(Debug, Args)]
#[command(after_help = EDIT_EXAMPLES)]
pub struct EditArgs {
    #[command(flatten)]
    pub draw: DrawArgs,

    #[command(flatten)]
    pub output: OutputArgs,
}

/// A job and its outputs: the flags that are keys of a job file.
#[derive(Debug, Args)]
pub struct DrawArgs {
    #[command(flatten)]
    pub job: JobArgs,

    /// Also write the place of each edit as mask-1.png; white is inside
    #[arg(help_heading = "Output", long)]
    pub save_mask: bool,

    /// Also write heatmaps of the words: attn/grid.png, one picture per word, attn/index.json
    #[arg(help_heading = "Heatmaps", id = "heatmaps", long)]
    pub heatmaps: bool,

    #[command(flatten)]
    pub maps: Prefixed,

    #[command(flatten)]
    pub metadata: MetadataArgs,

    /// Also write the final latents [1+N, 4, h, w] as safetensors, key `latents`; [N, 4, h, w] with --no-source
    #[arg(help_heading = "Output", long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub save_latents: Option<values::OutputFile>,
}

/// The metadata in pictures.
#[derive(Debug, Args)]
pub struct MetadataArgs {
    /// Write no metadata into the pictures: neither how they were drawn nor the mark that a model made them.
    /// P2P_METADATA=none does the same for all commands
    #[arg(help_heading = "Output", long)]
    pub no_metadata: bool,
}

/// Where results are written, and what is printed.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// Folder to write [default: p2p-out/PROMPTS-SEED]
    #[arg(
        help_heading = "Output",
        id = "output_folder",
        short,
        long = "output",
        value_name = "DIR",
        value_hint = ValueHint::DirPath
    )]
    pub folder: Option<PathBuf>,

    /// Replace the results of an earlier run in an existing folder
    #[arg(help_heading = "Output", long)]
    pub force: bool,

    /// Number of worker threads; the pictures do not depend on it [default: all cores]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = values::whole::<1, 1024>)]
    pub threads: Option<usize>,

    /// Use less memory and somewhat more time; the pictures do not depend on it
    #[arg(long)]
    pub low_memory: bool,

    /// Also write report.html, as `p2p report` does
    #[arg(help_heading = "Output", long)]
    pub report: bool,

    /// Print the manifest instead of the paths
    #[arg(help_heading = "Output", long)]
    pub json: bool,

    /// Print the plan first, as `p2p explain` does
    #[arg(short, long, action = ArgAction::SetTrue, conflicts_with = "quiet")]
    verbose: bool,

    /// Print only warnings and errors
    #[arg(short, long)]
    quiet: bool,
}

/// Draw a picture of --prompt and a heatmap for each of its words
///
/// Writes source.png, attn/grid.png (one scale for all words), attn/source/NN-WORD.png with an overlay each,
/// attn/index.json and manifest.json into a new folder. Prints their paths; for the heatmaps, which can be
/// thousands, only the folders. --json lists every file.
#[derive(Debug, Args)]
#[command(after_help = HEATMAP_EXAMPLES)]
pub struct HeatmapArgs {
    /// Prompt: what the picture shows
    #[arg(help_heading = "Picture", long, value_name = "PROMPT", value_hint = ValueHint::Other)]
    pub prompt: String,

    #[command(flatten)]
    pub picture: PictureArgs,

    #[command(flatten)]
    pub maps: MapArgs,

    #[command(flatten)]
    pub metadata: MetadataArgs,

    #[command(flatten)]
    pub output: OutputArgs,
}

/// Write an HTML page of edits: before and after, heatmaps, settings, commands
///
/// Reads every manifest.json in and below DIR and writes DIR/report.html. The page has a card for each edit, with
/// a slider between before and after, the heatmaps of the words if there are any, and the command that repeats the
/// edit; cards can be searched, filtered and sorted. The page opens from disk and loads only the pictures.
/// Replaces an existing report.
#[derive(Debug, Args)]
#[command(after_help = REPORT_EXAMPLES)]
pub struct ReportArgs {
    /// Folder that contains edits, at any depth
    #[arg(value_name = "DIR", default_value = "p2p-out", value_hint = ValueHint::DirPath)]
    pub folder: PathBuf,

    /// File to write [default: DIR/report.html]
    #[arg(short = 'o', long = "output", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,

    /// Put the pictures into the page instead of linking to them: a single file that can be sent
    #[arg(long)]
    pub embed: bool,

    /// Print only warnings and errors
    #[arg(short, long)]
    pub quiet: bool,
}

/// List a model's attention layers with the numbers that --layer takes
#[derive(Debug, Args)]
pub struct SitesArgs {
    #[command(flatten)]
    pub picture: PictureArgs,
}

const HEATMAP_EXAMPLES: &str = "\
Examples:
  p2p heatmap --prompt \"a cat riding a bicycle on the beach\"
  # two words over the run
  p2p heatmap --prompt \"a cat on the beach\" --words cat,beach --at-steps 0,0.1,0.3,0.6,1
  # where a word is, as a mask and a box
  p2p heatmap --prompt \"a cat on the beach\" --locate cat --threshold 0.4";

const REPORT_EXAMPLES: &str = "\
Examples:
  p2p edit --src \"a cat on the beach\" --dst \"a dog on the beach\" --heatmaps --report
  # everything drawn so far
  p2p report p2p-out
  # one file to send
  p2p report p2p-out --embed -o edits.html";

const EDIT_EXAMPLES: &str = "\
Examples:
  # swap a word
  p2p edit --src \"a big red bicycle\" --dst \"a big red car\"
  # add a phrase
  p2p edit --src \"a castle\" --dst \"a pencil sketch of a castle\" --preset style
  # turn a word down
  p2p edit --src \"a fluffy dog\" --weight fluffy=-1
  # change only where the words are
  p2p edit --src \"a cat on the beach\" --dst \"a dog on the beach\" --blend cat:dog
  # free the new word's shape early
  p2p edit --src \"a dog\" --dst \"a house\" --cross-steps 1 --cross-steps house=0.4
  # several edits of one source, and an edit of an edit
  p2p edit --src \"a cat\" --dst \"a dog\" --dst \"a lion\" --then \"a fluffy lion\" --seed 3
  # a morph
  p2p edit --src \"a cat\" --dst \"a dog\" --strength 0.02,0.05,0.1,0.2,1

Exit codes:
  0 done  1 the run failed  2 wrong usage
  4 the model is damaged or not available  5 not enough memory  130 interrupted";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  p2p explain --src \"a big red bicycle\" --dst \"a big red car\"
  p2p explain --src \"a castle\" --dst \"a castle in winter\" --preset season --json";

impl OutputArgs {
    pub fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        }
    }
}
