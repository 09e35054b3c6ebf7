//! `p2p explain`: the plan of a job, without drawing it.

use prompt_to_prompt::error::Result;
use prompt_to_prompt::job::{Explanation, Prepared};
use prompt_to_prompt::model::Need;
use prompt_to_prompt::report::console::Console;

use super::open::open;
use super::print;
use crate::cli::EditArgs;

pub fn explain(args: &EditArgs, console: &Console) -> Result<()> {
    let job = args.draw.job.job(0)?;
    let folder = open(&args.draw.job.picture.source(), Need::Plan, console)?;
    let mut prepared = Prepared::new(&job, &folder)?;
    prepared.controller.keep_source |= args.draw.heatmaps && args.draw.maps.0.spec.shows_source();
    let seed = args.draw.job.picture.seed;
    let explanation = Explanation::new(&job, seed, &prepared, &folder);
    if args.output.json {
        return print(&explanation.to_json());
    }
    prepared
        .warnings
        .iter()
        .for_each(|warning| console.warn(warning));
    print(&explanation.to_string())
}
