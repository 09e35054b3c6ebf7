//! Cures are commands to paste: they download what is missing, with its revision, variant and file.

use std::collections::BTreeMap;

use super::*;

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
const LORA: &str = "sd1-peft.safetensors";

/// A hub with the miniature, which has a variant and the revisions `main` and `v1.0`, and a repository of LoRAs.
fn place() -> Place {
    let mut files = miniature();
    let half = files[UNET].clone();
    files.insert(UNET.replace(".safe", ".fp16.safe"), half);
    let place = Place::with(BTreeMap::new());
    let commit = place.mock.add(ID, files);
    place.mock.name(ID, "v1.0", &commit);
    let lora = std::fs::read(fixture("lora").join(LORA)).unwrap();
    place
        .mock
        .add("ada/loras", BTreeMap::from([(LORA.to_owned(), lora)]));
    place
}

/// The arguments of the `p2p` command in an error's cure.
fn cure(output: &Output) -> Vec<String> {
    let said = stderr(output);
    let at = said.find("p2p models").unwrap_or_else(|| panic!("{said}"));
    let command = said[at..].lines().next().unwrap();
    shlex::split(command).unwrap()[1..].to_vec()
}

#[test]
fn what_is_missing_offline() {
    let file = format!("ada/loras/{LORA}");
    for args in [
        &["--model", ID][..],
        &["--model", ID, "--variant", "fp16"],
        &["--model", ID, "--variant", "fp16", "--revision", "v1.0"],
        &["--model", ID, "--lora", &file],
    ] {
        let place = place();
        let edit = [
            "edit",
            "--src",
            "a cat",
            "--dst",
            "a dog",
            "--steps",
            "1",
            "-o",
            "out",
            "--offline",
        ];
        let edit = [&edit[..], args].concat();
        // Each attempt reports one missing thing.
        let drawn = (0..3).find(|_| {
            let output = place.p2p(&edit);
            if output.status.code() == Some(4) {
                let cure = cure(&output);
                let cure: Vec<&str> = cure.iter().map(String::as_str).collect();
                place.succeed(&cure);
            }
            output.status.success()
        });
        assert!(drawn.is_some(), "{args:?}");
    }
}

#[test]
fn a_vae_is_no_model_that_could_be_pulled() {
    let place = place();
    let args = [
        "edit",
        "--src",
        "a cat",
        "--dst",
        "a dog",
        "--vae",
        ID,
        "--offline",
    ];
    let said = stderr(&place.p2p(&args));
    assert!(said.contains("once without --offline"), "{said}");
    let output = place
        .command(&args[..7])
        .env("HF_HUB_OFFLINE", "1")
        .output();
    let said = stderr(&output.unwrap());
    assert!(said.contains("once with HF_HUB_OFFLINE=0"), "{said}");
}

#[test]
fn a_check_says_how_to_fetch_the_variant() {
    let place = place();
    let jobs = |variant: &str| {
        let jobs = format!(
            "[defaults]\nmodel = \"{ID}\"\nvariant = \"{variant}\"\nsrc = \"a cat\"\n[[job]]\ndst = \"a dog\"\n"
        );
        std::fs::write(place.work.path().join("jobs.toml"), jobs).unwrap();
    };
    jobs("fp16");
    let said = stderr(&place.succeed(&["job", "check", "jobs.toml"]));
    assert!(
        said.contains(&format!("p2p models pull {ID} --variant fp16")),
        "{said}"
    );
    jobs("ema");
    let output = place.p2p(&["job", "check", "jobs.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("has no variant ema"),
        "{}",
        stderr(&output)
    );
    assert!(
        place
            .mock
            .fetched()
            .iter()
            .all(|path| !path.ends_with(".safetensors"))
    );
}

#[test]
fn pull_offline_checks_what_is_there() {
    let place = place();
    place.succeed(&["models", "pull", ID]);
    let path = place.snapshot().join(UNET);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[5000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let output = place
        .command(&["models", "pull", ID])
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
    let said = stderr(&output);
    assert!(
        said.contains("is damaged")
            && said.contains(&format!("HF_HUB_OFFLINE=0 p2p models pull {ID}")),
        "{said}"
    );
}

#[test]
fn a_cure_in_a_job_file_can_be_pasted() {
    let place = place();
    let jobs = format!(
        "[defaults]\nmodel = \"{ID}\"\nrevision = \"v1.0\"\nvariant = \"fp16\"\nsrc = \"a cat\"\n[[job]]\ndst = \"a dog\"\n"
    );
    std::fs::write(place.work.path().join("jobs.toml"), jobs).unwrap();
    let batch = ["batch", "jobs.toml", "-o", "out", "--offline"];
    let output = place.p2p(&batch);
    let cure = cure(&output);
    assert_eq!(
        cure,
        [
            "models",
            "pull",
            ID,
            "--revision",
            "v1.0",
            "--variant",
            "fp16"
        ]
    );
    let cure: Vec<&str> = cure.iter().map(String::as_str).collect();
    place.succeed(&cure);
    place.succeed(&[&batch[..], &["--dry-run"]].concat());
}

#[test]
fn a_part_of_the_hub_is_blamed_in_its_line() {
    let place = place();
    for (key, value) in [
        ("vae", "\"ada/loras\""),
        ("vae", "\"ada/nothing\""),
        ("lora", "\"ada/loras/other.safetensors\""),
        ("lora", "[\"ada/loras/other.safetensors=0.5\"]"),
    ] {
        let jobs = format!(
            "[defaults]\nmodel = \"{ID}\"\nsrc = \"a cat\"\n[[job]]\ndst = \"a dog\"\n{key} = {value}\n"
        );
        std::fs::write(place.work.path().join("jobs.toml"), jobs).unwrap();
        let output = place.p2p(&["job", "check", "jobs.toml"]);
        assert_eq!(output.status.code(), Some(2));
        let said = stderr(&output);
        assert!(said.contains("jobs.toml:6"), "{said}");
    }
}

#[test]
fn addresses_of_pages_mean_their_revision() {
    let place = place();
    let first = std::fs::read_to_string({
        place.succeed(&["models", "pull", ID]);
        place.repo().join("refs/main")
    });
    let first = first.unwrap();
    let mut files = miniature();
    files.insert("p2p.json".to_owned(), b"{}".to_vec());
    let second = place.mock.add(ID, files);
    place.succeed(&["models", "pull", ID]);
    let page = format!("https://huggingface.co/{ID}/tree/v1.0");
    // A local folder of that name is not meant.
    std::fs::create_dir_all(place.work.path().join(ID)).unwrap();
    let pulled = stdout(&place.succeed(&["models", "pull", &page]));
    assert!(pulled.contains(&first), "{pulled}");
    assert_eq!(stdout(&place.succeed(&["models", "path", &page])), pulled);
    let plain = stdout(&place.succeed(&["models", "pull", ID]));
    assert!(plain.contains(&second), "{plain}");
    let old = stdout(&place.succeed(&["models", "pull", ID, "--revision", "v1.0"]));
    assert_eq!(old, pulled);
    let file = format!("https://huggingface.co/{ID}/blob/v1.0/{UNET}");
    let refused = place.p2p(&["models", "rm", &file]);
    assert_eq!(refused.status.code(), Some(2));
    place.succeed(&["models", "rm", &page]);
    let snapshots = place.repo().join("snapshots");
    assert!(!snapshots.join(&first).exists() && snapshots.join(&second).exists());
}

#[test]
fn the_revision_of_a_part_is_in_its_cure() {
    let place = place();
    let main = std::fs::read(fixture("lora").join("sd1-kohya.safetensors")).unwrap();
    let old = place
        .mock
        .add("ada/two", BTreeMap::from([(LORA.to_owned(), main.clone())]));
    place.mock.name("ada/two", "v1.0", &old);
    place.mock.add(
        "ada/two",
        BTreeMap::from([("other.safetensors".to_owned(), main)]),
    );
    let page = format!("https://huggingface.co/ada/two/blob/v1.0/{LORA}");
    let edit = [
        "edit",
        "--src",
        "a cat",
        "--dst",
        "a dog",
        "--offline",
        "--lora",
        &page,
    ];
    let cure = cure(&place.p2p(&edit));
    assert_eq!(
        cure[2..],
        [&format!("ada/two/{LORA}"), "--revision", "v1.0"]
    );
    let cure: Vec<&str> = cure.iter().map(String::as_str).collect();
    place.succeed(&cure);
    assert!(!stderr(&place.p2p(&edit)).contains("not in the cache"));
}

#[test]
fn a_message_of_a_job_leaves_paths_alone() {
    let place = place();
    let lora = std::fs::read(fixture("lora").join("sdxl-kohya.safetensors")).unwrap();
    place.mock.add(
        "ada/lora",
        BTreeMap::from([("xl.safetensors".to_owned(), lora)]),
    );
    let jobs = format!(
        "[[job]]\nmodel = \"{ID}\"\nsrc = \"a cat\"\ndst = \"a dog\"\nlora = \"ada/lora/xl.safetensors\"\n"
    );
    std::fs::write(place.work.path().join("jobs.toml"), jobs).unwrap();
    let said = stderr(&place.p2p(&["batch", "jobs.toml", "-o", "out"]));
    assert!(said.contains("models--ada--lora/"), "{said}");
    // The error points at the line of the key.
    assert!(said.contains("jobs.toml:5"), "{said}");
}

#[test]
fn a_store_that_refuses_is_no_matter_of_the_token() {
    let place = place();
    let there = place.mock.endpoint.replace("127.0.0.1", "localhost");
    place.mock.fault(move |request| {
        if request.target.starts_with("/store/") {
            return Some(Response::new(403, ""));
        }
        let large = request.target.contains("/resolve/") && request.target.ends_with(UNET);
        large.then(|| Response::new(302, "").with("Location", &format!("{there}/store/x")))
    });
    let mut command = place.command(&["models", "pull", ID]);
    let output = command.env("HF_TOKEN", TOKEN).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let said = stderr(&output);
    assert!(
        said.contains("localhost, to which the hub redirects for"),
        "{said}"
    );
    assert!(
        said.contains("answers 403") && !said.contains("token"),
        "{said}"
    );
    let store = place
        .mock
        .log()
        .into_iter()
        .filter(|r| r.target.starts_with("/store/"));
    let tokens = store
        .map(|r| r.header("authorization").is_some())
        .collect::<Vec<_>>();
    assert!(
        tokens.len() > 1 && tokens.iter().all(|sent| !sent),
        "{tokens:?}"
    );
}

#[test]
fn a_model_that_is_being_fetched_is_not_removed() {
    let place = place();
    place.succeed(&["models", "pull", ID]);
    let locks = place.cache().join(".locks/models--ada--mini-sd");
    std::fs::create_dir_all(&locks).unwrap();
    let lock = std::fs::File::create(locks.join("x.lock")).unwrap();
    lock.lock().unwrap();
    let output = place.p2p(&["models", "rm", ID]);
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("another process is downloading"));
    assert!(place.repo().exists());
    drop(lock);
    let said = stderr(&place.succeed(&["models", "rm", ID, "--revision", "main"]));
    assert!(said.contains("removing the whole model"), "{said}");
}
