//! `p2p rerun`: a picture is repeated from its metadata, with or without changed settings.

use serde_json::json;

use super::metadata::{info, pngs, settings, texts};
use super::{Place, stderr};

/// `p2p rerun` needs only the picture, and writes the same bytes again.
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
        "--compat reference --dst a@red@boat --then huge@red@boat --weight red=2",
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
        // The mask file is hidden: the picture alone must be enough.
        std::fs::rename(place.path("half.png"), place.path("hidden.png")).unwrap();
        // The last picture of each kind depends on the most settings.
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
            assert!(same, "{flags:?}: rerun of {file} differs");
        }
        std::fs::rename(place.path("hidden.png"), place.path("half.png")).unwrap();
    }
}

#[test]
fn set_changes_settings_of_a_rerun() {
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
}

/// `--set` can add an edit to a source, and change the last edit of a chain.
#[test]
fn set_adds_and_changes_edits_of_a_rerun() {
    let place = Place::new();
    place.edit(&["--seed", "3", "--cross-steps", "car=0.5", "-o", "first"]);
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
fn invalid_changes_are_refused() {
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
