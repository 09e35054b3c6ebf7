//! `p2p batch` when it is killed, and when a second run wants the same folder.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::batch::{JOBS, batch, files, written};
use super::{Place, stderr};

/// Kills a batch `times` times, each time at another moment, then lets the same command finish. Checks that
/// its files equal those of an undisturbed run.
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
    // A fixed pseudo-random sequence of moments, spread over the length of a run.
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
        // Files are renamed into place, so each one with a final name must be complete.
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
fn a_killed_batch_continues() {
    kills(5);
}

#[test]
#[ignore = "takes a minute"]
fn a_batch_continues_after_fifty_kills() {
    kills(50);
}

#[test]
fn a_second_batch_in_the_same_folder_is_refused() {
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
    // The program locks the file a moment after it creates it.
    std::thread::sleep(Duration::from_millis(200));
    let second = batch(&place, &[]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(second.status.code(), Some(2));
    assert!(stderr(&second).contains("another run is writing to out"));
}
