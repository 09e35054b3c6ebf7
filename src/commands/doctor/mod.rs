//! `p2p doctor`: what this machine has for p2p. Facts (`diagnosis`), what is amiss in them (`hints`), the
//! environment variables that count (`environment`), and how all that is shown (`text`).

mod diagnosis;
mod environment;
mod hints;
mod text;

use prompt_to_prompt::error::Result;

use super::print;
use crate::cli::DoctorArgs;
use diagnosis::Diagnosis;
pub use environment::VARIABLES;

pub fn doctor(args: &DoctorArgs) -> Result<()> {
    let diagnosis = Diagnosis::new()?;
    match args.json {
        true => {
            let json = serde_json::to_string_pretty(&diagnosis);
            print(&(json.expect("plain data with string keys") + "\n"))
        }
        false => print(&text::render(&diagnosis)),
    }
}
