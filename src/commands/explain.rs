//! `p2p explain`: prints the plan of a job. It must never load weights.

use prompt_to_prompt::error::Result;
use prompt_to_prompt::job::{Explanation, Prepared};
use prompt_to_prompt::model::Need;
use prompt_to_prompt::report::console::Console;

use super::open::open;
use super::print;
use crate::cli::EditArgs;

/// Runs `p2p explain`.
///
/// # Errors
/// Those of opening the model and checking the job.
pub fn explain(args: &EditArgs, console: &Console) -> Result<()> {
    let job = args.draw.job.job(0)?;
    let folder = open(&args.draw.job.picture.source(), Need::Plan, console)?;
    let mut prepared = Prepared::new(&job, &folder)?;
    prepared.controller.keep_source |= args.draw.heatmaps && args.draw.maps.0.spec.shows_source();
    let seed_is_drawn = args.draw.job.picture.seed.is_none();
    let explanation = Explanation::new(&prepared, &folder, seed_is_drawn);
    if args.output.json {
        return print(&explanation.to_json());
    }
    for warning in &prepared.warnings {
        console.warn(warning.clone());
    }
    print(&explanation.to_string())
}
