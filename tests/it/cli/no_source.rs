//! `--no-source`: which files are written, that the edits stay the same, and what is refused.

use serde_json::Value;

use super::{Place, stderr, stdout};

/// Windows that close halfway through the run.
const HALF: [&str; 6] = ["--cross-steps", "0.5", "--self-steps", "0.5", "--seed", "3"];

fn manifest(place: &Place, folder: &str) -> Value {
    serde_json::from_slice(&place.bytes(&format!("{folder}/manifest.json"))).unwrap()
}

#[test]
fn the_source_is_missing_from_files_strip_and_manifest() {
    let place = Place::new();
    let two = [&HALF[..], &["--dst", "a big red boat"]].concat();
    let with = |folder, more: &[&str]| place.edit(&[&two, more, &["-o", folder]].concat());
    with("seen", &["--save-latents", "seen.safetensors"]);
    let output = with(
        "unseen",
        &["--no-source", "--save-latents", "unseen.safetensors"],
    );
    let files = ["edited-1.png", "edited-2.png", "strip.png", "manifest.json"];
    let paths: String = files.map(|f| format!("unseen/{f}\n")).concat();
    assert_eq!(stdout(&output), paths + "unseen.safetensors\n");
    for file in &files[..2] {
        let [seen, unseen] = ["seen", "unseen"].map(|f| place.bytes(&format!("{f}/{file}")));
        assert!(seen == unseen, "{file}");
    }
    let strip = |folder| image::load_from_memory(&place.bytes(&format!("{folder}/strip.png")));
    let [seen, unseen] = ["seen", "unseen"].map(|folder| strip(folder).unwrap());
    assert!(unseen.width() < seen.width());
    let said = stderr(&output);
    assert!(!said.contains("changed"), "{said}");
    let manifest = manifest(&place, "unseen");
    assert_eq!(manifest["draw_source"], Value::Bool(false));
    assert_eq!(manifest["edits"][0]["change"], Value::Null);

    // The last floats of a file are those of its tensor: [2, 4, 8, 8] of [3, 4, 8, 8].
    let [seen, unseen] = ["seen", "unseen"].map(|f| place.bytes(&format!("{f}.safetensors")));
    let tail = |bytes: &[u8]| bytes[bytes.len() - 2 * 4 * 64 * 4..].to_vec();
    assert_eq!(tail(&seen), tail(&unseen));
    assert_eq!(seen.len() - unseen.len(), 4 * 64 * 4);
}

#[test]
fn a_single_edit_has_no_strip() {
    let place = Place::new();
    let output = place.edit(&["--no-source", "-o", "out"]);
    assert_eq!(stdout(&output), "out/edited-1.png\nout/manifest.json\n");
}

#[test]
fn a_mask_needs_the_source_or_a_blend() {
    let place = Place::new();
    let masked = ["--no-source", "--save-mask", "-o", "out"];
    let refused = place.p2p(&[&super::EDIT[..], &masked].concat());
    assert_eq!(refused.status.code(), Some(2));
    let said = stderr(&refused);
    assert!(said.contains("--save-mask with --no-source"), "{said}");
    assert!(said.contains("--blend"), "{said}");
    place.edit(&[&masked[..], &["--blend", "auto"]].concat());
    assert!(place.listing().contains(&"out/mask-1.png".to_owned()));
}

/// The source is drawn for its heatmaps, but it is no output of its own.
#[test]
fn heatmaps_of_the_source_keep_its_row() {
    let place = Place::new();
    let maps = [&HALF[..], &["--heatmaps", "--map-words", "red"]].concat();
    place.edit(&[&maps[..], &["-o", "seen"]].concat());
    place.edit(&[&maps[..], &["--no-source", "-o", "unseen"]].concat());
    let apart = ["seen/source.png", "seen/strip.png"];
    let names = |folder: &str| {
        let listing = place.listing().into_iter();
        let inside = listing.filter(|name| !apart.contains(&name.as_str()));
        Vec::from_iter(inside.filter_map(|n| Some(n.strip_prefix(folder)?.to_owned())))
    };
    assert_eq!(names("seen"), names("unseen"));
    for file in [
        "attn/grid.png",
        "attn/source/03-red-overlay.png",
        "attn/index.json",
    ] {
        let [seen, unseen] = ["seen", "unseen"].map(|f| place.bytes(&format!("{f}/{file}")));
        assert!(seen == unseen, "{file}");
    }
    let edited = ["--no-source", "--map-rows", "edited", "-o", "edited"];
    place.edit(&[&maps[..], &edited].concat());
    let listing = place.listing();
    assert!(listing.contains(&"edited/attn/edited-1/03-red.png".to_owned()));
    assert!(!listing.contains(&"edited/attn/source".to_owned()));
    assert!(stdout(&place.succeed(&plan(&["--heatmaps"]))).contains("needed to the end"));
    assert!(stdout(&place.succeed(&plan(&[]))).contains("stops after step 1 of 2"));
}

fn plan(more: &[&'static str]) -> Vec<&'static str> {
    let edit = ["explain"].iter().chain(&super::EDIT[1..]).chain(&HALF);
    edit.chain(&["--no-source"]).chain(more).copied().collect()
}
