//! The model's components against diffusers and transformers, and names and dtypes of weights. Other tests use the
//! helpers for copies of mini-sd.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, safetensors};
use prompt_to_prompt::attention::NoHook;
use prompt_to_prompt::error::Error;
use prompt_to_prompt::model::{Model, ModelFolder};

use super::kernels::{bits, distance, numbers};

/// Weight files of mini-sd.
pub const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
pub const VAE: &str = "vae/diffusion_pytorch_model.safetensors";
pub const TEXT: &str = "text_encoder/model.safetensors";

pub fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

pub fn load(folder: &Path) -> Result<Model, Error> {
    open(folder)?.load()
}

pub fn open(folder: &Path) -> Result<ModelFolder, Error> {
    ModelFolder::open(folder.to_str().unwrap())
}

pub fn mini_sd() -> Model {
    load(&fixtures().join("mini-sd")).unwrap()
}

/// A copy of mini-sd that a test can change.
pub fn copy_of_mini_sd() -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    copy(&fixtures().join("mini-sd"), to.path());
    to
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::write(&target, std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

type Tensors = HashMap<String, Tensor>;

/// Rewrites the tensors of a weight file. `change` returns a tensor's new name and value, or `None` to drop it.
pub fn rewrite(
    folder: &Path,
    file: &str,
    change: impl Fn(String, Tensor) -> Option<(String, Tensor)>,
) {
    let path = folder.join(file);
    let tensors = safetensors::load(&path, &Device::Cpu).unwrap();
    let changed: Tensors = tensors
        .into_iter()
        .filter_map(|(k, v)| change(k, v))
        .collect();
    safetensors::save(&changed, path).unwrap();
}

fn golden(name: &str) -> impl Fn(&str) -> Tensor {
    let all = fixtures().join("model-golden.safetensors");
    let all = safetensors::load(all, &Device::Cpu).unwrap();
    let name = name.to_owned();
    move |key| all[&format!("{name}.{key}")].clone()
}

fn near(what: &str, found: &Tensor, expected: &Tensor, bound: f32) {
    let d = distance(found, expected);
    println!("{what}: {d:.2e}");
    assert!(d <= bound, "{what} differs by {d:.2e}, allowed {bound:.2e}");
}

/// Checks text states and a decoded picture.
fn text_and_vae_equal_diffusers(name: &str, prompt: &str, folder: &ModelFolder) {
    let model = folder.load().unwrap();
    let golden = golden(name);
    let ids = golden("ids").to_dtype(DType::U32).unwrap();
    let ids = ids.to_vec2::<u32>().unwrap();
    for (row, prompt) in [prompt, ""].iter().enumerate() {
        let tokens = folder.tokenizer.encode(prompt).unwrap();
        assert_eq!(tokens.ids, ids[row]);
        let states = model.text_encoders.first.encode(&tokens.ids).unwrap();
        let expected = golden("text").narrow(0, row, 1).unwrap();
        near(&format!("{name} text"), &states, &expected, 1e-5);
    }
    let picture = model.vae.decode(&golden("vae.latents")).unwrap();
    near(
        &format!("{name} vae"),
        &picture,
        &golden("vae.picture"),
        1e-5,
    );
}

/// The UNet's prediction for the inputs of golden case `i`.
fn predicted(name: &str, i: usize, model: &Model) -> Tensor {
    let golden = golden(name);
    let latents = golden(&format!("unet{i}.latents"));
    let t = golden(&format!("unet{i}.timestep"))
        .to_vec1::<f32>()
        .unwrap()[0];
    let forward = |hook| {
        model.unet.forward(
            &latents,
            t as usize,
            &model.unet.read(golden("text")).unwrap(),
            hook,
        )
    };
    forward(&mut NoHook).unwrap()
}

#[test]
fn mini_sd_equals_diffusers() {
    let folder = open(&fixtures().join("mini-sd")).unwrap();
    let model = folder.load().unwrap();
    text_and_vae_equal_diffusers("mini-sd", "a photo of a cat riding a bicycle", &folder);
    let golden = golden("mini-sd");
    for i in 0..3 {
        // The attention is so sharp that f32 itself is off by 5e-4 to 2e-3. The bound is about diffusers' own
        // distance from f64. The next test holds the same structure to 1e-5.
        let exact = golden(&format!("unet{i}.eps64"));
        let theirs = distance(&golden(&format!("unet{i}.eps")), &exact);
        println!("diffusers' f32 against its f64: {theirs:.2e}");
        let ours = predicted("mini-sd", i, &model);
        near(&format!("mini-sd unet{i}"), &ours, &exact, 3.0 * theirs);
    }
}

#[test]
fn mini_sd_with_soft_attention_equals_diffusers_closely() {
    let copy = copy_of_mini_sd();
    rewrite(copy.path(), UNET, |name, tensor| {
        let factor = if name.ends_with("to_q.weight") {
            0.0625
        } else {
            1.0
        };
        Some((name, (tensor * factor).unwrap()))
    });
    let model = load(copy.path()).unwrap();
    let golden = golden("mini-sd");
    for i in 0..3 {
        let ours = predicted("mini-sd", i, &model);
        let expected = golden(&format!("unet{i}.soft"));
        near(&format!("soft mini-sd unet{i}"), &ours, &expected, 1e-5);
    }
}

#[test]
fn storybook_equals_diffusers() {
    let folder = ModelFolder::open("storybook").unwrap();
    let model = folder.load().unwrap();
    text_and_vae_equal_diffusers("storybook", "a big red bicycle on the beach", &folder);
    let golden = golden("storybook");
    for i in 0..3 {
        let expected = golden(&format!("unet{i}.eps"));
        let ours = predicted("storybook", i, &model);
        near(&format!("storybook unet{i}"), &ours, &expected, 1e-5);
    }
    assert_eq!(
        (folder.native_size(), folder.unet.layout_downscale()),
        (128, 1)
    );
    assert_eq!(
        (folder.id.as_str(), folder.recommended.steps),
        ("storybook", Some(30))
    );
    assert_eq!(model.weights_sha256.len(), 64);
}

/// Text states, a prediction and a picture of a model, to compare models with each other.
pub fn fingerprint(model: &Model) -> Vec<Tensor> {
    let text = model
        .text_encoders
        .first
        .encode(&[49406, 320, 2368, 49407])
        .unwrap();
    let latents = numbers(&[1, 4, 8, 8], 3);
    let read = model.unet.read(&text).unwrap();
    let eps = model.unet.forward(&latents, 7, &read, &mut NoHook).unwrap();
    vec![text, eps, model.vae.decode(&latents).unwrap()]
}

#[test]
fn older_names_of_weights_are_read() {
    let expected = fingerprint(&mini_sd());
    let copy = copy_of_mini_sd();
    let ids = Tensor::zeros((1, 77), DType::I64, &Device::Cpu).unwrap();
    rewrite(copy.path(), TEXT, |name, tensor| {
        Some((format!("text_model.{name}"), tensor))
    });
    let mut text = safetensors::load(copy.path().join(TEXT), &Device::Cpu).unwrap();
    text.insert("text_model.embeddings.position_ids".into(), ids);
    safetensors::save(&text, copy.path().join(TEXT)).unwrap();
    rewrite(copy.path(), VAE, |name, tensor| {
        let mut new = name.clone();
        let older = [
            ("to_q", "query"),
            ("to_k", "key"),
            ("to_v", "value"),
            ("to_out.0", "proj_attn"),
        ];
        for (now, then) in older {
            new = new.replace(now, then);
        }
        let conv = new != name && name.ends_with("weight");
        let tensor = if conv {
            tensor.unsqueeze(2).unwrap().unsqueeze(3).unwrap()
        } else {
            tensor
        };
        Some((new, tensor))
    });
    // `use_linear_projection` stores the same values without the two dimensions of size one.
    rewrite(copy.path(), UNET, |name, tensor| {
        let flat = name.contains("proj_in.weight") || name.contains("proj_out.weight");
        Some((
            name,
            if flat {
                tensor.flatten_from(1).unwrap()
            } else {
                tensor
            },
        ))
    });
    edit(
        copy.path(),
        "unet/config.json",
        "\"use_linear_projection\": false",
        "\"use_linear_projection\": true",
    );
    let found = fingerprint(&load(copy.path()).unwrap());
    for (a, b) in found.iter().zip(&expected) {
        assert_eq!(bits(a), bits(b));
    }
}

#[test]
fn weights_of_16_bits_are_read() {
    for dtype in [DType::F16, DType::BF16] {
        let (short, long) = (copy_of_mini_sd(), copy_of_mini_sd());
        for file in [UNET, VAE, TEXT] {
            let cast = |tensor: Tensor, dtype| tensor.to_dtype(dtype).unwrap();
            rewrite(short.path(), file, |name, t| Some((name, cast(t, dtype))));
            rewrite(long.path(), file, |name, t| {
                Some((name, cast(cast(t, dtype), DType::F32)))
            });
            let fp16 = file.replace(".safetensors", ".fp16.safetensors");
            std::fs::rename(short.path().join(file), short.path().join(fp16)).unwrap();
        }
        let expected = fingerprint(&load(long.path()).unwrap());
        for (a, b) in fingerprint(&load(short.path()).unwrap())
            .iter()
            .zip(&expected)
        {
            assert_eq!(bits(a), bits(b), "{dtype:?}");
        }
    }
}

/// Replaces the first `from` in a file, which must contain it.
pub fn edit(folder: &Path, file: &str, from: &str, to: &str) {
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} has no {from}");
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}
