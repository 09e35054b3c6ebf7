//! Connections and redirects: one connection serves many requests, relative redirects are followed, and the
//! access token stays with the hub.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::mock::etag;
use super::*;

/// A list of files without hashes, so that each file's ETag is requested.
fn list_without_hashes() -> Response {
    let siblings = miniature().into_keys();
    let siblings: Vec<Value> = siblings.map(|p| json!({ "rfilename": p })).collect();
    Response::new(
        200,
        json!({ "sha": "c".repeat(40), "siblings": siblings }).to_string(),
    )
}

/// The path in the repository that a request is for.
fn file_of(request: &Request) -> Option<&str> {
    let (_, rest) = request.target.split_once("/resolve/")?;
    Some(rest.split_once('/')?.1)
}

fn bearer() -> String {
    format!("Bearer {TOKEN}")
}

fn token_is_sent(request: &Request) -> bool {
    request.header("authorization") == Some(&bearer())
}

fn open_with_token(place: &Place) {
    let source = ModelSource::named(ID);
    place.open_with(&source, &[("HF_TOKEN", TOKEN)]).unwrap();
}

#[test]
fn all_requests_of_a_process_share_a_connection() {
    let place = Place::new();
    place.open(ID).unwrap();
    let first = place.mock.log();
    assert!(first.len() > 10);
    // A second `Connection` and another model use the same pool.
    place.mock.add("ada/other", miniature());
    place.open(ID).unwrap();
    place.open("ada/other").unwrap();
    let log = place.mock.log();
    assert!(log.len() > 2 * first.len());
    let connections: HashSet<usize> = log.iter().map(|request| request.connection).collect();
    assert_eq!(connections.len(), 1, "{log:?}");
}

#[test]
fn a_broken_connection_is_replaced() {
    let place = Place::new();
    let first = std::sync::atomic::AtomicBool::new(true);
    place.mock.fault(move |request| {
        let is_first =
            file_of(request).is_some() && first.swap(false, std::sync::atomic::Ordering::SeqCst);
        is_first.then(|| {
            let mut response = Response::new(200, "half of something");
            response.cut = Some(4);
            response
        })
    });
    place.open(ID).unwrap();
    let log = place.mock.log();
    let connections: HashSet<usize> = log.iter().map(|request| request.connection).collect();
    assert_eq!(connections.len(), 2, "{log:?}");
}

/// Opens the miniature from a hub that redirects each file by `location`, and serves it where `moved` gives
/// its path.
fn open_redirected(location: fn(&str) -> String, moved: fn(&str) -> Option<&str>) -> Vec<Request> {
    let place = Place::new();
    place.mock.fault(move |request| {
        if request.target.starts_with("/api/") {
            return Some(list_without_hashes());
        }
        if let Some(path) = moved(&request.target) {
            let bytes = &miniature()[path];
            let tag = format!("\"{}\"", etag(path, bytes));
            return Some(Response::new(200, bytes.clone()).with("ETag", &tag));
        }
        let location = location(file_of(request)?);
        // Hubs send a text with a redirect. The connection must be usable all the same.
        let text = format!("Temporary Redirect. Redirecting to {location}");
        Some(Response::new(307, text).with("Location", &location))
    });
    open_with_token(&place);
    for path in listing(&place.snapshot()) {
        let file = std::fs::read(place.snapshot().join(&path)).unwrap();
        assert!(file == miniature()[&path], "{path}");
    }
    place.mock.log()
}

/// Each file was requested twice by HEAD and twice by GET, always with the token, over one connection.
fn check_redirects(log: &[Request]) {
    for method in ["HEAD", "GET"] {
        let files = log
            .iter()
            .filter(|r| r.method == method && !r.target.starts_with("/api/"));
        let (redirected, served): (Vec<_>, Vec<_>) = files.partition(|r| !is_moved(&r.target));
        assert_eq!(redirected.len(), served.len(), "{method}: {log:?}");
        assert!(served.len() >= 7, "{method}: {log:?}");
    }
    assert!(log.iter().all(token_is_sent), "{log:?}");
    let connections: HashSet<usize> = log.iter().map(|request| request.connection).collect();
    assert_eq!(connections.len(), 1, "{log:?}");
}

fn is_moved(target: &str) -> bool {
    target.starts_with("/store/") || target.contains("moved")
}

#[test]
fn a_redirect_to_a_path_is_followed_with_the_token() {
    let log = open_redirected(
        |path| format!("/store/{path}"),
        |target| target.strip_prefix("/store/"),
    );
    check_redirects(&log);
}

#[test]
fn a_redirect_to_a_path_with_a_query_is_followed_with_the_token() {
    let log = open_redirected(
        |path| format!("/store/{path}?key=a%2Fb&n=1"),
        |target| {
            target
                .strip_prefix("/store/")?
                .strip_suffix("?key=a%2Fb&n=1")
        },
    );
    check_redirects(&log);
}

#[test]
fn a_redirect_to_a_path_in_the_same_folder_is_followed_with_the_token() {
    for query in ["", "?key=1"] {
        let log = open_redirected(
            // `unet/config.json` becomes `unet/moved/config.json`.
            match query {
                "" => |path| format!("moved/{}", path.rsplit('/').next().unwrap()),
                _ => |path| format!("moved/{}?key=1", path.rsplit('/').next().unwrap()),
            },
            |target| {
                let (before, name) = target.rsplit_once("/moved/")?;
                let name = name.strip_suffix("?key=1").unwrap_or(name);
                let commit = "c".repeat(40);
                let (_, folder) = before.split_once(&commit)?;
                let path = format!("{folder}/{name}");
                let mut files = miniature().into_keys();
                let found = files.find(|file| *file == path[1..])?;
                Some(&*found.leak())
            },
        );
        check_redirects(&log);
        let moved = log.iter().filter(|r| is_moved(&r.target));
        assert!(moved.clone().count() > 0);
        assert!(moved.clone().all(|r| r.target.ends_with(query)), "{log:?}");
    }
}

#[test]
fn an_etag_is_the_hubs_own_and_another_host_gets_no_token() {
    let (place, store) = (Place::new(), Mock::new());
    store.fault(|request| {
        let (_, path) = request.target.split_once('/').unwrap();
        Some(Response::new(200, miniature()[path].clone()).with("ETag", "\"another\""))
    });
    let other = store.endpoint.replace("127.0.0.1", "localhost");
    place.mock.fault(move |request| {
        if request.target.starts_with("/api/") {
            return Some(list_without_hashes());
        }
        let path = file_of(request)?;
        let bytes = &miniature()[path];
        let response = Response::new(302, "Found")
            .with("Location", &format!("{other}/{path}"))
            .with("X-Linked-ETag", &format!("\"{}\"", etag(path, bytes)))
            .with("X-Linked-Size", &bytes.len().to_string());
        Some(response)
    });
    open_with_token(&place);
    assert!(place.mock.log().iter().all(token_is_sent));
    let requests = store.log();
    assert!(requests.len() >= 7);
    for request in &requests {
        assert_eq!(request.method, "GET");
        assert_eq!(request.header("authorization"), None);
        assert!(!format!("{request:?}").contains(TOKEN));
    }
    let blobs = listing(&place.repo().join("blobs"));
    assert!(!blobs.contains(&"another".to_owned()), "{blobs:?}");
}

#[test]
fn another_port_is_another_host() {
    let (place, store) = (Place::new(), Mock::new());
    store.fault(|request| {
        let (_, path) = request.target.split_once('/').unwrap();
        Some(Response::new(200, miniature()[path].clone()))
    });
    let other = store.endpoint.clone();
    place.mock.fault(move |request| {
        let location = format!("{other}/{}", file_of(request)?);
        Some(Response::new(302, "").with("Location", &location))
    });
    open_with_token(&place);
    assert!(!store.log().is_empty());
    let has_token = |request: &Request| request.header("authorization").is_some();
    assert!(!store.log().iter().any(has_token));
}

#[test]
fn a_redirect_to_another_scheme_is_an_error() {
    let place = Place::new();
    place.mock.fault(|request| {
        file_of(request)?;
        Some(Response::new(302, "").with("Location", "file:///etc/passwd"))
    });
    let error = place.open(ID).unwrap_err().to_string();
    assert!(error.contains("redirects to an invalid URL"), "{error}");
}
