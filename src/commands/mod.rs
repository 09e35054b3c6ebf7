//! What each command does, on top of the library.

mod batch;
mod completions;
mod doctor;
mod draw;
mod explain;
mod guide;
mod heatmaps;
mod info;
mod job;
mod man;
mod messages;
mod models;
mod open;
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

/// Every `RandomState` is seeded by the system: enough for a seed that a user may type again.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish() & 0xffff_ffff
}

/// Whether pictures are to carry no metadata: as typed, or as the environment says.
fn bare(no_metadata: bool) -> Result<bool> {
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

/// A reader that went away has all it wanted.
fn print(text: &str) -> Result<()> {
    print_bytes(text.as_bytes())
}

/// A reader that went away has all it wanted.
fn print_bytes(bytes: &[u8]) -> Result<()> {
    match std::io::stdout().write_all(bytes) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::run(
            format!("cannot write to stdout: {e}"),
            "check where it is redirected to",
        )),
        _ => Ok(()),
    }
}
