//! `p2p verify`: whether a picture's metadata reproduces its pixels, and with which model.

use prompt_to_prompt::report::png;
use serde_json::{Value, json};

use super::metadata::info;
use super::{Place, stderr, stdout};

#[test]
fn verify_finds_changed_pixels_and_sizes() {
    let place = Place::new();
    place.edit(&[
        "--then",
        "a small red car",
        "--seed",
        "3",
        "--baseline",
        "-o",
        "out",
    ]);
    for file in ["source", "edited-1", "edited-2", "baseline-1"] {
        let file = format!("out/{file}.png");
        let before = place.listing();
        let said = stdout(&place.succeed(&["verify", &file, "-q"]));
        assert_eq!(
            said,
            format!("{file} reproduces: every pixel is the same\n")
        );
        assert_eq!(place.listing(), before);
    }
    let contents = png::read(&place.bytes("out/edited-1.png")).unwrap();
    let mut picture = image::load_from_memory(&place.bytes("out/edited-1.png"))
        .unwrap()
        .to_rgb8();
    picture.get_pixel_mut(3, 3)[1] ^= 4;
    let changed = png::encode(&picture, &contents.texts).unwrap();
    std::fs::write(place.path("changed.png"), changed).unwrap();
    let output = place.p2p(&["verify", "changed.png", "--json", "-q"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("at most 0 red, 4 green, 0 blue of 255, in 1 of its 12288 bytes"),
        "{said}"
    );
    assert!(
        said.contains("its pixels were changed after it was drawn"),
        "{said}"
    );
    let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdict["reproduces"], false);
    assert_eq!(verdict["largest_difference"], json!([0, 4, 0]));
    let small = image::imageops::thumbnail(&picture, 32, 32);
    std::fs::write(
        place.path("small.png"),
        png::encode(&small, &contents.texts).unwrap(),
    )
    .unwrap();
    let output = place.p2p(&["verify", "small.png"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("small.png is 32x32, but was drawn 64x64"));
}

/// Writes `retold.png`, a copy of a picture whose metadata is changed by `edit`.
fn retold(place: &Place, file: &str, edit: impl Fn(&mut Value)) {
    let bytes = place.bytes(file);
    let mut contents = png::read(&bytes).unwrap();
    let story = contents
        .texts
        .iter_mut()
        .find(|text| text.keyword == "p2p")
        .unwrap();
    let mut value: Value = serde_json::from_str(&story.text).unwrap();
    edit(&mut value);
    story.text = value.to_string();
    let picture = image::load_from_memory(&bytes).unwrap().to_rgb8();
    let bytes = png::encode(&picture, &contents.texts).unwrap();
    std::fs::write(place.path("retold.png"), bytes).unwrap();
}

#[test]
fn rerun_and_verify_need_the_same_model() {
    let place = Place::new();
    let model = crate::common::fixture("mini-sd");
    let model = model.to_str().unwrap();
    place.edit(&["--seed", "3", "--model", model, "-q", "-o", "mini"]);
    place.edit(&["--seed", "3", "-q", "-o", "out"]);
    for command in ["rerun", "verify"] {
        let output = place.p2p(&[command, "mini/edited-1.png"]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(said.contains("drawn by the model \"mini-sd\""), "{said}");
        assert!(
            said.contains("give its folder or file with --model PATH"),
            "{said}"
        );
        let args = [command, "mini/edited-1.png", "--model", model];
        let said = stderr(&place.succeed(&args));
        assert!(!said.contains("is not the model that drew"), "{said}");

        retold(&place, "out/edited-1.png", |story| {
            story["model"]["weights_sha256"] = "0".into()
        });
        let output = place.p2p(&[command, "retold.png"]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(
            said.contains("by another \"storybook\": its weights differ"),
            "{said}"
        );
        let said = stderr(&place.succeed(&[command, "retold.png", "--model", "storybook"]));
        assert!(
            said.contains("warning: this is not the model that drew"),
            "{said}"
        );
        let generator = |story: &mut Value| story["generator"]["version"] = "0.0.1".into();
        retold(&place, "out/edited-1.png", generator);
        let said = stderr(&place.succeed(&[command, "retold.png"]));
        assert!(said.contains("drawn by p2p 0.0.1, this is p2p"), "{said}");
        retold(&place, "out/edited-1.png", |story| {
            story["kernels"] = "abacus".into()
        });
        let said = stderr(&place.succeed(&[command, "retold.png"]));
        assert!(
            said.contains("drawn with the abacus kernels, these are the"),
            "{said}"
        );
        retold(&place, "out/edited-1.png", |story| {
            story["settings"]["steps"] = 5000.into()
        });
        let output = place.p2p(&[command, "retold.png"]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    }
}

#[test]
fn pictures_of_other_tools_are_not_rerun() {
    let place = Place::new();
    std::fs::write(
        place.path("other.png"),
        png::encode(
            &image::RgbImage::new(8, 8),
            &[png::TextChunk::new("parameters", "a cat")],
        )
        .unwrap(),
    )
    .unwrap();
    let said = stderr(&place.p2p(&["rerun", "other.png"]));
    assert!(said.contains("was drawn by a1111, not by p2p"), "{said}");
    assert_eq!(info(&place, "other.png")["tool"], "a1111");
}
