//! Refusals of the hub: each has one cause, one cure and exit code 4, and none shows the token.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Runs `p2p models pull`, checks exit code 4 and an error of two lines without the token, and returns the error.
fn refused(place: &Place, args: &[&str], token: bool) -> String {
    let mut command = place.command(&[&["models", "pull"], args].concat());
    if token {
        command.env("HF_TOKEN", TOKEN);
    }
    let output = command.output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(output.stdout.is_empty());
    let error: Vec<&str> = said
        .lines()
        .skip_while(|l| !l.starts_with("error: "))
        .collect();
    assert_eq!(error.len(), 2, "{said}");
    assert!(!said.contains(TOKEN) && !said.contains("secret"), "{said}");
    error.join("\n")
}

/// Checks that a message contains all parts.
pub fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
}

/// Lets the hub answer requests whose target contains `what` with an error.
fn answers(place: &Place, what: &'static str, status: u16, headers: &[(&str, &str)]) {
    let mut response = Response::new(status, "");
    for (name, value) in headers {
        response = response.with(name, value);
    }
    let fault = move |r: &Request| r.target.contains(what).then(|| response.clone());
    place.mock.fault(fault);
}

#[test]
fn gated_models() {
    let place = Place::new();
    let page = format!("{}/{ID}", place.mock.endpoint);
    answers(&place, "/resolve/", 401, &[("X-Error-Code", "GatedRepo")]);
    let said = refused(&place, &[ID], false);
    says(&said, &["is gated", "no access token", &page, "HF_TOKEN"]);
    let said = refused(&place, &[ID], true);
    says(&said, &["does not accept the access token from HF_TOKEN"]);
    answers(&place, "/resolve/", 403, &[("X-Error-Code", "GatedRepo")]);
    let said = refused(&place, &[ID], true);
    says(
        &said,
        &["the access token from HF_TOKEN has no access", &page],
    );
    answers(&place, "", 403, &[]);
    let said = refused(&place, &[ID], true);
    says(
        &said,
        &["the access token from HF_TOKEN has no access", &page],
    );
}

#[test]
fn tokens_that_are_not_accepted() {
    let place = Place::new();
    let message = "Invalid credentials in Authorization header";
    answers(&place, "", 401, &[("X-Error-Message", message)]);
    let said = refused(&place, &[ID], true);
    says(
        &said,
        &[
            "does not accept the access token from HF_TOKEN",
            "create a new one",
        ],
    );
    let mut command = place.command(&["models", "pull", ID]);
    let output = command.env("HF_TOKEN", "hf_secret\u{e9}").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    says(
        &stderr(&output),
        &["the access token from HF_TOKEN contains characters"],
    );
    assert!(!stderr(&output).contains("secret"));
}

#[test]
fn what_is_not_there() {
    let place = Place::new();
    for token in [false, true] {
        let said = refused(&place, &["ada/nothing"], token);
        says(
            &said,
            &[" model ada/nothing", "spelling", "local file or folder"],
        );
    }
    answers(&place, "", 404, &[]);
    says(
        &refused(&place, &["ada/nothing"], false),
        &["no public model ada/nothing"],
    );
    place.mock.repair();
    let said = refused(&place, &[ID, "--revision", "v9"], false);
    says(&said, &["ada/mini-sd has no revision v9", "tree/main"]);
    let said = refused(&place, &["ada/mini-sd/x.safetensors"], false);
    says(
        &said,
        &["ada/mini-sd has no file x.safetensors", "tree/main"],
    );
    let output = place.p2p(&["models", "pull", "ada/mini-sd/x.ckpt"]);
    assert_eq!(output.status.code(), Some(2));
    says(&stderr(&output), &["x.ckpt is a pickle"]);
}

#[test]
fn an_id_that_is_gone_is_redirected_with_a_word() {
    let place = Place::new();
    let said = stderr(&place.p2p(&["models", "pull", "runwayml/stable-diffusion-v1-5"]));
    says(
        &said,
        &[
            "runwayml/stable-diffusion-v1-5 left the hub in 2024-08",
            "no public model stable-diffusion-v1-5/stable-diffusion-v1-5",
        ],
    );
    // A cached copy of the old id is still used.
    let id = "runwayml/stable-diffusion-v1-5";
    place
        .mock
        .add("stable-diffusion-v1-5/stable-diffusion-v1-5", miniature());
    let heard = Heard::default();
    place
        .open_watched(&ModelSource::named(id), &[], &heard)
        .unwrap();
    says(
        &heard.lines(),
        &["using stable-diffusion-v1-5/stable-diffusion-v1-5 instead"],
    );
    let moved = place
        .cache()
        .join("models--stable-diffusion-v1-5--stable-diffusion-v1-5");
    std::fs::rename(
        moved,
        place
            .cache()
            .join("models--runwayml--stable-diffusion-v1-5"),
    )
    .unwrap();
    place.mock.forget();
    let opened = place.open(id).unwrap();
    assert_eq!(opened.id, id);
    assert!(place.mock.log().is_empty());
}

#[test]
fn a_hub_that_is_busy_or_out_of_order_is_asked_again() {
    let place = Place::new();
    let count = std::sync::Arc::new(AtomicUsize::new(0));
    let asked = count.clone();
    place.mock.fault(move |_| {
        let response = match asked.fetch_add(1, Ordering::SeqCst) {
            0 => Response::new(500, ""),
            1 => Response::new(429, "").with("Retry-After", "0"),
            2 => Response::new(503, ""),
            _ => return None,
        };
        Some(response)
    });
    place.open(ID).unwrap();
    assert!(count.load(Ordering::SeqCst) > 10);
}

#[test]
fn a_hub_that_stays_so_is_an_error() {
    let place = Place::new();
    let error = |place: &Place| place.open("ada/other").unwrap_err();
    answers(&place, "", 500, &[]);
    let said = error(&place).to_string();
    says(&said, &["answers 500 repeatedly", "try again later"]);
    assert_eq!(place.mock.log().len(), 5);
    answers(&place, "", 429, &[("Retry-After", "0")]);
    says(
        &error(&place).to_string(),
        &["limits the number of requests"],
    );
    // A wait of an hour is an error at once.
    place.mock.forget();
    answers(&place, "", 429, &[("Retry-After", "3600")]);
    let said = refused(&place, &[ID], false);
    says(
        &said,
        &["limits the number of requests", "try again in 3600 s"],
    );
    assert_eq!(place.mock.log().len(), 1);
    answers(&place, "", 200, &[]);
    says(
        &refused(&place, &[ID], false),
        &["does not answer like a model hub", "HF_ENDPOINT"],
    );
}

#[test]
fn models_of_other_kinds_are_refused_before_they_are_fetched() {
    let place = Place::new();
    let flux = r#"{ "_class_name": "FluxPipeline" }"#;
    let mut files = miniature();
    files.insert("model_index.json".to_owned(), flux.into());
    place.mock.add("ada/flux", files.clone());
    says(
        &refused(&place, &["ada/flux"], false),
        &["FluxPipeline", "Stable Diffusion"],
    );
    assert_eq!(place.mock.fetched(), ["model_index.json"]);
    files.remove("model_index.json");
    place.mock.add("ada/single", files);
    let said = refused(&place, &["ada/single"], false);
    says(
        &said,
        &[
            "no model_index.json",
            ".safetensors files, such as ada/single/mini.safetensors",
        ],
    );
    let mut pickled = miniature();
    pickled.remove("unet/diffusion_pytorch_model.safetensors");
    place.mock.add("ada/pickled", pickled);
    let said = refused(&place, &["ada/pickled"], false);
    says(
        &said,
        &[
            "weights of its unet only as a pickle",
            "safe_serialization=True",
        ],
    );
}

#[test]
#[cfg(unix)]
fn a_cache_that_cannot_be_written() {
    let place = Place::new();
    // A file in place of the folder stops even the superuser.
    let file = place.work.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mut command = place.command(&["models", "pull", ID]);
    let output = command
        .env("HF_HUB_CACHE", file.join("hub"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
    says(&stderr(&output), &["cache", "HF_HUB_CACHE"]);
    // This device is always full.
    if std::path::Path::new("/dev/full").exists() {
        let blobs = place.repo().join("blobs");
        std::fs::create_dir_all(&blobs).unwrap();
        let path = "unet/diffusion_pytorch_model.safetensors";
        let etag = mock::etag(path, &miniature()[path]);
        std::os::unix::fs::symlink("/dev/full", blobs.join(format!("{etag}.incomplete"))).unwrap();
        let said = refused(&place, &[ID], false);
        says(&said, &["the disk of", "is full", "free some space"]);
    }
}

#[test]
fn more_than_the_disk_holds_is_not_begun() {
    let place = Place::new();
    place.mock.fault(|request| {
        let listed = request.target.starts_with("/api/");
        listed.then(|| {
            let file = |path: &str, size: u64| {
                serde_json::json!({ "rfilename": path, "size": size, "blobId": "a".repeat(40) })
            };
            let siblings = [file("model_index.json", 1 << 60)];
            let list = serde_json::json!({ "sha": "c".repeat(40), "siblings": siblings });
            Response::new(200, list.to_string())
        })
    });
    let said = refused(&place, &[ID], false);
    says(
        &said,
        &[
            "the download needs ",
            ", and the disk of",
            "free some space",
        ],
    );
    assert!(place.mock.fetched().is_empty());
}

#[test]
fn names_that_lead_out_of_the_cache_are_passed_over() {
    let place = Place::new();
    place.mock.fault(|request| {
        let listed = request.target.starts_with("/api/");
        listed.then(|| {
            let bad = ["../../../evil.json", "/evil.json", "unet/../../evil.json"];
            let file = |p: &str| serde_json::json!({ "rfilename": p, "size": 2, "blobId": "../x" });
            let siblings: Vec<_> = bad.into_iter().map(file).collect();
            let list = serde_json::json!({ "sha": "c".repeat(40), "siblings": siblings });
            Response::new(200, list.to_string())
        })
    });
    says(&refused(&place, &[ID], false), &["no model_index.json"]);
    assert!(place.mock.fetched().is_empty());
}
