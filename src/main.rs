//! The binary: from flags to files to an exit code. Owns what touches the process: environment,
//! interrupts, streams. Everything else is the library's.

mod cli;
mod commands;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::report::console::{Console, Verbosity};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    let console = Console::new(match &command {
        Command::Edit(args) | Command::Explain(args) => args.output.verbosity(),
        Command::Heatmap(args) => args.output.verbosity(),
        Command::Report(args) if args.quiet => Verbosity::Quiet,
        Command::Report(_) | Command::Presets | Command::Sites(_) => Verbosity::Normal,
    });
    match run(command, &console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console.error(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

fn run(command: Command, console: &Console) -> Result<()> {
    match command {
        Command::Edit(args) => {
            limit_threads(args.output.threads);
            commands::edit(&args, console)
        }
        Command::Heatmap(args) => {
            limit_threads(args.output.threads);
            commands::heatmap(&args, console)
        }
        Command::Explain(args) => commands::explain(&args, console),
        Command::Presets => commands::presets(),
        Command::Report(args) => commands::report(&args, console),
        Command::Sites(args) => commands::sites(&args),
    }
}

fn limit_threads(threads: Option<usize>) {
    if let Some(threads) = threads {
        // SAFETY: no thread has been started yet. candle and rayon both read this variable.
        unsafe { std::env::set_var("RAYON_NUM_THREADS", threads.to_string()) };
    }
}

fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Usage(_) => 2,
        Error::Interrupted => 130,
        _ => 1,
    }
}
