//! Damaged files in the cache: they are found by their hashes, refused, and downloaded again.

use super::broken::{UNET, blob};
use super::mock::etag;
use super::*;

#[test]
fn a_damaged_cache_is_repaired() {
    let place = Place::new();
    place.open(ID).unwrap();
    place.mock.forget();
    // A wrong length is found whenever the hub is asked.
    let path = blob(&place, UNET);
    let half = std::fs::read(&path).unwrap()[..1000].to_vec();
    std::fs::write(&path, half).unwrap();
    place.open(ID).unwrap();
    assert_eq!(place.mock.fetched(), [UNET]);
    // A missing blob leaves a broken link.
    std::fs::remove_file(&path).unwrap();
    place.open(ID).unwrap();
    assert_eq!(place.mock.fetched(), [UNET, UNET]);
    assert!(std::fs::read(&path).unwrap() == miniature()[UNET]);
    // Wrong bytes of the right length are found when large files are hashed.
    let mut wrong = miniature()[UNET].clone();
    wrong[5000] ^= 1;
    std::fs::write(&path, wrong).unwrap();
    let said = stderr(&place.succeed(&["models", "pull", ID]));
    assert!(said.contains("is damaged"), "{said}");
    assert!(std::fs::read(&path).unwrap() == miniature()[UNET]);
}

/// Flips one bit of a cached file.
fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn damaged_weights_are_refused() {
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
fn a_damaged_small_file_is_repaired_when_it_is_used() {
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
fn a_file_is_hashed_as_its_name_says() {
    use prompt_to_prompt::hub::Cached;
    let folder = tempfile::tempdir().unwrap();
    let repo = folder.path().join("models--ada--x");
    let snapshot = repo.join("snapshots/c0ffee/unet");
    std::fs::create_dir_all(repo.join("blobs")).unwrap();
    std::fs::create_dir_all(&snapshot).unwrap();
    // `git hash-object`, `sha1sum`, `sha256sum` of "hello", wrong hashes, and a name that is not a hash.
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
fn a_damaged_file_of_a_commit_has_a_cure() {
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
