//! `p2p sites`: prints a table of a model's attention layers. Owns the table. It must never load weights.

use prompt_to_prompt::attention::{AttentionKind, Place};
use prompt_to_prompt::error::Result;
use prompt_to_prompt::job::Prepared;
use prompt_to_prompt::model::Need;
use prompt_to_prompt::report::console::Console;

use super::open::open_quietly;
use super::print;
use crate::cli::SitesArgs;

/// Runs `p2p sites`.
pub fn sites(args: &SitesArgs, console: &Console) -> Result<()> {
    let folder = open_quietly(&args.picture.source(), Need::Plan, console)?;
    // The table depends only on the picture's size, which preparing a run checks.
    let prepared = Prepared::new(&args.picture.job("a picture", 0), &folder)?;
    let mut table = String::from("layer  kind   part  grid     heads  downscale\n");
    for site in folder.unet.sites(prepared.latent_size) {
        let kind = match site.kind {
            AttentionKind::Cross => "cross",
            AttentionKind::SelfAttn => "self",
        };
        let place = match site.place {
            Place::Down => "down",
            Place::Mid => "mid",
            Place::Up => "up",
        };
        let grid = format!("{}x{}", site.grid.0, site.grid.1);
        let (index, heads, downscale) = (site.index, site.heads, site.downscale);
        table +=
            &format!("{index:<5}  {kind:<5}  {place:<4}  {grid:<7}  {heads:<5}  {downscale}\n");
    }
    print(&table)
}
