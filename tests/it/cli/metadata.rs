//! Pictures that carry their story: what it holds, that it can be left out, read, repeated, checked.

use prompt_to_prompt::report::png;
use serde_json::{Value, json};

use super::{EDIT, Place, stderr, stdout};

/// What `p2p info --json` says.
fn info(place: &Place, file: &str) -> Value {
    serde_json::from_slice(&place.succeed(&["info", file, "--json"]).stdout).unwrap()
}

fn settings(place: &Place, file: &str) -> Value {
    info(place, file)["metadata"]["settings"].clone()
}

fn pngs(place: &Place) -> Vec<String> {
    let all = place.listing().into_iter();
    all.filter(|name| name.ends_with(".png")).collect()
}

/// Names of the texts, in order.
fn texts(place: &Place, file: &str) -> Vec<String> {
    let contents = png::read(&place.bytes(file)).unwrap();
    contents
        .texts
        .into_iter()
        .map(|text| text.keyword)
        .collect()
}

#[test]
fn pictures_say_how_they_were_drawn() {
    let place = Place::new();
    place.edit(&[
        "--seed",
        "4",
        "-o",
        "out",
        "--baseline",
        "--heatmaps",
        "--save-mask",
    ]);
    let whole = ["parameters", "p2p", "XML:com.adobe.xmp"];
    for file in pngs(&place) {
        let expected = match &*file {
            "out/source.png" | "out/edited-1.png" | "out/baseline-1.png" => &whole[..],
            // What shows a picture is marked, what shows numbers is not.
            file if file.contains("strip") || file.contains("grid") => &whole[2..],
            file if file.contains("overlay") => &whole[2..],
            _ => &[],
        };
        let mut found = texts(&place, &file);
        found.sort_by_key(|name| whole.iter().position(|known| known == name));
        assert_eq!(found, expected, "{file}");
    }

    let edited = info(&place, "out/edited-1.png");
    assert_eq!(edited["tool"], "p2p");
    assert_eq!(edited["prompt"], "a big red car");
    assert_eq!(edited["digital_source_type"], "trainedAlgorithmicMedia");
    let story = &edited["metadata"];
    assert_eq!(story["schema"], "p2p.edit/v1");
    assert_eq!(story["generator"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (&story["role"], &story["rng"]),
        (&json!("edited"), &json!("torch-cpu"))
    );
    assert_eq!(story["model"]["id"], "storybook");
    let common = json!({
        "src": "a big red bicycle", "negative_prompt": "", "seed": 4, "steps": 2, "guidance": 5.0,
        "width": 64, "height": 64, "scheduler": "ddim", "fast": false
    });
    let with = |more: Value| {
        let mut all = common.clone();
        let more = more.as_object().unwrap().clone();
        all.as_object_mut().unwrap().extend(more);
        all
    };
    let edit = json!({
        "dst": "a big red car", "edit": "replace", "cross_steps": { "default": "0..0.8" },
        "self_steps": "0..0.6", "strength": 1.0
    });
    let control = json!({ "self_res": 1, "edit_control": true, "edit": [edit] });
    assert_eq!(story["settings"], with(control));
    assert_eq!(
        settings(&place, "out/source.png"),
        with(json!({ "edit": [] }))
    );
    let free = json!({ "edit_control": false, "edit": [{ "dst": "a big red car" }] });
    assert_eq!(settings(&place, "out/baseline-1.png"), with(free));

    let manifest: Value = serde_json::from_slice(&place.bytes("out/manifest.json")).unwrap();
    let listed = manifest["pictures"].as_array().unwrap();
    let of = |i: usize, key: &str| listed[i][key].clone();
    assert_eq!(of(1, "settings"), story["settings"]);
    assert_eq!([of(0, "file"), of(0, "role")], ["source.png", "source"]);
    assert_eq!(
        [of(2, "file"), of(2, "role")],
        ["baseline-1.png", "baseline"]
    );
    assert_eq!((of(0, "edit"), of(2, "edit")), (Value::Null, json!(1)));

    let said = stdout(&place.succeed(&["info", "out/edited-1.png"]));
    for line in ["prompt  ", "a big red car\n", "  default 0..0.8\n", "seed"] {
        assert!(said.contains(line), "{line:?}: {said}");
    }
}

#[test]
fn metadata_can_be_left_out_and_leaves_the_same_pixels() {
    let place = Place::new();
    let flags = "--seed 4 --heatmaps --save-mask --baseline -o";
    let flags: Vec<&str> = flags.split(' ').collect();
    place.edit(&[&flags[..], &["with"]].concat());
    place.edit(&[&flags[..], &["without", "--no-metadata"]].concat());
    let args = [&EDIT, &flags[..], &["variable"]].concat();
    let output = place.p2p_with("P2P_METADATA", "none", &args);
    assert!(output.status.success(), "{}", stderr(&output));
    for file in pngs(&place).iter().filter_map(|f| f.strip_prefix("with/")) {
        let bare = place.bytes(&format!("without/{file}"));
        assert_eq!(texts(&place, &format!("without/{file}")), [""; 0], "{file}");
        assert!(bare == place.bytes(&format!("variable/{file}")), "{file}");
        let with = image::load_from_memory(&place.bytes(&format!("with/{file}"))).unwrap();
        let plain = match with.color() {
            image::ColorType::L8 => png::encode(&with.to_luma8(), &[]),
            _ => png::encode(&with.to_rgb8(), &[]),
        };
        assert!(
            bare == plain.unwrap(),
            "{file} is not as if written without"
        );
    }
    let args = [&EDIT[..], &["-o", "new"]].concat();
    let output = place.p2p_with("P2P_METADATA", "some", &args);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("use P2P_METADATA=none"));
}

/// Nothing of a picture tells which others were drawn beside it, or where.
#[test]
fn a_picture_is_the_same_whatever_it_was_drawn_with() {
    let place = Place::new();
    let words = "--weight car=1.5 --weight boat=0.5 --weight big=2 --weight-steps 0..0.5 \
        --cross-steps car=0.5 --cross-steps boat=0.3 --blend bicycle:car --blend bicycle:boat \
        --blend-keep big --blend-from 0 --seed 3";
    let words: Vec<&str> = words.split_whitespace().collect();
    let edits = [
        "--dst",
        "a big red boat",
        "--dst",
        "a small house",
        "--then",
        "a small blue house",
    ];
    let many = ["-o", "many", "--baseline", "--threads", "1"];
    place.edit(&[&words[..], &edits, &many].concat());
    let single = |out: &str, flags: &[&str], words: &str| {
        let words: Vec<&str> = words.split_whitespace().collect();
        place.succeed(&[&EDIT[..3], flags, &EDIT[5..], &words, &["-o", out]].concat());
    };
    single(
        "car",
        &["--dst", "a big red car"],
        "--weight car=1.5 --weight big=2 \
        --weight-steps 0..0.5 --cross-steps car=0.5 --blend bicycle:car --blend-keep big \
        --blend-from 0 --seed 3",
    );
    single(
        "boat",
        &["--dst", "a big red boat"],
        "--weight boat=0.5 --weight big=2 \
        --weight-steps 0..0.5 --cross-steps boat=0.3 --blend bicycle:boat --blend-keep big \
        --blend-from 0 --seed 3",
    );
    let chain = ["--dst", "a small house", "--then", "a small blue house"];
    single("house", &chain, "--blend-keep big --blend-from 0 --seed 3");
    single(
        "free",
        &["--dst", "a small blue house"],
        "--no-edit-control --seed 3",
    );
    for (one, among) in [
        ("car/source", "source"),
        ("car/edited-1", "edited-1"),
        ("boat/edited-1", "edited-2"),
        ("house/edited-1", "edited-3"),
        ("house/edited-2", "edited-4"),
        ("free/edited-1", "baseline-4"),
    ] {
        let among = format!("many/{among}.png");
        assert_eq!(
            settings(&place, &format!("{one}.png")),
            settings(&place, &among),
            "{one}"
        );
        let same = place.bytes(&format!("{one}.png")) == place.bytes(&among);
        assert!(same, "{one} differs from {among}");
    }
    let house = settings(&place, "many/edited-4.png");
    assert_eq!(house["edit"][0]["dst"], "a small house");
    assert_eq!(house["edit"][1]["then"], "a small blue house");
}

#[test]
fn files_that_tell_nothing_are_named_so() {
    let place = Place::new();
    place.edit(&["--seed", "4", "-o", "out", "--no-metadata"]);
    place.edit(&["--seed", "4", "-o", "told"]);
    let whole = place.bytes("told/edited-1.png");
    std::fs::write(place.path("torn.png"), &whole[..whole.len() - 20]).unwrap();
    std::fs::write(place.path("text.png"), "hello").unwrap();
    for command in ["info", "rerun", "verify"] {
        for (file, cause) in [
            ("out/edited-1.png", "has no metadata of how it was drawn"),
            (
                "told/strip.png",
                "trainedAlgorithmicMedia, but not how it was drawn",
            ),
            ("torn.png", "torn.png is damaged: it ends too early"),
            ("text.png", "text.png is not a PNG picture"),
            ("nowhere.png", "cannot read nowhere.png"),
            ("out", "cannot read out"),
        ] {
            let output = place.p2p(&[command, file]);
            assert_eq!(output.status.code(), Some(2), "{command} {file}");
            assert!(stderr(&output).contains(cause), "{}", stderr(&output));
            assert_eq!(stderr(&output).lines().count(), 2);
        }
    }
}

/// A picture repeated from its metadata alone, and one whose settings were repeated, are the same bytes.
#[test]
fn pictures_are_repeated_to_the_byte() {
    let place = Place::new();
    let half = image::GrayImage::from_fn(64, 64, |x, y| image::Luma([(x * 4 + y / 9) as u8]));
    half.save(place.path("half.png")).unwrap();
    let runs = [
        "--baseline --negative-prompt fog --guidance 3.3 --scheduler pndm --self-res 2",
        "--cross-steps 0.2~0.9 --cross-steps car=0.5 --weight red=1.3 --weight big=-0.7 \
         --weight-steps 0.5..1 --strength 0.8 --inject-latents steps:1 --self-steps 0.1..0.7",
        "--blend bicycle:car --blend red --blend-keep big --blend-threshold 0.2,0.6 --blend-from 0 \
         --blend-soft --edit mixed",
        "--mask half.png --blend-from 0 --blend-soft --fast",
        "--mask half.png --blend auto --blend-from 0 --then huge@red@boat",
        "--preset free-shape --blend-from 0",
        "--compat reference --dst a@huge@red@boat --weight red=2 --weight huge=3 --self-steps 1",
        "--no-edit-control --scheduler euler-a --seed 18446744073709551615",
        "--no-source --strength 0.5,1",
    ];
    for (i, flags) in runs.iter().enumerate() {
        let out = format!("run-{i}");
        let flags: Vec<String> = flags
            .split_whitespace()
            .map(|f| f.replace('@', " "))
            .collect();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let seed: &[&str] = if flags.contains(&"--seed") {
            &[]
        } else {
            &["--seed", "3"]
        };
        place.edit(&[&flags[..], seed, &["-q", "-o", &out]].concat());
        // Nothing but the picture is needed.
        std::fs::rename(place.path("half.png"), place.path("hidden.png")).unwrap();
        // Of each kind the last: it has the longest way behind it.
        let kinds = ["source", "edited", "baseline"].into_iter();
        let last = |kind| {
            let of_kind = |file: &String| file.starts_with(&format!("{out}/{kind}"));
            pngs(&place).into_iter().rfind(of_kind)
        };
        // The sources of all runs but the first are alike.
        let pictures = kinds.skip(usize::from(i > 0)).filter_map(last);
        for (n, file) in pictures.enumerate() {
            let again = format!("again-{i}-{n}");
            place.succeed(&["rerun", &file, "-q", "-o", &again]);
            let drawn = pngs(&place).into_iter().filter(|f| f.starts_with(&again));
            let last = drawn.filter(|f| !f.contains("strip")).max_by_key(|f| {
                // An edit comes after the source.
                (f.contains("edited"), f.clone())
            });
            let same = place.bytes(&last.unwrap()) == place.bytes(&file);
            assert!(same, "{flags:?}: {file} comes out otherwise");
        }
        std::fs::rename(place.path("hidden.png"), place.path("half.png")).unwrap();
    }
}

#[test]
fn a_repetition_may_be_changed() {
    let place = Place::new();
    place.edit(&["--seed", "3", "--cross-steps", "car=0.5", "-o", "first"]);
    let rerun = |out: &str, changes: &[&str]| {
        let sets = changes.iter().flat_map(|change| ["--set", change]);
        let args: Vec<&str> = ["rerun", "first/edited-1.png", "-q", "-o", out].into();
        place.succeed(&args.into_iter().chain(sets).collect::<Vec<_>>());
        settings(&place, &format!("{out}/edited-1.png"))
    };
    let changed = rerun(
        "seed",
        &["seed=7", "cross_steps.car=0.2", "cross-steps.default=0.9"],
    );
    assert_eq!(changed["seed"], 7);
    let windows = json!({ "default": "0..0.9", "car": "0..0.2" });
    assert_eq!(changed["edit"][0]["cross_steps"], windows);
    let same = [
        "--seed",
        "7",
        "--cross-steps",
        "car=0.2",
        "--cross-steps",
        "0.9",
    ];
    place.edit(&[&same[..], &["-o", "same"]].concat());
    for file in ["source", "edited-1"] {
        let bytes = |out: &str| place.bytes(&format!("{out}/{file}.png"));
        assert!(bytes("same") == bytes("seed"), "{file}");
    }
    let changed = rerun(
        "prompt",
        &["dst=a big, \"red\" boat", "edit=auto", "cross_steps=0.6"],
    );
    assert_eq!(changed["edit"][0]["dst"], "a big, \"red\" boat");
    assert_eq!(
        changed["edit"][0]["cross_steps"],
        json!({ "default": "0..0.6" })
    );
    let changed = rerun(
        "words",
        &["weight={ red = 2, big = 0.1 }", "blend=[\"auto\"]"],
    );
    assert_eq!(
        changed["edit"][0]["weight"],
        json!({ "red": 2.0, "big": 0.1 })
    );
    assert_eq!(changed["edit"][0]["blend"], json!(["auto"]));
    let changed = rerun("free", &["edit_control=false"]);
    assert_eq!(changed["edit"], json!([{ "dst": "a big red car" }]));
    // A source may become an edit, a chain's last link change.
    let args = [
        "rerun",
        "first/source.png",
        "--set",
        "dst=a cat",
        "-q",
        "-o",
        "cat",
    ];
    place.succeed(&args);
    assert_eq!(info(&place, "cat/edited-1.png")["prompt"], "a cat");
    let then = [
        "rerun",
        "first/edited-1.png",
        "--set",
        "heatmaps=true",
        "--no-metadata",
    ];
    place.succeed(&[&then[..], &["-q", "-o", "maps"]].concat());
    assert!(place.path("maps/attn/grid.png").is_file());
    assert_eq!(texts(&place, "maps/edited-1.png"), [""; 0]);
    place.edit(&[
        "--then",
        "a small red car",
        "--seed",
        "3",
        "-q",
        "-o",
        "chain",
    ]);
    let links = [
        "rerun",
        "chain/edited-2.png",
        "--set",
        "then=a tiny red car",
        "--set",
        "seed=1",
    ];
    place.succeed(&[&links[..], &["--set", "strength=0.5", "-q", "-o", "links"]].concat());
    let edits = settings(&place, "links/edited-2.png")["edit"].clone();
    assert_eq!(
        (&edits[0]["dst"], &edits[1]["then"]),
        (&json!("a big red car"), &json!("a tiny red car"))
    );
    assert_eq!(
        (&edits[0]["strength"], &edits[1]["strength"]),
        (&json!(1.0), &json!(0.5))
    );
}

#[test]
fn changes_that_cannot_be_are_refused() {
    let place = Place::new();
    place.edit(&["--seed", "3", "-o", "first"]);
    for (change, cause, cure) in [
        (
            "sede=7",
            "--set sede=7: there is no setting sede",
            "did you mean `seed`?",
        ),
        ("seed", "--set seed: it has no value", "write KEY=VALUE"),
        (
            "seed=x",
            "`seed` cannot be \"x\"",
            "use a whole number from 0 to",
        ),
        (
            "cross_steps=1.4",
            "`cross_steps` cannot be \"1.4\"",
            "fractions of the run",
        ),
        (
            "seed.car=1",
            "`seed` is not set per word",
            "leave the word out",
        ),
        ("fast=7", "`fast` cannot be 7", "write true or false"),
        (
            "weight.zebra=2",
            "\"zebra\" is not a word of the edited",
            "its words: a, big",
        ),
        (
            "src=",
            "prompt of --src is empty",
            "write what the picture shows",
        ),
    ] {
        let output = place.p2p(&["rerun", "first/edited-1.png", "--set", change, "-o", "x"]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{change}: {said}");
        assert!(
            said.contains(cause) && said.contains(cure),
            "{change}: {said}"
        );
        assert!(!place.path("x").exists());
    }
}

#[test]
fn pictures_are_verified() {
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

/// A copy of a picture whose story is `edit`ed.
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
fn the_model_that_drew_it_is_wanted() {
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
