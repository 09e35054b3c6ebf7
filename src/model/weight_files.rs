//! The names of weight files: plain or of a variant, one file or shards. Owns the search for them and the
//! errors about them. It must never read a tensor.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::component::Component;
use super::tensor_file::not_safetensors;
use crate::error::{Error, Result};
use crate::hub::Cached;
use crate::message;
use crate::setting::Setting;

/// The variant that most fine-tunes are published as. It is read where there are no plain files.
const DEFAULT_VARIANT: &str = "fp16";

/// Paths of a component's weights in the order in which they are looked for. A component without weights
/// has none.
pub fn candidates(component: Component, variant: Option<&str>) -> Vec<String> {
    let names = component
        .weight_stem()
        .map(|stem| weight_names(stem, variant));
    let names = names.unwrap_or_default().into_iter();
    names.map(|name| component.path(&name)).collect()
}

/// Names of weight files in the order in which they are looked for, without their folder.
pub fn weight_names(stem: &str, variant: Option<&str>) -> Vec<String> {
    let of = |variant: Option<&str>| {
        let dot = variant.map(|variant| format!(".{variant}"));
        let dot = dot.unwrap_or_default();
        [
            format!("{stem}{dot}.safetensors"),
            format!("{stem}.safetensors.index{dot}.json"),
        ]
    };
    match variant {
        Some(variant) => [of(Some(variant)), of(None)].concat(),
        None => [of(None), of(Some(DEFAULT_VARIANT))].concat(),
    }
}

/// The variant in a weight file's name: `fp16` in `model.fp16.safetensors`. `None` for a plain file.
pub fn variant_of(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next()?;
    let pieces = name.split('.').collect::<Vec<_>>();
    match pieces.as_slice() {
        [_, variant, "safetensors"] | [_, "safetensors", "index", variant, "json"] => Some(variant),
        _ => None,
    }
}

/// Whether a text can be a variant. A variant becomes part of file names, so it has letters, digits, `-`
/// and `_` only.
pub fn is_variant(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !text.is_empty() && text.chars().all(allowed)
}

/// Whether a file of a model holds weights of a component.
fn is_weights(file: &str) -> bool {
    let is_of = |component: Component| {
        let stem = component.weight_stem();
        stem.is_some_and(|stem| file.starts_with(&component.path(&format!("{stem}."))))
    };
    Component::with_weights(true).into_iter().any(is_of)
}

/// The error that a file in the hub's cache is damaged. Its cure is the command that fetches the file again.
pub fn damaged(cached: &Cached) -> Error {
    let Cached { id, file, .. } = cached;
    let what = match variant_of(file) {
        _ if !is_weights(file) => format!("{id}/{file}"),
        Some(variant) => format!("{id} --variant {variant}"),
        None => id.clone(),
    };
    let revision = if cached.is_main {
        String::new()
    } else {
        format!(" --revision {}", cached.commit)
    };
    // A command of the shell, so every front end shows it alike.
    Error::model(
        cached.damage(),
        format!("fetch it again: p2p models pull {what}{revision}"),
    )
}

/// Checks that at least one component has the variant that the user names.
///
/// `names` are the model's files, `chosen` the weight files that were found, `model` the model's name.
///
/// # Errors
/// [`Error::Model`] where no chosen file is of the variant. The cure names the variants that exist.
pub fn check_variant<'a>(
    variant: Option<&str>,
    chosen: &[String],
    names: impl Iterator<Item = &'a str>,
    model: &str,
) -> Result<()> {
    let Some(variant) = variant else {
        return Ok(());
    };
    if chosen.iter().any(|path| variant_of(path) == Some(variant)) {
        return Ok(());
    }
    let weights = names.filter(|name| is_weights(name));
    let existing: BTreeSet<&str> = weights.filter_map(variant_of).collect();
    let existing = existing.into_iter().collect::<Vec<_>>().join(", ");
    let cure = if existing.is_empty() {
        message!["it has plain files only: leave ", Setting::Variant, " out"]
    } else {
        let has = format!("it has {existing}, and plain files without ");
        message![has, Setting::Variant]
    };
    let error = Error::model(format!("{model} has no variant {variant}"), cure);
    Err(error.about(Setting::Variant))
}

/// The weight files at a path: the shards that an index names, in order, or the file itself. `name` is
/// what errors call the file.
///
/// # Errors
/// [`Error::Model`] where an index cannot be read, or a shard that it names does not exist.
pub fn shards_at(path: &Path, name: &str) -> Result<Vec<PathBuf>> {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    if !file.contains(".safetensors.index.") {
        return Ok(vec![path.to_owned()]);
    }
    let text = std::fs::read(path)
        .map_err(|e| Error::model(format!("cannot read {name}: {e}"), "fetch the model again"))?;
    let shards = shards_in(&text)
        .ok_or_else(|| not_safetensors(name, "the index names no shards in its own folder"))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let shard = |shard: &String| {
        let path = folder.join(shard);
        if path.is_file() {
            return Ok(path);
        }
        Err(Error::model(
            format!("{name} names the shard {shard}, which does not exist in its folder"),
            "fetch the model again with all its shards",
        ))
    };
    shards.iter().map(shard).collect()
}

/// The shards that an index names, each once. `None` where the index is damaged or a name leads out of the
/// index's folder.
pub fn shards_in(index: &[u8]) -> Option<Vec<String>> {
    let index: serde_json::Value = serde_json::from_slice(index).ok()?;
    let tensors = index.get("weight_map")?.as_object()?;
    let names: Option<BTreeSet<&str>> = tensors.values().map(|name| name.as_str()).collect();
    // An index from the hub must not name a file anywhere else on this machine.
    let inside = |name: &&str| !name.is_empty() && !name.contains(['/', '\\']) && *name != "..";
    let names = names.filter(|names| !names.is_empty() && names.iter().all(inside))?;
    Some(names.into_iter().map(str::to_owned).collect())
}
