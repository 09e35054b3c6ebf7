//! VAE tiling: pictures decoded in bands of rows are the same but for rounding, and take less memory.

use candle_core::{Device, Tensor};
use prompt_to_prompt::kernels::{Moments, group_norm, group_norm_of_part};
use prompt_to_prompt::model::{Config, Vae, VaeConfig, Weights};

use crate::allocations::peak_during;
use crate::common::{numbers, relative};
use crate::parity::flat;

fn tensor(shape: &[usize], seed: u64) -> Tensor {
    let len = shape.iter().product();
    Tensor::from_vec(numbers(seed, len), shape, &Device::Cpu).unwrap()
}

/// A VAE of Stable Diffusion's structure with random weights.
fn vae(channels: &str) -> Vae {
    let json = format!(
        r#"{{"_class_name": "AutoencoderKL", "block_out_channels": {channels},
            "layers_per_block": 2, "norm_num_groups": 8, "latent_channels": 4, "out_channels": 3,
            "act_fn": "silu", "down_block_types": [], "up_block_types": [{}]}}"#,
        vec!["\"UpDecoderBlock2D\""; channels.matches(',').count() + 1].join(", ")
    );
    let config = VaeConfig::parse(&Config::parse("vae", json.as_bytes()).unwrap(), 16).unwrap();
    Vae::load(&config, &Weights::random()).unwrap()
}

#[test]
fn bands_equal_the_whole_picture_but_for_rounding() {
    let models = [
        crate::model::load(&crate::common::fixture("mini-sd"))
            .unwrap()
            .vae,
        prompt_to_prompt::model::ModelFolder::open("storybook")
            .unwrap()
            .load()
            .unwrap()
            .vae,
        vae("[16, 32, 32]"),
    ];
    for (i, vae) in models.into_iter().enumerate() {
        for size in [(5, 7), (16, 16), (33, 9), (1, 12), (21, 3)] {
            let latents = tensor(&[2, 4, size.0, size.1], 3);
            let whole = flat(&vae.decode(&latents).unwrap());
            // The thinnest bands, and bands of an odd height.
            for floats in [1, 9 * 3 * 8 * size.1] {
                let tiled = vae.clone().tiled(floats).decode(&latents).unwrap();
                let far = relative(&flat(&tiled), &whole);
                assert!(
                    far < 1e-5,
                    "model {i}, {size:?}, {floats}: off by {far:.1e}"
                );
            }
            // A map that fits into one band is not split, and has the same bits.
            let one = vae.clone().tiled(usize::MAX / 2).decode(&latents).unwrap();
            assert!(flat(&one) == whole || i == 2, "model {i}, {size:?}");
            assert!(relative(&flat(&one), &whole) < 1e-5);
        }
    }
}

#[test]
fn bands_take_less_memory() {
    let vae = vae("[32, 64, 128, 128]");
    let latents = tensor(&[1, 4, 40, 24], 5);
    let decode = |vae: &Vae| {
        let mut picture = None;
        let peak = peak_during(|| picture = Some(vae.decode(&latents).unwrap()));
        (flat(&picture.unwrap()), peak)
    };
    let (whole, most) = decode(&vae);
    let (tiled, least) = decode(&vae.tiled(1 << 18));
    println!("{} and {} KiB", most >> 10, least >> 10);
    assert!(relative(&tiled, &whole) < 1e-5);
    assert!(least < most / 2, "{least} of {most}");
}

#[test]
fn a_norm_of_bands_equals_the_norm_of_the_whole() {
    let x = tensor(&[1, 13, 5, 24], 1);
    let (weight, bias) = (tensor(&[24], 2), tensor(&[24], 3));
    for (x, weight, bias) in [
        (x.clone(), weight.clone(), bias.clone()),
        // The plain form.
        {
            let wide = |x: &Tensor| x.to_dtype(candle_core::DType::F64).unwrap();
            (wide(&x), wide(&weight), wide(&bias))
        },
    ] {
        let whole = group_norm(&x, 6, &weight, &bias, 1e-6, true).unwrap();
        let bands = [x.narrow(1, 0, 4).unwrap(), x.narrow(1, 4, 9).unwrap()];
        let mut moments = Moments::new(24);
        bands.iter().for_each(|band| moments.add(band).unwrap());
        let normed = bands.map(|band| {
            group_norm_of_part(&band, &moments, 6, (&weight, &bias), 1e-6, true).unwrap()
        });
        let joined = Tensor::cat(&normed, 1).unwrap();
        let f32s = |x: &Tensor| flat(&x.to_dtype(candle_core::DType::F32).unwrap());
        assert!(relative(&f32s(&joined), &f32s(&whole)) < 1e-6);
    }
}
