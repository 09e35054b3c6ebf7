//! `p2p heatmap` and `p2p edit --heatmaps`: which files come to be, what they hold, and what is refused.

use std::collections::BTreeSet;

use image::GenericImageView;
use safetensors::SafeTensors;
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

fn index(place: &Place) -> Value {
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
    let index = index(&place);
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

/// Quotes, slashes, tags, emoji, words twice: each file is in its folder, once, and is indexed.
#[test]
fn odd_prompts_make_sound_files() {
    let long = "a cat and ".repeat(23) + "a";
    let prompts = [
        "a \"cat\"/dog 🦊, the cat's cat! <html> ../../x C:\\y con",
        "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} é e\u{301} 猫",
        long.as_str(),
    ];
    for prompt in prompts {
        let place = Place::new();
        heatmap(&place, prompt, &["--special"]);
        let index = index(&place);
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
        assert_eq!(tokens, expected, "every token once, begin to first pad");
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
    assert_eq!(each(&index(&place), "grid")[0], &serde_json::json!([8, 12]));
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

/// The same bytes each time.
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

/// `[steps, heads, tokens, h, w]`, and each pixel's attention to all tokens of the text.
#[test]
fn raw_numbers_have_the_documented_shape() {
    let place = Place::new();
    let flags = [
        "--raw",
        "--head",
        "all",
        "--at-steps",
        "each",
        "--res",
        "all",
    ];
    heatmap(&place, "a cat", &[&flags[..], &["--special"]].concat());
    let bytes = place.bytes("out/attn/maps.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let shape = |name: &str| tensors.tensor(name).unwrap().shape().to_vec();
    assert_eq!(shape("source/8x8"), [2, 4, 5, 8, 8]);
    assert_eq!(shape("source/4x4"), [2, 4, 5, 4, 4]);
    assert_eq!(tensors.len(), 3);
    let index = index(&place);
    assert_eq!(
        index["raw"]["tokens"]["source"],
        serde_json::json!([0, 1, 2, 3, 4])
    );
    // The picture's peak of "cat" is the tensor's.
    let number = |name: &str| -> Vec<f32> {
        let data = tensors.tensor(name).unwrap().data();
        let floats = data.as_chunks::<4>().0.iter();
        floats.map(|b| f32::from_le_bytes(*b)).collect()
    };
    let cat = &number("source/8x8")[2 * 64..3 * 64];
    let maps = index["maps"].as_array().unwrap();
    let file = "attn/source/8x8/step-001/head-0/02-cat.png";
    let entry = maps.iter().find(|map| map["file"] == file).unwrap();
    let mean = entry["mean"].as_f64().unwrap();
    assert!((f64::from(cat.iter().sum::<f32>() / 64.0) - mean).abs() < 1e-6);
}

/// With `--edited-as own` the edited row's own maps are computed for the look alone.
#[test]
fn looking_changes_no_byte_of_the_edit() {
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
    let index = index(&place);
    let rows: BTreeSet<&str> = each(&index, "row")
        .iter()
        .map(|r| r.as_str().unwrap())
        .collect();
    assert_eq!(rows, BTreeSet::from(["source", "edited-1"]));
    assert_eq!(index["prompts"]["edited-1"], "a big red car");
}

#[test]
fn only_the_rows_and_words_that_were_asked_for() {
    let place = Place::new();
    let flags = [
        "--heatmaps",
        "--map-rows",
        "edited",
        "--map-words",
        "car,big",
    ];
    place.edit(&[&["--seed", "3", "-q", "-o", "out"], &flags[..]].concat());
    let index = index(&place);
    assert_eq!(each(&index, "row"), ["edited-1", "edited-1"]);
    assert_eq!(each(&index, "word"), ["big", "car"]);
}

/// The box is the mask's, and a higher threshold is a smaller place.
#[test]
fn a_word_is_located_by_mask_and_box() {
    let place = Place::new();
    let locate = |threshold: &str| {
        let flags = ["--force", "--words", "red", "--locate", "boat"];
        let threshold = ["--threshold", threshold];
        heatmap(&place, "a red boat", &[&flags[..], &threshold].concat());
        let mask = picture(&place, "out/attn/source/located-boat.png").to_luma8();
        let located = index(&place)["located"][0].clone();
        let inside = mask.enumerate_pixels().filter(|(.., p)| p[0] > 0);
        let inside: Vec<(u32, u32)> = inside.map(|(x, y, _)| (x, y)).collect();
        let x = inside.iter().map(|p| p.0);
        let y = inside.iter().map(|p| p.1);
        let around = serde_json::json!([
            x.clone().min(),
            y.clone().min(),
            x.max().unwrap() + 1,
            y.max().unwrap() + 1
        ]);
        assert_eq!(located["box"], around);
        assert_eq!(located["word"], "boat");
        inside.len()
    };
    let (loose, tight) = (locate("0.3"), locate("0.9"));
    assert!(0 < tight && tight < loose, "{tight} {loose}");
    assert_eq!(each(&index(&place), "word"), ["red"]);
}

/// What costs more says so before the first step.
#[test]
fn costs_are_told_before_they_are_spent() {
    let place = Place::new();
    let told = |more: &[&str]| {
        let flags = ["--force", "-o", "out", "--prompt", "a cat"];
        stderr(&place.succeed(&[&SMALL[..], &flags, more].concat()))
    };
    let said = told(&["--head", "all", "--at-steps", "each"]);
    let cost = "heatmaps: the attention of 3 layers is computed twice; the maps take 0.1 MB";
    let (before, after) = said.split_once(cost).unwrap_or_else(|| panic!("{said}"));
    assert!(!before.contains("step 1/2") && after.contains("step 2/2"));
    assert!(!told(&[]).contains("heatmaps:"));
}

/// Flags that find nothing, or can do nothing: what is wrong, what to do, exit code 2, no folder.
#[test]
fn flags_in_vain_are_refused() {
    let cases: [(&[&str], &str); 15] = [
        (&["--words", "dog"], "\"dog\" is not a word of the prompt"),
        (&["--locate", "bat"], "did you mean \"cat\"?"),
        (&["--rows", "edited"], "there is no edited row to show"),
        (&["--edited-as", "own"], "nothing is edited"),
        (&["--res", "8"], "see what there is with p2p sites"),
        (&["--layer", "99"], "use 0 to 13"),
        (&["--layer", "0"], "layer 0 is self-attention"),
        (&["--head", "4"], "has no --head 4"),
        (&["--at", "0.5,0.5"], "add --kind self"),
        (
            &["--kind", "self", "--words", "cat"],
            "self-attention has no words",
        ),
        (
            &["--locate", "cat", "--at-steps", "each"],
            "a word has one place",
        ),
        (&["--threshold", "0.4"], "--locate <WORD>"),
        (&["--like", "daam", "--res", "1"], "cannot be used with"),
        (&["--layer", "1", "--place", "up"], "cannot be used with"),
        (&["--show"], "stdout is none"),
    ];
    let place = Place::new();
    for (flags, part) in cases {
        let output = place.p2p(&[&SMALL[..], &["-o", "out", "--prompt", "a cat"], flags].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {said}");
        assert!(said.contains(part), "{flags:?}: {said}");
        assert!(place.listing().is_empty(), "{flags:?}");
    }
    let edit = |flags: &[&str]| stderr(&place.p2p(&[&super::EDIT[..], flags].concat()));
    assert!(edit(&["--map-words", "car"]).contains("--heatmaps"));
    // Flags are named as they are typed.
    let said = edit(&["--heatmaps", "--map-at", "0,0"]);
    assert!(
        said.contains("add --map-kind self, or leave --map-at out"),
        "{said}"
    );
}

#[test]
fn sites_lists_what_layer_counts() {
    let place = Place::new();
    let output = place.succeed(&["sites", "-W", "96", "-H", "64"]);
    let table = stdout(&output);
    let lines: Vec<&str> = table.lines().map(str::trim_end).collect();
    assert_eq!(lines.len(), 15);
    let columns = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(columns(lines[2]), ["1", "cross", "down", "8x12", "4", "1"]);
}

#[test]
fn the_index_says_what_was_asked_for() {
    let place = Place::new();
    let index = |folder: &str, more: &[&str]| {
        let args = ["--heatmaps", "--map-raw", "-o", folder];
        place.edit(&[&args, more].concat());
        let bytes = place.bytes(&format!("{folder}/attn/index.json"));
        serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()
    };
    let plain = index("plain", &[]);
    assert_eq!(
        (&plain["like"], &plain["edited_as"]),
        (&().into(), &"injected".into())
    );
    assert_eq!(plain["raw"]["shape"][1], "heads");
    assert_eq!(
        index("own", &["--map-edited-as", "own"])["edited_as"],
        "own"
    );
    let daam = index("daam", &["--map-like", "daam"]);
    assert_eq!(
        (&daam["like"], &daam["raw"]["shape"][1]),
        (&"daam".into(), &"layers".into())
    );
}

#[test]
fn an_empty_prompt_is_named_by_its_own_flag() {
    let output = Place::new().p2p(&["heatmap", "--prompt", " "]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("--prompt is empty") && !said.contains("--src"),
        "{said}"
    );
}
