//! `p2p batch` and `p2p job`: many jobs from one file, and the errors of single jobs.

use serde_json::Value;

use super::{Place, stderr, stdout};

/// Defaults of a job file that make its jobs quick: 64x64 pixels, two steps.
pub const QUICK: &str = "[defaults]\nsteps = 2\nwidth = 64\nheight = 64\n";

/// Four jobs with two source prompts. Three jobs share a prompt, one of them has several edits, one a chain
/// of edits and heatmaps.
pub(super) const JOBS: &str = r#"
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

pub(super) fn written(place: &Place, jobs: &str) {
    std::fs::write(place.path("jobs.toml"), format!("{QUICK}{jobs}")).unwrap();
}

pub(super) fn batch(place: &Place, more: &[&str]) -> std::process::Output {
    place.p2p(&[&["batch", "jobs.toml", "-o", "out"], more].concat())
}

pub(super) fn events(output: &std::process::Output) -> Vec<Value> {
    let lines = stdout(output);
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    lines.lines().map(parse).collect()
}

pub(super) fn of<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|e| e["event"] == name).collect()
}

/// Names and bytes of all files in a folder, except manifests (their timings differ) and the report (its
/// title is the folder's name).
pub(super) fn files(place: &Place, folder: &str) -> Vec<(String, Vec<u8>)> {
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
fn a_batch_writes_the_same_bytes_as_single_runs() {
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

    // Runs of one job each write the same files.
    let apart = place.p2p(&["batch", "jobs.toml", "-o", "apart", "--max-rows", "2"]);
    assert!(apart.status.success(), "{}", stderr(&apart));
    assert_eq!(files(&place, "apart"), files(&place, "out"));
}

#[test]
fn finished_jobs_are_skipped_and_changed_jobs_drawn_again() {
    let place = Place::new();
    written(&place, JOBS);
    assert!(batch(&place, &[]).status.success());
    let before = files(&place, "out");
    let again = events(&batch(&place, &["--jsonl"]));
    assert_eq!(of(&again, "skipped").len(), 4);
    assert_eq!(of(&again, "started").len(), 0);

    // A deleted picture and a changed setting.
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

    // A flag overrides the file, so every job has another result.
    let other = events(&batch(&place, &["--jsonl", "--steps", "1", "--fail-fast"]));
    assert_eq!(of(&other, "finished").len(), 4);
    assert!(stdout(&batch(&place, &["--steps", "1"])).starts_with("out/car\n"));
}

#[test]
fn a_failed_job_is_reported_and_the_others_are_drawn() {
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
    assert!(stderr(&output).ends_with("finished jobs are skipped\n"));

    let stopped = batch(&place, &["--fail-fast"]);
    assert_eq!(stopped.status.code(), Some(3));
    // Errors in the file itself are found before any job is drawn.
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
fn grids_templates_prompt_files_and_includes_are_expanded() {
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
    assert_eq!(manifest["edits"][0]["cross_steps"]["dog"], "0..0.3");
}

#[test]
fn the_example_is_valid_and_the_schema_lists_the_keys() {
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
