//! `p2p completions`: prints a script with which a shell completes p2p's commands, flags and values. Owns
//! nothing but the call of `clap_complete`. It must never know single commands.

use clap::CommandFactory;
use prompt_to_prompt::error::Result;

use super::print_bytes;
use crate::cli::{Cli, CompletionsArgs};

/// Runs `p2p completions`.
pub fn completions(args: &CompletionsArgs) -> Result<()> {
    let mut script = vec![];
    clap_complete::generate(args.shell, &mut Cli::command(), "p2p", &mut script);
    print_bytes(&script)
}
