//! Flags of heatmaps: what is chosen with them, what they cost, and what is refused.

use image::GenericImageView;
use serde_json::Value;

use super::super::{EDIT, Place, stderr, stdout};
use super::{SMALL, each, heatmap, index_of, picture};

/// Options that cost time or disk space print an estimate before the first step, within a factor of three.
#[test]
fn costs_are_told_before_they_are_spent() {
    let place = Place::new();
    let told = |more: &[&str]| {
        let flags = ["--force", "-o", "out", "--prompt", "a cat"];
        stderr(&place.succeed(&[&SMALL[..], &flags, more].concat()))
    };
    let flags = ["--head", "all", "--at-steps", "each", "--raw", "--enlarge"];
    for enlarge in ["bicubic", "nearest"] {
        let said = told(&[&flags[..], &[enlarge]].concat());
        let twice = "heatmaps: the attention of 3 layers is computed twice; the maps take 4 KiB";
        let (before, after) = said.split_once(twice).unwrap_or_else(|| panic!("{said}"));
        assert!(!before.contains("step 1/2") && after.contains("step 1/2"));
        let (files, bytes) = below(&place.path("out/attn"));
        assert!(
            after.contains(&format!("; {files} files in attn/ take about ")),
            "{said}"
        );
        let (_, rest) = after.split_once("take about ").unwrap();
        let (kib, _) = rest.split_once(" KiB").unwrap();
        let off = kib.parse::<f64>().unwrap() * 1024.0 / bytes as f64;
        assert!(
            (0.3..3.0).contains(&off),
            "{enlarge}: {kib} KiB for {bytes} bytes"
        );
    }
    assert!(!told(&[]).contains("heatmaps:"));
}

/// Number of files in a folder and its subfolders, and their size in bytes.
fn below(folder: &std::path::Path) -> (usize, u64) {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap());
    let sizes = entries.map(|entry| {
        if entry.path().is_dir() {
            below(&entry.path())
        } else {
            (1, entry.metadata().unwrap().len())
        }
    });
    sizes.fold((0, 0), |sum, next| (sum.0 + next.0, sum.1 + next.1))
}

/// Flags that select nothing or have no effect are usage errors, and no folder is written.
#[test]
fn flags_without_effect_are_refused() {
    let cases: [(&[&str], &str); 18] = [
        (&["--words", "dog"], "\"dog\" is not a word of the prompt"),
        (&["--locate", "bat"], "did you mean \"cat\"?"),
        (&["--rows", "edited"], "there is no edited row to show"),
        (&["--edited-as", "own"], "nothing is edited"),
        (
            &["--res", "8"],
            "use --res all or --res 1 or --res 2 or --res 4",
        ),
        (
            &["--place", "mid"],
            "mid has no cross-attention at this resolution",
        ),
        (&["--place", "mid"], "use --res all or --res 4; p2p sites"),
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
        (
            &["--at-steps", "0,2"],
            "use all, each, a range such as 0..0.5 or steps:10..40, or a list",
        ),
        (&["--threshold", "0.4"], "--locate <WORDS>"),
        (&["--like", "daam", "--res", "1"], "cannot be used with"),
        (&["--layer", "1", "--place", "up"], "cannot be used with"),
        (&["--show"], "--show needs a terminal on stdout"),
    ];
    let place = Place::new();
    for (flags, part) in cases {
        let output = place.p2p(&[&SMALL[..], &["-o", "out", "--prompt", "a cat"], flags].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {said}");
        assert!(said.contains(part), "{flags:?}: {said}");
        assert!(place.listing().is_empty(), "{flags:?}");
    }
    let edit = |flags: &[&str]| stderr(&place.p2p(&[&EDIT[..], flags].concat()));
    assert!(edit(&["--map-words", "car"]).contains("--heatmaps"));
    // Errors name flags as this command spells them, and leave the user's own text alone.
    let said = edit(&["--heatmaps", "--map-words", "a--b"]);
    assert!(said.contains("\"a--b\" is not a word"), "{said}");
    let said = edit(&["--heatmaps", "--map-at", "0,0"]);
    assert!(
        said.contains("add --map-kind self, or leave --map-at out"),
        "{said}"
    );
    let said = edit(&["--heatmaps", "--map-place", "mid"]);
    assert!(said.contains("use --map-res all or --map-res 4"), "{said}");
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

/// `--at-steps` takes four kinds of values, and the error for any other value lists them.
#[test]
fn steps_are_chosen_in_four_ways() {
    let place = Place::new();
    let steps = |value: &str| {
        let flags = [
            "--force",
            "--steps",
            "4",
            "--words",
            "cat",
            "--at-steps",
            value,
        ];
        let small: Vec<&str> = SMALL
            .into_iter()
            .filter(|a| !["--steps", "2"].contains(a))
            .collect();
        let fixed = ["-q", "-o", "out", "--prompt", "a cat"];
        place.succeed(&[&small[..], &fixed, &flags].concat());
        let index = index_of(&place);
        let (steps, files) = (each(&index, "steps"), each(&index, "file"));
        let pairs = steps.iter().zip(files);
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        pairs.map(|(a, b)| (text(a), text(b))).collect::<Vec<_>>()
    };
    let step = |n: usize| {
        let file = format!("attn/source/step-{n:03}/02-cat.png");
        (format!("step {n}"), file)
    };
    let file = "attn/source/02-cat.png".to_owned();
    assert_eq!(steps("all"), [("steps 1 to 4".to_owned(), file.clone())]);
    assert_eq!(steps("0.5..1"), [("steps 3 to 4".to_owned(), file.clone())]);
    assert_eq!(steps("steps:1..2"), [("steps 2 to 2".to_owned(), file)]);
    assert_eq!(steps("each"), [1, 2, 3, 4].map(step));
    assert_eq!(steps("0, 0.5,1"), [1, 3, 4].map(step));
    let refused = place.p2p(&["heatmap", "--prompt", "a cat", "--at-steps", "some"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = stderr(&refused);
    for way in ["all", "each", "0..0.5", "steps:10..40", "0,0.5,0.9"] {
        assert!(said.contains(way), "{way}: {said}");
    }
}

/// The figure has one column for each chosen step.
#[test]
fn figures_show_the_chosen_steps() {
    let place = Place::new();
    let grid = |more: &[&str]| {
        // Without a bar, which needs a width of its own.
        let flags = ["--force", "--scale", "token"];
        heatmap(&place, "a cat", &[&flags[..], more].concat());
        picture(&place, "out/attn/grid.png").dimensions()
    };
    let (one, two) = (
        grid(&["--at-steps", "0,0.1"]),
        grid(&["--at-steps", "0,0.5"]),
    );
    assert_eq!(two.0 - one.0, 104, "a cell more");
    assert_eq!(two.1, one.1);
    // Words beyond the ninth begin a line below the first word, heads repeat no picture.
    let place = Place::new();
    heatmap(
        &place,
        "a cat and a dog and a cake and a bus",
        &["--words", "cat"],
    );
    let one = picture(&place, "out/attn/grid.png").to_rgb8();
    heatmap(&place, "a cat and a dog and a cake and a bus", &["--force"]);
    let all = picture(&place, "out/attn/grid.png").to_rgb8();
    let blank = |x: u32, y: u32| (0..96).all(|i| all.get_pixel(x + i, y).0 == [255; 3]);
    let bottom = all.height() - 100;
    assert!(all.height() > one.height() + 80, "two lines");
    assert!(
        blank(16, bottom) && !blank(120, bottom),
        "under the words, not under the picture"
    );
}

/// The figure labels an edit's own maps, so that they are not taken for the injected ones.
#[test]
fn own_maps_are_labelled() {
    let place = Place::new();
    let grid = |folder: &str, more: &[&str]| {
        let flags = ["-q", "-o", folder, "--heatmaps", "--map-rows", "edited"];
        place.edit(&[&flags, more].concat());
        picture(&place, &format!("{folder}/attn/grid.png")).to_rgb8()
    };
    let (used, own) = (grid("used", &[]), grid("own", &["--map-edited-as", "own"]));
    assert!(
        own.width() > used.width() + 60,
        "a column of headings says so"
    );
    let ink = |x: u32| (0..own.height()).any(|y| own.get_pixel(x, y).0[0] < 128);
    assert!((16..60).any(ink));
}
