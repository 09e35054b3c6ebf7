//! Mistakes in a [`ModelSource`] that show before anything is fetched: a download may take an hour. Never
//! opens a file.

use std::path::Path;

use super::checkpoint::check_ending;
use super::embedded::STORYBOOK;
use super::source::ModelSource;
use crate::error::{Error, Result};
use crate::hub::{Name, nearest_alias};
use crate::message;
use crate::setting::Setting;

/// Checks that the replacement of a component exists, and is no pickle. `setting` names the replacement.
///
/// # Errors
/// [`Error::Usage`] where it does not exist or cannot be read.
pub fn check_replacement(path: &Path, setting: Setting) -> Result<()> {
    if path.exists() {
        return check_ending(path).map_err(|error| error.about(setting));
    }
    let cure = if setting == Setting::Tokenizer {
        TOKENIZER_CURE
    } else {
        "give a folder in diffusers layout, a .safetensors file, or either on the hub, as OWNER/NAME"
    };
    let cause = message![setting.to(path.display()), " does not exist"];
    Err(Error::usage(cause, cure).about(setting))
}

/// What to give as a tokenizer.
pub const TOKENIZER_CURE: &str = "give a folder with tokenizer.json, or vocab.json and merges.txt";

/// Checks that the settings of a model on this machine are not those of another kind of model.
///
/// # Errors
/// [`Error::Usage`] for a revision, or for a variant of a model that is one file.
pub fn check_local(source: &ModelSource) -> Result<()> {
    let model = &source.model;
    if let Some(revision) = &source.revision {
        let cause = message![
            Setting::Revision,
            format!(" is for a model of the hub, and {model} is on this machine"),
        ];
        let cure = match Name::parse(model) {
            Some(name) => format!(
                "the model of the hub with this name is {}",
                name.page(revision)
            ),
            None => "leave it out, or give the model as OWNER/NAME".to_owned(),
        };
        return Err(Error::usage(cause, cure).about(Setting::Revision));
    }
    let one_file = model == STORYBOOK || Path::new(model).is_file();
    if source.variant.is_some() && one_file {
        return Err(variant_of_one_file(model));
    }
    Ok(())
}

/// The error that a model has no files of another variant to choose from.
pub fn variant_of_one_file(model: &str) -> Error {
    let cause = message![
        Setting::Variant,
        format!(" is for a model of several files, and {model} is one file"),
    ];
    Error::usage(
        cause,
        "leave it out, or give a folder in diffusers layout or a model of the hub",
    )
    .about(Setting::Variant)
}

/// Checks that the revision in a page's address and the revision setting do not differ.
///
/// # Errors
/// [`Error::Usage`] where they differ.
pub fn check_one_revision(model: &str, revision: Option<&str>) -> Result<()> {
    let of_page = Name::of_page(model).and_then(|(_, named)| named);
    match of_page.zip(revision) {
        Some((named, revision)) if named != revision => Err(Error::usage(
            message![
                format!("{model} names the revision {named}, but there is "),
                Setting::Revision.to(revision),
            ],
            message![
                "leave ",
                Setting::Revision,
                " out, or give the model as OWNER/NAME"
            ],
        )
        .about(Setting::Revision)),
        _ => Ok(()),
    }
}

/// The error for a model's name that leads nowhere but looks like a typing mistake. `None` where nothing is
/// near to it.
pub fn misspelt_model(model: &str) -> Option<Error> {
    let cause = message![Setting::Model.to(model), " does not exist"];
    let at = model.split_once('@');
    if let Some((id, revision)) = at.filter(|(id, _)| Name::parse(id).is_some()) {
        let cure = message![
            "give the revision apart: ",
            Setting::Model.to(id),
            " ",
            Setting::Revision.to(revision),
        ];
        return Some(Error::usage(cause, cure).about(Setting::Model));
    }
    let near = nearest_alias(model)?;
    let cure = format!("did you mean {near}? p2p models ls lists the short names");
    Some(Error::usage(cause, cure).about(Setting::Model))
}
