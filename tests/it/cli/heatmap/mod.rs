//! `p2p heatmap` and `p2p edit --heatmaps`: which files are written and what they contain.

mod choices;
mod index;
#[cfg(unix)]
mod show;

use std::collections::BTreeSet;

use image::GenericImageView;
use serde_json::Value;

use super::{Place, stderr, stdout};

/// A small, quick picture; tests add a prompt and flags.
const SMALL: [&str; 9] = [
    "heatmap", "--seed", "3", "--steps", "2", "-W", "64", "-H", "64",
];

fn heatmap(place: &Place, prompt: &str, more: &[&str]) {
    let flags = ["-q", "-o", "out", "--prompt", prompt];
    place.succeed(&[&SMALL[..], &flags, more].concat());
}

fn index_of(place: &Place) -> Value {
    serde_json::from_slice(&place.bytes("out/attn/index.json")).unwrap()
}

/// One value of every map in the index.
fn each<'a>(index: &'a Value, key: &str) -> Vec<&'a Value> {
    let maps = index["maps"].as_array().unwrap();
    maps.iter().map(|map| &map[key]).collect()
}

fn picture(place: &Place, name: &str) -> image::DynamicImage {
    image::load_from_memory(&place.bytes(name)).unwrap()
}

#[test]
fn every_token_gets_a_picture_of_its_own() {
    let place = Place::new();
    heatmap(&place, "a cat, a lasagne", &[]);
    let names = ["01-a", "02-cat", "03-sign", "04-a", "05-lasagne"];
    let mut expected: Vec<String> = vec!["out".into(), "out/attn".into()];
    expected.extend(["source", "grid.png", "index.json"].map(|n| format!("out/attn/{n}")));
    expected.extend(["source.png", "manifest.json"].map(|n| format!("out/{n}")));
    for name in names {
        expected.push(format!("out/attn/source/{name}.png"));
        expected.push(format!("out/attn/source/{name}-overlay.png"));
    }
    expected.sort();
    assert_eq!(place.listing(), expected);
    let index = index_of(&place);
    assert_eq!(each(&index, "word"), ["a", "cat", ",", "a", "lasagne"]);
    assert_eq!(each(&index, "tokens")[1], &serde_json::json!([2]));
    let several = each(&index, "tokens")[4].as_array().unwrap();
    assert!(several.len() > 1, "tokens of one word stand together");
    for i in 0..5 {
        assert_eq!(
            each(&index, "range")[i],
            each(&index, "range")[0],
            "one scale"
        );
    }
}

/// Quotes, slashes, tags, emoji and repeated words: each map has one file, in its folder and in the index.
#[test]
fn unusual_prompts_give_valid_file_names() {
    let long = "a cat and ".repeat(23) + "a";
    let prompts = [
        "a \"cat\"/dog 🦊, the cat's cat! <html> ../../x C:\\y con",
        "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} é e\u{301} 猫",
        long.as_str(),
    ];
    for prompt in prompts {
        let place = Place::new();
        heatmap(&place, prompt, &["--special"]);
        let index = index_of(&place);
        assert_eq!(index["prompts"]["source"], prompt);
        let files: Vec<&str> = ["file", "overlay"]
            .iter()
            .flat_map(|key| each(&index, key))
            .map(|file| file.as_str().unwrap())
            .collect();
        let distinct: BTreeSet<&str> = files.iter().copied().collect();
        assert_eq!(distinct.len(), files.len(), "{prompt}");
        let listing = place.listing();
        let written = listing.iter().filter(|n| n.starts_with("out/attn/source/"));
        assert_eq!(written.count(), files.len(), "{prompt}");
        assert!(
            files
                .iter()
                .all(|file| listing.contains(&format!("out/{file}")))
        );
        let words = each(&index, "tokens");
        let mut tokens: Vec<u64> = words
            .iter()
            .flat_map(|tokens| tokens.as_array().unwrap())
            .map(|token| token.as_u64().unwrap())
            .collect();
        let count = tokens.len();
        tokens.sort_unstable();
        tokens.dedup();
        let expected: Vec<u64> = (0..count as u64).collect();
        assert_eq!(tokens, expected, "every token once, begin to last pad");
    }
    let words = long.split(' ').count();
    assert_eq!(words, 70);
}

#[test]
fn sizes_that_are_not_square_keep_their_shape() {
    let place = Place::new();
    let flags = "heatmap -q -o out --steps 2 -s 3 -W 96 -H 64 --prompt cat --locate cat";
    place.succeed(&flags.split(' ').collect::<Vec<_>>());
    for name in ["01-cat", "01-cat-overlay", "located-cat"] {
        let size = picture(&place, &format!("out/attn/source/{name}.png")).dimensions();
        assert_eq!(size, (96, 64), "{name}");
    }
    assert_eq!(
        each(&index_of(&place), "grid")[0],
        &serde_json::json!([8, 12])
    );
}

/// A map folder never mixes two runs.
#[test]
fn a_later_run_leaves_nothing_of_an_earlier_one() {
    let place = Place::new();
    heatmap(&place, "a cat on a bicycle", &["--at-steps", "each"]);
    let again = [&SMALL[..], &["-o", "out", "--prompt", "a dog"]].concat();
    let refused = place.p2p(&again);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("--force"));
    heatmap(&place, "a dog", &["--force", "--words", "dog"]);
    let listing = place.listing();
    let maps: Vec<&String> = listing
        .iter()
        .filter(|name| name.contains("/attn/source"))
        .collect();
    let names = ["", "/02-dog-overlay.png", "/02-dog.png"];
    assert_eq!(
        maps,
        names.map(|n| format!("out/attn/source{n}")).each_ref()
    );
}

/// Two runs write the same bytes.
#[test]
fn maps_are_deterministic() {
    let place = Place::new();
    let names = ["attn/grid.png", "attn/index.json", "attn/maps.safetensors"];
    let run = || {
        heatmap(&place, "a cat", &["--force", "--raw"]);
        names.map(|name| place.bytes(&format!("out/{name}")))
    };
    assert_eq!(run(), run());
    let other = Place::new();
    heatmap(
        &other,
        "a cat",
        &["--colormap", "inferno", "--enlarge", "nearest"],
    );
    assert_ne!(
        other.bytes("out/attn/grid.png"),
        place.bytes("out/attn/grid.png")
    );
}

/// With `--edited-as own`, the edited row's own maps are computed for the heatmaps only.
#[test]
fn heatmaps_change_no_byte_of_the_edit() {
    let place = Place::new();
    let draw = |folder: &str, more: &[&str]| {
        place.edit(&[&["--seed", "3", "-q", "-o", folder], more].concat());
        ["source.png", "edited-1.png", "strip.png"].map(|n| place.bytes(&format!("{folder}/{n}")))
    };
    let without = draw("without", &[]);
    let injected = draw("out", &["--heatmaps"]);
    let own = draw("own", &["--heatmaps", "--map-edited-as", "own"]);
    assert_eq!(without, injected);
    assert_eq!(without, own);
    let car = |folder: &str| place.bytes(&format!("{folder}/attn/edited-1/04-car.png"));
    assert_ne!(car("out"), car("own"));
    let index = index_of(&place);
    let rows: BTreeSet<&str> = each(&index, "row")
        .iter()
        .map(|r| r.as_str().unwrap())
        .collect();
    assert_eq!(rows, BTreeSet::from(["source", "edited-1"]));
    assert_eq!(index["prompts"]["edited-1"], "a big red car");
}

/// A run can have thousands of heatmaps, so stdout lists only their folders.
#[test]
fn stdout_names_folders_of_maps() {
    let place = Place::new();
    let flags = ["--heatmaps", "--map-raw", "--map-locate", "big"];
    let said = stdout(&place.edit(&[&["-q", "-o", "out"], &flags[..]].concat()));
    let lines: Vec<&str> = said.lines().collect();
    let expected = [
        "attn/source/",
        "attn/edited-1/",
        "attn/grid.png",
        "attn/maps.safetensors",
        "attn/index.json",
        "source.png",
        "edited-1.png",
        "strip.png",
        "manifest.json",
    ];
    assert_eq!(lines, expected.map(|name| format!("out/{name}")));
    assert!(lines.iter().all(|line| place.path(line).exists()));
}

/// Words that give the same file name get a number.
#[test]
fn words_of_punctuation_have_separate_files() {
    let place = Place::new();
    heatmap(
        &place,
        "a cat !! and !",
        &["--words", "!,!!", "--locate", "!,!!"],
    );
    let index = index_of(&place);
    assert_eq!(each(&index, "word"), ["!", "!!"]);
    let files: BTreeSet<&str> = ["maps", "located"]
        .iter()
        .flat_map(|list| index[list].as_array().unwrap())
        .map(|map| map["file"].as_str().unwrap())
        .collect();
    assert_eq!(files.len(), 4, "{files:?}");
    files
        .iter()
        .for_each(|file| drop(place.bytes(&format!("out/{file}"))));
}
