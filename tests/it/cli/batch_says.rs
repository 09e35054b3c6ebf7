//! Reports of `p2p batch` and `p2p sweep` about single jobs: warnings, scores, failures, damaged pictures.

use super::batch::QUICK;
use super::{Place, stderr, stdout};
use crate::model::copy_of_mini_sd;

/// Three jobs that share a run. The second has no visible change, and the third a word that the model does
/// not know.
const TOGETHER: &str = r#"
[[job]]
name = "dog"
src = "a cat on the beach"
dst = "a dog on the beach"
[[job]]
name = "stuck"
src = "a cat on the beach"
dst = "a bear on the beach"
inject_latents = 1
[[job]]
name = "zebra"
src = "a cat on the beach"
dst = "a zebra on the beach"
"#;

fn place(jobs: &str) -> Place {
    let place = Place::new();
    std::fs::write(place.path("jobs.toml"), format!("{QUICK}{jobs}")).unwrap();
    place
}

#[test]
fn reports_of_a_shared_run_name_the_job() {
    let place = place(TOGETHER);
    let said = stderr(&place.succeed(&["batch", "jobs.toml", "-o", "out"]));
    for wanted in [
        "dog: edit 1: ",
        "warning: stuck: edit 1: the edit changed nothing visible",
        "warning: zebra: ",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[test]
fn a_dry_run_reports_jobs_that_cannot_be_drawn() {
    let bad = r#"
[[job]]
name = "bad"
src = "a cat on the beach"
dst = "a dog on the beach"
weight = { fluffy = 2 }
"#;
    let place = place(&format!("{TOGETHER}{bad}"));
    let output = place.p2p(&["batch", "jobs.toml", "-o", "out", "--dry-run"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("fluffy"), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("3 jobs in 1 run"),
        "{}",
        stdout(&output)
    );
    assert!(!place.path("out").exists());
}

#[test]
fn a_truncated_picture_is_drawn_again() {
    let place = place(TOGETHER);
    let batch = ["batch", "jobs.toml", "-o", "out"];
    place.succeed(&batch);
    let whole = place.bytes("out/dog/edited-1.png");
    for kept in [0, 100, whole.len() - 1] {
        std::fs::write(place.path("out/dog/edited-1.png"), &whole[..kept]).unwrap();
        let said = stderr(&place.succeed(&batch));
        assert!(
            said.contains("1 drawn, 2 already finished"),
            "{kept}: {said}"
        );
        assert_eq!(place.bytes("out/dog/edited-1.png"), whole);
    }
}

#[test]
fn jsonl_of_a_sweep_names_the_sheet_and_completion() {
    let place = Place::new();
    let sweep = "sweep|--src|a cat on the beach|--dst|a dog on the beach|--steps|2|-o|out|--jsonl";
    let output = place.succeed(&sweep.split('|').collect::<Vec<_>>());
    let said = stdout(&output);
    let events: Vec<serde_json::Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let sheets = events.iter().filter(|e| e["event"] == "sheet");
    let sheets: Vec<&str> = sheets.map(|e| e["file"].as_str().unwrap()).collect();
    assert_eq!(sheets, ["out/sweep.png", "out/scores.csv"]);
    let done = events.iter().find(|e| e["event"] == "done");
    assert_eq!(done.unwrap()["whole"], true);
    // The same command skips finished jobs even without --seed.
    let again = stderr(&place.succeed(&sweep.split('|').collect::<Vec<_>>()));
    assert!(again.contains("0 drawn, 6 already finished"), "{again}");
}

/// If stdout cannot be written, the pictures are still drawn, and no job counts as failed.
#[cfg(target_os = "linux")]
#[test]
fn a_full_stdout_fails_no_job() {
    let place = place(TOGETHER);
    let full = std::fs::File::create("/dev/full").unwrap();
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_p2p"))
        .args(["batch", "jobs.toml", "-o", "out"])
        .current_dir(place.0.path())
        .stdout(full)
        .output()
        .unwrap();
    let said = stderr(&run);
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(said.contains("3 jobs: 3 drawn"), "{said}");
    assert!(said.contains("cannot write to stdout"), "{said}");
    assert!(place.path("out/zebra/edited-1.png").exists());
}

#[test]
fn a_sweep_reports_a_shared_error_once_and_names_older_folders() {
    let place = Place::new();
    let sweep = |more: &str| {
        let sweep = "sweep|--src|a cat|--dst|a dog|--steps|1|-o|out|--width|64|--height|64";
        place.p2p(&Vec::from_iter(sweep.split('|').chain(more.split('|'))))
    };
    let said = stderr(&sweep("--vary|seed=0..2|--blend|zebra"));
    assert!(
        said.contains("error: seed-0 and 2 more: \"zebra\" is not a word"),
        "{said}"
    );
    assert_eq!(said.matches("zebra").count(), 1, "{said}");

    assert!(sweep("--vary|seed=0..1").status.success());
    let said = stderr(&sweep("--vary|seed=1..2"));
    let told = "1 folder in out of earlier sweeps, not on this sheet: seed-0";
    assert!(said.contains("1 drawn, 1 already finished"), "{said}");
    assert!(said.contains(told), "{said}");
}

#[test]
fn flags_over_a_file_are_checked_as_flags() {
    let place = place(TOGETHER);
    let output = place.p2p(&["batch", "jobs.toml", "--seed=-3"]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert_eq!(
        said,
        "error: --seed cannot be \"-3\"\n  use a whole number from 0 to 18446744073709551615\n"
    );
}

/// Models and LoRAs too lie where the file says from its own folder, wherever it is run from.
#[test]
fn paths_in_a_file_start_from_its_folder() {
    let place = Place::new();
    let jobs = r#"
[[job]]
src = "a cat"
dst = "a dog"
model = "mini"
lora = "no-lora.safetensors=0.5"
"#;
    std::fs::create_dir(place.path("sub")).unwrap();
    std::fs::rename(copy_of_mini_sd().keep(), place.path("sub/mini")).unwrap();
    std::fs::write(place.path("sub/no-lora.safetensors"), "nothing").unwrap();
    std::fs::write(place.path("sub/jobs.toml"), jobs).unwrap();
    let said = stderr(&place.p2p(&["job", "check", "sub/jobs.toml"]));
    assert!(said.contains("sub/no-lora.safetensors"), "{said}");
    let without = jobs.replace("lora =", "# ");
    std::fs::write(place.path("sub/jobs.toml"), without).unwrap();
    place.succeed(&["job", "check", "sub/jobs.toml"]);
}
