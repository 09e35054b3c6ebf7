//! `p2p doctor`: checks this machine and prints what p2p finds. `diagnosis` collects the facts, `hints` finds
//! problems in them, `environment` lists the environment variables, and `text` formats everything. Owns the
//! command. It must never load weights.

mod diagnosis;
mod environment;
mod hints;
mod text;

use prompt_to_prompt::error::Result;

use super::print;
use crate::cli::DoctorArgs;
use diagnosis::Diagnosis;
pub use environment::VARIABLES;

/// Runs `p2p doctor`.
pub fn doctor(args: &DoctorArgs) -> Result<()> {
    let diagnosis = Diagnosis::new()?;
    if args.json {
        let json = serde_json::to_string_pretty(&diagnosis);
        print(&(json.expect("plain data with string keys") + "\n"))
    } else {
        print(&text::render(&diagnosis))
    }
}
