//! What each command does, on top of the library.

mod draw;
mod explain;
mod presets;
mod report;
mod sites;
mod terminal;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::Write;

use prompt_to_prompt::error::{Error, Result};

pub use draw::{edit, heatmap};
pub use explain::explain;
pub use presets::presets;
pub use report::report;
pub use sites::sites;

/// Every `RandomState` is seeded by the system: enough for a seed that a user may type again.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish() & 0xffff_ffff
}

/// A reader that went away has all it wanted.
fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::run(
            format!("cannot write to stdout: {e}"),
            "check where it is redirected to",
        )),
        _ => Ok(()),
    }
}
