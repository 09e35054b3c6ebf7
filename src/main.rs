//! The binary: from flags to files to an exit code. Owns what touches the process: environment,
//! interrupts, streams. Everything else is the library's.

mod cli;
mod commands;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command, ModelsArgs, ModelsCommand};
use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::message::HeatmapFlags;
use prompt_to_prompt::report::console::{Console, Verbosity};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    let console = Console::new(match &command {
        Command::Edit(args) | Command::Explain(args) => args.output.verbosity(),
        Command::Heatmap(args) => args.output.verbosity(),
        Command::Report(args) if args.quiet => Verbosity::Quiet,
        Command::Batch(args) if args.run.quiet => Verbosity::Quiet,
        Command::Sweep(args) if args.run.quiet => Verbosity::Quiet,
        Command::Rerun(args) => args.output.verbosity(),
        Command::Verify(args) if args.quiet => Verbosity::Quiet,
        Command::Models(ModelsArgs {
            command: ModelsCommand::Pull { quiet: true, .. },
        }) => Verbosity::Quiet,
        _ => Verbosity::Normal,
    });
    let console = match command {
        Command::Heatmap(_) => console.with_names(&HeatmapFlags),
        _ => console,
    };
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
        Command::Batch(args) => {
            limit_threads(args.run.threads);
            commands::batch(&args, console)
        }
        Command::Sweep(args) => {
            limit_threads(args.run.threads);
            commands::sweep(&args, console)
        }
        Command::Job(args) => commands::job(&args.command, console),
        Command::Presets => commands::presets(),
        Command::Report(args) => commands::report(&args, console),
        Command::Sites(args) => commands::sites(&args, console),
        Command::Models(args) => commands::models(&args.command, console),
        Command::Doctor(args) => commands::doctor(&args),
        Command::Completions(args) => commands::completions(&args),
        Command::Man(args) => commands::man(&args),
        Command::Guide(args) => commands::guide(&args),
        Command::Info(args) => commands::info(&args),
        Command::Rerun(args) => {
            limit_threads(args.output.threads);
            commands::rerun(&args, console)
        }
        Command::Verify(args) => {
            limit_threads(args.threads);
            commands::verify(&args, console)
        }
    }
}

/// Limits the worker threads of rayon, and so of candle.
#[allow(
    unsafe_code,
    reason = "the thread pools read their size from the environment"
)]
fn limit_threads(threads: Option<usize>) {
    if let Some(threads) = threads {
        // SAFETY: no thread has been started yet. candle and rayon both read this variable.
        unsafe { std::env::set_var("RAYON_NUM_THREADS", threads.to_string()) };
    }
}

fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Usage(_) => 2,
        Error::SomeFailed(_) => 3,
        Error::Model(_) => 4,
        Error::Memory(_) => 5,
        Error::Interrupted => 130,
        _ => 1,
    }
}
