//! `p2p job`: checks a job file, or writes a schema or an example. It must never draw.

use std::path::Path;

use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::report::atomic::AtomicFile;
use prompt_to_prompt::report::console::Console;

use super::batch::check;
use super::print;
use crate::cli::{EXAMPLE, JobCommand, Vocabulary, schema};

/// Runs `p2p job`.
///
/// # Errors
/// A usage error if a job file has errors, or if the example's file exists.
pub fn job(command: &JobCommand, console: &Console) -> Result<()> {
    match command {
        JobCommand::Check { file } => check(file, console),
        JobCommand::Schema => {
            let schema = schema(&Vocabulary::new());
            print(&format!("{schema:#}\n"))
        }
        JobCommand::Init { file } => init(file),
    }
}

/// Writes the example.
fn init(file: &Path) -> Result<()> {
    if file.symlink_metadata().is_ok() {
        return Err(Error::usage(
            format!("{} exists already", file.display()),
            "name another file: p2p job init FILE",
        ));
    }
    AtomicFile::create(file)?.finish(EXAMPLE.as_bytes())?;
    print(&format!("{}\n", file.display()))
}
