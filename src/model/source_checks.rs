//! What is wrong with a [`ModelSource`] and shows before anything is fetched: a model may take an hour. Never
//! opens a file.

use std::path::Path;

use super::checkpoint::check_ending;
use super::embedded::STORYBOOK;
use super::source::ModelSource;
use super::weight_files::Component;
use crate::error::{Error, Result};
use crate::hub::{Name, nearest_alias};

/// That a part is there, before the model is fetched that it is for.
pub fn is_there(path: &Path, (folder, _): Component) -> Result<()> {
    if path.exists() {
        return check_ending(path);
    }
    Err(Error::usage(
        format!(
            "--{} {} does not exist",
            folder.replace('_', "-"),
            path.display()
        ),
        match folder {
            "tokenizer" => "give a folder with tokenizer.json, or vocab.json and merges.txt",
            _ => {
                "give a folder in diffusers layout, a .safetensors file, or either on the hub, as OWNER/NAME"
            }
        },
    ))
}

/// That nothing is asked of a model on this machine that only another kind can give.
pub fn are_for_files_here(source: &ModelSource) -> Result<()> {
    let model = &source.model;
    if let Some(revision) = &source.revision {
        return Err(Error::usage(
            format!("--revision is for a model of the hub, and {model} is none"),
            match Name::parse(model) {
                Some(name) => format!("{name} is here, too: the hub's is {}", name.page(revision)),
                None => "leave it out, or give the model as OWNER/NAME".to_owned(),
            },
        ));
    }
    let one = model == STORYBOOK || Path::new(model).is_file();
    match source.variant.is_some() && one {
        true => Err(of_one_file("--variant", model)),
        false => Ok(()),
    }
}

/// That a flag chooses among files of which a model has none.
pub fn of_one_file(flag: &str, model: &str) -> Error {
    Error::usage(
        format!("{flag} is for a model of several files, and {model} has none to choose from"),
        "leave it out, or give a folder in diffusers layout or a model of the hub",
    )
}

/// That the address of a page does not say another revision than the flag does.
pub fn says_one_revision(model: &str, revision: Option<&str>) -> Result<()> {
    let of_page = Name::of_page(model).and_then(|(_, said)| said);
    match of_page.zip(revision) {
        Some((said, revision)) if said != revision => Err(Error::usage(
            format!("{model} is of revision {said}, and --revision says {revision}"),
            "leave --revision out, or give the model as OWNER/NAME",
        )),
        _ => Ok(()),
    }
}

/// What was probably meant by a name that is none.
pub fn mistaken(model: &str) -> Option<Error> {
    let what = format!("--model {model} does not exist");
    let at = model.split_once('@');
    if let Some((id, revision)) = at.filter(|(id, _)| Name::parse(id).is_some()) {
        let cure = format!("a revision is given apart: --model {id} --revision {revision}");
        return Some(Error::usage(what, cure));
    }
    let near = nearest_alias(model)?;
    let cure = format!("did you mean {near}? p2p models ls lists the short names");
    Some(Error::usage(what, cure))
}
