//! `p2p completions`: what a shell needs to complete p2p's commands, flags and values.

use clap::CommandFactory;
use prompt_to_prompt::error::Result;

use super::print_bytes;
use crate::cli::{Cli, CompletionsArgs};

pub fn completions(args: &CompletionsArgs) -> Result<()> {
    let mut script = vec![];
    clap_complete::generate(args.shell, &mut Cli::command(), "p2p", &mut script);
    print_bytes(&script)
}
