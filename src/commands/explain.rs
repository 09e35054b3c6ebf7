//! `p2p explain`: the plan of a job, without drawing it.

use prompt_to_prompt::error::Result;
use prompt_to_prompt::job::{Explanation, Prepared};
use prompt_to_prompt::model::ModelFolder;
use prompt_to_prompt::report::console::Console;

use super::{print, random_seed};
use crate::cli::ExplainArgs;

pub fn explain(args: &ExplainArgs, console: &Console) -> Result<()> {
    let job = args.job.job(random_seed())?;
    let folder = ModelFolder::open(&args.job.model)?;
    let prepared = Prepared::new(&job, &folder)?;
    let explanation = Explanation::new(&job, &prepared, &folder);
    if args.json {
        return print(&explanation.to_json());
    }
    prepared
        .warnings
        .iter()
        .for_each(|warning| console.warn(warning));
    print(&explanation.to_string())
}
