//! Files that are no checkpoint of a supported family: the error names the kind of file and the cure.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use prompt_to_prompt::error::Error;
use prompt_to_prompt::message::Flags;
use prompt_to_prompt::model::ModelFolder;
use prompt_to_prompt::setting::Setting;

use super::single_file::save;

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

const FIRST: &str = "model.diffusion_model.input_blocks.0.0.weight";
const READS: &str = "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight";

/// Tensors of a file, and words of the cause and of the cure.
const CASES: [(&[Named], &str, &str); 10] = [
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

#[test]
fn files_that_are_no_checkpoint_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (shapes, cause, cure) in CASES {
        let file = zeros(folder.path(), "x.safetensors", shapes);
        let error = ModelFolder::open(file.to_str().unwrap()).unwrap_err();
        let (said, advised) = error.parts(&Flags);
        let text = format!("{said}; {advised}");
        assert!(matches!(error, Error::Usage(_)), "{text}");
        assert_eq!(error.report().about, Some(Setting::Model));
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
    let file = folder.path().join("damaged.safetensors");
    std::fs::write(&file, "junk").unwrap();
    let error = ModelFolder::open(file.to_str().unwrap()).unwrap_err();
    assert!(matches!(error, Error::Model(_)), "{error}");
}

#[test]
fn a_family_is_told_from_shapes_and_missing_layers_are_found_at_once() {
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
