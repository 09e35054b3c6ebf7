//! Opens models for all commands. Downloads are shown on the console, and Ctrl-C interrupts them. It must never
//! know what a command does with the model.

use std::path::PathBuf;

use prompt_to_prompt::error::Result;
use prompt_to_prompt::hub::{Connection, HubSettings};
use prompt_to_prompt::model::{LocatedModel, ModelFolder, ModelSource, Need};
use prompt_to_prompt::report::console::Console;
use prompt_to_prompt::report::downloads::Downloads;

use super::interrupt::interrupt_flag;
use super::messages::print_model;

/// Downloads the missing and the damaged files of a model of the hub, and returns its folder or file.
///
/// # Errors
/// Those of [`LocatedModel::new`].
pub fn fetch(source: &ModelSource, need: Need, console: &Console) -> Result<PathBuf> {
    let reporter = Downloads::new(console, interrupt_flag(console));
    let hub = Connection::new(HubSettings::from_env(), &reporter).checking();
    let located = LocatedModel::new(source, &hub, need)?;
    Ok(located.source.model.into())
}

/// Opens a model and prints what it is.
///
/// # Errors
/// Those of [`ModelFolder::open_with`].
pub fn open(source: &ModelSource, need: Need, console: &Console) -> Result<ModelFolder> {
    let folder = open_quietly(source, need, console)?;
    print_model(console, &folder);
    Ok(folder)
}

/// Opens a model without printing what it is. Downloads are shown all the same.
///
/// # Errors
/// Those of [`ModelFolder::open_with`].
pub fn open_quietly(source: &ModelSource, need: Need, console: &Console) -> Result<ModelFolder> {
    let reporter = Downloads::new(console, interrupt_flag(console));
    let hub = Connection::new(HubSettings::from_env(), &reporter);
    ModelFolder::open_with(source, need, &hub)
}
