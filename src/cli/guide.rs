//! Arguments of `p2p guide`. Knows no guide: which ones there are is the library's.

use clap::{Args, ValueHint};

/// Read a guide, or list them all
///
/// A terminal shows the guide as text, a pipe gets its Markdown.
#[derive(Debug, Args)]
#[command(after_help = GUIDE_EXAMPLES)]
pub struct GuideArgs {
    /// The guide to print [default: list the guides]
    #[arg(value_name = "NAME", value_hint = ValueHint::Other)]
    pub name: Option<String>,
}

const GUIDE_EXAMPLES: &str = "\
Examples:
  p2p guide
  p2p guide getting-started
  p2p guide blend | less";
