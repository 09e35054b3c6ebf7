//! Text states of every clip skip against transformers' hidden states. `tests/reference/clip_skip.py` wrote the
//! golden tensors.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use candle_core::{Device, Tensor};
use prompt_to_prompt::error::Error;
use prompt_to_prompt::model::{ModelFolder, PromptStates};
use prompt_to_prompt::setting::Setting;

use crate::common::{fixture, relative};
use crate::families::{Family, SIZE, SRC, near};
use crate::laws::moves;
use crate::model::copy_of_mini_sd;
use crate::parity::flat;

fn golden() -> HashMap<String, Tensor> {
    let path = fixture("clip-skip-golden.safetensors");
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn skip(layers: usize) -> Option<NonZeroUsize> {
    Some(NonZeroUsize::new(layers).unwrap())
}

/// A miniature of each family: its name in the golden file, its folder, the prompt, its layers, its default skip.
struct Case {
    name: &'static str,
    folder: tempfile::TempDir,
    prompt: &'static str,
    layers: usize,
    default: usize,
}

fn cases() -> [Case; 3] {
    let case = |name, folder, prompt, layers, default| Case {
        name,
        folder,
        prompt,
        layers,
        default,
    };
    let prompt = "a photo of a cat riding a bicycle";
    [
        case("mini-sd", copy_of_mini_sd(), prompt, 2, 1),
        case("sd2", Family::new("sd2").folder, SRC, 3, 1),
        // The first text encoder has three layers, the second one four.
        case("sdxl", Family::new("sdxl").folder, SRC, 3, 2),
    ]
}

fn open(case: &Case) -> ModelFolder {
    ModelFolder::open(case.folder.path().to_str().unwrap()).unwrap()
}

#[test]
fn text_states_of_every_clip_skip_equal_transformers() {
    let golden = golden();
    for case in cases() {
        let folder = open(&case);
        let encoders = folder.load().unwrap().text_encoders;
        let read = |skip| {
            let prompts = [case.prompt, ""].map(|prompt| {
                let tokens = folder.tokenizer.encode(prompt).unwrap();
                encoders.read(&tokens, SIZE, skip).unwrap()
            });
            PromptStates::cat(&prompts).unwrap()
        };
        for n in 1..=case.layers {
            let what = format!("{} {n}", case.name);
            let states = read(skip(n));
            let wanted = &golden[&format!("{}.{n}", case.name)];
            near(&what, &states.context, wanted, 1e-5);
            if let Some(added) = states.added {
                near(&what, &added.pooled, &golden["sdxl.pooled"], 1e-5);
            }
            let other = read(skip(n % case.layers + 1));
            assert!(relative(&flat(&other.context), &flat(wanted)) > 1e-2);
        }
        let (default, named) = (read(None), read(skip(case.default)));
        assert_eq!(flat(&default.context), flat(&named.context));
    }
}

#[test]
fn a_negative_prompt_skips_alike() {
    let family = Family::new("sdxl");
    let folder = family.open().unwrap();
    let encoders = folder.load().unwrap().text_encoders;
    let tokens = folder.tokenizer.encode("a red house").unwrap();
    let read = |skip| flat(&encoders.read(&tokens, SIZE, skip).unwrap().context);
    let negative = |skip| flat(&encoders.read_negative(&tokens, SIZE, skip).unwrap().context);
    assert_eq!(negative(skip(1)), read(skip(1)));
    moves(&negative(skip(1)), &negative(skip(2)));
}

#[test]
fn a_clip_skip_beyond_the_layers_is_a_usage_error_about_it() {
    for case in cases() {
        let folder = open(&case);
        folder.check_clip_skip(None).unwrap();
        folder.check_clip_skip(skip(case.layers)).unwrap();
        let tokens = folder.tokenizer.encode(case.prompt).unwrap();
        let encoders = folder.load().unwrap().text_encoders;
        for error in [
            folder.check_clip_skip(skip(case.layers + 1)).unwrap_err(),
            encoders
                .read(&tokens, SIZE, skip(case.layers + 1))
                .unwrap_err(),
        ] {
            assert!(matches!(error, Error::Usage(_)), "{error}");
            let report = error.report();
            assert_eq!(report.about, Some(Setting::ClipSkip));
            let layers = format!("the text encoder has {} layers", case.layers);
            assert!(report.cause.to_string().contains(&layers), "{report}");
        }
    }
}
