//! Edit settings on the command line: masks, blends, chains, strengths and presets change the picture as
//! they promise, and a run reports what each edit changed.

use serde_json::Value;

use super::runs::{json, size};
use super::{EDIT, Place, stderr, stdout};

#[test]
fn a_saved_mask_can_be_given_back() {
    let place = Place::new();
    let blend = "--blend auto --blend-threshold 0.8 --blend-from 0 --seed 1 --save-mask -o first";
    let output = place.edit(&blend.split(' ').collect::<Vec<_>>());
    assert!(stdout(&output).contains("first/mask-1.png\n"));
    assert_eq!(size(&place, "first/mask-1.png"), (64, 64));
    let manifest = json(&place.bytes("first/manifest.json"));
    let files = manifest["files"].as_array().unwrap();
    assert!(files.contains(&Value::from("mask-1.png")));
    assert_eq!(manifest["edits"][0]["blend"][0], "auto");
    // A mask saved by a blend confines a second run to the same region.
    let mask = [
        "--mask",
        "first/mask-1.png",
        "--blend-from",
        "0",
        "--seed",
        "1",
        "--save-mask",
    ];
    place.edit(&[&mask[..], &["-o", "second"]].concat());
    assert_eq!(
        place.bytes("first/mask-1.png"),
        place.bytes("second/mask-1.png")
    );
    let manifest = json(&place.bytes("second/manifest.json"));
    let edit = &manifest["edits"][0];
    assert_eq!(edit["mask_sha256"].as_str().unwrap().len(), 64);
    let change = &manifest["edits"][0]["change"];
    let mean = |part: &str| change[part]["mean_abs"].as_f64().unwrap();
    assert!(mean("inside") >= mean("outside"));
}

#[test]
fn every_edit_reports_its_change() {
    let place = Place::new();
    let black = image::GrayImage::new(64, 64);
    black.save(place.path("black.png")).unwrap();
    let said = |more: &str| {
        let more: Vec<&str> = more.split_whitespace().collect();
        stderr(&place.edit(&[&more[..], &["--seed", "1", "--force", "-o", "out"]].concat()))
    };
    assert!(said("").contains("edit 1: changed by "));
    // An edit without a visible change causes a warning that names the reason.
    for (flags, cure) in [
        ("--inject-latents 1", "shorten --inject-latents"),
        (
            "--mask black.png --blend-from 0",
            "white is what may change",
        ),
    ] {
        let said = said(flags);
        let warning = "warning: edit 1: the edit changed nothing visible; ";
        assert!(said.contains(warning) && said.contains(cure), "{said}");
    }
    let same = "edit --src cat --dst cat --steps 2 --width 64 --height 64 --seed 1 -o same";
    let same = stderr(&place.succeed(&same.split(' ').collect::<Vec<_>>()));
    assert!(same.contains("the prompts say the same"), "{same}");
    let wide = said("--blend auto --blend-threshold 0 --blend-from 0");
    assert!(
        wide.contains("confines nothing; raise --blend-threshold"),
        "{wide}"
    );
    let asked = said("--strength 0");
    assert!(!asked.contains("warning"), "{asked}");
    assert!(said("-v").contains("placed by"), "-v prints the plan");
}

#[test]
fn a_chained_edit_is_compared_with_its_base() {
    let place = Place::new();
    let said = stderr(&place.edit(&["--then", "a small red car", "--seed", "1", "-o", "out"]));
    assert!(said.contains("edit 2 (of edit 1): changed by "), "{said}");
}

/// A blend on the embedded model leaves the rest of the picture almost unchanged: over 35 dB and 30 dB PSNR.
#[test]
fn a_blend_changes_only_its_words() {
    let place = Place::new();
    let outside = |args: &[&str], out: &str| {
        place.succeed(&[args, &["-q", "-o", out]].concat());
        let manifest = json(&place.bytes(&format!("{out}/manifest.json")));
        let change = manifest["edits"][0]["change"].clone();
        change["outside"]["psnr"].as_f64().unwrap_or(f64::INFINITY)
    };
    let beach = ["edit", "--src", "a cat riding a bicycle on the beach"];
    let dog = [
        "--dst",
        "a dog riding a bicycle on the beach",
        "--seed",
        "1",
    ];
    let beach = [&beach[..], &dog].concat();
    let kept = outside(&[&beach[..], &["--blend", "cat:dog"]].concat(), "blend");
    let free = outside(&beach, "free");
    assert!(
        kept > 35.0 && free < kept - 2.0,
        "{kept:.1} dB with blend, {free:.1} without"
    );
    // Only the bicycle of the pink bear changes.
    let bear = "edit|--src|a pink bear riding a bicycle|--weight|pink=-1|--blend|bicycle|--blend-keep|bear|--seed|1";
    let kept = outside(&bear.split('|').collect::<Vec<_>>(), "bear");
    assert!(kept > 30.0, "{kept:.1} dB");
}

#[test]
fn chains_and_strengths_draw_the_right_rows() {
    let place = Place::new();
    let chain = [
        "--then",
        "a small red car",
        "--dst",
        "a big red house",
        "--then",
        "a big blue house",
    ];
    let said = stderr(&place.edit(&[&chain[..], &["-o", "chain", "--seed", "1"]].concat()));
    let manifest = json(&place.bytes("chain/manifest.json"));
    let of: Vec<&Value> = manifest["edits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["of_edit"])
        .collect();
    assert_eq!(
        of,
        [&Value::Null, &1.into(), &Value::Null, &3.into()],
        "{said}"
    );
    place.edit(&["--strength", "0,0.5,1", "-o", "morph", "--seed", "1"]);
    let pixels = |name: &str| image::open(place.path(name)).unwrap().into_rgb8();
    assert_eq!(pixels("morph/edited-1.png"), pixels("morph/source.png"));
    let plain = place.edit(&["-o", "plain", "--seed", "1"]);
    assert!(plain.status.success());
    assert_eq!(
        place.bytes("morph/edited-3.png"),
        place.bytes("plain/edited-1.png")
    );
    assert_ne!(
        place.bytes("morph/edited-2.png"),
        place.bytes("plain/edited-1.png")
    );
}

#[test]
fn explain_writes_no_file() {
    let place = Place::new();
    let args = [&["explain"], &EDIT[1..]].concat();
    let output = place.succeed(&args);
    assert!(
        stdout(&output).contains("car     bicycle"),
        "{}",
        stdout(&output)
    );
    let plan = json(&place.succeed(&[&args[..], &["--json"]].concat()).stdout);
    assert_eq!(plan["edits"][0]["settings"]["edit"], "replace");
    assert!(place.listing().is_empty());
}

#[test]
fn presets_are_listed_and_used() {
    let place = Place::new();
    let listed = stdout(&place.succeed(&["presets"]));
    for name in [
        "swap",
        "style",
        "season",
        "attribute",
        "local",
        "free-shape",
    ] {
        assert!(
            listed.contains(&format!("\n{name} ")) || listed.starts_with(name),
            "{listed}"
        );
        place.edit(&["--preset", name, "--seed", "1", "-o", name]);
        let manifest = json(&place.bytes(&format!("{name}/manifest.json")));
        assert_eq!(manifest["edits"][0]["preset"], name);
    }
    let style = json(&place.bytes("style/manifest.json"));
    assert_eq!(style["edits"][0]["cross_steps"]["default"], "0..0.5");
    let free = json(&place.bytes("free-shape/manifest.json"));
    assert_eq!(free["edits"][0]["blend"][0], "auto");
    place.edit(&[
        "--preset",
        "style",
        "--cross-steps",
        "0.7",
        "--seed",
        "1",
        "-o",
        "own",
    ]);
    let own = json(&place.bytes("own/manifest.json"));
    assert_eq!(
        own["edits"][0]["cross_steps"]["default"], "0..0.7",
        "explicit flags win"
    );
    assert_eq!(own["edits"][0]["self_steps"], "0..0.2");
    place.edit(&[
        "--preset", "style", "--edit", "auto", "--seed", "1", "-o", "auto",
    ]);
    let auto = json(&place.bytes("auto/manifest.json"));
    assert_eq!(
        auto["edits"][0]["edit"], "replace",
        "an explicit auto wins too"
    );
}

#[test]
fn a_white_mask_causes_a_warning() {
    let place = Place::new();
    let white = image::GrayImage::from_pixel(64, 64, image::Luma([255]));
    white.save(place.path("white.png")).unwrap();
    let said = stderr(&place.edit(&["--mask", "white.png", "--seed", "1", "-o", "out"]));
    assert!(said.contains("paint black in --mask"), "{said}");
}
