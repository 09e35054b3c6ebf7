//! The manifest alone is enough to repeat the run that wrote it.

use serde_json::Value;

use super::Place;
use super::runs::json;

/// A command line built only from the values of a manifest.
fn again(manifest: &Value) -> Vec<String> {
    let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    let edits = manifest["edits"].as_array().unwrap();
    let edit = &edits[0];
    let mut args = vec!["edit".to_owned()];
    let mut flag = |name: &str, value: String| args.extend([format!("--{name}"), value]);
    flag("model", text(&manifest["model"]["id"]));
    flag("src", text(&manifest["source"]["prompt"]));
    edits.iter().for_each(|e| flag("dst", text(&e["prompt"])));
    flag("edit", text(&edit["edit"]));
    for (word, window) in edit["cross_steps"].as_object().unwrap() {
        let window = text(window);
        let value = match &**word {
            "default" => window,
            word => format!("{word}={window}"),
        };
        flag("cross-steps", value);
    }
    flag("self-steps", text(&edit["self_steps"]));
    for name in ["preset", "weight_steps", "inject_latents", "strength"] {
        if !edit[name].is_null() {
            flag(&name.replace('_', "-"), text(&edit[name]));
        }
    }
    let words = |key: &str| edit[key].as_array().cloned().unwrap_or_default();
    words("blend").iter().for_each(|w| flag("blend", text(w)));
    words("blend_keep")
        .iter()
        .for_each(|w| flag("blend-keep", text(w)));
    if let Some([words, keep]) = edit["blend_threshold"].as_array().map(Vec::as_slice) {
        flag("blend-threshold", format!("{words},{keep}"));
        flag("blend-from", text(&edit["blend_from"]));
    }
    for (word, factor) in edit["weight"].as_object().into_iter().flatten() {
        flag("weight", format!("{word}={factor}"));
    }
    for name in ["seed", "steps", "guidance", "scheduler", "width", "height"] {
        flag(name, text(&manifest[name]));
    }
    flag("negative-prompt", text(&manifest["negative_prompt"]));
    flag("self-res", text(&manifest["self_res"]));
    if let Some(compat) = manifest["compat"].as_str() {
        flag("compat", compat.to_owned());
    }
    if manifest["edit_control"] == false {
        args.push("--no-edit-control".to_owned());
    }
    if manifest["baseline"] == true {
        args.push("--baseline".to_owned());
    }
    args
}

#[test]
fn a_manifest_is_enough_to_repeat_its_run() {
    let place = Place::new();
    let choices = "--cross-steps 0.1..0.9 --cross-steps car=0.5 --self-steps 0.6 --weight red=1.3 \
        --guidance 3.25 --negative-prompt fog --self-res 1 --compat reference --baseline -o first";
    let choices: Vec<&str> = choices.split_whitespace().collect();
    let more = "--cross-steps 0.2~0.9 --blend bicycle:car --blend-keep big --blend-threshold 0.2,0.6 \
        --blend-from 0 --weight big=2 --weight-steps 0.5..1 --strength 0.8 --inject-latents steps:1 \
        --scheduler pndm --edit mixed -o first --force";
    let more: Vec<&str> = more.split_whitespace().collect();
    let preset = ["--preset", "free-shape", "-o", "first", "--force"];
    for choices in [&choices[..], &["-o", "first", "--force"], &more, &preset] {
        place.edit(choices);
        let manifest = json(&place.bytes("first/manifest.json"));
        let mut args = again(&manifest);
        args.extend(["-o", "second", "--force"].map(str::to_owned));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        place.succeed(&args);
        for file in manifest["files"].as_array().unwrap() {
            let file = file.as_str().unwrap();
            if file.ends_with(".png") {
                let same =
                    place.bytes(&format!("first/{file}")) == place.bytes(&format!("second/{file}"));
                assert!(same, "{file} differs");
            }
        }
    }
}
