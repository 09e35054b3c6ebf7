//! Ctrl-C during a run: exit code 130, finished work is kept, and no unfinished file remains.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use super::{EDIT, Place};

fn interrupt(run: &Child) {
    let id = run.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn an_interrupted_run_leaves_no_file() {
    let place = Place::new();
    let mut run = Command::new(env!("CARGO_BIN_EXE_p2p"))
        .args(&EDIT[..5])
        .args(["--steps", "1000", "--save-latents", "latents.safetensors"])
        .current_dir(place.0.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // When the run is announced, its hidden folder exists and the signal handler is installed.
    let mut stderr = BufReader::new(run.stderr.take().unwrap());
    let mut said = String::new();
    stderr.read_line(&mut said).unwrap();
    assert!(!place.listing().is_empty(), "{said}");

    interrupt(&run);
    stderr.read_to_string(&mut said).unwrap();
    let ended = run.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(
        said.ends_with("error: interrupted\n  the unfinished part was not written\n"),
        "{said}"
    );
    let heard = "interrupted: ending after this step; press Ctrl-C again to end at once\n";
    assert!(said.contains(heard), "{said}");
    assert!(ended.stdout.is_empty());
    assert_eq!(place.listing(), [""; 0]);
}

#[test]
fn an_interrupted_batch_keeps_finished_jobs() {
    let place = Place::new();
    let jobs = "[defaults]\nwidth = 64\nheight = 64\ndst = \"a dog\"\n\
        [[job]]\nname = \"short\"\nsrc = \"a cat\"\nsteps = 1\n\
        [[job]]\nname = \"long\"\nsrc = \"a cat\"\nsteps = 1000\n";
    std::fs::write(place.path("jobs.toml"), jobs).unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_p2p"))
        .args(["batch", "jobs.toml", "-o", "out"])
        .current_dir(place.0.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The path of the first folder is printed when the folder is complete.
    let mut stdout = BufReader::new(run.stdout.take().unwrap());
    let mut folder = String::new();
    stdout.read_line(&mut folder).unwrap();
    assert_eq!(folder, "out/short\n");
    interrupt(&run);
    let ended = run.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(
        said.contains("2 jobs: 1 drawn\nrun the same command again to draw the rest\n"),
        "{said}"
    );
    let there = place.listing();
    assert!(there.contains(&"out/short/edited-1.png".to_owned()));
    assert!(there.contains(&"out/report.html".to_owned()));
    assert!(
        there
            .iter()
            .all(|name| !name.contains("long") && !name.contains(".p2p-")),
        "{there:?}"
    );
}

#[test]
fn an_interrupted_sweep_shows_finished_jobs() {
    let place = Place::new();
    let sweep =
        "sweep|--src|a cat|--dst|a dog|--width|64|--height|64|--vary|steps=1,1000|-o|out|--jsonl";
    let mut run = Command::new(env!("CARGO_BIN_EXE_p2p"))
        .args(sweep.split('|'))
        .current_dir(place.0.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
    let mut line = || -> serde_json::Value {
        let line = lines.next().expect("another event").unwrap();
        serde_json::from_str(&line).unwrap()
    };
    while line()["event"] != "finished" {}
    interrupt(&run);
    let done = loop {
        let event = line();
        if event["event"] == "done" {
            break event;
        }
    };
    assert_eq!(
        (&done["finished"], &done["whole"]),
        (&1.into(), &false.into())
    );
    assert_eq!(line()["file"], "out/sweep.png");
    assert_eq!(run.wait().unwrap().code(), Some(130));
    let scores = String::from_utf8(place.bytes("out/scores.csv")).unwrap();
    assert_eq!(scores.lines().count(), 2, "{scores}");
    assert!(!place.path("out/steps-1000").exists());
}
