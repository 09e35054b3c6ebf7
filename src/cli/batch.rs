//! The flags of the commands on job files.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::job_file::Overrides;
use super::values::whole;

/// Draw the jobs of a file, resuming an earlier run
///
/// Jobs that share a source are drawn together. Each job has its own folder under -o; a job whose folder holds
/// finished results of the same settings is skipped. Flags of `p2p edit` override the file: --steps 10, --seed 3.
#[derive(Debug, Args)]
#[command(after_help = BATCH_EXAMPLES)]
pub struct BatchArgs {
    /// Job file; `p2p job init` writes an example
    pub file: PathBuf,

    #[command(flatten)]
    pub run: RunArgs,

    #[command(flatten)]
    pub overrides: Overrides,
}

/// How jobs are run: flags that `batch` and `sweep` share.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Folder to write [default: the file's `output`, else p2p-out/FILE; for a sweep p2p-out/sweep-PROMPTS-SEED]
    #[arg(id = "output_folder", short, long = "output", value_name = "DIR")]
    pub folder: Option<PathBuf>,

    /// Maximum number of rows in one run, including the source; fewer rows need less memory [default: 16, or what
    /// fits into memory]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = whole::<2, 1000>)]
    pub max_rows: Option<usize>,

    /// Stop at the first job that fails
    #[arg(long)]
    pub fail_fast: bool,

    /// Show what would be drawn, with estimates of time, memory and disk space
    #[arg(long)]
    pub dry_run: bool,

    /// Print one JSON event per line instead of folders: queued, skipped, started, step, finished, failed
    #[arg(long)]
    pub jsonl: bool,

    /// Number of worker threads; the pictures do not depend on it [default: all cores]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = whole::<1, 1024>)]
    pub threads: Option<usize>,

    /// Use less memory and somewhat more time; the pictures do not depend on it
    #[arg(long)]
    pub low_memory: bool,

    /// Print only warnings and errors
    #[arg(short, long)]
    pub quiet: bool,
}

/// Check job files, or write one
#[derive(Debug, Args)]
pub struct JobFileArgs {
    #[command(subcommand)]
    pub command: JobCommand,
}

#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Find all mistakes in a job file: keys, values, words, windows. Reads no weights
    Check {
        /// Job file
        file: PathBuf,
    },
    /// Print a JSON Schema of job files, which lets editors complete and check them
    Schema,
    /// Write an example with comments
    Init {
        /// File to write; it must not exist
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
  0 done  1 the run failed  2 wrong usage or mistakes in the job file
  3 some jobs failed  130 interrupted; the same command resumes the run";
