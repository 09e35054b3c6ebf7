//! The commands that read a picture back.

use std::path::PathBuf;

use clap::Args;

/// Say how a picture was drawn, from its metadata
///
/// Reads PNG pictures of p2p, and of A1111, ComfyUI and InvokeAI as far as their prompts and settings
/// stand plainly in them. Loads no model.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// A PNG picture
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}
