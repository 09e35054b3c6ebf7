//! Opening a model as every command does: what has to be fetched is shown, and Ctrl-C ends the wait.

use std::path::PathBuf;

use prompt_to_prompt::error::Result;
use prompt_to_prompt::hub::{Connection, HubSettings};
use prompt_to_prompt::model::{LocatedModel, ModelFolder, ModelSource, Need};
use prompt_to_prompt::report::console::Console;
use prompt_to_prompt::report::downloads::Downloads;

use super::draw::interrupt_flag;
use super::messages::tell_model;

/// Sees to it that all of a model of the hub is on this machine, undamaged; its folder or file comes back.
pub fn fetch(source: &ModelSource, need: Need, console: &Console) -> Result<PathBuf> {
    let watch = Downloads::new(console, interrupt_flag(console));
    let hub = Connection::new(HubSettings::from_env(), &watch).checking();
    let located = LocatedModel::new(source, &hub, need)?;
    Ok(located.source.model.into())
}

/// Opens a model and says what it turned out to be.
pub fn open(source: &ModelSource, need: Need, console: &Console) -> Result<ModelFolder> {
    let folder = open_quietly(source, need, console)?;
    tell_model(console, &folder);
    Ok(folder)
}

/// The same for commands that say so themselves; downloads are said in any case.
pub fn open_quietly(source: &ModelSource, need: Need, console: &Console) -> Result<ModelFolder> {
    let watch = Downloads::new(console, interrupt_flag(console));
    let hub = Connection::new(HubSettings::from_env(), &watch);
    ModelFolder::open_with(source, need, &hub)
}
