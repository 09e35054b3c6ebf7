//! The output folder: all or nothing, on real folders.

use std::fs;
use std::path::Path;

use image::RgbImage;
use prompt_to_prompt::error::Error;
use prompt_to_prompt::error::Result;
use prompt_to_prompt::report::atomic::AtomicFile;
use prompt_to_prompt::report::output::OutputFolder;

/// Everything under `folder`, hidden files too.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn run(path: &Path, force: bool, files: &[(&str, &str)]) {
    let mut folder = OutputFolder::create(path, force).unwrap();
    for (name, text) in files {
        folder.write_text(name, text).unwrap();
    }
    folder.finish().unwrap();
}

#[test]
fn the_folder_appears_when_finished_and_not_before() {
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("new/deep/out");
    let mut folder = OutputFolder::create(&target, false).unwrap();
    folder
        .write_png("source.png", &RgbImage::new(2, 3), &[])
        .unwrap();
    folder.write_text("manifest.json", "{}").unwrap();
    fs::write(folder.path("other.bin"), [1]).unwrap();
    assert!(!target.exists());
    let paths = folder.finish().unwrap();
    let expected = ["source.png", "manifest.json", "other.bin"].map(|name| target.join(name));
    assert_eq!(paths, expected);
    assert!(paths.iter().all(|path| path.is_file()));
    assert_eq!(
        image::open(&paths[0]).unwrap().to_rgb8().dimensions(),
        (2, 3)
    );
    assert_eq!(
        names(target.parent().unwrap()),
        ["out"],
        "no temporary left"
    );
}

#[test]
fn dropped_it_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let mut folder = OutputFolder::create(&place.path().join("a/b/out"), false).unwrap();
    folder.write_text("x.txt", "x").unwrap();
    drop(folder);
    assert!(names(place.path()).is_empty());
}

#[test]
fn dropped_it_keeps_what_was_there() {
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("out");
    run(&target, false, &[("x.txt", "old")]);
    let mut folder = OutputFolder::create(&target, true).unwrap();
    folder.write_text("x.txt", "new").unwrap();
    drop(folder);
    assert_eq!(names(&target), ["x.txt"]);
    assert_eq!(fs::read_to_string(target.join("x.txt")).unwrap(), "old");
}

#[test]
fn an_existing_folder_needs_force() {
    let place = tempfile::tempdir().unwrap();
    let error = OutputFolder::create(place.path(), false).unwrap_err();
    assert!(matches!(error, Error::Usage(_)), "{error}");
    let said = error.to_string();
    assert!(
        said.contains(&place.path().display().to_string()) && said.contains("`force = true`"),
        "{said}"
    );
    assert!(names(place.path()).is_empty());
}

#[test]
fn a_file_in_the_way_is_no_folder_even_with_force() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    fs::write(&file, "mine").unwrap();
    let error = OutputFolder::create(&file, true).unwrap_err();
    assert!(matches!(error, Error::Usage(_)), "{error}");
    // As a parent it is the disk's refusal.
    let error = OutputFolder::create(&file.join("out"), false).unwrap_err();
    assert!(matches!(error, Error::Run(_)), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}

#[test]
fn force_replaces_and_removes_only_what_the_old_manifest_lists() {
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("out");
    let outside = place.path().join("outside.txt");
    fs::write(&outside, "mine").unwrap();
    let manifest =
        r#"{"files": ["source.png", "edited-2.png", "../outside.txt", "notes", ".", 7]}"#;
    let manifest = manifest.replace(", 7", "");
    run(
        &target,
        false,
        &[
            ("source.png", "old"),
            ("edited-2.png", "old"),
            ("manifest.json", &manifest),
        ],
    );
    fs::write(target.join("holiday.jpg"), "mine").unwrap();
    fs::create_dir(target.join("notes")).unwrap();
    run(
        &target,
        true,
        &[("source.png", "new"), ("manifest.json", "{}")],
    );
    assert_eq!(
        names(&target),
        ["holiday.jpg", "manifest.json", "notes", "source.png"]
    );
    assert_eq!(
        fs::read_to_string(target.join("source.png")).unwrap(),
        "new"
    );
    assert_eq!(
        fs::read_to_string(target.join("manifest.json")).unwrap(),
        "{}"
    );
    assert!(outside.exists());
}

#[test]
fn a_manifest_that_is_not_ours_lists_nothing() {
    let place = tempfile::tempdir().unwrap();
    for manifest in [
        "",
        "[]",
        "{",
        r#"{"files": "x.txt"}"#,
        r#"{"files": [1, "x.txt"]}"#,
    ] {
        fs::write(place.path().join("manifest.json"), manifest).unwrap();
        fs::write(place.path().join("x.txt"), "mine").unwrap();
        run(place.path(), true, &[("y.txt", "new")]);
        assert!(place.path().join("x.txt").exists(), "{manifest}");
    }
}

#[test]
fn a_folder_with_an_outputs_name_stops_force_before_the_first_move() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("a.txt"), "old").unwrap();
    fs::create_dir(place.path().join("b.txt")).unwrap();
    let mut folder = OutputFolder::create(place.path(), true).unwrap();
    folder.write_text("a.txt", "new").unwrap();
    folder.write_text("b.txt", "new").unwrap();
    let error = folder.finish().unwrap_err();
    assert!(matches!(error, Error::Run(_)), "{error}");
    assert_eq!(
        fs::read_to_string(place.path().join("a.txt")).unwrap(),
        "old"
    );
    assert_eq!(names(place.path()), ["a.txt", "b.txt"]);
}

#[test]
#[should_panic(expected = "not a name inside the folder")]
fn names_that_lead_elsewhere_are_a_bug() {
    let place = tempfile::tempdir().unwrap();
    let mut folder = OutputFolder::create(&place.path().join("out"), false).unwrap();
    let _ = folder.write_text("../x.txt", "x");
}

#[test]
fn a_single_file_is_whole_or_absent() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("latents.safetensors");
    drop(AtomicFile::create(&path).unwrap());
    assert!(names(place.path()).is_empty());
    write_atomic(&path, b"one").unwrap();
    write_atomic(&path, b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(names(place.path()), ["latents.safetensors"]);
    let error = write_atomic(place.path(), b"x").unwrap_err();
    assert!(matches!(error, Error::Usage(_)), "{error}");
    let missing = place.path().join("no/such/file");
    let error = write_atomic(&missing, b"x").unwrap_err();
    assert!(
        matches!(&error, Error::Run(r) if r.cause.to_string().contains("no/such") && !r.cause.to_string().contains(".p2p-")),
        "{error}"
    );
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn permissions_are_those_of_any_other_file() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir(at("plain")).unwrap();
        fs::write(at("plain.txt"), "").unwrap();
        run(&at("out"), false, &[("x.txt", "x")]);
        write_atomic(&at("y.txt"), b"y").unwrap();
        assert_eq!(mode(&at("out")), mode(&at("plain")));
        assert_eq!(mode(&at("out/x.txt")), mode(&at("plain.txt")));
        assert_eq!(mode(&at("y.txt")), mode(&at("plain.txt")));
    }

    #[test]
    fn links_are_followed_and_stale_links_spared() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::write(at("real.bin"), "old").unwrap();
        symlink(at("real.bin"), at("link.bin")).unwrap();
        write_atomic(&at("link.bin"), b"new").unwrap();
        assert_eq!(fs::read(at("real.bin")).unwrap(), b"new");

        run(
            &at("out"),
            false,
            &[("manifest.json", r#"{"files": ["link"]}"#)],
        );
        symlink(at("real.bin"), at("out/link")).unwrap();
        run(&at("out"), true, &[("manifest.json", "{}")]);
        assert!(at("out/link").exists() && at("real.bin").exists());

        symlink(at("nowhere"), at("dangling")).unwrap();
        let error = OutputFolder::create(&at("dangling"), true).unwrap_err();
        assert!(matches!(error, Error::Usage(_)), "{error}");
    }

    #[test]
    fn devices_are_written_to_not_replaced() {
        write_atomic(Path::new("/dev/null"), b"x").unwrap();
        assert!(!Path::new("/dev/null").metadata().unwrap().is_file());
    }
}

fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    AtomicFile::create(path)?.finish(bytes)
}
