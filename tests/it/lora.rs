//! LoRA files against the weights that diffusers and PEFT merge, and the errors of files that do not fit.
//! `tests/reference/lora.py` wrote the fixtures.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, safetensors};
use prompt_to_prompt::error::Error;
use prompt_to_prompt::job::{Prepared, run};
use prompt_to_prompt::message::Flags;
use prompt_to_prompt::model::{LoraSource, ModelFolder, ModelSource};
use prompt_to_prompt::setting::Setting;

use crate::common::{fixture, relative};
use crate::families::Family;
use crate::laws::small_job;
use crate::model::copy_of_mini_sd;

const SCALE: f64 = 0.8;

fn lora(path: PathBuf, scale: f64) -> LoraSource {
    LoraSource { path, scale }
}

fn with(folder: &Path, loras: &[LoraSource]) -> Result<ModelFolder, Error> {
    ModelFolder::open_source(&ModelSource {
        loras: loras.to_vec(),
        ..ModelSource::named(folder.to_str().unwrap())
    })
}

/// The final latents of an edit.
fn drawn(folder: &ModelFolder) -> Vec<f32> {
    let job = small_job();
    let prepared = Prepared::new(&job, folder).unwrap();
    let model = folder.load().unwrap();
    let done = run(&prepared, &model, &mut [], &mut |_| Ok(())).unwrap();
    done.latents.flatten_all().unwrap().to_vec1().unwrap()
}

/// Replaces tensors of a folder by those that diffusers merged.
fn merge(folder: &Path, fused: &Path) {
    let fused = safetensors::load(fused, &Device::Cpu).unwrap();
    for (component, file) in [
        ("unet", "unet/diffusion_pytorch_model.safetensors"),
        ("text_encoder", "text_encoder/model.safetensors"),
        ("text_encoder_2", "text_encoder_2/model.safetensors"),
    ] {
        let path = folder.join(file);
        let Ok(mut tensors) = safetensors::load(&path, &Device::Cpu) else {
            continue;
        };
        for (name, tensor) in &fused {
            let Some(name) = name.strip_prefix(&format!("{component}.")) else {
                continue;
            };
            let bare = name.trim_start_matches("text_model.");
            let name = if tensors.contains_key(name) {
                name
            } else {
                bare
            };
            let old = tensors.insert(name.to_owned(), tensor.clone());
            assert_eq!(old.unwrap().dims(), tensor.dims(), "{name}");
        }
        safetensors::save(&tensors, &path).unwrap();
    }
}

#[test]
fn weights_equal_those_that_diffusers_merges() {
    for (name, folder) in [
        ("sd1-peft", copy_of_mini_sd()),
        ("sd1-kohya", copy_of_mini_sd()),
        ("sdxl-kohya", Family::new("sdxl").folder),
    ] {
        let folder = folder.path();
        let file = fixture(&format!("lora/{name}.safetensors"));
        let plain = drawn(&with(folder, &[]).unwrap());
        let ours = with(folder, &[lora(file.clone(), SCALE)]).unwrap();
        let got = drawn(&ours);
        let id = &ours.loras()[0];
        assert_eq!(
            (&*id.name, id.scale),
            (&*format!("{name}.safetensors"), SCALE)
        );
        assert_eq!(id.sha256.len(), 64);
        // Two LoRAs with parts of the scale equal one with the whole scale. A scale of 0 changes nothing.
        let halves = [lora(file.clone(), 0.5), lora(file.clone(), 0.3)];
        let halves = drawn(&with(folder, &halves).unwrap());
        let none = drawn(&with(folder, &[lora(file, 0.0)]).unwrap());
        assert!(none == plain);
        merge(folder, &fixture(&format!("lora/{name}-fused.safetensors")));
        let wanted = drawn(&with(folder, &[]).unwrap());
        let (far, moved) = (relative(&got, &wanted), relative(&plain, &wanted));
        println!("{name}: off by {far:.1e}, moved by {moved:.1e}");
        assert!(far < 1e-5 && moved > 1e-2, "{name}: {far:.1e} {moved:.1e}");
        let far = relative(&halves, &wanted);
        println!("{name}: in two LoRAs off by {far:.1e}");
        // Weights are rounded otherwise, and the run amplifies the difference.
        assert!(far < 1e-3, "{name}: {far:.1e}");
    }
}

/// A tensor's name and shape.
type Named<'a> = (&'a str, &'a [usize]);

fn save(folder: &Path, name: &str, tensors: &[Named]) -> PathBuf {
    let ones = |(name, dims): &Named| {
        let ones = Tensor::ones(*dims, DType::F32, &Device::Cpu).unwrap();
        ((*name).to_owned(), ones)
    };
    let tensors: HashMap<String, Tensor> = tensors.iter().map(ones).collect();
    let file = folder.join(name);
    safetensors::save(&tensors, &file).unwrap();
    file
}

#[test]
fn files_that_do_not_fit_are_refused_by_name() {
    const LAYER: &str = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k";
    let key = |ending: &str| format!("{LAYER}.{ending}");
    let (down, up) = (key("lora_down.weight"), key("lora_up.weight"));
    let (dora, loha, lokr, mid) = (
        key("dora_scale"),
        key("hada_w1_a"),
        key("lokr_w1"),
        key("lora_mid.weight"),
    );
    let strange = "lora_unet_no_such_layer.lora_down.weight";
    let strange_up = "lora_unet_no_such_layer.lora_up.weight";
    let cases: [(&[Named], &str, &str); 9] = [
        (&[(&dora, &[4])], "a DoRA", "plain LoRA"),
        (&[(&loha, &[4, 4])], "a LoHa", "plain LoRA"),
        (&[(&lokr, &[4, 4])], "a LoKr", "plain LoRA"),
        (&[(&mid, &[4, 4, 3, 3])], "three factors", "plain LoRA"),
        (
            &[(&down, &[2, 768]), (&up, &[320, 2])],
            "[320, 768]",
            "made for Stable Diffusion 1.x",
        ),
        (
            &[(&down, &[2, 2048]), (&up, &[640, 2])],
            "[640, 2048]",
            "made for Stable Diffusion XL",
        ),
        (
            &[(strange, &[1, 4]), (strange_up, &[4, 1])],
            "lacks 1 of the 1 layers",
            "family",
        ),
        (
            &[(&down, &[2, 16])],
            "lacks one of its two factors",
            "fetch",
        ),
        (
            &[("model.diffusion_model.out.2.bias", &[4])],
            "is no LoRA",
            "--model",
        ),
    ];
    refuses(&cases);
}

fn refuses(cases: &[(&[Named], &str, &str)]) {
    let folder = copy_of_mini_sd();
    for (tensors, cause, cure) in cases {
        let file = save(folder.path(), "style.safetensors", tensors);
        let error = with(folder.path(), &[lora(file, 1.0)]).unwrap_err();
        let (said, advised) = error.parts(&Flags);
        let text = format!("{said}; {advised}");
        assert!(matches!(error, Error::Usage(_)), "{text}");
        assert_eq!(error.report().about, Some(Setting::Lora));
        assert!(text.contains("style.safetensors"), "{text}");
        assert!(text.contains(cause) && text.contains(cure), "{text}");
    }
}

#[test]
fn paths_that_are_no_lora_are_refused() {
    let folder = copy_of_mini_sd();
    let missing = folder.path().join("missing.safetensors");
    let error = with(folder.path(), &[lora(missing, 1.0)]).unwrap_err();
    let (text, _) = error.parts(&Flags);
    assert!(text.contains("missing.safetensors is not a file"), "{text}");
    assert_eq!(error.report().about, Some(Setting::Lora));
    let pickle = folder.path().join("style.pt");
    std::fs::write(&pickle, "junk").unwrap();
    let text = with(folder.path(), &[lora(pickle, 1.0)])
        .unwrap_err()
        .to_string();
    assert!(text.contains("is a pickle"), "{text}");
}
