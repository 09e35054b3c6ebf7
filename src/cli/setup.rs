//! Arguments of the commands about the program itself: doctor, completions, man.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use clap_complete::Shell;

/// Check this machine: processor, memory, devices, models and settings
///
/// Prints the processor's instruction sets, the kernels in use and why, threads, memory, devices, the embedded
/// model, the models in the cache, how --show prints pictures here, the environment variables that p2p reads,
/// and hints on problems. Add the output to bug reports: it contains no secrets. Draws no picture.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub struct CompletionsArgs {
    /// Shell that reads the script
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Print a manual page, or write all of them
///
/// Prints the page of p2p, or of a command, to stdout.
#[derive(Debug, Args)]
#[command(after_help = MAN_EXAMPLES)]
pub struct ManArgs {
    /// Command whose page to print, such as `edit`
    #[arg(value_name = "COMMAND", value_hint = ValueHint::Other)]
    pub command: Vec<String>,

    /// Write the pages of p2p and of all its commands into this folder and print their paths; replace older
    /// pages
    #[arg(long = "dir", value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "command")]
    pub folder: Option<PathBuf>,
}

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  # bash, for this user
  p2p completions bash > ~/.local/share/bash-completion/completions/p2p
  # zsh, in a folder of $fpath
  p2p completions zsh > ~/.zfunc/_p2p
  # fish
  p2p completions fish > ~/.config/fish/completions/p2p.fish
  # PowerShell, from the profile
  p2p completions powershell | Out-String | Invoke-Expression
  # elvish, from rc.elv
  eval (p2p completions elvish | slurp)";

const MAN_EXAMPLES: &str = "\
Examples:
  p2p man | man -l -
  p2p man edit | man -l -
  p2p man --dir ~/.local/share/man/man1";
