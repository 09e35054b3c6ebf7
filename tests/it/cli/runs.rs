//! Runs that succeed: their files, both streams, the manifest as a recipe, determinism.

use image::GenericImageView;
use serde_json::Value;

use super::{EDIT, Place, stderr, stdout};

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn size(place: &Place, name: &str) -> (u32, u32) {
    image::load_from_memory(&place.bytes(name))
        .unwrap()
        .dimensions()
}

#[test]
fn paths_go_to_stdout_and_progress_to_stderr() {
    let place = Place::new();
    let output = place.edit(&["--dst", "a big red boat", "--seed", "7", "-o", "new/out"]);
    let files = [
        "source.png",
        "edited-1.png",
        "edited-2.png",
        "strip.png",
        "manifest.json",
    ];
    let paths: String = files.map(|f| format!("new/out/{f}\n")).concat();
    assert_eq!(stdout(&output), paths);
    let mut expected: Vec<String> = files.map(|f| format!("new/out/{f}")).into();
    expected.extend(["new".to_owned(), "new/out".to_owned()]);
    expected.sort();
    assert_eq!(place.listing(), expected);

    let said = stderr(&output);
    for part in [
        "storybook: 64x64, 2 steps",
        "seed 7",
        "edit 2: replace (both prompts have 4 words)",
        "step 1/2",
        "it/s",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_ne!(
        place.bytes("new/out/source.png"),
        place.bytes("new/out/edited-1.png")
    );
}

#[test]
fn the_default_folder_is_named_by_edit_and_random_seed() {
    let place = Place::new();
    let first = place.edit(&[]);
    let second = place.edit(&["-q"]);
    assert_eq!(stderr(&second), "");
    let folder = |paths: String| paths.lines().next().unwrap().replace("/source.png", "");
    let (first_folder, second_folder) = (folder(stdout(&first)), folder(stdout(&second)));
    assert_ne!(
        first_folder, second_folder,
        "each run has a seed of its own"
    );
    let manifest = json(&place.bytes(&format!("{first_folder}/manifest.json")));
    let seed = &manifest["seed"];
    assert_eq!(
        first_folder,
        format!("p2p-out/a-big-red-bicycle--a-big-red-car-{seed}")
    );
    assert!(stderr(&first).contains(&format!("seed {seed}\n")));
}

#[test]
fn json_is_the_manifest_and_nothing_else() {
    let place = Place::new();
    let output = place.edit(&["--json", "-o", "out"]);
    assert_eq!(output.stdout, place.bytes("out/manifest.json"));
    let manifest = json(&output.stdout);
    assert_eq!(manifest["edits"][0]["prompt"], "a big red car");
    assert_eq!(manifest["edits"][0]["edit"], "replace");
    assert_eq!(manifest["files"][1], "edited-1.png");
}

#[test]
fn latents_are_saved_on_request() {
    let place = Place::new();
    let latents = ["--save-latents", "latents.safetensors"];
    let size = ["--width", "96", "-o", "out", "--dst", "a red car"];
    let output = place.succeed(&[&EDIT[..7], &latents, &size, &["--height", "64"]].concat());
    assert!(stdout(&output).ends_with("manifest.json\nlatents.safetensors\n"));
    let bytes = place.bytes("latents.safetensors");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.names(), ["latents"]);
    let tensor = tensors.tensor("latents").unwrap();
    assert_eq!(tensor.dtype(), safetensors::Dtype::F32);
    let manifest = json(&place.bytes("out/manifest.json"));
    assert_eq!(manifest["edits"].as_array().unwrap().len(), 2);
    let (height, width) = (tensor.shape()[2], tensor.shape()[3]);
    assert_eq!(tensor.shape(), [3, 4, height, width]);
    assert_eq!(width * 64, height * 96, "as wide as the picture");
}

#[test]
fn latents_may_lie_beside_the_pictures() {
    let place = Place::new();
    let flags = ["-o", "new/out", "--save-latents", "./new/out/latents"];
    let output = place.edit(&flags);
    assert!(stdout(&output).ends_with("new/out/latents\nnew/out/manifest.json\n"));
    assert!(place.path("new/out/latents").is_file());
    place.edit(&["-o", "new/out", "--force", "--save-latents", "new/latents"]);
    assert!(place.path("new/latents").is_file());
    assert!(!place.path("new/out/latents").exists(), "the earlier run's");
}

#[test]
fn pictures_need_not_be_square() {
    let place = Place::new();
    place.succeed(
        &[
            &EDIT[..7],
            &["--width", "96", "--height", "40", "-o", "out"],
        ]
        .concat(),
    );
    assert_eq!(size(&place, "out/source.png"), (96, 40));
    assert_eq!(size(&place, "out/edited-1.png"), (96, 40));
}

#[test]
fn a_baseline_widens_the_strip_and_equals_no_edit_control() {
    let place = Place::new();
    place.edit(&["--seed", "3", "-o", "plain"]);
    let output = place.edit(&["--seed", "3", "-o", "both", "--baseline"]);
    assert!(stdout(&output).contains("both/baseline-1.png\n"));
    assert!(size(&place, "both/strip.png").0 > size(&place, "plain/strip.png").0);
    for name in ["source.png", "edited-1.png"] {
        let both = place.bytes(&format!("both/{name}"));
        assert_eq!(both, place.bytes(&format!("plain/{name}")), "{name}");
    }
    let free = place.edit(&["--seed", "3", "-o", "free", "--no-edit-control"]);
    assert!(stderr(&free).contains("edit 1: without control"));
    let edited = place.bytes("free/edited-1.png");
    assert_eq!(edited, place.bytes("both/baseline-1.png"));
    assert_ne!(edited, place.bytes("plain/edited-1.png"));
}

#[test]
fn a_weight_alone_edits_the_source_prompt() {
    let place = Place::new();
    let prompt = ["edit", "--src", "a big red bicycle", "--steps", "2"];
    let flags = ["--weight", "red=-1", "--weight", "big=3", "--seed", "1"];
    let output = place.succeed(&[&prompt[..], &flags].concat());
    let folder = "p2p-out/a-big-red-bicycle--red-1-big-3-1";
    assert!(stdout(&output).starts_with(folder), "{}", stdout(&output));
    assert!(stderr(&output).contains("warning: big=3 is outside"));
    let manifest = json(&place.bytes(&format!("{folder}/manifest.json")));
    assert_eq!(manifest["edits"][0]["prompt"], "a big red bicycle");
    assert_eq!(manifest["edits"][0]["weight"]["red"], -1.0);
    assert_ne!(
        place.bytes(&format!("{folder}/source.png")),
        place.bytes(&format!("{folder}/edited-1.png"))
    );
}

#[test]
fn force_replaces_an_earlier_run() {
    let place = Place::new();
    place.edit(&["--dst", "a big red boat", "--seed", "1", "-o", "out"]);
    let before = place.bytes("out/source.png");
    std::fs::write(place.path("out/mine.txt"), "kept").unwrap();
    place.edit(&["--seed", "2", "-o", "out", "--force"]);
    assert_ne!(place.bytes("out/source.png"), before);
    assert!(!place.path("out/edited-2.png").exists());
    assert_eq!(place.bytes("out/mine.txt"), b"kept");
}

/// A command line made of nothing but a manifest's values.
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

#[test]
fn fresh_noise_comes_from_the_seed() {
    let place = Place::new();
    let latents = |out: &str, scheduler: &str| {
        let flags = ["--seed", "1", "-o", out, "--save-latents", "latents"];
        let flags = [&flags[..], &["--force", "--scheduler", scheduler]].concat();
        place.edit(&flags);
        let manifest = json(&place.bytes(&format!("{out}/manifest.json")));
        assert_eq!(manifest["seed"], 1);
        (manifest["scheduler"].clone(), place.bytes("latents"))
    };
    let first = latents("first", "euler-a");
    assert_eq!(first.0, "euler-a");
    assert_eq!(first, latents("second", "Euler a"));
    let picture = |out: &str| place.bytes(&format!("{out}/edited-1.png"));
    assert_eq!(picture("first"), picture("second"));
    assert_ne!(first.1, latents("third", "euler").1);
}

#[test]
fn progress_counts_the_calls() {
    let place = Place::new();
    let said = stderr(&place.edit(&["--scheduler", "pndm"]));
    assert!(said.contains("64x64, 2 steps"), "{said}");
    assert!(said.contains("step 1/3"), "{said}");
}

/// The kinds of a PNG's chunks, in order, once each.
fn chunks(png: &[u8]) -> Vec<String> {
    let (mut kinds, mut rest) = (vec![], &png[8..]);
    while let [a, b, c, d, kind @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        kinds.push(String::from_utf8_lossy(&kind[..4]).into_owned());
        rest = &kind[4 + length + 4..];
    }
    kinds.dedup();
    kinds
}

#[test]
fn threads_and_places_change_no_byte() {
    let run = |threads: &str, out: &str| {
        let place = Place::new();
        let flags = ["--threads", threads, "--seed", "5", "-o", out];
        let latents = ["--save-latents", "latents", "--weight", "red=2"];
        // At the model's native size, where there is work to share.
        place.succeed(&[&EDIT[..7], &flags, &latents].concat());
        let pictures = ["source.png", "edited-1.png", "strip.png"];
        let pictures = pictures.map(|f| place.bytes(&format!("{out}/{f}")));
        (pictures, place.bytes("latents"))
    };
    let (one, two) = (run("1", "one"), run("2", "somewhere/else"));
    assert!(one == two, "a byte depends on threads or place");
    let told = ["IHDR", "tEXt", "iTXt", "IDAT", "IEND"];
    let [source, edited, strip] = one.0.each_ref().map(|png| chunks(png));
    assert_eq!(
        (&source[..], &edited[..]),
        (&told.map(str::to_owned)[..], &source[..])
    );
    assert_eq!(strip, ["IHDR", "iTXt", "IDAT", "IEND"]);
}

#[test]
fn a_word_the_embedded_model_was_never_taught_is_named() {
    let place = Place::new();
    let warned = |src: &str| {
        let out = src.replace(' ', "-");
        let flags = ["--weight", "red=1", "--steps", "1", "-o", &out];
        stderr(&place.succeed(&[&["edit", "--src", src][..], &flags].concat()))
    };
    let unknown = warned("a red dragon, on the strett");
    assert!(
        unknown.contains("storybook was never taught the word \"dragon\"\n"),
        "{unknown}"
    );
    assert!(
        unknown.contains("\"strett\"; did you mean \"street\"?"),
        "{unknown}"
    );
    assert!(!warned("A red child's BALL, on the street!").contains("taught"));
}

#[test]
fn masks_are_saved_and_taken_back() {
    let place = Place::new();
    let blend = "--blend auto --blend-threshold 0.8 --blend-from 0 --seed 1 --save-mask -o first";
    let output = place.edit(&blend.split(' ').collect::<Vec<_>>());
    assert!(stdout(&output).contains("first/mask-1.png\n"));
    assert_eq!(size(&place, "first/mask-1.png"), (64, 64));
    let manifest = json(&place.bytes("first/manifest.json"));
    let files = manifest["files"].as_array().unwrap();
    assert!(files.contains(&Value::from("mask-1.png")));
    assert_eq!(manifest["edits"][0]["blend"][0], "auto");
    // The run's own mask, given back, confines as the words did at the end.
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
fn every_edit_says_what_it_did() {
    let place = Place::new();
    let black = image::GrayImage::new(64, 64);
    black.save(place.path("black.png")).unwrap();
    let said = |more: &str| {
        let more: Vec<&str> = more.split_whitespace().collect();
        stderr(&place.edit(&[&more[..], &["--seed", "1", "--force", "-o", "out"]].concat()))
    };
    assert!(said("").contains("edit 1: changed by "));
    // Nothing happened, and why.
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
fn an_edit_of_an_edit_is_measured_against_it() {
    let place = Place::new();
    let said = stderr(&place.edit(&["--then", "a small red car", "--seed", "1", "-o", "out"]));
    assert!(said.contains("edit 2 (of edit 1): changed by "), "{said}");
}

/// The default folder gives way: other settings of the same prompts are what one tries next.
#[test]
fn a_default_folder_is_never_in_the_way() {
    let place = Place::new();
    let folders = [
        &["--seed", "1"][..],
        &["--seed", "1", "--strength", "0.1,1"],
    ]
    .map(|flags| {
        let paths = stdout(&place.edit(flags));
        paths
            .lines()
            .next()
            .unwrap()
            .rsplit_once('/')
            .unwrap()
            .0
            .to_owned()
    });
    let first = "p2p-out/a-big-red-bicycle--a-big-red-car-1";
    assert_eq!(folders, [first.to_owned(), format!("{first}-2")]);
}

/// The promises, on the embedded model.
#[test]
fn blend_keeps_the_beach_and_the_bear() {
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
    // The pink bear: only its bicycle changes.
    let bear = "edit|--src|a pink bear riding a bicycle|--weight|pink=-1|--blend|bicycle|--blend-keep|bear|--seed|1";
    let kept = outside(&bear.split('|').collect::<Vec<_>>(), "bear");
    assert!(kept > 30.0, "{kept:.1} dB");
}

#[test]
fn edits_of_edits_and_morphs() {
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
fn explain_draws_nothing() {
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
    assert_eq!(auto["edits"][0]["edit"], "replace", "so does auto");
}

#[test]
fn a_mask_that_is_white_all_over_confines_nothing() {
    let place = Place::new();
    let white = image::GrayImage::from_pixel(64, 64, image::Luma([255]));
    white.save(place.path("white.png")).unwrap();
    let said = stderr(&place.edit(&["--mask", "white.png", "--seed", "1", "-o", "out"]));
    assert!(said.contains("paint black in --mask"), "{said}");
}
