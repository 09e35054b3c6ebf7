//! `p2p guide`: lists the guides, or prints one. Owns the choice between styled text and Markdown.

use std::io::IsTerminal;

use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::format::nearest;
use prompt_to_prompt::guide::{ALL, Guide, styled};

use super::print;
use super::terminal::is_dumb;
use crate::cli::GuideArgs;

/// Prints a guide to stdout, or the list of them.
///
/// # Errors
///
/// A usage error if no guide has that name.
pub fn guide(args: &GuideArgs) -> Result<()> {
    let Some(name) = &args.name else {
        return print(&list());
    };
    let text = find(name)?.text;
    if has_styles() {
        print(&styled(text))
    } else {
        print(text)
    }
}

fn list() -> String {
    let widest = ALL.iter().map(|guide| guide.name.len()).max().unwrap_or(0);
    let line = |guide: &Guide| format!("{:widest$}  {}\n", guide.name, guide.about);
    let lines: String = ALL.iter().map(line).collect();
    format!("{lines}\nRead one with `p2p guide NAME`.\n")
}

fn find(name: &str) -> Result<&'static Guide> {
    let named = name.to_lowercase();
    ALL.iter().find(|guide| guide.name == named).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|guide| guide.name).collect();
        let cure = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"? `p2p guide` lists them all"),
            None => format!("use one of {}", names.join(", ")),
        };
        Error::usage(format!("there is no guide \"{name}\""), cure)
    })
}

/// Whether stdout is a terminal on which styles are wanted.
fn has_styles() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal() && !is_dumb() && !refused
}
