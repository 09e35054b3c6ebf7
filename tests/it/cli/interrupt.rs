//! Ctrl-C in the middle of a run: its own exit code, and nothing left behind.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use super::{EDIT, Place};

#[test]
fn an_interrupted_run_leaves_nothing() {
    let place = Place::new();
    let mut run = Command::new(env!("CARGO_BIN_EXE_p2p"))
        .args(&EDIT[..5])
        .args(["--steps", "1000", "--save-latents", "latents.safetensors"])
        .current_dir(place.0.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Once the run is announced, its hidden folder exists and interrupts are heard.
    let mut stderr = BufReader::new(run.stderr.take().unwrap());
    let mut said = String::new();
    stderr.read_line(&mut said).unwrap();
    assert!(!place.listing().is_empty(), "{said}");

    let id = run.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(sent.success());
    stderr.read_to_string(&mut said).unwrap();
    let ended = run.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(
        said.ends_with("error: interrupted\n  what was not finished was not written\n"),
        "{said}"
    );
    assert!(ended.stdout.is_empty());
    assert_eq!(place.listing(), [""; 0]);
}

#[test]
fn an_interrupted_batch_keeps_what_is_done() {
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
    // The first folder is said once it is there.
    let mut stdout = BufReader::new(run.stdout.take().unwrap());
    let mut folder = String::new();
    stdout.read_line(&mut folder).unwrap();
    assert_eq!(folder, "out/short\n");
    let id = run.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(sent.success());
    let ended = run.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(
        said.contains("2 jobs: 1 drawn\nthe same command goes on with the rest\n"),
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
