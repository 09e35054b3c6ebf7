//! Kernels that are transformed on demand, components that are loaded one at a time, and rows that are computed one
//! by one: the same bits in less memory.

use candle_core::{Device, Tensor};
use prompt_to_prompt::attention::NoHook;
use prompt_to_prompt::job::{Job, Prepared, run};
use prompt_to_prompt::kernels::{Conv, ConvWeight, Packing, conv2d};
use prompt_to_prompt::model::{Config, ModelFolder, UNet, UNetConfig, Weights};

use crate::allocations::peak_during;
use crate::common::numbers;
use crate::laws::{SRC, SWAP, edit};
use crate::parity::flat;

const MIB: usize = 1 << 20;

fn tensor(shape: &[usize], seed: u64) -> Tensor {
    let len = shape.iter().product();
    Tensor::from_vec(numbers(seed, len), shape, &Device::Cpu).unwrap()
}

/// Kernels of many channels are transformed a few columns at a time.
#[test]
fn kernels_on_demand_take_less_memory_and_change_no_bit() {
    for (large_tiles, side, c_in, c_out) in [(false, 16, 1280, 640), (true, 32, 640, 640)] {
        let weight = tensor(&[c_out, c_in, 3, 3], 1);
        let x = tensor(&[1, side, side, c_in], 2);
        let conv = |on_demand| {
            let packing = Packing {
                large_tiles,
                on_demand,
            };
            let layer = ConvWeight::from_conv(&weight, None, side * side, packing).unwrap();
            let mut out = None;
            let peak = peak_during(|| out = Some(conv2d(&x, &layer, Conv::default()).unwrap()));
            (flat(&out.unwrap()), peak)
        };
        let ((at_load, _), (on_demand, peak)) = (conv(false), conv(true));
        assert!(at_load == on_demand, "{c_in}->{c_out}");
        let points = if large_tiles { 36 } else { 16 };
        let whole = 4 * points * c_in * c_out;
        assert!(
            peak < whole,
            "{peak} bytes, and {whole} for all kernels at once"
        );
    }
}

/// A UNet whose first level has 256 channels, so that a row of 64x64 is large.
fn wide_unet() -> UNet {
    let json = br#"{"_class_name": "UNet2DConditionModel", "sample_size": 64, "in_channels": 4,
        "out_channels": 4, "block_out_channels": [256, 32], "layers_per_block": 1,
        "cross_attention_dim": 16, "attention_head_dim": 8,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"]}"#;
    let config = UNetConfig::parse(&Config::parse("wide", json).unwrap()).unwrap();
    UNet::load(&config, &Weights::random()).unwrap()
}

#[test]
fn large_rows_are_computed_one_by_one() {
    let unet = wide_unet();
    let (latents, context) = (tensor(&[2, 4, 64, 64], 1), tensor(&[2, 7, 16], 2));
    let forward = |from: usize, rows: usize| {
        let text = unet.read(context.narrow(0, from, rows).unwrap()).unwrap();
        let x = latents.narrow(0, from, rows).unwrap();
        let mut eps = None;
        let peak = peak_during(|| {
            eps = Some(unet.forward(&x, 500, &text, &mut NoHook).unwrap());
        });
        (flat(&eps.unwrap()), peak)
    };
    let (both, peak) = forward(0, 2);
    let ((first, alone), (second, _)) = (forward(0, 1), forward(1, 1));
    assert!(both == [first, second].concat());
    println!("{} and {} MiB", peak / MIB, alone / MIB);
    // The second row adds only what outlives a layer: tokens, skip connections and their concatenation.
    assert!(peak - alone < alone * 3 / 4, "{peak} and {alone}");
}

#[test]
fn components_on_demand_draw_the_same_in_less_memory() {
    let folder = ModelFolder::open("storybook").unwrap();
    let job = Job {
        steps: Some(2),
        ..Job::new(SRC, vec![edit(SWAP)])
    };
    let prepared = Prepared::new(&job, &folder).unwrap();
    let draw = |on_demand| {
        let packing = Packing {
            on_demand,
            ..Packing::default()
        };
        let mut outcome = None;
        let peak = peak_during(|| {
            let model = folder.open_components(packing, false).unwrap();
            let drawn = run(&prepared, &*model, &mut [], &mut |_| Ok(()));
            outcome = Some(drawn.unwrap());
        });
        (outcome.unwrap(), peak)
    };
    let ((loaded, most), (on_demand, least)) = (draw(false), draw(true));
    for (loaded, on_demand) in loaded.pictures.iter().zip(&on_demand.pictures) {
        assert!(loaded.image == on_demand.image);
    }
    let hashes = |outcome: &prompt_to_prompt::job::Outcome| {
        let model = &outcome.manifest.model;
        (model.weights_sha256.clone(), model.configs_sha256.clone())
    };
    assert_eq!(hashes(&loaded), hashes(&on_demand));
    println!("{} and {} MiB", most / MIB, least / MIB);
    assert!(least < most * 2 / 3, "{least} of {most}");
}
