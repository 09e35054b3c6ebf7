//! Downloads into an empty cache: which files are downloaded, where they are stored, and what pictures record.

use std::path::Path;

use serde_json::Value;

use super::mock::{etag, files_of};
use super::*;

const EDIT: [&str; 13] = [
    "edit",
    "--model",
    ID,
    "--src",
    "a cat on the beach",
    "--dst",
    "a dog on the beach",
    "--steps",
    "2",
    "--seed",
    "3",
    "-o",
    "out",
];
/// The files that p2p uses of the miniature.
const NEEDED: [&str; 12] = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
];

fn needed() -> Vec<&'static str> {
    let there = files_of(&fixture("mini-sd"));
    let mut needed: Vec<&str> = NEEDED
        .into_iter()
        .filter(|p| there.contains_key(*p))
        .collect();
    assert!(needed.len() >= 10);
    needed.sort_unstable();
    needed
}

#[test]
fn a_cold_cache_is_filled_with_what_is_needed_and_drawn_from() {
    let place = Place::new();
    let edited = place.succeed(&EDIT);
    let mut fetched = place.mock.fetched();
    fetched.sort();
    assert_eq!(fetched, needed());
    let said = stderr(&edited);
    assert!(said.contains("of ada/mini-sd"), "{said}");

    let read = |name: &str| std::fs::read(place.work.path().join("out").join(name)).unwrap();
    let manifest = String::from_utf8(read("manifest.json")).unwrap();
    let json: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(json["model"]["id"], ID);
    let commit = place
        .snapshot()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(json["model"]["revision"], *commit);
    // The path on this machine is private.
    let home = place.home.path().to_str().unwrap();
    for name in ["manifest.json", "source.png", "edited-1.png"] {
        let text = String::from_utf8_lossy(&read(name)).into_owned();
        assert!(
            !text.contains(home) && !text.contains("snapshots"),
            "{name}"
        );
    }

    // The cache alone and a local folder give the same picture.
    place.mock.forget();
    let folder = fixture("mini-sd");
    let again = |model: &str, more: &[&str], out: &str| {
        let mut args = EDIT.to_vec();
        (args[2], args[12]) = (model, out);
        place.succeed(&[&args, more].concat());
        std::fs::read(place.work.path().join(out).join("edited-1.png")).unwrap()
    };
    assert!(again(ID, &["--offline"], "offline") == read("edited-1.png"));
    assert!(place.mock.log().is_empty());
    let pixels = |png: &[u8]| image::load_from_memory(png).unwrap().to_rgb8();
    let local = again(folder.to_str().unwrap(), &[], "local");
    assert!(pixels(&local) == pixels(&read("edited-1.png")));

    // With a network, one request asks for the commit, and nothing is downloaded.
    again(ID, &[], "online");
    assert_eq!(place.mock.log().len(), 1);
    assert!(place.mock.fetched().is_empty());
}

#[test]
fn it_lies_as_pythons_tools_would_lay_it() {
    let place = Place::new();
    place.open(ID).unwrap();
    let (files, commit) = (miniature(), place.snapshot());
    let main = std::fs::read_to_string(place.repo().join("refs/main")).unwrap();
    assert_eq!(main, commit.file_name().unwrap().to_str().unwrap());
    assert_eq!(listing(&commit), needed());
    for path in needed() {
        let bytes = &files[path];
        let blob = place.repo().join("blobs").join(etag(path, bytes));
        assert!(std::fs::read(blob).unwrap() == *bytes, "{path}");
        let up = "../".repeat(path.matches('/').count() + 2);
        let link = std::fs::read_link(commit.join(path));
        let expected = format!("{up}blobs/{}", etag(path, bytes));
        if cfg!(unix) {
            assert_eq!(link.unwrap(), Path::new(&expected));
        }
        let lock = format!(".locks/models--ada--mini-sd/{}.lock", etag(path, bytes));
        assert!(place.cache().join(lock).is_file());
    }
    let blobs = listing(&place.repo().join("blobs"));
    assert!(blobs.iter().all(|name| !name.contains("incomplete")));
    // Without the locks, the cache is as Python leaves it.
    place.mock.forget();
    std::fs::remove_dir_all(place.cache().join(".locks")).unwrap();
    place.open(ID).unwrap();
    assert!(place.mock.fetched().is_empty());
}

#[test]
fn a_plan_needs_no_weights() {
    let place = Place::new();
    place.succeed(&["explain", "--model", ID, "--src", "a cat", "--dst", "a dog"]);
    place.succeed(&["sites", "--model", ID]);
    let fetched = place.mock.fetched();
    assert!(fetched.len() >= 7, "{fetched:?}");
    assert!(
        fetched.iter().all(|path| !path.ends_with(".safetensors")),
        "{fetched:?}"
    );
}

#[test]
fn a_picture_is_drawn_again_by_the_commit_that_drew_it() {
    let place = Place::new();
    place.succeed(&EDIT);
    let old = place
        .snapshot()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let mut changed = miniature();
    let config = "scheduler/scheduler_config.json";
    let text = String::from_utf8(changed[config].clone()).unwrap();
    let text = text.replace("0.00085", "0.002");
    assert!(text.as_bytes() != changed[config]);
    changed.insert(config.to_owned(), text.into());
    let new = place.mock.add(ID, changed);
    assert_ne!(old, new);

    place.mock.forget();
    let verified = place.succeed(&["verify", "out/edited-1.png"]);
    assert!(stdout(&verified).contains("reproduces"));
    assert!(place.mock.log().is_empty(), "a commit never changes");
    // An empty cache gets the recorded commit.
    std::fs::remove_dir_all(place.cache()).unwrap();
    place.succeed(&["rerun", "out/edited-1.png", "-o", "again"]);
    let read = |name: &str| std::fs::read(place.work.path().join(name)).unwrap();
    assert!(read("again/edited-1.png") == read("out/edited-1.png"));
    assert!(place.snapshot().ends_with(&old));
    // Naming the model asks for the newest commit.
    let args = ["rerun", "out/edited-1.png", "-o", "now", "--model", ID];
    let now = place.succeed(&args);
    assert!(
        stderr(&now).contains("this is not the model that drew"),
        "{}",
        stderr(&now)
    );
    assert!(read("now/edited-1.png") != read("out/edited-1.png"));
    let info = stdout(&place.succeed(&["info", "out/edited-1.png"]));
    assert!(info.contains(&old) && info.contains(ID), "{info}");
}

#[test]
fn a_redirect_to_another_host_gets_no_token() {
    let (place, elsewhere) = (Place::new(), Mock::new());
    elsewhere.fault(|request| {
        let (_, path) = request.target.split_once('/').unwrap();
        Some(Response::new(200, miniature()[path].clone()))
    });
    let other = elsewhere.endpoint.replace("127.0.0.1", "localhost");
    place.mock.fault(move |request| {
        let (_, rest) = request.target.split_once("/resolve/")?;
        let (_, path) = rest.split_once('/')?;
        let to = format!("{other}/{path}");
        Some(Response::new(302, "").with("Location", &to))
    });
    let source = ModelSource::named(ID);
    place.open_with(&source, &[("HF_TOKEN", TOKEN)]).unwrap();
    let token = format!("Bearer {TOKEN}");
    let ours = place.mock.log();
    assert!(
        ours.iter()
            .all(|request| request.header("authorization") == Some(&token))
    );
    let theirs = elsewhere.log();
    assert_eq!(theirs.len(), needed().len());
    assert!(
        theirs
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
    assert!(!format!("{theirs:?}").contains(TOKEN));
}

#[test]
fn a_redirect_on_the_hub_itself_is_followed_with_it() {
    let place = Place::new();
    place.mock.fault(|request| {
        let moved = request.target.strip_prefix("/api/models/old/name")?;
        let to = format!("/api/models/{ID}{moved}");
        Some(Response::new(307, "").with("Location", &to))
    });
    let source = ModelSource::named("old/name");
    let error = place
        .open_with(&source, &[("HF_TOKEN", TOKEN)])
        .unwrap_err();
    // This hub does not redirect the files of the old name.
    assert!(error.to_string().contains("model_index.json"), "{error}");
    let token = format!("Bearer {TOKEN}");
    assert!(
        place
            .mock
            .log()
            .iter()
            .all(|r| r.header("authorization") == Some(&token))
    );
}

#[test]
fn without_hashes_in_the_list_files_are_asked_for_their_etags() {
    let place = Place::new();
    place.mock.fault(|request| {
        let listed = request.target.starts_with("/api/");
        listed.then(|| {
            let siblings = miniature().into_keys();
            let siblings: Vec<Value> = siblings
                .map(|p| serde_json::json!({ "rfilename": p }))
                .collect();
            let commit = "c".repeat(40);
            let list = serde_json::json!({ "sha": commit, "siblings": siblings });
            Response::new(200, list.to_string())
        })
    });
    place.mock.add(ID, miniature());
    let error = place.open(ID).unwrap_err();
    assert!(
        error.to_string().contains("has no file model_index.json"),
        "{error}"
    );
    let heads = place.mock.log();
    assert!(heads.iter().any(|request| request.method == "HEAD"));
}

#[test]
fn a_single_file_of_a_repository_and_parts_from_there() {
    let place = Place::new();
    let args = [
        "edit",
        "--model",
        "ada/mini-sd/mini.safetensors",
        "--src",
        "a cat",
        "--dst",
        "a dog",
    ];
    let output = place.p2p(&args);
    // The file is not a checkpoint, but it was downloaded.
    assert_eq!(place.mock.fetched(), ["mini.safetensors"]);
    assert!(
        stderr(&output).contains("not a whole safetensors file"),
        "{}",
        stderr(&output)
    );
    place.mock.forget();
    let vae = |vae: &str| ModelSource {
        vae: Some(vae.into()),
        ..ModelSource::named(fixture("mini-sd").to_str().unwrap())
    };
    place.open_with(&vae(ID), &[]).unwrap();
    let expected = ["vae/config.json", "vae/diffusion_pytorch_model.safetensors"];
    assert_eq!(place.mock.fetched(), expected);
    let file = format!("{ID}/vae/diffusion_pytorch_model.safetensors");
    place.open_with(&vae(&file), &[]).unwrap();
    assert_eq!(place.mock.fetched(), expected);
    // A model with another VAE does not need its own.
    place.mock.forget();
    let local = fixture("mini-sd/vae");
    let source = ModelSource {
        vae: Some(local),
        ..ModelSource::named(ID)
    };
    let other = Place::new();
    other.open_with(&source, &[]).unwrap();
    assert!(!other.mock.fetched().contains(&expected[1].to_owned()));
}

#[test]
fn what_is_a_path_here_is_no_id() {
    let place = Place::new();
    let folder = place.work.path().join("ada/mini-sd");
    std::fs::create_dir_all(&folder).unwrap();
    let output = place.p2p(&["explain", "--model", ID, "--src", "a", "--dst", "b"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("has no model_index.json"));
    assert!(place.mock.log().is_empty());
}
