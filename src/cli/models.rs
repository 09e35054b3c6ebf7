//! Arguments of `p2p models`, which lists, downloads and removes models. It must never run a command.

use clap::{Args, Subcommand, ValueHint};

use super::model::{revision, variant};

/// List, download and remove models of the Hugging Face hub
///
/// Models are kept in the cache that Python's tools use too (p2p doctor prints its folder), so nothing is downloaded
/// twice. A MODEL is OWNER/NAME, the address of its page, or an alias such as sd15 (p2p models ls lists them).
#[derive(Debug, Args)]
pub struct ModelsArgs {
    /// The command.
    #[command(subcommand)]
    pub command: ModelsCommand,
}

/// The commands of `p2p models`.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List the embedded model, the models in the cache, and the aliases
    Ls {
        /// Print the list as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the path of a cached model's folder, or of a file of it
    Path {
        /// OWNER/NAME, OWNER/NAME/FILE.safetensors or an alias
        #[arg(value_name = "MODEL", value_hint = ValueHint::Other)]
        model: String,

        /// A branch, a tag or a commit [default: main]
        #[arg(long, value_name = "NAME", value_parser = revision, value_hint = ValueHint::Other)]
        revision: Option<String>,
    },
    /// Download a model, or its missing files, and print its folder
    ///
    /// Only the files that p2p uses are downloaded. An interrupted download resumes where it stopped.
    #[command(after_help = PULL_EXAMPLES)]
    Pull {
        /// OWNER/NAME, OWNER/NAME/FILE.safetensors or an alias
        #[arg(value_name = "MODEL", value_hint = ValueHint::Other)]
        model: String,

        /// A branch, a tag or a commit [default: main]
        #[arg(long, value_name = "NAME", value_parser = revision, value_hint = ValueHint::Other)]
        revision: Option<String>,

        /// Download the weight files of this variant; fp16 is half as large [default: the files without a variant]
        #[arg(long, value_name = "NAME", value_parser = variant, value_hint = ValueHint::Other)]
        variant: Option<String>,

        /// Print only warnings and errors
        #[arg(short, long)]
        quiet: bool,
    },
    /// Remove a model from the cache, which Python's tools use too
    Rm {
        /// OWNER/NAME or an alias
        #[arg(value_name = "MODEL", value_hint = ValueHint::Other)]
        model: String,

        /// Remove only this commit, or that of this branch or tag; files that other commits use are kept [default: all]
        #[arg(long, value_name = "NAME", value_parser = revision, value_hint = ValueHint::Other)]
        revision: Option<String>,

        /// Print what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
}

const PULL_EXAMPLES: &str = "\
Examples:
  p2p models pull sd15 --variant fp16
  p2p models pull stabilityai/sd-turbo --revision main";
