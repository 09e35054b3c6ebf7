//! `attn/index.json` and the raw maps, compared with the pictures.

use safetensors::SafeTensors;
use serde_json::Value;

use super::super::{Place, stderr};
use super::{SMALL, each, heatmap, index_of, picture};

/// The outer box bounds the mask, the inner box contains the peak, and a higher threshold gives a smaller mask.
#[test]
fn a_word_is_located_by_mask_and_box() {
    let place = Place::new();
    let locate = |threshold: &str| {
        let flags = ["--force", "--words", "red", "--locate", "boat"];
        let threshold = ["--threshold", threshold];
        heatmap(&place, "a red boat", &[&flags[..], &threshold].concat());
        let mask = picture(&place, "out/attn/source/located-boat.png").to_luma8();
        let located = index_of(&place)["located"][0].clone();
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
        assert_eq!(located["mask_box"], around);
        assert_eq!(located["word"], "boat");
        assert_eq!(located["tokens"], serde_json::json!([3]));
        let number = |key: &str, i: usize| located[key][i].as_u64().unwrap();
        for side in [0, 1] {
            let (from, to) = (number("box", side), number("box", side + 2));
            assert!((from..to).contains(&number("peak", side)), "{located}");
            assert!(number("mask_box", side) <= from && to <= number("mask_box", side + 2));
        }
        inside.len()
    };
    let (loose, tight) = (locate("0.3"), locate("0.9"));
    assert!(0 < tight && tight < loose, "{tight} {loose}");
    assert_eq!(each(&index_of(&place), "word"), ["red"]);
}

/// Each located word has its own mask.
#[test]
fn several_words_are_located() {
    let place = Place::new();
    heatmap(&place, "a red boat", &["--locate", "boat,red"]);
    let index = index_of(&place);
    let located = index["located"].as_array().unwrap();
    let words: Vec<&Value> = located.iter().map(|l| &l["word"]).collect();
    assert_eq!(words, ["red", "boat"]);
    let mask = |word: &str| place.bytes(&format!("out/attn/source/located-{word}.png"));
    assert_ne!(mask("red"), mask("boat"));
}

/// A repeated word has one map, the sum over its tokens. The index lists the tokens.
#[test]
fn repeated_words_are_reported_and_indexed() {
    let place = Place::new();
    let flags = [
        "-o",
        "out",
        "--prompt",
        "a cat and a cat",
        "--words",
        "cat,and",
    ];
    let said = stderr(&place.succeed(&[&SMALL[..], &flags].concat()));
    let note = "heatmaps: \"cat\" occurs 2 times in the prompt, and its map is the sum of all (tokens 2, 5)";
    assert!(
        said.contains(note) && !said.contains("\"and\" occurs"),
        "{said}"
    );
    let index = index_of(&place);
    let word = &index["maps"][0];
    assert_eq!(word["tokens"], serde_json::json!([2, 5]));
    assert_eq!(word["places"], serde_json::json!([[2, 5], [12, 15]]));
    assert_eq!(index["maps"][1]["places"], serde_json::json!([[6, 9]]));
}

/// Components are numbered from 1. A self-attention map from a position has the position in its name, and a
/// white ring at it.
#[test]
fn self_attention_is_named_and_indexed() {
    let place = Place::new();
    heatmap(&place, "a cat", &["--kind", "self"]);
    let index = index_of(&place);
    let (files, words) = (each(&index, "file"), each(&index, "word"));
    for (i, (file, word)) in files.iter().zip(words).enumerate() {
        assert_eq!(word, &format!("component {}", i + 1));
        assert_eq!(
            file,
            &format!("attn/source/component-{}.png", i + 1).as_str()
        );
    }
    let values = each(&index, "singular_value");
    let values: Vec<f64> = values.iter().map(|v| v.as_f64().unwrap()).collect();
    assert!(
        values.len() == 8 && values.is_sorted_by(|a, b| a > b),
        "{values:?}"
    );
    heatmap(
        &place,
        "a cat",
        &["--force", "--kind", "self", "--at", "0.3,0.6"],
    );
    let index = index_of(&place);
    assert_eq!(index["maps"][0]["file"], "attn/source/from-0-3-0-6.png");
    // The grid has 8 cells of 8 pixels: centers of the third column and the fifth row.
    assert_eq!(index["maps"][0]["from"], serde_json::json!([20, 36]));
    for name in ["from-0-3-0-6", "from-0-3-0-6-overlay"] {
        let marked = picture(&place, &format!("out/attn/source/{name}.png")).to_rgb8();
        let white = marked.enumerate_pixels().filter(|(.., p)| p.0 == [255; 3]);
        let near = |(x, y): (u32, u32)| x.abs_diff(20) < 7 && y.abs_diff(36) < 7;
        let white: Vec<(u32, u32)> = white.map(|(x, y, _)| (x, y)).filter(|p| near(*p)).collect();
        assert!(white.len() > 8, "{name}: a ring of white {white:?}");
    }
}

#[test]
fn the_index_records_the_options() {
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
    assert_eq!(
        plain["values"],
        "mean over steps, layers and heads, where they are not apart"
    );
    let daam = index("daam", &["--map-like", "daam"]);
    assert_eq!(daam["like"], "daam");
    assert_eq!(daam["values"], "sum over steps, mean over layers and heads");
    assert_eq!(daam["maps"][0]["grid"], serde_json::json!([64, 64]));
    // DAAM leaves the middle block out: layers of storybook's down and up blocks.
    assert_eq!(daam["maps"][0]["layers"].as_array().unwrap().len(), 6);
    let bytes = place.bytes("daam/attn/maps.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.names().len(), 2);
    assert_eq!(
        tensors.tensor("source/64x64").unwrap().shape(),
        [1, 1, 4, 64, 64]
    );
}

/// `[steps, heads, tokens, h, w]`, and each pixel's attention to all tokens of the text.
#[test]
fn raw_maps_have_the_documented_shape() {
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
    assert_eq!(shape("source/8x8"), [2, 4, 77, 8, 8]);
    assert_eq!(shape("source/4x4"), [2, 4, 77, 4, 4]);
    assert_eq!(tensors.len(), 3);
    let index = index_of(&place);
    assert_eq!(
        index["raw"]["tokens"]["source"],
        serde_json::json!((0..77).collect::<Vec<usize>>())
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

#[test]
fn only_the_chosen_rows_and_words_are_written() {
    let place = Place::new();
    let flags = [
        "--heatmaps",
        "--map-rows",
        "edited",
        "--map-words",
        "car,big",
    ];
    place.edit(&[&["--seed", "3", "-q", "-o", "out"], &flags[..]].concat());
    let index = index_of(&place);
    assert_eq!(each(&index, "row"), ["edited-1", "edited-1"]);
    assert_eq!(each(&index, "word"), ["big", "car"]);
}
