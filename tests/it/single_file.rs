//! Single-file checkpoints: names against diffusers' own converter, the same pictures as from a folder, and
//! what is said of files that lack a part or are something else.
//! `tests/reference/single_file.py` wrote the lists of names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, safetensors};
use prompt_to_prompt::error::Error;
use prompt_to_prompt::job::{Prepared, run};
use prompt_to_prompt::model::{
    Config, KeyMap, ModelFolder, ModelSource, Prediction, Renames, UNetConfig, flatten_attention,
    key_map,
};
use serde::Deserialize;

use crate::common::json_lines;
use crate::families::Family;
use crate::laws::small_job;
use crate::model::copy_of_mini_sd;

/// A tensor of a checkpoint, and the tensors of diffusers that it is made of.
#[derive(Deserialize)]
struct Row {
    stored: String,
    dims: Vec<usize>,
    part: String,
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

/// A folder's weights, a part each, as files have them.
fn weights(folder: &Path, part: &str) -> Tensors {
    let stem = match part {
        "unet" | "vae" => "diffusion_pytorch_model",
        _ => "model",
    };
    let file = folder.join(part).join(format!("{stem}.safetensors"));
    let tensors = safetensors::load(file, &Device::Cpu).unwrap();
    let bare = tensors.contains_key("final_layer_norm.weight");
    let prefix = if bare { "text_model." } else { "" };
    let named = |(name, tensor)| (format!("{prefix}{name}"), tensor);
    tensors.into_iter().map(named).collect()
}

/// A folder's weights as a checkpoint has them, by diffusers' list, without the parts that are left out.
pub fn checkpoint(name: &str, folder: &Path, without: &[&str]) -> Tensors {
    let mut parts: HashMap<String, Tensors> = HashMap::new();
    let rows = rows(name).into_iter();
    let kept = rows.filter(|row| !without.contains(&row.part.as_str()));
    let stored = kept.filter_map(|row| {
        let part = parts
            .entry(row.part.clone())
            .or_insert_with(|| weights(folder, &row.part));
        // A miniature's VAE may have a decoder only.
        let tensors: Option<Vec<_>> = row.names.iter().map(|name| part.get(name)).collect();
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

/// What a model makes of an edit: bits of latents, and pictures.
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

/// A miniature of each family, by the name of its list.
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
        let parts = [
            ("unet", ("model.diffusion_model.", Renames::unet(&unet))),
            ("vae", ("first_stage_model.", Renames::vae(4, 2))),
            ("text_encoder", clip),
        ];
        let second = second.map(|second| ("text_encoder_2", second));
        for (part, (prefix, renames)) in parts.into_iter().chain(second) {
            let mut map = key_map(prefix, &renames, &shapes);
            if part == "vae" {
                flatten_attention(&mut map);
            }
            let mut expected = rows.iter().filter(|row| row.part == part).peekable();
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
fn a_part_that_is_missing_comes_from_elsewhere() {
    for (name, folder) in miniatures() {
        let folder = folder.path();
        let parts = ["vae", "text_encoder", "text_encoder_2"];
        let all = save(&checkpoint(name, folder, &[]), folder, "all.safetensors");
        let pruned = checkpoint(name, folder, &parts);
        let pruned = source(&save(&pruned, folder, "pruned.safetensors"), folder);
        for (flag, with) in [
            (
                "--vae PATH",
                ModelSource {
                    vae: None,
                    text_encoder: Some(all.clone()),
                    ..pruned.clone()
                },
            ),
            (
                "--text-encoder PATH",
                ModelSource {
                    vae: Some(all.clone()),
                    ..pruned.clone()
                },
            ),
        ] {
            let error = open(&with).unwrap_err();
            assert!(matches!(error, Error::Usage(_)), "{error}");
            assert!(error.to_string().contains(flag), "{error}");
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
        // Alone, as VAEs are passed around: without a prefix, or in diffusers' names.
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
fn parts_of_a_folder_are_overridden() {
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
    // The way round that a picture shows without any weights.
    let v = ModelSource {
        prediction: Some(Prediction::Velocity),
        ..ModelSource::named(&at(&folder))
    };
    let v = open(&v).unwrap();
    assert_eq!(v.scheduler.prediction_type, Prediction::Velocity);
    assert_ne!(v.hashes().unwrap().1, own.hashes().unwrap().1);
}

/// A tensor's name and shape.
type Named<'a> = (&'a str, &'a [usize]);

/// A file of zeros with these tensors.
fn zeros(folder: &Path, name: &str, shapes: &[Named]) -> PathBuf {
    let zero = |(name, dims): &Named| {
        let zero = Tensor::zeros(*dims, DType::F16, &Device::Cpu).unwrap();
        ((*name).to_owned(), zero)
    };
    save(&shapes.iter().map(zero).collect(), folder, name)
}

#[test]
fn what_is_no_such_checkpoint_is_named() {
    const FIRST: &str = "model.diffusion_model.input_blocks.0.0.weight";
    const READS: &str =
        "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight";
    let cases: [(&[Named], &str, &str); 10] = [
        (
            &[(FIRST, &[320, 9, 3, 3])],
            "an inpainting model",
            "text-to-image",
        ),
        (
            &[(FIRST, &[320, 8, 3, 3])],
            "InstructPix2Pix",
            "text-to-image",
        ),
        (
            &[(FIRST, &[384, 4, 3, 3]), (READS, &[768, 1280])],
            "refiner",
            "base model",
        ),
        (
            &[(FIRST, &[320, 4, 3, 3]), (READS, &[768, 512])],
            "512 channels",
            "--config DIR",
        ),
        (
            &[("model.diffusion_model.joint_blocks.0.x", &[1])],
            "Stable Diffusion 3",
            "XL",
        ),
        (
            &[("double_blocks.0.img_attn.norm.key_norm.scale", &[1])],
            "Flux",
            "XL",
        ),
        (
            &[("lora_unet_mid_block_x.lora_down.weight", &[1, 1])],
            "a LoRA",
            "--lora FILE",
        ),
        (
            &[("decoder.conv_in.weight", &[1, 1])],
            "a VAE alone",
            "--vae FILE",
        ),
        (
            &[("text_model.x", &[1])],
            "a text encoder alone",
            "--text-encoder FILE",
        ),
        (
            &[("weight", &[1])],
            "no Stable Diffusion checkpoint",
            "model.diffusion_model",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (shapes, cause, cure) in cases {
        let file = zeros(folder.path(), "x.safetensors", shapes);
        let error = ModelFolder::open(file.to_str().unwrap()).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Usage(_)), "{text}");
        assert!(text.contains("x.safetensors"), "{text}");
        assert!(text.contains(cause) && text.contains(cure), "{text}");
    }
    for name in ["x.ckpt", "x.bin", "x.pt", "x.gguf"] {
        let file = folder.path().join(name);
        std::fs::write(&file, "junk").unwrap();
        let text = ModelFolder::open(file.to_str().unwrap())
            .unwrap_err()
            .to_string();
        assert!(
            text.contains(name) && text.contains(".safetensors"),
            "{text}"
        );
    }
    let file = folder.path().join("torn.safetensors");
    std::fs::write(&file, "junk").unwrap();
    let error = ModelFolder::open(file.to_str().unwrap()).unwrap_err();
    assert!(matches!(error, Error::Model(_)), "{error}");
}

#[test]
fn a_family_is_told_from_shapes_and_lacks_are_seen_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = zeros(
        folder.path(),
        "short.safetensors",
        &[
            (
                "model.diffusion_model.input_blocks.0.0.weight",
                &[320, 4, 3, 3],
            ),
            (
                "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
                &[320, 768],
            ),
        ],
    );
    let text = ModelFolder::open(file.to_str().unwrap())
        .unwrap_err()
        .to_string();
    assert!(text.contains("lacks down_blocks.0"), "{text}");
}
