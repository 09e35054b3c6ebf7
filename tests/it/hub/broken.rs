//! Connections that break, contents that are not what they should be, and two who want the same.

use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::mock::etag;
use super::*;

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

/// A blob of the miniature.
fn blob(place: &Place, path: &str) -> PathBuf {
    let etag = etag(path, &miniature()[path]);
    place.repo().join("blobs").join(etag)
}

/// Asked for the UNet's weights.
fn is_unet(request: &Request) -> bool {
    request.target.ends_with(UNET)
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
fn a_damaged_cache_is_mended() {
    let place = Place::new();
    place.open(ID).unwrap();
    place.mock.forget();
    // Cut short: seen by its length whenever the hub is asked.
    let path = blob(&place, UNET);
    let half = std::fs::read(&path).unwrap()[..1000].to_vec();
    std::fs::write(&path, half).unwrap();
    place.open(ID).unwrap();
    assert_eq!(place.mock.fetched(), [UNET]);
    // Gone, with the link left behind.
    std::fs::remove_file(&path).unwrap();
    place.open(ID).unwrap();
    assert_eq!(place.mock.fetched(), [UNET, UNET]);
    assert!(std::fs::read(&path).unwrap() == miniature()[UNET]);
    // Of the right length: seen where it is asked for.
    let mut wrong = miniature()[UNET].clone();
    wrong[5000] ^= 1;
    std::fs::write(&path, wrong).unwrap();
    let said = stderr(&place.succeed(&["models", "pull", ID]));
    assert!(said.contains("is damaged"), "{said}");
    assert!(std::fs::read(&path).unwrap() == miniature()[UNET]);
}

/// A file in the cache, changed in one place.
fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn damaged_weights_are_not_drawn_from() {
    let place = Place::new();
    place.succeed(&["models", "pull", ID]);
    let draw = [
        "edit", "--model", ID, "--src", "a cat", "--steps", "1", "-o", "out",
    ];
    let vae = "vae/diffusion_pytorch_model.safetensors";
    for file in [UNET, vae] {
        damage(&blob(&place, file));
        for more in [&[][..], &["--offline"]] {
            let output = place.p2p(&[&draw[..], &["--dst", "a dog"], more].concat());
            assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
            let said = stderr(&output);
            assert!(
                said.contains(&format!("{file} of {ID} is damaged")),
                "{said}"
            );
            assert!(said.ends_with(&format!("p2p models pull {ID}\n")), "{said}");
        }
        assert!(!place.work.path().join("out").exists());
        place.succeed(&["models", "pull", ID]);
    }
    place.succeed(&[&draw[..], &["--dst", "a dog"]].concat());
}

#[test]
fn a_damaged_small_file_is_mended_when_it_is_used() {
    let place = Place::new();
    place.succeed(&["models", "pull", ID]);
    let config = "scheduler/scheduler_config.json";
    let explain = ["explain", "--model", ID, "--src", "a cat", "--dst", "a dog"];
    damage(&blob(&place, config));
    let offline = place.p2p(&[&explain[..], &["--offline"]].concat());
    assert_eq!(offline.status.code(), Some(4));
    let said = stderr(&offline);
    assert!(
        said.contains(&format!("{config} of {ID} is damaged")),
        "{said}"
    );
    assert!(said.contains(&format!("p2p models pull {ID}")), "{said}");
    place.mock.forget();
    let said = stderr(&place.succeed(&explain));
    assert!(
        said.contains(&format!(
            "{config} of {ID} is damaged: downloading it again"
        )),
        "{said}"
    );
    assert_eq!(place.mock.fetched(), [config]);
    assert!(std::fs::read(blob(&place, config)).unwrap() == miniature()[config]);
    place.succeed(&[&explain[..], &["--offline"]].concat());
}

#[test]
#[cfg(unix)]
fn a_content_is_what_its_name_says() {
    use prompt_to_prompt::hub::Cached;
    let folder = tempfile::tempdir().unwrap();
    let repo = folder.path().join("models--ada--x");
    let snapshot = repo.join("snapshots/c0ffee/unet");
    std::fs::create_dir_all(repo.join("blobs")).unwrap();
    std::fs::create_dir_all(&snapshot).unwrap();
    // `git hash-object`, `sha1sum`, `sha256sum` of "hello", and names that are no hashes.
    for (i, (name, right)) in [
        ("b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0", true),
        ("aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d", true),
        (
            "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
            true,
        ),
        ("0000000000000000000000000000000000000000", false),
        (
            "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9825",
            false,
        ),
        ("some-tag", true),
    ]
    .into_iter()
    .enumerate()
    {
        std::fs::write(repo.join("blobs").join(name), "hello").unwrap();
        let link = snapshot.join(format!("{i}.json"));
        std::os::unix::fs::symlink(format!("../../../blobs/{name}"), &link).unwrap();
        let cached = Cached::of(&link).unwrap();
        assert_eq!((&*cached.id, &*cached.content), ("ada/x", name));
        assert_eq!(cached.file, format!("unet/{i}.json"));
        assert_eq!((&*cached.commit, cached.is_main), ("c0ffee", false));
        assert_eq!(cached.is_right(&link).unwrap(), right, "{name}");
    }
    std::fs::write(snapshot.join("plain"), "hello").unwrap();
    assert_eq!(Cached::of(&snapshot.join("plain")), None);
}

#[test]
fn a_damaged_file_of_a_commit_says_how_to_fetch_it() {
    let place = Place::new();
    let lora = "sd1-peft.safetensors";
    let bytes = std::fs::read(fixture("lora").join(lora)).unwrap();
    let files = |note: &str| {
        [
            (lora.to_owned(), bytes.clone()),
            ("README.md".to_owned(), note.into()),
        ]
        .into()
    };
    let old = place.mock.add("ada/loras", files("old"));
    let file = format!("ada/loras/{lora}");
    place.succeed(&["models", "pull", &file]);
    place.mock.add("ada/loras", files("new"));
    place.succeed(&["models", "pull", &file]);
    let stored = place.cache().join("models--ada--loras");
    damage(&stored.join("blobs").join(etag(lora, &bytes)));
    for (commit, said) in [
        (old, format!("p2p models pull {file} --revision")),
        (
            std::fs::read_to_string(stored.join("refs/main")).unwrap(),
            format!("p2p models pull {file}\n"),
        ),
    ] {
        let path = stored.join("snapshots").join(&commit).join(lora);
        let output = place.p2p(&[
            "edit",
            "--src",
            "a cat",
            "--dst",
            "a dog",
            "--model",
            fixture("mini-sd").to_str().unwrap(),
            "--lora",
            path.to_str().unwrap(),
        ]);
        assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
        assert!(stderr(&output).contains(&said), "{}", stderr(&output));
    }
}

#[test]
fn two_processes_fetch_each_content_once() {
    let place = Place::new();
    place.mock.fault(|request| {
        if is_unet(request) {
            std::thread::sleep(Duration::from_millis(1500));
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
    let both = [start(), start()].map(|run| run.wait_with_output().unwrap());
    for output in &both {
        assert!(output.status.success(), "{}", stderr(output));
    }
    let mut fetched = place.mock.fetched();
    let all = fetched.len();
    fetched.sort();
    fetched.dedup();
    assert_eq!(all, fetched.len(), "{fetched:?}");
    let waited = both.iter().filter(|output| {
        stderr(output).contains("waiting for another process that is downloading")
    });
    assert_eq!(waited.count(), 1);
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
            // The rest does not come for long.
            response.cut = Some(100_000);
            response
                .headers
                .push(("X-Stall".to_owned(), "20".to_owned()));
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
        .env("HF_HUB_DOWNLOAD_TIMEOUT", "60")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let run = command.spawn().unwrap();
    let incomplete = blob(&place, UNET).with_extension("incomplete");
    let begun = || {
        incomplete
            .metadata()
            .is_ok_and(|data| data.len() == 100_000)
    };
    let start = std::time::Instant::now();
    while !begun() {
        assert!(start.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(20));
    }
    let id = run.id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-INT", &id])
        .status();
    assert!(sent.unwrap().success());
    let asked = std::time::Instant::now();
    let output = run.wait_with_output().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(5));
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("the partial download is kept"), "{said}");
    assert!(begun());
    place.mock.repair();
    place.mock.forget();
    place.succeed(&["models", "pull", ID]);
    assert_eq!(ranges(&place), [Some("bytes=100000-".to_owned())]);
}
