//! `p2p report`: writes a page that shows all runs below a folder. It must never know how the page is built.

use prompt_to_prompt::error::Result;
use prompt_to_prompt::report::console::Console;
use prompt_to_prompt::report::html::write;

use super::print;
use crate::cli::ReportArgs;

/// Runs `p2p report`.
pub fn report(args: &ReportArgs, console: &Console) -> Result<()> {
    let (path, page) = write(&args.folder, args.file.as_deref(), args.embed)?;
    page.warnings
        .iter()
        .for_each(|warning| console.warn(warning));
    console.note(&page.summary);
    print(&format!("{}\n", path.display()))
}
