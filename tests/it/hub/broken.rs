//! Downloads that break, have the wrong checksum, run in two processes at once, or are interrupted.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::mock::etag;
use super::*;

pub const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

/// The blob of a file of the miniature.
pub fn blob(place: &Place, path: &str) -> PathBuf {
    let etag = etag(path, &miniature()[path]);
    place.repo().join("blobs").join(etag)
}

/// Whether the UNet's weights are requested.
fn is_unet(request: &Request) -> bool {
    request.target.ends_with(UNET)
}

/// Waits for something that other threads or processes do. Two minutes are a guard against hangs, no measure.
fn until(mut done: impl FnMut() -> bool) {
    let pause = Duration::from_millis(20);
    let waited = (0..6000).any(|_| {
        let done = done();
        if !done {
            std::thread::sleep(pause);
        }
        done
    });
    assert!(waited, "it did not happen within two minutes");
}

fn ranges(place: &Place) -> Vec<Option<String>> {
    let log = place.mock.log().into_iter().filter(is_unet);
    log.map(|request| request.header("range").map(str::to_owned))
        .collect()
}

#[test]
fn a_broken_connection_is_taken_up_where_it_broke() {
    let place = Place::new();
    let bytes = miniature()[UNET].clone();
    let length = bytes.len();
    let first = AtomicUsize::new(0);
    place.mock.fault(move |request| {
        let break_it = is_unet(request) && first.fetch_add(1, Ordering::SeqCst) == 0;
        break_it.then(|| {
            let mut response = Response::new(200, bytes.clone());
            response.cut = Some(length / 2);
            response
        })
    });
    place.open(ID).unwrap();
    let asked = ranges(&place);
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(asked[0], None);
    assert_eq!(asked[1], Some(format!("bytes={}-", length / 2)));
}

#[test]
fn a_download_that_was_ended_goes_on_in_the_next_run() {
    let place = Place::new();
    let bytes = miniature()[UNET].clone();
    let half = bytes.len() / 2;
    let incomplete = blob(&place, UNET).with_extension("incomplete");
    let cut = bytes.clone();
    place.mock.fault(move |request| {
        is_unet(request).then(|| match request.header("range") {
            None => {
                let mut response = Response::new(200, cut.clone());
                response.cut = Some(half);
                response
            }
            Some(_) => Response::new(503, ""),
        })
    });
    let output = place.p2p(&["models", "pull", ID]);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("answers 503"),
        "{}",
        stderr(&output)
    );
    assert_eq!(incomplete.metadata().unwrap().len() as usize, half);
    let listed = stdout(&place.succeed(&["models", "ls"]));
    assert!(listed.contains("1 incomplete"), "{listed}");
    place.mock.repair();
    place.mock.forget();
    place.succeed(&["models", "pull", ID]);
    assert_eq!(ranges(&place), [Some(format!("bytes={half}-"))]);
    assert!(std::fs::read(blob(&place, UNET)).unwrap() == bytes);
    assert!(!incomplete.exists());
}

#[test]
fn a_server_that_gives_the_whole_again_is_taken_at_its_word() {
    let place = Place::new();
    let bytes = miniature()[UNET].clone();
    let incomplete = blob(&place, UNET).with_extension("incomplete");
    std::fs::create_dir_all(incomplete.parent().unwrap()).unwrap();
    std::fs::write(&incomplete, "another beginning").unwrap();
    let whole = bytes.clone();
    place
        .mock
        .fault(move |request| is_unet(request).then(|| Response::new(200, whole.clone())));
    place.open(ID).unwrap();
    assert!(std::fs::read(blob(&place, UNET)).unwrap() == bytes);
}

#[test]
fn another_beginning_is_found_out_and_fetched_again() {
    let place = Place::new();
    let incomplete = blob(&place, UNET).with_extension("incomplete");
    std::fs::create_dir_all(incomplete.parent().unwrap()).unwrap();
    std::fs::write(&incomplete, "another beginning").unwrap();
    let heard = Heard::default();
    place
        .open_watched(&ModelSource::named(ID), &[], &heard)
        .unwrap();
    assert_eq!(ranges(&place), [Some("bytes=17-".to_owned()), None]);
    assert!(
        heard
            .lines()
            .contains("the wrong checksum: downloading it again")
    );
    assert!(std::fs::read(blob(&place, UNET)).unwrap() == miniature()[UNET]);
}

#[test]
fn a_wrong_checksum_is_no_model() {
    let place = Place::new();
    let mut wrong = miniature()[UNET].clone();
    *wrong.last_mut().unwrap() ^= 1;
    place
        .mock
        .fault(move |request| is_unet(request).then(|| Response::new(200, wrong.clone())));
    let output = place.p2p(&["models", "pull", ID]);
    assert_eq!(output.status.code(), Some(4));
    let said = stderr(&output);
    assert!(
        said.contains(UNET) && said.contains("the wrong checksum"),
        "{said}"
    );
    assert_eq!(ranges(&place).len(), 2);
    assert!(!blob(&place, UNET).exists());
    assert!(!blob(&place, UNET).with_extension("incomplete").exists());
}

#[test]
fn two_processes_fetch_each_content_once() {
    let place = Place::new();
    // The first process gets its weights after the second one said that it waits.
    let waits = Arc::new(AtomicBool::new(false));
    let told = waits.clone();
    place.mock.fault(move |request| {
        if is_unet(request) {
            until(|| told.load(Ordering::SeqCst));
        }
        None
    });
    let start = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_p2p"));
        for name in VARIABLES {
            command.env_remove(name);
        }
        let command = command
            .args(["models", "pull", ID])
            .env("HF_HOME", place.home.path())
            .env("HF_ENDPOINT", &place.mock.endpoint)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let runs = [start(), start()].map(|mut run| {
        let (lines, waits) = (run.stderr.take().unwrap(), waits.clone());
        let reader = std::thread::spawn(move || {
            let mut said = 0;
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                if line.contains("waiting for another process that is downloading") {
                    said += 1;
                    waits.store(true, Ordering::SeqCst);
                }
            }
            said
        });
        (run, reader)
    });
    let said = runs.map(|(mut run, reader)| {
        assert!(run.wait().unwrap().success());
        reader.join().unwrap()
    });
    let mut fetched = place.mock.fetched();
    let all = fetched.len();
    fetched.sort();
    fetched.dedup();
    assert_eq!(all, fetched.len(), "{fetched:?}");
    assert_eq!(said.iter().filter(|said| **said > 0).count(), 1, "{said:?}");
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_a_download_and_keeps_what_came() {
    let place = Place::new();
    let bytes = miniature()[UNET].clone();
    let stalled = bytes.clone();
    place.mock.fault(move |request| {
        is_unet(request).then(|| {
            let mut response = Response::new(200, stalled.clone());
            // The rest does not arrive.
            response.cut = Some(100_000);
            response
                .headers
                .push(("X-Stall".to_owned(), "3600".to_owned()));
            response
        })
    });
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_p2p"));
    for name in VARIABLES {
        command.env_remove(name);
    }
    let command = command
        .args(["models", "pull", ID])
        .env("HF_HOME", place.home.path())
        .env("HF_ENDPOINT", &place.mock.endpoint)
        .env("HF_HUB_DOWNLOAD_TIMEOUT", "3600")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut run = command.spawn().unwrap();
    let incomplete = blob(&place, UNET).with_extension("incomplete");
    let begun = || {
        incomplete
            .metadata()
            .is_ok_and(|data| data.len() == 100_000)
    };
    until(begun);
    let id = run.id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-INT", &id])
        .status();
    assert!(sent.unwrap().success());
    // The server stalls for an hour, and the client waits for that long. Only the signal ends the download.
    until(|| run.try_wait().unwrap().is_some());
    let output = run.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("the partial download is kept"), "{said}");
    assert!(begun());
    place.mock.repair();
    place.mock.forget();
    place.succeed(&["models", "pull", ID]);
    assert_eq!(ranges(&place), [Some("bytes=100000-".to_owned())]);
}
