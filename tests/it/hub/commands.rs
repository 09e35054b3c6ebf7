//! `p2p models`, and what other commands print about the hub.

use serde_json::Value;

use super::*;

/// Pulls two commits of the miniature that share all large files.
fn second(place: &Place) -> (String, String) {
    place.succeed(&["models", "pull", ID]);
    let first = place
        .snapshot()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let mut files = miniature();
    files.insert("scheduler/scheduler_config.json".to_owned(), {
        let text = String::from_utf8(files["scheduler/scheduler_config.json"].clone()).unwrap();
        text.replace("0.00085", "0.002").into()
    });
    let second = place.mock.add(ID, files);
    place.succeed(&["models", "pull", ID]);
    (first, second)
}

/// Whether no link of a snapshot is broken.
fn is_whole(snapshot: &Path) -> bool {
    let files = listing(snapshot);
    !files.is_empty() && files.iter().all(|file| snapshot.join(file).is_file())
}

#[test]
fn pull_and_path_print_the_folder() {
    let place = Place::new();
    let pulled = stdout(&place.succeed(&["models", "pull", ID]));
    assert_eq!(Path::new(pulled.trim_end()), place.snapshot());
    assert_eq!(stdout(&place.succeed(&["models", "path", ID])), pulled);
    let commit = place.snapshot();
    let commit = commit.file_name().unwrap().to_str().unwrap();
    let by_commit = place.succeed(&["models", "path", ID, "--revision", &commit[..8]]);
    assert_eq!(stdout(&by_commit), pulled);
    // The folder can be opened as a model.
    place.succeed(&["sites", "--model", pulled.trim_end()]);
    let file = place.succeed(&[
        "models",
        "path",
        "ada/mini-sd/vae/diffusion_pytorch_model.safetensors",
    ]);
    assert!(Path::new(stdout(&file).trim_end()).is_file());
    let quiet = place.succeed(&["models", "pull", ID, "--quiet"]);
    assert!(quiet.stderr.is_empty());
    for (args, code, what) in [
        (
            &["models", "path", "ada/other"][..],
            4,
            "p2p models pull ada/other",
        ),
        (
            &["models", "path", "sd15"],
            4,
            "stable-diffusion-v1-5/stable-diffusion-v1-5 is not",
        ),
        (
            &["models", "path", ID, "--revision", "v2"],
            4,
            "the cached ones are: main",
        ),
        (
            &["models", "path", "ada/mini-sd/mini.safetensors"],
            4,
            "p2p models pull ada/mini-sd/mini.safetensors",
        ),
        (
            &["models", "path", "nonsense"],
            2,
            "is not the name of a model of the hub",
        ),
        (&["models", "pull", "storybook"], 2, "is embedded"),
        (&["models", "rm", "ada/other"], 4, "is not in the cache"),
    ] {
        let output = place.p2p(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert!(stderr(&output).contains(what), "{}", stderr(&output));
    }
}

#[test]
fn ls_lists_models_and_aliases() {
    let place = Place::new();
    let empty = stdout(&place.succeed(&["models", "ls"]));
    assert!(
        empty.contains("\nno models in") && empty.contains("sdxl-turbo"),
        "{empty}"
    );
    let embedded = empty.lines().nth(1).unwrap();
    let words: Vec<&str> = embedded.split_whitespace().collect();
    assert_eq!(words[..2], ["storybook", "embedded"], "{empty}");
    assert!(words[3].ends_with('B'), "{empty}");
    place.mock.add("stabilityai/sd-turbo", miniature());
    place.succeed(&["models", "pull", ID]);
    place.succeed(&["models", "pull", "sd-turbo"]);
    let text = stdout(&place.succeed(&["models", "ls"]));
    let line = |of: &str| {
        text.lines()
            .find(|line| line.starts_with(of))
            .unwrap_or_default()
    };
    assert!(
        line(ID).contains("main ") && [" MB ", " MiB "].iter().any(|unit| line(ID).contains(unit)),
        "{text}"
    );
    assert!(line("sd-turbo ").contains("in the cache"), "{text}");
    assert!(!line("sd15 ").contains("in the cache"), "{text}");
    let json: Value =
        serde_json::from_slice(&place.succeed(&["models", "ls", "--json"]).stdout).unwrap();
    assert_eq!(json["schema"], "p2p.models/v1");
    assert_eq!(json["embedded"][0]["id"], "storybook");
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/storybook");
    // The folder also has files that are not embedded, such as its README.
    let files = mock::files_of(&assets);
    let weights = files
        .iter()
        .filter(|(path, _)| path.ends_with(".safetensors"));
    let weights: usize = weights.map(|(_, bytes)| bytes.len()).sum();
    let all: usize = files.values().map(Vec::len).sum();
    let bytes = json["embedded"][0]["bytes"].as_u64().unwrap() as usize;
    assert!(weights < bytes && bytes < all, "{weights} {bytes} {all}");
    assert_eq!(json["models"][0]["id"], ID);
    assert_eq!(json["models"][0]["snapshots"][0]["revisions"][0], "main");
    let bytes = json["models"][0]["bytes"].as_u64().unwrap();
    let files = json["models"][0]["snapshots"][0]["bytes"].as_u64().unwrap();
    assert!(bytes >= files && bytes < files + 1000, "{bytes} {files}");
    let cached = |alias: &str| {
        let aliases = json["aliases"].as_array().unwrap();
        aliases.iter().find(|a| a["alias"] == alias).unwrap()["cached"].clone()
    };
    assert_eq!(
        (cached("sd-turbo"), cached("sd15")),
        (true.into(), false.into())
    );
    let doctor = stdout(&place.succeed(&["doctor"]));
    assert!(
        doctor.contains(&place.mock.endpoint) && doctor.contains(ID),
        "{doctor}"
    );
}

#[test]
fn rm_of_a_revision_leaves_others_whole() {
    let place = Place::new();
    let (first, second) = second(&place);
    let snapshot = |commit: &str| place.repo().join("snapshots").join(commit);
    let blobs = || listing(&place.repo().join("blobs"));
    let before = (blobs(), listing(place.home.path()));
    let rm = ["models", "rm", ID, "--revision", &first];
    let dry = place.succeed(&[&rm[..], &["--dry-run"]].concat());
    assert!(stderr(&dry).contains("would be freed"));
    assert_eq!(before, (blobs(), listing(place.home.path())));
    let freed = stdout(&place.succeed(&rm));
    assert!(freed.contains("freed"), "{freed}");
    assert!(!snapshot(&first).exists() && is_whole(&snapshot(&second)));
    assert_eq!(blobs().len(), before.0.len() - 1);
    place.succeed(&[
        "explain",
        "--offline",
        "--model",
        ID,
        "--src",
        "a cat",
        "--dst",
        "a dog",
    ]);
    // Removing the last snapshot removes the model.
    let last = place.succeed(&["models", "rm", ID, "--revision", "main"]);
    assert!(stderr(&last).contains("removing the whole model"));
    assert!(!place.repo().exists());
}

#[test]
fn rm_removes_all_of_a_model() {
    let place = Place::new();
    place.mock.add("ada/other", miniature());
    place.succeed(&["models", "pull", "ada/other"]);
    second(&place);
    let dry = stdout(&place.succeed(&["models", "rm", ID, "--dry-run"]));
    assert!(dry.contains("models--ada--mini-sd"), "{dry}");
    place.succeed(&["models", "rm", ID]);
    let left = listing(&place.cache());
    assert!(
        left.iter().all(|path| !path.contains("mini-sd")),
        "{left:?}"
    );
    place.succeed(&["models", "path", "ada/other"]);
}

#[test]
fn job_files_have_the_keys_and_a_batch_fetches_once() {
    let place = Place::new();
    let jobs = format!(
        "[defaults]\nmodel = \"{ID}\"\nrevision = \"main\"\nsteps = 1\nsrc = \"a cat\"\n\
         [[job]]\ndst = \"a dog\"\n[[job]]\ndst = \"a lion\"\n"
    );
    std::fs::write(place.work.path().join("jobs.toml"), jobs).unwrap();
    place.succeed(&["batch", "jobs.toml", "-o", "out"]);
    let listed = place
        .mock
        .log()
        .iter()
        .filter(|r| r.target.starts_with("/api/"))
        .count();
    assert_eq!(listed, 1);
    place.succeed(&["batch", "jobs.toml", "-o", "out2", "--offline"]);
}

#[test]
fn a_check_fetches_no_weights() {
    let place = Place::new();
    let lora = fixture("lora").join("sd1-peft.safetensors");
    let jobs = format!(
        "[defaults]\nmodel = \"{ID}\"\nsteps = 1\nsrc = \"a cat\"\n[[job]]\ndst = \"a dog\"\n\
         [[job]]\ndst = \"a lion\"\nlora = \"{}\"\n",
        lora.display()
    );
    std::fs::write(place.work.path().join("jobs.toml"), jobs).unwrap();
    let fetched_weights = || {
        let mut fetched = place.mock.fetched().into_iter();
        fetched.any(|path| path.ends_with(".safetensors"))
    };
    let missing = format!("the weights of {ID} are not on this machine");
    let checked = stderr(&place.succeed(&["job", "check", "jobs.toml"]));
    assert!(
        checked.contains(&missing) && checked.contains("2 jobs"),
        "{checked}"
    );
    let batch = ["batch", "jobs.toml", "-o", "out", "--dry-run"];
    let dry = place.succeed(&batch);
    assert!(stderr(&dry).contains(&missing), "{}", stderr(&dry));
    assert!(
        stdout(&dry).contains("memory not known before the download"),
        "{}",
        stdout(&dry)
    );
    assert!(!fetched_weights());
    place.succeed(&batch[..4]);
    assert!(fetched_weights());
    let dry = place.succeed(&batch);
    assert!(!stderr(&dry).contains(&missing));
    let said = stdout(&dry);
    assert!(
        said.contains("2 already finished") && !said.contains("not known"),
        "{said}"
    );
}
