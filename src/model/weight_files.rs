//! Which files hold a component's weights: plain or of a variant, in one piece or in shards. Owns those
//! names; reads no tensor.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::tensor_file::torn;
use crate::error::{Error, Result};
use crate::hub::Cached;

/// A component, and the stem of its weight files.
pub type Component = (&'static str, &'static str);

pub const UNET: Component = ("unet", "diffusion_pytorch_model");
pub const VAE: Component = ("vae", "diffusion_pytorch_model");
pub const TEXT: Component = ("text_encoder", "model");
pub const TEXT_2: Component = ("text_encoder_2", "model");

/// What fine-tunes are mostly published as, taken where there are no plain files.
const USUAL: &str = "fp16";

/// Names of a component's weights in the order in which they are looked for.
pub fn candidates((folder, stem): Component, variant: Option<&str>) -> Vec<String> {
    let names = names(stem, variant).into_iter();
    names.map(|name| format!("{folder}/{name}")).collect()
}

/// The same without their folder.
pub fn names(stem: &str, variant: Option<&str>) -> Vec<String> {
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
        None => [of(None), of(Some(USUAL))].concat(),
    }
}

/// The variant that a weight file is of.
pub fn variant_of(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next()?;
    let plain = name.split('.').collect::<Vec<_>>();
    match plain.as_slice() {
        [_, variant, "safetensors"] | [_, "safetensors", "index", variant, "json"] => Some(variant),
        _ => None,
    }
}

/// Whether a text may be a variant: it becomes a part of file names.
pub fn is_variant(text: &str) -> bool {
    let sign = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !text.is_empty() && text.chars().all(sign)
}

/// Whether a file of a model holds weights of a component.
fn is_weights(file: &str) -> bool {
    let inside = |(folder, stem): Component| file.starts_with(&format!("{folder}/{stem}."));
    [UNET, VAE, TEXT, TEXT_2].into_iter().any(inside)
}

/// The error that a file of the hub's cache is not what it was, and what fetches it again: the model and its
/// variant, or the file alone.
pub fn damaged(cached: &Cached) -> Error {
    let Cached { id, file, .. } = cached;
    let what = match variant_of(file) {
        _ if !is_weights(file) => format!("{id}/{file}"),
        Some(variant) => format!("{id} --variant {variant}"),
        None => id.clone(),
    };
    let revision = match cached.is_main {
        true => String::new(),
        false => format!(" --revision {}", cached.commit),
    };
    Error::model(
        cached.damage(),
        format!("fetch it again: p2p models pull {what}{revision}"),
    )
}

/// That at least one component has the variant that is asked for.
///
/// `names` are the model's files, `chosen` what was found; errors name the variants that there are.
pub fn check_variant<'a>(
    variant: Option<&str>,
    chosen: &[String],
    names: impl Iterator<Item = &'a str>,
    of: &str,
) -> Result<()> {
    let Some(variant) = variant else {
        return Ok(());
    };
    if chosen.iter().any(|path| variant_of(path) == Some(variant)) {
        return Ok(());
    }
    let weights = names.filter(|name| is_weights(name));
    let there: BTreeSet<&str> = weights.filter_map(variant_of).collect();
    let there: Vec<&str> = there.into_iter().collect();
    Err(Error::model(
        format!("{of} has no variant {variant}"),
        match there.is_empty() {
            true => "it has plain files alone: leave --variant out".to_owned(),
            false => format!(
                "it has {}, and plain files without --variant",
                there.join(", ")
            ),
        },
    ))
}

/// The files of weights: of an index its shards in order, else the file itself.
///
/// Errors: model, where an index is broken or names a shard that isn't there.
pub fn pieces(path: &Path, name: &str) -> Result<Vec<PathBuf>> {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    if !file.contains(".safetensors.index.") {
        return Ok(vec![path.to_owned()]);
    }
    let text = std::fs::read(path)
        .map_err(|e| Error::model(format!("cannot read {name}: {e}"), "fetch the model again"))?;
    let shards = shards(&text).ok_or_else(|| torn_index(name))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let shard = |shard: &String| {
        let path = folder.join(shard);
        match path.is_file() {
            true => Ok(path),
            false => Err(Error::model(
                format!("{name} names the shard {shard}, which is not beside it"),
                "fetch the model again, all its shards",
            )),
        }
    };
    shards.iter().map(shard).collect()
}

fn torn_index(name: &str) -> Error {
    torn(name, "it names no shards beside it")
}

/// The shards that an index names, each once.
pub fn shards(index: &[u8]) -> Option<Vec<String>> {
    let index: serde_json::Value = serde_json::from_slice(index).ok()?;
    let tensors = index.get("weight_map")?.as_object()?;
    let names: Option<BTreeSet<&str>> = tensors.values().map(|name| name.as_str()).collect();
    // Beside the index, and nowhere else.
    let inside = |name: &&str| !name.is_empty() && !name.contains(['/', '\\']) && *name != "..";
    let names = names.filter(|names| !names.is_empty() && names.iter().all(inside))?;
    Some(names.into_iter().map(str::to_owned).collect())
}
