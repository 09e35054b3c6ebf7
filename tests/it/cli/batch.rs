//! `p2p batch`, `p2p job` and `p2p sweep`: files of many jobs, from their errors to a kill at any moment.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{Place, stderr, stdout};

/// Small pictures in two steps, for all jobs of a file.
pub const QUICK: &str = "[defaults]\nsteps = 2\nwidth = 64\nheight = 64\n";

/// Two sources, one of them with three jobs; one job has several edits, one a chain and heatmaps.
const JOBS: &str = r#"
[[job]]
name = "car"
src = "a big red bicycle"
dst = "a big red car"
cross_steps = { default = 0.8, car = 0.4 }
[[job]]
name = "several"
src = "a big red bicycle"
baseline = true
[[job.edit]]
dst = "a big red house"
blend = "bicycle:house"
[[job.edit]]
weight = { red = -1 }
[[job]]
name = "chain"
src = "a big red bicycle"
heatmaps = true
save_mask = true
[[job.edit]]
dst = "a big blue bicycle"
[[job.edit]]
then = "a big blue car"
self_steps = 0.2
[[job]]
name = "cat"
src = "a cat on the beach"
seed = 3
dst = ["a dog on the beach", "a bear on the beach"]
save_latents = "latents.safetensors"
"#;

fn written(place: &Place, jobs: &str) {
    std::fs::write(place.path("jobs.toml"), format!("{QUICK}{jobs}")).unwrap();
}

fn batch(place: &Place, more: &[&str]) -> std::process::Output {
    place.p2p(&[&["batch", "jobs.toml", "-o", "out"], more].concat())
}

fn events(output: &std::process::Output) -> Vec<Value> {
    let lines = stdout(output);
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    lines.lines().map(parse).collect()
}

fn of<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|e| e["event"] == name).collect()
}

/// Every file below a folder but for the manifests, whose timings differ, and the page, whose title is
/// the folder's name.
fn files(place: &Place, folder: &str) -> Vec<(String, Vec<u8>)> {
    let below = |name: &String| {
        let other = name.ends_with("manifest.json") || name.ends_with("report.html");
        name.starts_with(&format!("{folder}/")) && !other
    };
    let names = place.listing().into_iter().filter(below);
    let names = names.filter(|name| place.path(name).is_file());
    names
        .map(|name| (name[folder.len() + 1..].to_owned(), place.bytes(&name)))
        .collect()
}

#[test]
fn a_batch_gives_the_bytes_of_single_runs_whatever_is_grouped() {
    let place = Place::new();
    written(&place, JOBS);
    let output = batch(&place, &["--jsonl"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = events(&output);
    let runs: Vec<u64> = of(&said, "started")
        .iter()
        .map(|e| e["rows"].as_u64().unwrap())
        .collect();
    assert_eq!(runs, [8, 3], "the bicycle's jobs share a run");
    assert_eq!(of(&said, "finished").len(), 4);

    let small = "--steps 2 --width 64 --height 64 --seed 0";
    let single = |more: &str, folder: &str| {
        let mut args: Vec<&str> = vec!["edit", "-o", folder];
        args.extend(small.split(' '));
        args.extend(more.split('|'));
        place.succeed(&args);
        files(&place, folder)
    };
    assert_eq!(
        files(&place, "out/car"),
        single(
            "--src|a big red bicycle|--dst|a big red car|--cross-steps|0.8|--cross-steps|car=0.4",
            "car"
        )
    );
    let chain = "--src|a big red bicycle|--dst|a big blue bicycle|--heatmaps|--save-mask";
    let first = single(chain, "first");
    let grouped = files(&place, "out/chain");
    let file = |files: &[(String, Vec<u8>)], name: &str| {
        let found = files.iter().find(|(known, _)| known == name);
        found.unwrap_or_else(|| panic!("no {name}")).1.clone()
    };
    for name in [
        "edited-1.png",
        "source.png",
        "mask-1.png",
        "attn/edited-1/04-bicycle.png",
    ] {
        assert_eq!(file(&first, name), file(&grouped, name), "{name}");
    }

    // One job a run gives the same files.
    let apart = place.p2p(&["batch", "jobs.toml", "-o", "apart", "--max-rows", "2"]);
    assert!(apart.status.success(), "{}", stderr(&apart));
    assert_eq!(files(&place, "apart"), files(&place, "out"));
}

#[test]
fn what_is_finished_is_not_drawn_again_and_what_changed_is() {
    let place = Place::new();
    written(&place, JOBS);
    assert!(batch(&place, &[]).status.success());
    let before = files(&place, "out");
    let again = events(&batch(&place, &["--jsonl"]));
    assert_eq!(of(&again, "skipped").len(), 4);
    assert_eq!(of(&again, "started").len(), 0);

    // A picture that is gone, and a setting that is another.
    std::fs::remove_file(place.path("out/car/edited-1.png")).unwrap();
    written(
        &place,
        &JOBS.replace("self_steps = 0.2", "self_steps = 0.9"),
    );
    let again = events(&batch(&place, &["--jsonl"]));
    let drawn: Vec<&Value> = of(&again, "finished").iter().map(|e| &e["job"]).collect();
    assert_eq!(drawn, ["car", "chain"]);
    let after = files(&place, "out");
    let differ = before.iter().zip(&after).filter(|(a, b)| a != b);
    let differ: Vec<&str> = differ.map(|(a, _)| &*a.0).collect();
    assert!(differ.contains(&"chain/edited-2.png"), "{differ:?}");
    assert!(
        differ.iter().all(|name| name.starts_with("chain/")),
        "{differ:?}"
    );

    // The command line wins over the file, and is another result.
    let other = events(&batch(&place, &["--jsonl", "--steps", "1", "--fail-fast"]));
    assert_eq!(of(&other, "finished").len(), 4);
    assert!(stdout(&batch(&place, &["--steps", "1"])).starts_with("out/car\n"));
}

#[test]
fn a_job_that_fails_is_said_and_the_rest_goes_on() {
    let place = Place::new();
    let jobs = r#"
[[job]]
name = "word"
src = "a cat"
dst = "a dog"
weight = { bird = 2 }
[[job]]
name = "good"
src = "a cat"
dst = "a dog"
[[job]]
name = "model"
model = "nowhere"
src = "a cat"
dst = "a dog"
[[job]]
name = "blocked"
src = "a cat"
dst = "a bear"
"#;
    written(&place, jobs);
    std::fs::create_dir(place.path("out")).unwrap();
    std::fs::write(place.path("out/blocked"), "in the way").unwrap();
    let output = batch(&place, &["--jsonl"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let said = events(&output);
    let failed: Vec<(&str, &str)> = of(&said, "failed")
        .iter()
        .map(|e| (e["job"].as_str().unwrap(), e["at"].as_str().unwrap_or("")))
        .collect();
    assert_eq!(
        failed,
        [
            ("word", "jobs.toml:10:10"),
            ("model", "jobs.toml:17:9"),
            ("blocked", "")
        ]
    );
    assert_eq!(of(&said, "finished").len(), 1);
    assert!(stderr(&output).contains("\"bird\" is not a word of the edited prompt"));
    assert!(stderr(&output).ends_with("what is done is not done again\n"));

    let stopped = batch(&place, &["--fail-fast"]);
    assert_eq!(stopped.status.code(), Some(3));
    // What is wrong with the file itself is found before anything is drawn.
    written(&place, "[[job]]\nsrc = 3\nstpes = 2\nseed = -1\n");
    let refused = batch(&place, &[]);
    assert_eq!(refused.status.code(), Some(2));
    for said in [
        "jobs.toml:7:1",
        "did you mean `steps`?",
        "jobs.toml:8:8",
        "jobs.toml has 3 errors",
    ] {
        assert!(
            stderr(&refused).contains(said),
            "{said}: {}",
            stderr(&refused)
        );
    }
}

#[test]
fn grids_templates_prompt_files_and_includes() {
    let place = Place::new();
    std::fs::create_dir(place.path("sub")).unwrap();
    std::fs::write(place.path("sub/shared.toml"), format!("{QUICK}seed = 7\n")).unwrap();
    std::fs::write(place.path("sub/dsts.txt"), "a dog\n\n a bear \n").unwrap();
    let jobs = r#"
include = "shared.toml"
output = "results"
[[job]]
name = "grid"
folder = "{name}/{seed}-{cross_steps}"
src = "a cat"
dst = { file = "dsts.txt" }
[job.grid]
seed = "0..1"
cross_steps = [0.2, { default = 0.8, dog = 0.3 }]
[[job]]
src = "a fluffy cat"
dst = "a fluffy dog"
[job.grid]
weight.fluffy = "-2:2:2"
"#;
    std::fs::write(place.path("sub/jobs.toml"), jobs).unwrap();
    let dry = place.succeed(&["batch", "sub/jobs.toml", "--dry-run"]);
    assert!(
        stdout(&dry).contains("7 jobs in 3 runs, 0 already finished"),
        "{}",
        stdout(&dry)
    );
    assert!(!place.path("sub/results").exists());
    let output = place.succeed(&["batch", "sub/jobs.toml"]);
    let mut folders: Vec<&str> = vec![];
    let said = stdout(&output);
    folders.extend(
        said.lines()
            .map(|line| line.trim_start_matches("sub/results/")),
    );
    assert_eq!(
        folders,
        [
            "grid/0-0.2",
            "grid/0-0-8-dog-0-3",
            "grid/1-0.2",
            "grid/1-0-8-dog-0-3",
            "a-fluffy-cat--a-fluffy-dog-7-weight.fluffy--2",
            "a-fluffy-cat--a-fluffy-dog-7-weight.fluffy-0",
            "a-fluffy-cat--a-fluffy-dog-7-weight.fluffy-2",
            "report.html",
        ]
    );
    let manifest: Value =
        serde_json::from_slice(&place.bytes("sub/results/grid/1-0-8-dog-0-3/manifest.json"))
            .unwrap();
    assert_eq!(manifest["seed"], 1);
    assert_eq!(manifest["edits"][1]["prompt"], "a bear");
    assert_eq!(
        manifest["edits"][0]["cross_steps"]["words"][0]["window"],
        "0..0.3"
    );
}

/// At whatever moment a run is killed, the same command ends with what an undisturbed run gives.
fn kills(times: usize) {
    let place = Place::new();
    let jobs: String = (0..20)
        .map(|i| {
            let src = ["a cat on the beach", "a dog in the snow"][i % 2];
            format!("[[job]]\nname = \"job-{i}\"\nsrc = \"{src}\"\ndst = \"{src} {i}\"\n")
        })
        .collect();
    written(&place, &jobs);
    let whole = place.p2p(&["batch", "jobs.toml", "-o", "whole", "--max-rows", "3"]);
    assert!(whole.status.success(), "{}", stderr(&whole));
    // Moments that no clock repeats, over the whole of a run.
    let mut state = 0x9e37_79b9_u32;
    for _ in 0..times {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let mut child = Command::new(env!("CARGO_BIN_EXE_p2p"))
            .args([
                "batch",
                "jobs.toml",
                "-o",
                "out",
                "--max-rows",
                "3",
                "--quiet",
            ])
            .current_dir(place.path(""))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(u64::from(state >> 16) % 700));
        child.kill().unwrap();
        child.wait().unwrap();
        // Whatever stands there under its name is whole.
        for (name, bytes) in files(&place, "out") {
            if !name.starts_with('.') && name.ends_with(".png") {
                image::load_from_memory(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
            }
        }
    }
    let end = batch(&place, &["--max-rows", "3"]);
    assert!(end.status.success(), "{}", stderr(&end));
    assert_eq!(files(&place, "out"), files(&place, "whole"));
    assert!(place.path("out/report.html").exists());
    assert!(place.listing().iter().all(|name| !name.contains(".p2p-")));
}

#[test]
fn a_killed_batch_goes_on() {
    kills(5);
}

#[test]
#[ignore = "takes a minute"]
fn fifty_kills() {
    kills(50);
}

#[test]
fn one_run_at_a_time_writes_to_a_folder() {
    let place = Place::new();
    written(
        &place,
        &JOBS.replace("[[job]]\n", "[[job]]\nsteps = 1000\n"),
    );
    let mut child = Command::new(env!("CARGO_BIN_EXE_p2p"))
        .args(["batch", "jobs.toml", "-o", "out", "--quiet"])
        .current_dir(place.path(""))
        .spawn()
        .unwrap();
    let lock = place.path("out/.p2p-batch/lock");
    while !lock.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    // It is locked a moment after it is made.
    std::thread::sleep(Duration::from_millis(200));
    let second = batch(&place, &[]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(second.status.code(), Some(2));
    assert!(stderr(&second).contains("another run is writing to out"));
}

#[test]
fn a_schema_and_an_example_that_hold() {
    let place = Place::new();
    assert_eq!(stdout(&place.succeed(&["job", "init"])), "jobs.toml\n");
    let checked = place.succeed(&["job", "check", "jobs.toml"]);
    assert!(
        stderr(&checked).contains("jobs.toml has no errors: 8 jobs, 10 edits"),
        "{}",
        stderr(&checked)
    );
    assert_eq!(place.p2p(&["job", "init"]).status.code(), Some(2));
    let schema = stdout(&place.succeed(&["job", "schema"]));
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let keys = schema["definitions"]["job"]["properties"]
        .as_object()
        .unwrap();
    for key in [
        "src",
        "cross_steps",
        "metadata",
        "edit_control",
        "heatmaps",
        "map_words",
        "grid",
        "name",
    ] {
        assert!(keys.contains_key(key), "{key}");
    }
    assert!(!keys.contains_key("map_show"));
    let of_edit = schema["definitions"]["edit"]["properties"]
        .as_object()
        .unwrap();
    assert!(of_edit.contains_key("weight") && !of_edit.contains_key("seed"));
}

#[test]
fn a_sweep_is_a_sheet_with_scores() {
    let place = Place::new();
    let base = [
        "sweep",
        "--src",
        "a cat on the beach",
        "--dst",
        "a dog on the beach",
        "--steps",
        "2",
        "--width",
        "64",
        "--height",
        "64",
        "-o",
        "out",
    ];
    let args = [
        &base[..],
        &["--vary", "cross-steps=0:1:0.5", "--vary", "seed=0..1"],
    ]
    .concat();
    let output = place.succeed(&args);
    assert!(
        stdout(&output).ends_with("out/sweep.png\nout/scores.csv\n"),
        "{}",
        stdout(&output)
    );
    let csv = String::from_utf8(place.bytes("out/scores.csv")).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(
        lines[0],
        "seed,cross_steps,edit,changed,changed_inside,changed_outside,psnr_outside,folder"
    );
    assert_eq!(lines.len(), 1 + 6);
    assert!(
        lines[3].starts_with("0,1,1,") && lines[3].ends_with(",seed-0_cross_steps-1"),
        "{}",
        lines[3]
    );
    let sheet = image::open(place.path("out/sweep.png")).unwrap();
    // Source and three columns of 128 pixels at least, beside headings.
    assert!(sheet.width() > 4 * 128 && sheet.height() > 2 * 128);
    // The same command draws nothing again.
    let again = place.succeed(&[&args[..], &["--jsonl"]].concat());
    assert_eq!(of(&events(&again), "skipped").len(), 6);

    let fader = [
        "sweep",
        "--src",
        "a fluffy dog",
        "--vary",
        "weight.fluffy=-2:2:2",
        "--steps",
        "1",
        "-o",
        "fader",
    ];
    place.succeed(&fader);
    assert!(place.path("fader/weight.fluffy--2/edited-1.png").exists());
    for (vary, said) in [
        ("cross-stpes=0:1:0.5", "did you mean `cross_steps`?"),
        ("cross-steps=0:1:0", "0 does not lead from 0 to 1"),
        ("seed.cat=1", "`seed` is not set per word"),
        ("steps=0,5", "`steps` cannot be \"0\""),
        ("seed", "it has no values"),
    ] {
        let refused = place.p2p(&[&base[..], &["--vary", vary]].concat());
        assert_eq!(refused.status.code(), Some(2));
        assert!(stderr(&refused).contains(said), "{}", stderr(&refused));
    }
}
