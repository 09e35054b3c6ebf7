//! Output folders, latents files and models that cannot be used: the refusals name the file, and write
//! nothing to disk.

use std::path::Path;

use candle_core::Tensor;

use super::bad_input::{WRONG_USAGE, refused, refused_in};
use super::{EDIT, Place};
use crate::model::{copy_of_mini_sd, edit, rewrite};

const FAILED: i32 = 1;
const MODEL: i32 = 4;

/// A file and a folder of an earlier run, where nothing may be overwritten.
fn taken() -> Place {
    let place = Place::new();
    std::fs::write(place.path("file"), "mine").unwrap();
    std::fs::create_dir(place.path("old")).unwrap();
    std::fs::write(place.path("old/manifest.json"), "mine").unwrap();
    place
}

#[test]
fn unwritable_outputs_are_refused() {
    let place = taken();
    let output = |flags: &[&str], code, cause: &str, cure: &str| {
        refused_in(&place, &[&EDIT, flags].concat(), code, cause, cure);
    };
    let other = "choose another folder with --output";
    output(
        &["-o", "old"],
        WRONG_USAGE,
        "old exists already",
        "add --force",
    );
    output(
        &["-o", "file"],
        WRONG_USAGE,
        "file exists and is not a folder",
        other,
    );
    output(
        &["-o", "file", "--force"],
        WRONG_USAGE,
        "is not a folder",
        other,
    );
    output(
        &["-o", "file/out"],
        FAILED,
        "cannot write file/out: file is not a folder",
        "inside a",
    );
    output(
        &["-o", "file/a/b"],
        FAILED,
        "cannot write file/a/b",
        "inside a folder",
    );
    output(
        &["-o", ""],
        WRONG_USAGE,
        "a value is required for '--output",
        "--help",
    );
    assert_eq!(place.bytes("file"), b"mine");
    assert_eq!(place.bytes("old/manifest.json"), b"mine");
}

#[test]
fn unwritable_latents_are_refused() {
    let place = taken();
    let latents = |path: &str, code, cause: &str, cure: &str| {
        let flags = ["-o", "new/out", "--save-latents", path];
        refused_in(&place, &[&EDIT, &flags[..]].concat(), code, cause, cure);
    };
    latents("old", WRONG_USAGE, "old is a folder", "name a file inside");
    latents(
        "none/latents",
        FAILED,
        "cannot write none/latents",
        "create its folder",
    );
    latents(
        "file/latents",
        FAILED,
        "cannot write file/latents",
        "inside a folder",
    );
    assert_eq!(place.bytes("file"), b"mine");
    assert_eq!(place.bytes("old/manifest.json"), b"mine");
}

#[test]
fn folders_without_a_model_are_refused() {
    let place = Place::new();
    std::fs::write(place.path("file"), "mine").unwrap();
    std::fs::create_dir(place.path("photos")).unwrap();
    let model = |name: &str, cause: &str, cure: &str| {
        let args = [&EDIT[..], &["--model", name]].concat();
        refused_in(&place, &args, WRONG_USAGE, cause, cure);
    };
    let leave_out = "leave --model out for the embedded model";
    model("nowhere", "--model nowhere does not exist", leave_out);
    model("file", "--model file is not a folder", leave_out);
    model("photos", "it has no model_index.json", "unet/, vae/");
}

/// Checks that a run on a copy of mini-sd fails with a model error after `damage`.
fn broken(damage: impl Fn(&Path), cause: &[&str], cure: &str) {
    let copy = copy_of_mini_sd();
    damage(copy.path());
    let model = copy.path().to_str().unwrap();
    let args = [&EDIT[..], &["-q", "--model", model]].concat();
    for part in cause {
        refused(&args, MODEL, part, cure);
    }
}

#[test]
fn damaged_models_are_refused() {
    const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
    let name = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight";
    let drop = |n: String, t: Tensor| (n != name).then_some((n, t));
    let missing = |folder: &Path| rewrite(folder, UNET, drop);
    broken(missing, &["no tensor", name, UNET], "fetch both again");

    let turn = |n: String, t: Tensor| {
        if n == name {
            Some((n, t.t().unwrap().contiguous().unwrap()))
        } else {
            Some((n, t))
        }
    };
    let turned = |folder: &Path| rewrite(folder, UNET, turn);
    broken(
        turned,
        &["[24, 32], but the config asks for [32, 24]"; 1],
        "fetch",
    );

    let cut = |folder: &Path| {
        let bytes = std::fs::read(folder.join(UNET)).unwrap();
        std::fs::write(folder.join(UNET), &bytes[..bytes.len() / 2]).unwrap();
    };
    broken(
        cut,
        &[UNET, "not a whole safetensors file"],
        "fetch it again",
    );

    let gone = |folder: &Path| std::fs::remove_file(folder.join("vae/config.json")).unwrap();
    broken(
        gone,
        &["cannot read", "vae/config.json"],
        "a diffusers folder holds",
    );

    let damaged = |folder: &Path| edit(folder, "unet/config.json", "\"act_fn\"", "act_fn");
    broken(
        damaged,
        &["unet/config.json is not valid JSON"],
        "fetch the file again",
    );

    let other = |folder: &Path| {
        let off = "\"dual_cross_attention\": false";
        edit(
            folder,
            "unet/config.json",
            off,
            &off.replace("false", "true"),
        );
    };
    let cause = ["dual_cross_attention", "not supported"];
    broken(
        other,
        &cause,
        "use a model of Stable Diffusion 1.x, 2.x or XL",
    );
}
