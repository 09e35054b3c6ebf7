//! Walks every key of the vocabulary: each is set to another value and found again in the manifest, in `p2p info`,
//! in a picture that is drawn again, in the report's command, and in two jobs of one batch that differ in it alone.
//! A key that is added to the program and to no list here fails.

use rayon::prelude::*;
use serde_json::Value;

use super::{Place, stderr};

/// The edit that all cases change.
const BASE: [(&str, &str); 6] = [
    ("src", "a cat on the beach"),
    ("dst", "a dog on the beach"),
    ("steps", "2"),
    ("width", "64"),
    ("height", "64"),
    ("seed", "1"),
];

/// A key and its other value, then the settings that it has no effect without.
const CASES: [&[(&str, &str)]; 31] = [
    &[("src", "a cow on the beach")],
    &[("dst", "a bear on the beach")],
    &[("then", "a bear on the beach")],
    &[("negative_prompt", "snow")],
    &[("seed", "2")],
    &[("steps", "3")],
    &[("guidance", "3")],
    &[("width", "96")],
    &[("height", "96")],
    &[("scheduler", "euler")],
    &[("clip_skip", "2")],
    &[("fast", "true")],
    &[("dtype", "f16")],
    &[("vae_tiling", "true")],
    &[("self_res", "2")],
    &[("compat", "reference")],
    &[("edit_control", "false")],
    &[("preset", "style")],
    &[("edit", "refine")],
    &[("weight", "dog=2")],
    &[("weight_steps", "0.5..1"), ("weight", "dog=2")],
    &[("cross_steps", "0.3")],
    &[("self_steps", "0.9")],
    &[("inject_latents", "0.5")],
    &[("strength", "0.5")],
    &[("blend", "cat:dog")],
    &[("blend_keep", "beach")],
    &[("blend_threshold", "0.5,0.6"), ("blend", "cat:dog")],
    &[("blend_from", "0.5"), ("blend", "cat:dog")],
    &[("blend_soft", "true"), ("blend", "cat:dog")],
    &[("mask", "mask.png")],
];

/// Keys of outputs. No pixel of a picture depends on them, so pictures do not record them.
const DRAW_NO_PIXEL: [&str; 25] = [
    "baseline",
    "source",
    "metadata",
    "save_mask",
    "save_latents",
    "heatmaps",
    "map_words",
    "map_rows",
    "map_res",
    "map_place",
    "map_layer",
    "map_head",
    "map_at_steps",
    "map_kind",
    "map_at",
    "map_edited_as",
    "map_scale",
    "map_colormap",
    "map_enlarge",
    "map_locate",
    "map_threshold",
    "map_like",
    "map_special",
    "map_raw",
    "name",
];

/// Keys of the model. They need other models: `single_file`, `lora`, `hub::rerun` and `cli::dtype` hold them.
const OF_THE_MODEL: [&str; 11] = [
    "model",
    "revision",
    "variant",
    "offline",
    "vae",
    "text_encoder",
    "tokenizer",
    "config",
    "prediction_type",
    "lora",
    "device",
];

/// Keys of the file's own form.
const OF_THE_FILE: [&str; 2] = ["folder", "grid"];

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn every_key_is_in_one_of_the_lists() {
    let schema = json(&Place::new().succeed(&["job", "schema"]).stdout);
    let keys = schema["definitions"]["job"]["properties"]
        .as_object()
        .unwrap();
    let listed = |key: &str| {
        let cases = CASES.iter().filter(|case| case[0].0 == key).count();
        let others = [&DRAW_NO_PIXEL[..], &OF_THE_MODEL, &OF_THE_FILE].concat();
        cases + others.iter().filter(|other| **other == key).count()
    };
    for key in keys.keys() {
        assert_eq!(
            listed(key),
            1,
            "`{key}`: a setting is to be in one list of this file"
        );
    }
}

/// The settings of a case on top of the base.
fn settings(case: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let base = BASE.iter().copied();
    let others = base.filter(|(key, _)| !case.iter().any(|(own, _)| own == key));
    others.chain(case.iter().copied()).collect()
}

fn flags(settings: &[(&str, &str)]) -> Vec<String> {
    let flag = |(key, value): &(&str, &str)| {
        let name = key.replace('_', "-");
        match *value {
            "true" => vec![format!("--{name}")],
            "false" => vec![format!("--no-{name}")],
            value => vec![format!("--{name}={value}")],
        }
    };
    settings.iter().flat_map(flag).collect()
}

fn toml(name: &str, settings: &[(&str, &str)]) -> String {
    let line = |(key, value): &(&str, &str)| match *value {
        "true" | "false" => format!("{key} = {value}\n"),
        value => format!("{key} = {value:?}\n"),
    };
    let lines: String = settings.iter().map(line).collect();
    format!("[[job]]\nname = \"{name}\"\n{lines}")
}

/// The value of a key in a picture's settings: of the run, else of the last edit.
fn recorded<'v>(settings: &'v Value, key: &str) -> &'v Value {
    let edits = settings["edit"].as_array().unwrap();
    match (key, settings.get(key)) {
        ("edit", _) | (_, None) => edits.last().map_or(&Value::Null, |edit| &edit[key]),
        (_, Some(value)) => value,
    }
}

/// Draws a case and the base, and looks the case's first key up everywhere.
fn check(case: &[(&'static str, &'static str)]) -> Result<(), String> {
    let (key, _) = case[0];
    let place = Place::new();
    let grey =
        image::GrayImage::from_fn(64, 64, |x, _| image::Luma([if x < 32 { 255 } else { 0 }]));
    grey.save(place.path("mask.png")).unwrap();
    let draw = |settings: &[(&str, &str)], folder: &str| {
        let flags = flags(settings);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        place.succeed(&[&["edit", "-o", folder], &flags[..]].concat());
        json(&place.bytes(&format!("{folder}/manifest.json")))
    };
    let base = draw(&BASE, "base");
    let other = draw(&settings(case), "other");
    let last = |manifest: &Value| manifest["pictures"].as_array().unwrap().last().cloned();
    let (plain, changed) = (last(&base).unwrap(), last(&other).unwrap());
    let value = recorded(&changed["settings"], key);
    if value.is_null() || value == recorded(&plain["settings"], key) {
        return Err(format!("{key}: the manifest says {value}"));
    }
    let file = format!("other/{}", changed["file"].as_str().unwrap());
    let info = json(&place.succeed(&["info", &file, "--json"]).stdout);
    if recorded(&info["metadata"]["settings"], key) != value {
        return Err(format!("{key}: `p2p info` differs from the manifest"));
    }
    place.succeed(&["rerun", &file, "-o", "again"]);
    let again = format!("again/{}", changed["file"].as_str().unwrap());
    if place.bytes(&again) != place.bytes(&file) {
        return Err(format!("{key}: `p2p rerun` draws another picture"));
    }
    place.succeed(&["report", "other"]);
    let html = String::from_utf8(place.bytes("other/report.html")).unwrap();
    let flag = key.replace('_', "-");
    let command = html.split("<pre id=\"command-").last().unwrap();
    let command = command.split("</pre>").next().unwrap();
    if ![format!("--{flag}"), format!("--no-{flag}")]
        .iter()
        .any(|flag| command.contains(flag))
    {
        return Err(format!("{key}: the report's command lacks it: {command}"));
    }
    let jobs = toml("one", &BASE) + &toml("two", &settings(case));
    std::fs::write(place.path("jobs.toml"), jobs).unwrap();
    let output = place.succeed(&["batch", "jobs.toml", "-o", "batch"]);
    for (job, alone) in [("one", "base"), ("two", "other")] {
        let manifest = json(&place.bytes(&format!("batch/{job}/manifest.json")));
        let picture = last(&manifest).unwrap();
        let name = picture["file"].as_str().unwrap();
        if place.bytes(&format!("batch/{job}/{name}")) != place.bytes(&format!("{alone}/{name}")) {
            let said = stderr(&output);
            return Err(format!(
                "{key}: job {job} of a batch differs from a run alone: {said}"
            ));
        }
    }
    Ok(())
}

#[test]
fn every_setting_is_recorded_repeated_reported_and_told_apart() {
    let faults: Vec<String> = CASES
        .par_iter()
        .filter_map(|case| check(case).err())
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
