//! Metadata in PNG files: what `p2p` writes into a picture, how a user leaves it out, and what `p2p info`
//! shows.

use prompt_to_prompt::report::png;
use serde_json::{Value, json};

use super::{EDIT, Place, stderr, stdout};

/// The output of `p2p info --json`.
pub(super) fn info(place: &Place, file: &str) -> Value {
    serde_json::from_slice(&place.succeed(&["info", file, "--json"]).stdout).unwrap()
}

pub(super) fn settings(place: &Place, file: &str) -> Value {
    info(place, file)["metadata"]["settings"].clone()
}

pub(super) fn pngs(place: &Place) -> Vec<String> {
    let all = place.listing().into_iter();
    all.filter(|name| name.ends_with(".png")).collect()
}

/// Keywords of the PNG text chunks, in file order.
pub(super) fn texts(place: &Place, file: &str) -> Vec<String> {
    let contents = png::read(&place.bytes(file)).unwrap();
    contents
        .texts
        .into_iter()
        .map(|text| text.keyword)
        .collect()
}

#[test]
fn pictures_contain_their_settings() {
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
            // Files that contain a drawn picture are marked as AI-generated, plain maps are not.
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
}

#[test]
fn the_manifest_lists_pictures_with_their_settings() {
    let place = Place::new();
    place.edit(&["--seed", "4", "-o", "out", "--baseline"]);
    let story = &info(&place, "out/edited-1.png")["metadata"];
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

/// A picture is independent of the other pictures of its run and of the output folder.
#[test]
fn a_picture_is_the_same_alone_and_among_others() {
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
fn files_without_metadata_are_refused() {
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
                "trainedAlgorithmicMedia, but has no metadata of how it was drawn",
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
