//! Dtypes and devices: plain operations against the fast kernels, the laws in 16-bit dtypes, and overflow.

use candle_core::{DType, Device, Tensor};
use prompt_to_prompt::device::{Compute, ComputeChoice, DeviceChoice, DtypeChoice};
use prompt_to_prompt::error::Error;
use prompt_to_prompt::job::{EditSettings, Job, Outcome, Prepared, run};
use prompt_to_prompt::message::Flags;
use prompt_to_prompt::model::ModelFolder;
use prompt_to_prompt::sample::{AttentionObserver, Recorder, Recording};
use prompt_to_prompt::setting::Setting;

use crate::allocations::peak_during;
use crate::common::relative;
use crate::laws::{Lab, REFINED, SRC, SWAP, edit, everywhere, rows, weighted};
use crate::model::{UNET, copy_of_mini_sd, rewrite};
use crate::parity::flat;

/// The small model in another dtype.
fn lab(dtype: DType) -> Lab {
    let mut lab = Lab::new();
    lab.folder.compute.dtype = dtype;
    lab.model = lab.folder.load().unwrap();
    lab
}

/// A swap, and added words with a weight: token maps and diagonals.
fn edits() -> Vec<EditSettings> {
    vec![edit(SWAP), weighted(edit(REFINED), "fluffy", 2.0)]
}

fn far(got: &[Vec<f32>], want: &[Vec<f32>]) -> f64 {
    relative(&got.concat(), &want.concat())
}

#[test]
fn plain_operations_equal_the_fast_kernels() {
    let fast = lab(DType::F32);
    let job = fast.job(edits());
    let (want, got) = (fast.run(&job), lab(DType::F64).run(&job));
    println!("{:.1e}", far(&got, &want));
    assert!(far(&got, &want) < 2e-5);
}

#[test]
fn dtypes_of_16_bits_come_near() {
    let fast = lab(DType::F32);
    let job = fast.job(edits());
    let want = fast.run(&job);
    assert!(far(&want[1..2], &want[..1]) > 0.01, "the edit does nothing");
    for (dtype, bound) in [(DType::F16, 5e-3), (DType::BF16, 4e-2)] {
        let got = lab(dtype).run(&job);
        let far = far(&got, &want);
        println!("{dtype:?} {far:.1e}");
        assert!(far < bound, "{dtype:?} is off by {far}");
        assert!(far > bound / 100.0, "{dtype:?} is not used at all");
    }
}

#[test]
fn laws_hold_in_dtypes_of_16_bits() {
    for dtype in [DType::F16, DType::BF16] {
        let lab = lab(dtype);
        let mut all = edits();
        all.push(everywhere(edit(SRC)));
        let together = lab.run(&lab.job(all.clone()));
        assert!(together[0] == together[3], "the same prompt is the source");
        assert!(together[0] != together[1]);
        for (i, spec) in all.iter().enumerate() {
            let alone = lab.run(&lab.job(vec![spec.clone()]));
            assert!(alone[0] == together[0], "{dtype:?}: the source");
            assert!(alone[1] == together[i + 1], "{dtype:?}: edit {i} alone");
        }
        all.reverse();
        let reversed = lab.run(&lab.job(all));
        assert!(reversed[1..].iter().rev().eq(&together[1..]), "{dtype:?}");
    }
}

/// Observers get f32 maps on the CPU, whatever the dtype of the model.
#[test]
fn heatmaps_come_near() {
    let maps = |dtype| {
        let lab = lab(dtype);
        let job = lab.job(vec![edit(SWAP)]);
        let prepared = Prepared::new(&job, &lab.folder).unwrap();
        let sites = lab.folder.unet.sites(prepared.latent_size);
        let mut recorder = Recorder::new(Recording::layout(&sites, 4, 2));
        let observers = &mut [&mut recorder as &mut dyn AttentionObserver];
        run(&prepared, &lab.model, observers, &mut |_| Ok(())).unwrap();
        let recorded = recorder.recorded().iter();
        recorded
            .map(|map| flat(&map.mean().unwrap()))
            .collect::<Vec<_>>()
    };
    let (want, got) = (maps(DType::F32), maps(DType::F16));
    assert!(!want.is_empty());
    println!("{:.1e}", far(&got, &want));
    assert!(far(&got, &want) < 1e-2);
}

#[test]
fn weights_of_16_bits_take_half_the_memory() {
    let folder = |dtype| {
        let mut folder = crate::parity::mini_sd();
        folder.compute.dtype = dtype;
        folder
    };
    let peak = |dtype| {
        let folder = folder(dtype);
        let mut model = None;
        // Packed f32 kernels are larger than plain ones, so the comparison is with f64, which is not packed.
        peak_during(|| model = Some(folder.load().unwrap()))
    };
    let (wide, narrow) = (peak(DType::F64), peak(DType::F16));
    let unet = 8.0 * unet_parameters() as f64;
    println!("{wide} and {narrow} bytes, {unet} of the UNet in f64");
    assert!(wide as f64 - narrow as f64 > 0.6 * unet);
}

fn unet_parameters() -> usize {
    let path = crate::common::fixture("mini-sd").join(UNET);
    let tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    tensors.values().map(Tensor::elem_count).sum()
}

/// The values fit into f32 and bf16, but not into f16.
#[test]
fn an_overflow_names_its_step_and_a_cure() {
    let copy = copy_of_mini_sd();
    rewrite(copy.path(), UNET, |name, tensor| {
        let large = match name.as_str() {
            "conv_in.weight" => (tensor * 1e5).unwrap(),
            _ => tensor,
        };
        Some((name, large))
    });
    let draw = |dtype| -> Result<Outcome, Error> {
        let mut folder = ModelFolder::open(copy.path().to_str().unwrap())?;
        folder.compute.dtype = dtype;
        let job = Job {
            steps: Some(3),
            width: Some(64),
            height: Some(64),
            ..Job::new(SRC, vec![edit(SWAP)])
        };
        let prepared = Prepared::new(&job, &folder)?;
        run(&prepared, &folder.load()?, &mut [], &mut |_| Ok(()))
    };
    let Err(error @ Error::Run(_)) = draw(DType::F16) else {
        panic!("f16 draws values that overflow");
    };
    let (cause, cure) = error.parts(&Flags);
    assert!(
        cause.contains("not finite after step 1 of 3, computed in f16"),
        "{error}"
    );
    assert!(
        cure.contains("--dtype bf16") && cure.contains("--dtype f32"),
        "{cure}"
    );
    assert_eq!(error.report().about, Some(Setting::Dtype));
    for dtype in [DType::F32, DType::BF16] {
        let outcome = draw(dtype).unwrap();
        assert_eq!(rows(&outcome.latents).len(), 2);
    }
}

#[test]
fn auto_is_f32_on_the_cpu_and_recorded_in_the_manifest() {
    let compute = ComputeChoice {
        device: DeviceChoice::Cpu,
        ..ComputeChoice::default()
    };
    let compute: Compute = compute.open().unwrap();
    assert_eq!((compute.kind(), compute.dtype), ("cpu", DType::F32));
    assert_eq!(compute.to_string(), "f32 on cpu");
    let lab = lab(DType::BF16);
    let manifest = lab.outcome(&lab.job(vec![])).manifest;
    assert_eq!((manifest.run.dtype, manifest.device), (DType::BF16, "cpu"));
    assert_eq!(
        (manifest.kernels, manifest.run.vae_tiling),
        ("plain", false)
    );
    assert_eq!(manifest.pictures[0].settings.run.dtype, DType::BF16);
}

#[test]
fn devices_are_parsed_and_displayed_alike() {
    for (text, device) in [
        ("auto", DeviceChoice::Auto),
        ("cpu", DeviceChoice::Cpu),
        ("cuda:0", DeviceChoice::Cuda(0)),
        ("cuda:7", DeviceChoice::Cuda(7)),
        ("metal", DeviceChoice::Metal),
    ] {
        assert_eq!(text.parse(), Ok(device));
        assert_eq!(device.to_string(), text);
    }
    assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
    for wrong in ["", "gpu", "cuda:", "cuda:-1", "cuda:a"] {
        assert!(wrong.parse::<DeviceChoice>().is_err(), "{wrong}");
    }
    assert_eq!("bf16".parse(), Ok(DtypeChoice::Bf16));
    assert!("f64".parse::<DtypeChoice>().is_err());
}
