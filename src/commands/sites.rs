//! `p2p sites`: the attention layers of a model.

use prompt_to_prompt::attention::{AttentionKind, Place};
use prompt_to_prompt::error::Result;
use prompt_to_prompt::job::Prepared;
use prompt_to_prompt::model::Need;
use prompt_to_prompt::report::console::Console;

use super::open::open_quietly;
use super::print;
use crate::cli::SitesArgs;

pub fn sites(args: &SitesArgs, console: &Console) -> Result<()> {
    let folder = open_quietly(&args.picture.source(), Need::Plan, console)?;
    // Only the picture's size matters; preparing any picture checks it.
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
