//! Variants and shards, in folders and on the hub.

use std::collections::BTreeMap;

use candle_core::{Device, safetensors};
use prompt_to_prompt::model::ModelFolder;
use serde_json::json;

use super::*;
use crate::model::copy_of_mini_sd;

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
const VAE: &str = "vae/diffusion_pytorch_model.safetensors";
const UNET16: &str = "unet/diffusion_pytorch_model.fp16.safetensors";

/// The miniature with a variant of its UNet.
fn with_variant() -> BTreeMap<String, Vec<u8>> {
    let mut files = miniature();
    let mut other = files[UNET].clone();
    // The variant's weights differ.
    *other.last_mut().unwrap() ^= 1;
    files.insert(UNET16.to_owned(), other);
    files
}

fn variant(model: &str, variant: &str) -> ModelSource {
    ModelSource {
        variant: Some(variant.to_owned()),
        ..ModelSource::named(model)
    }
}

fn write(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (path, bytes) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

#[test]
fn a_variant_is_taken_where_there_is_one() {
    let place = Place::with(with_variant());
    let half = place.open_with(&variant(ID, "fp16"), &[]).unwrap();
    let fetched = place.mock.fetched();
    assert!(fetched.contains(&UNET16.to_owned()) && !fetched.contains(&UNET.to_owned()));
    assert!(fetched.contains(&VAE.to_owned()), "the VAE has no variant");
    let origin = half.origin.clone().unwrap();
    assert_eq!(origin.variant.as_deref(), Some("fp16"));
    // The files without a variant are another model, online and offline.
    let plain = place.open(ID).unwrap();
    assert!(place.mock.fetched().contains(&UNET.to_owned()));
    assert_eq!(plain.origin.clone().unwrap().variant, None);
    assert_ne!(plain.hashes().unwrap(), half.hashes().unwrap());
    let offline = ModelSource {
        offline: true,
        ..variant(ID, "fp16")
    };
    let offline = place.open_with(&offline, &[]).unwrap();
    assert_eq!(offline.hashes().unwrap(), half.hashes().unwrap());
    // A local folder behaves alike.
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &with_variant());
    let at = folder.path().to_str().unwrap();
    let local = ModelFolder::open_source(&variant(at, "fp16")).unwrap();
    assert_eq!(local.hashes().unwrap(), half.hashes().unwrap());
    let local = ModelFolder::open(at).unwrap();
    assert_eq!(local.hashes().unwrap(), plain.hashes().unwrap());
}

#[test]
fn a_variant_that_is_not_there_names_those_that_are() {
    let place = Place::with(with_variant());
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &with_variant());
    let local = ModelFolder::open_source(&variant(folder.path().to_str().unwrap(), "ema"));
    for error in [place.open_with(&variant(ID, "ema"), &[]), local].map(Result::unwrap_err) {
        let text = error.to_string();
        assert!(text.contains("has no variant ema; it has fp16"), "{text}");
    }
    let plain = Place::new();
    let error = plain
        .open_with(&variant(ID, "fp16"), &[])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("plain files only: leave `variant` out"),
        "{error}"
    );
    assert!(
        plain
            .mock
            .fetched()
            .iter()
            .all(|path| !path.ends_with(".safetensors"))
    );
    let mut only = with_variant();
    only.remove(UNET);
    // Many fine-tuned models are published like this.
    let place = Place::with(only.clone());
    let opened = place.open(ID).unwrap();
    assert_eq!(opened.origin.unwrap().variant.as_deref(), Some("fp16"));
    let ema = only.remove(UNET16).unwrap();
    only.insert(UNET16.replace("fp16", "ema"), ema);
    let error = Place::with(only).open(ID).unwrap_err().to_string();
    assert!(
        error.contains("only as variants; name one: `variant = \"ema\"`"),
        "{error}"
    );
}

/// Splits the weights of a folder's UNet into two shards. `dot` is `.fp16` for a variant, else empty.
fn shard(folder: &Path, dot: &str) {
    let file = folder.join(UNET);
    let tensors = safetensors::load(&file, &Device::Cpu).unwrap();
    let mut names: Vec<&String> = tensors.keys().collect();
    names.sort();
    let shards = names.chunks(names.len().div_ceil(2));
    let mut weight_map = serde_json::Map::new();
    for (i, names) in shards.enumerate() {
        let name = format!(
            "diffusion_pytorch_model{dot}-0000{}-of-00002.safetensors",
            i + 1
        );
        let part = names
            .iter()
            .map(|name| ((*name).clone(), tensors[*name].clone()));
        let part = part.collect::<std::collections::HashMap<_, _>>();
        safetensors::save(&part, folder.join("unet").join(&name)).unwrap();
        weight_map.extend(names.iter().map(|tensor| ((*tensor).clone(), json!(name))));
    }
    let index = json!({ "metadata": { "total_size": 1 }, "weight_map": weight_map });
    let name = format!("unet/diffusion_pytorch_model.safetensors.index{dot}.json");
    std::fs::write(folder.join(name), index.to_string()).unwrap();
    std::fs::remove_file(file).unwrap();
}

#[test]
fn shards_draw_as_one_file_does() {
    let (whole, sharded) = (copy_of_mini_sd(), copy_of_mini_sd());
    shard(sharded.path(), "");
    let open = |folder: &Path| ModelFolder::open(folder.to_str().unwrap());
    let (one, two) = (open(whole.path()).unwrap(), open(sharded.path()).unwrap());
    assert!(crate::single_file::drawn(&one) == crate::single_file::drawn(&two));
    let size = (16, 16);
    assert_eq!(one.footprint(size).unwrap(), two.footprint(size).unwrap());
    // Both shards are hashed.
    let before = two.hashes().unwrap().0;
    let last = sharded
        .path()
        .join("unet/diffusion_pytorch_model-00002-of-00002.safetensors");
    let mut bytes = std::fs::read(&last).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&last, bytes).unwrap();
    assert_ne!(two.hashes().unwrap().0, before);
    std::fs::remove_file(&last).unwrap();
    let error = two.load().unwrap_err().to_string();
    assert!(
        error.contains("names the shard diffusion_pytorch_model-00002-of-00002"),
        "{error}"
    );
    let index = sharded
        .path()
        .join("unet/diffusion_pytorch_model.safetensors.index.json");
    for bad in ["{", "{}", r#"{"weight_map":{"a":"../x.safetensors"}}"#] {
        std::fs::write(&index, bad).unwrap();
        let error = two.load().unwrap_err().to_string();
        assert!(error.contains("index.json"), "{error}");
    }
}

#[test]
fn shards_are_fetched() {
    for (dot, asked) in [("", None), (".fp16", Some("fp16"))] {
        let folder = copy_of_mini_sd();
        shard(folder.path(), dot);
        let place = Place::with(mock::files_of(folder.path()));
        let source = ModelSource {
            variant: asked.map(str::to_owned),
            ..ModelSource::named(ID)
        };
        let opened = place.open_with(&source, &[]).unwrap();
        opened.load().unwrap();
        assert_eq!(opened.origin.unwrap().variant.as_deref(), asked);
        let shards = place
            .mock
            .fetched()
            .into_iter()
            .filter(|path| path.contains("-of-00002"));
        assert_eq!(shards.count(), 2);
    }
}

#[test]
fn a_lora_of_the_hub() {
    let place = Place::new();
    let file = "sd1-peft.safetensors";
    let bytes = std::fs::read(fixture("lora").join(file)).unwrap();
    place
        .mock
        .add("ada/loras", BTreeMap::from([(file.to_owned(), bytes)]));
    let lora = format!("ada/loras/{file}=0.5");
    let args = [
        "edit", "--model", ID, "--src", "a cat", "--dst", "a dog", "--steps", "1", "-o", "out",
        "--lora",
    ];
    place.succeed(&[&args[..], &[&lora]].concat());
    let manifest = std::fs::read_to_string(place.work.path().join("out/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let name = manifest["model"]["loras"][0]["name"].as_str().unwrap();
    assert!(
        name.starts_with("https://huggingface.co/ada/loras/blob/") && name.ends_with(file),
        "{name}"
    );
    let args = [
        "edit",
        "--model",
        ID,
        "--src",
        "a cat",
        "--dst",
        "a dog",
        "--lora",
        "ada/loras",
    ];
    let said = stderr(&place.p2p(&args));
    assert!(said.contains("--lora ada/loras/FILE.safetensors"), "{said}");
}
