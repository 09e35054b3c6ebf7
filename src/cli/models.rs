//! Arguments of `p2p models`: the models that are kept on this machine.

use clap::{Args, Subcommand, ValueHint};

use super::model::{revision, variant};

/// List, fetch and remove models of the Hugging Face hub
///
/// They lie in the cache that Python's tools use too (p2p doctor says where), so that nothing is fetched
/// twice. A MODEL is OWNER/NAME, the address of its page, or an alias such as sd15, which `p2p models ls` lists.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    #[command(subcommand)]
    pub command: ModelsCommand,
}

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List what is in the cache, and the aliases
    Ls {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the folder of a model that is in the cache, or a file of it
    Path {
        /// OWNER/NAME, OWNER/NAME/FILE.safetensors or an alias
        #[arg(value_name = "MODEL", value_hint = ValueHint::Other)]
        model: String,

        /// A branch, a tag or a commit [default: main]
        #[arg(long, value_name = "NAME", value_parser = revision, value_hint = ValueHint::Other)]
        revision: Option<String>,
    },
    /// Fetch a model, or what is missing of it, and print its folder
    ///
    /// Only what p2p draws with is fetched. Downloads that were cut short go on where they stopped.
    #[command(after_help = PULL_EXAMPLES)]
    Pull {
        /// OWNER/NAME, OWNER/NAME/FILE.safetensors or an alias
        #[arg(value_name = "MODEL", value_hint = ValueHint::Other)]
        model: String,

        /// A branch, a tag or a commit [default: main]
        #[arg(long, value_name = "NAME", value_parser = revision, value_hint = ValueHint::Other)]
        revision: Option<String>,

        /// Take the weight files of this variant, such as fp16, half as large [default: the plain files]
        #[arg(long, value_name = "NAME", value_parser = variant, value_hint = ValueHint::Other)]
        variant: Option<String>,

        /// Say only warnings and errors
        #[arg(short, long)]
        quiet: bool,
    },
    /// Remove a model from the cache, for Python's tools too
    Rm {
        /// OWNER/NAME or an alias
        #[arg(value_name = "MODEL", value_hint = ValueHint::Other)]
        model: String,

        /// Remove the commit of this branch or tag, or this commit, alone; files that others share stay [default: all]
        #[arg(long, value_name = "NAME", value_parser = revision, value_hint = ValueHint::Other)]
        revision: Option<String>,

        /// Say what would go, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
}

const PULL_EXAMPLES: &str = "\
Examples:
  p2p models pull sd15 --variant fp16
  p2p models pull stabilityai/sd-turbo --revision main";
