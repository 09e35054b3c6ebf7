//! The flags of commands on job files.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::job_file::Overrides;
use super::values::whole;

/// Draw the jobs of a file, those of one source together, and go on where an earlier run stopped
///
/// Each job has a folder of its own under -o; what stands there already, drawn from the same
/// settings, is not drawn again. Flags of `p2p edit` win over the file: --steps 10, --seed 3.
#[derive(Debug, Args)]
#[command(after_help = BATCH_EXAMPLES)]
pub struct BatchArgs {
    /// The job file; `p2p job init` writes an example
    pub file: PathBuf,

    #[command(flatten)]
    pub run: RunArgs,

    #[command(flatten)]
    pub overrides: Overrides,
}

/// How jobs are run, wherever they come from.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Folder to write [default: the file's `output`, else p2p-out/FILE; of a sweep p2p-out/sweep-PROMPTS-SEED]
    #[arg(id = "output_folder", short, long = "output", value_name = "DIR")]
    pub folder: Option<PathBuf>,

    /// Rows of one run at most, the source included; fewer take less memory [default: 16, or what fits]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = whole::<2, 1000>)]
    pub max_rows: Option<usize>,

    /// Stop at the first job that fails
    #[arg(long)]
    pub fail_fast: bool,

    /// Say what would be drawn, and about how long it takes and how much memory and disk
    #[arg(long)]
    pub dry_run: bool,

    /// One event a line on stdout instead of folders: queued, skipped, started, step, finished, failed
    #[arg(long)]
    pub jsonl: bool,

    /// Worker threads [default: all cores]; the pictures don't depend on it
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = whole::<1, 1024>)]
    pub threads: Option<usize>,

    /// Take less memory and somewhat more time; the pictures don't depend on it
    #[arg(long)]
    pub low_memory: bool,

    /// Say only warnings and errors
    #[arg(short, long)]
    pub quiet: bool,
}

/// Help with job files
#[derive(Debug, Args)]
pub struct JobFileArgs {
    #[command(subcommand)]
    pub command: JobCommand,
}

#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Find everything that is wrong with a job file: keys, values, words, windows. Reads no weights
    Check {
        /// The job file
        file: PathBuf,
    },
    /// Print a JSON Schema of job files, by which editors complete and check them
    Schema,
    /// Write an example, with comments
    Init {
        /// The file to write; it must not exist
        #[arg(default_value = "jobs.toml")]
        file: PathBuf,
    },
}

const BATCH_EXAMPLES: &str = "\
Examples:
  p2p job init jobs.toml
  p2p batch jobs.toml --dry-run
  p2p batch jobs.toml -o night

Exit codes:
  0 done  1 the run failed  2 wrong usage or a broken job file
  3 some jobs failed  130 interrupted; the same command goes on where it stopped";
