//! Single-file checkpoints: tensor names against diffusers' own converter, the same pictures as from a folder, and
//! replaced components. `tests/reference/single_file.py` wrote the lists of names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, safetensors};
use prompt_to_prompt::error::Error;
use prompt_to_prompt::job::{Prepared, run};
use prompt_to_prompt::model::{
    Config, KeyMap, ModelFolder, ModelSource, Prediction, Renames, UNetConfig, flatten_attention,
    key_map,
};
use prompt_to_prompt::setting::Setting;
use serde::Deserialize;

use crate::common::json_lines;
use crate::families::Family;
use crate::laws::small_job;
use crate::model::copy_of_mini_sd;

/// A tensor of a checkpoint, and the tensors of diffusers in it.
#[derive(Deserialize)]
struct Row {
    stored: String,
    dims: Vec<usize>,
    #[serde(rename = "part")]
    component: String,
    names: Vec<String>,
    how: String,
}

fn rows(name: &str) -> Vec<Row> {
    let lines = json_lines(&format!("single/{name}.json.gz")).into_iter();
    lines
        .map(|line| serde_json::from_value(line).unwrap())
        .collect()
}

pub type Tensors = HashMap<String, Tensor>;

/// The weights of a component in a diffusers folder.
fn weights(folder: &Path, component: &str) -> Tensors {
    let stem = match component {
        "unet" | "vae" => "diffusion_pytorch_model",
        _ => "model",
    };
    let file = folder.join(component).join(format!("{stem}.safetensors"));
    let tensors = safetensors::load(file, &Device::Cpu).unwrap();
    let bare = tensors.contains_key("final_layer_norm.weight");
    let prefix = if bare { "text_model." } else { "" };
    let named = |(name, tensor)| (format!("{prefix}{name}"), tensor);
    tensors.into_iter().map(named).collect()
}

/// A folder's weights by the names and shapes of a checkpoint, without some components.
pub fn checkpoint(name: &str, folder: &Path, without: &[&str]) -> Tensors {
    let mut components: HashMap<String, Tensors> = HashMap::new();
    let rows = rows(name).into_iter();
    let wanted = rows.filter(|row| !without.contains(&row.component.as_str()));
    let stored = wanted.filter_map(|row| {
        let weights = components
            .entry(row.component.clone())
            .or_insert_with(|| weights(folder, &row.component));
        // The VAE of a miniature has a decoder only.
        let tensors: Option<Vec<_>> = row.names.iter().map(|name| weights.get(name)).collect();
        let tensor = Tensor::cat(&tensors?, 0).unwrap();
        let tensor = match row.how.as_str() {
            "transposed" => tensor.t().unwrap().contiguous().unwrap(),
            _ => tensor.reshape(row.dims).unwrap(),
        };
        Some((row.stored, tensor))
    });
    stored.collect()
}

pub fn save(tensors: &Tensors, folder: &Path, name: &str) -> PathBuf {
    let file = folder.join(name);
    safetensors::save(tensors, &file).unwrap();
    file
}

fn source(file: &Path, configs: &Path) -> ModelSource {
    ModelSource {
        config: Some(configs.to_owned()),
        ..ModelSource::named(file.to_str().unwrap())
    }
}

/// The bits of the latents and the pictures of an edit.
pub fn drawn(folder: &ModelFolder) -> (Vec<u32>, Vec<Vec<u8>>) {
    let job = small_job();
    let (prepared, model) = (Prepared::new(&job, folder).unwrap(), folder.load().unwrap());
    let done = run(&prepared, &model, &mut [], &mut |_| Ok(())).unwrap();
    let latents = done.latents.flatten_all().unwrap().to_vec1::<f32>();
    let pictures = done.pictures.into_iter().map(|p| p.image.into_raw());
    let bits = latents.unwrap().into_iter().map(f32::to_bits);
    (bits.collect(), pictures.collect())
}

fn open(source: &ModelSource) -> Result<ModelFolder, Error> {
    ModelFolder::open_source(source)
}

/// A miniature of each family, with the name of its list.
fn miniatures() -> Vec<(&'static str, tempfile::TempDir)> {
    vec![
        ("mini-sd1", copy_of_mini_sd()),
        ("mini-sd2", Family::new("sd2").folder),
        ("mini-sdxl", Family::new("sdxl").folder),
    ]
}

#[test]
fn a_single_file_draws_the_same_bytes_as_the_folder() {
    for (name, folder) in miniatures() {
        let folder = folder.path();
        let file = save(&checkpoint(name, folder, &[]), folder, "model.safetensors");
        let one = open(&source(&file, folder)).unwrap();
        let whole = ModelFolder::open(folder.to_str().unwrap()).unwrap();
        assert!(drawn(&one) == drawn(&whole), "{name}");
        assert_eq!(one.id, "model.safetensors");
        // A file's hash is what model hubs list.
        let (weights, configs) = one.hashes().unwrap();
        let bytes = std::fs::read(&file).unwrap();
        let hash = <sha2::Sha256 as sha2::Digest>::digest(bytes);
        assert_eq!(weights, format!("{hash:x}"));
        assert_eq!(configs.len(), 64);
    }
}

#[test]
fn names_are_those_of_diffusers_converter() {
    for name in ["sd1", "sd2", "sdxl"] {
        let rows = rows(name);
        let dims = |row: &Row| (row.stored.clone(), row.dims.clone());
        let shapes: HashMap<String, Vec<usize>> = rows.iter().map(dims).collect();
        let path = format!("assets/families/{name}/unet/config.json");
        let text = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(&path)).unwrap();
        let unet = UNetConfig::parse(&Config::parse(&path, &text).unwrap()).unwrap();
        let none = Renames::default();
        let (clip, second) = match name {
            "sd1" => (("cond_stage_model.transformer.", none), None),
            "sd2" => (("cond_stage_model.model.", Renames::open_clip(24)), None),
            _ => (
                ("conditioner.embedders.0.transformer.", none),
                Some(("conditioner.embedders.1.model.", Renames::open_clip(33))),
            ),
        };
        let components = [
            ("unet", ("model.diffusion_model.", Renames::unet(&unet))),
            ("vae", ("first_stage_model.", Renames::vae(4, 2))),
            ("text_encoder", clip),
        ];
        let second = second.map(|second| ("text_encoder_2", second));
        for (component, (prefix, renames)) in components.into_iter().chain(second) {
            let mut map = key_map(prefix, &renames, &shapes);
            if component == "vae" {
                flatten_attention(&mut map);
            }
            let mut expected = rows
                .iter()
                .filter(|row| row.component == component)
                .peekable();
            assert!(expected.peek().is_some());
            check(map, expected, name);
        }
    }
}

fn check<'a>(mut map: KeyMap, rows: impl Iterator<Item = &'a Row>, family: &str) {
    for row in rows {
        for (i, name) in row.names.iter().enumerate() {
            let what = format!("{family}: {name} of {}", row.stored);
            let stored = map.remove(name).unwrap_or_else(|| panic!("{what}"));
            assert_eq!(stored.name, row.stored, "{what}");
            let mut dims = row.dims.clone();
            match row.how.as_str() {
                "rows" => {
                    dims[0] /= 3;
                    let rows = i * dims[0]..(i + 1) * dims[0];
                    assert_eq!(stored.rows, Some(rows), "{what}");
                }
                "flat" => dims.truncate(2),
                "transposed" => dims.reverse(),
                _ => assert_eq!((stored.rows, stored.transposed), (None, false), "{what}"),
            }
            assert_eq!(stored.transposed, row.how == "transposed", "{what}");
            assert_eq!(stored.dims, dims, "{what}");
        }
    }
    assert!(map.is_empty(), "{family}: {:?}", map.keys());
}

#[test]
fn a_missing_component_is_replaced() {
    for (name, folder) in miniatures() {
        let folder = folder.path();
        let components = ["vae", "text_encoder", "text_encoder_2"];
        let all = save(&checkpoint(name, folder, &[]), folder, "all.safetensors");
        let pruned = checkpoint(name, folder, &components);
        let pruned = source(&save(&pruned, folder, "pruned.safetensors"), folder);
        for (setting, with) in [
            (
                Setting::Vae,
                ModelSource {
                    vae: None,
                    text_encoder: Some(all.clone()),
                    ..pruned.clone()
                },
            ),
            (
                Setting::TextEncoder,
                ModelSource {
                    vae: Some(all.clone()),
                    ..pruned.clone()
                },
            ),
        ] {
            let error = open(&with).unwrap_err();
            assert!(matches!(error, Error::Usage(_)), "{error}");
            assert_eq!(error.report().about, Some(setting));
            let pieces = error.report().cure;
            assert!(pieces.pieces().contains(&setting.to("PATH")), "{error}");
        }
        let whole = drawn(&ModelFolder::open(folder.to_str().unwrap()).unwrap());
        for (vae, text_encoder) in [(all.clone(), all.clone()), (folder.into(), folder.into())] {
            let with = ModelSource {
                vae: Some(vae),
                text_encoder: Some(text_encoder),
                ..pruned.clone()
            };
            assert!(drawn(&open(&with).unwrap()) == whole, "{name}");
        }
        // VAEs are also published alone: without a prefix, or by diffusers' names.
        let vae = checkpoint(name, folder, &["unet", "text_encoder", "text_encoder_2"]);
        let bare =
            |(name, tensor): (String, Tensor)| (name.replace("first_stage_model.", ""), tensor);
        let vae = save(
            &vae.into_iter().map(bare).collect(),
            folder,
            "vae.safetensors",
        );
        let diffusers = folder.join("vae/diffusion_pytorch_model.safetensors");
        for vae in [vae, diffusers, folder.join("vae")] {
            let with = ModelSource {
                vae: Some(vae),
                text_encoder: Some(all.clone()),
                ..pruned.clone()
            };
            assert!(drawn(&open(&with).unwrap()) == whole, "{name}");
        }
    }
}

#[test]
fn components_of_a_folder_are_replaced() {
    let (folder, other) = (copy_of_mini_sd(), copy_of_mini_sd());
    let path = "vae/diffusion_pytorch_model.safetensors";
    let file = other.path().join(path);
    let louder = |(name, tensor): (String, Tensor)| {
        let tensor = tensor.to_dtype(DType::F32).unwrap();
        (name, (tensor * 1.5).unwrap())
    };
    let tensors = safetensors::load(&file, &Device::Cpu).unwrap();
    let tensors: Tensors = tensors.into_iter().map(louder).collect();
    safetensors::save(&tensors, &file).unwrap();
    let at = |folder: &tempfile::TempDir| folder.path().to_str().unwrap().to_owned();
    let with = ModelSource {
        vae: Some(other.path().into()),
        tokenizer: Some(other.path().join("tokenizer")),
        ..ModelSource::named(&at(&folder))
    };
    let (own, others) = (
        ModelFolder::open(&at(&folder)),
        ModelFolder::open(&at(&other)),
    );
    let (own, others, mixed) = (own.unwrap(), others.unwrap(), open(&with).unwrap());
    assert!(drawn(&mixed) == drawn(&others) && drawn(&mixed) != drawn(&own));
    assert_eq!(mixed.hashes().unwrap(), others.hashes().unwrap());
    // The prediction type replaces a value of the scheduler's config.
    let v = ModelSource {
        prediction: Some(Prediction::Velocity),
        ..ModelSource::named(&at(&folder))
    };
    let v = open(&v).unwrap();
    assert_eq!(v.scheduler.prediction_type, Prediction::Velocity);
    assert_ne!(v.hashes().unwrap().1, own.hashes().unwrap().1);
}
