//! The commands, each in a file of its own. Owns what they share: printing to stdout, the random seed, and
//! `P2P_METADATA`. It must never know flags' spelling.

mod batch;
mod completions;
mod doctor;
mod draw;
mod explain;
mod guide;
mod heatmaps;
mod info;
mod interrupt;
mod job;
mod man;
mod messages;
mod models;
mod open;
mod outputs;
mod presets;
mod recorded_run;
mod report;
mod rerun;
mod sites;
mod sweep;
mod terminal;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::Write;

use prompt_to_prompt::error::{Error, Result};

pub use batch::batch;
pub use completions::completions;
pub use doctor::doctor;
pub use draw::{edit, heatmap};
pub use explain::explain;
pub use guide::guide;
pub use info::info;
pub use job::job;
pub use man::man;
pub use models::models;
pub use presets::presets;
pub use report::report;
pub use rerun::{rerun, verify};
pub use sites::sites;
pub use sweep::sweep;

/// A random seed. The system seeds every `RandomState`. 32 bits keep the seed short enough to type.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish() & 0xffff_ffff
}

/// Whether pictures are written without metadata: `--no-metadata`, or the environment variable `P2P_METADATA`.
///
/// # Errors
/// A usage error if the variable has an unknown value.
fn omits_metadata(no_metadata: bool) -> Result<bool> {
    const VARIABLE: &str = "P2P_METADATA";
    let asked = std::env::var(VARIABLE).unwrap_or_default();
    match asked.as_str() {
        "" => Ok(no_metadata),
        "none" => Ok(true),
        other => Err(Error::usage(
            format!("{VARIABLE}={other} is not known"),
            format!("use {VARIABLE}=none, or unset it"),
        )),
    }
}

/// Prints text to stdout. A closed pipe is not an error: the reader has read what it needs.
///
/// # Errors
/// A run error if stdout cannot be written.
fn print(text: &str) -> Result<()> {
    print_bytes(text.as_bytes())
}

/// Prints bytes to stdout, as [`print()`] does.
fn print_bytes(bytes: &[u8]) -> Result<()> {
    match std::io::stdout().write_all(bytes) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::run(
            format!("cannot write to stdout: {e}"),
            "check the file or program that it is redirected to",
        )),
        _ => Ok(()),
    }
}
