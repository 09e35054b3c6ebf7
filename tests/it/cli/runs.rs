//! Runs that succeed: their files, both output streams, the default folder, and determinism.

use image::GenericImageView;
use serde_json::Value;

use super::{EDIT, Place, stderr, stdout};

pub(super) fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

pub(super) fn size(place: &Place, name: &str) -> (u32, u32) {
    image::load_from_memory(&place.bytes(name))
        .unwrap()
        .dimensions()
}

#[test]
fn paths_go_to_stdout_and_progress_to_stderr() {
    let place = Place::new();
    let output = place.edit(&["--dst", "a big red boat", "--seed", "7", "-o", "new/out"]);
    let files = [
        "source.png",
        "edited-1.png",
        "edited-2.png",
        "strip.png",
        "manifest.json",
    ];
    let paths: String = files.map(|f| format!("new/out/{f}\n")).concat();
    assert_eq!(stdout(&output), paths);
    let mut expected: Vec<String> = files.map(|f| format!("new/out/{f}")).into();
    expected.extend(["new".to_owned(), "new/out".to_owned()]);
    expected.sort();
    assert_eq!(place.listing(), expected);

    let said = stderr(&output);
    for part in [
        "storybook: 64x64, 2 steps",
        "seed 7",
        "edit 2: replace (both prompts have 4 words)",
        "step 1/2",
        "it/s",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_ne!(
        place.bytes("new/out/source.png"),
        place.bytes("new/out/edited-1.png")
    );
}

#[test]
fn the_default_folder_is_named_by_edit_and_random_seed() {
    let place = Place::new();
    let first = place.edit(&[]);
    let second = place.edit(&["-q"]);
    assert_eq!(stderr(&second), "");
    let folder = |paths: String| paths.lines().next().unwrap().replace("/source.png", "");
    let (first_folder, second_folder) = (folder(stdout(&first)), folder(stdout(&second)));
    assert_ne!(
        first_folder, second_folder,
        "each run has a seed of its own"
    );
    let manifest = json(&place.bytes(&format!("{first_folder}/manifest.json")));
    let seed = &manifest["seed"];
    assert_eq!(
        first_folder,
        format!("p2p-out/a-big-red-bicycle--a-big-red-car-{seed}")
    );
    assert!(stderr(&first).contains(&format!("seed {seed}\n")));
}

#[test]
fn json_is_the_manifest_and_nothing_else() {
    let place = Place::new();
    let output = place.edit(&["--json", "-o", "out"]);
    assert_eq!(output.stdout, place.bytes("out/manifest.json"));
    let manifest = json(&output.stdout);
    assert_eq!(manifest["edits"][0]["prompt"], "a big red car");
    assert_eq!(manifest["edits"][0]["edit"], "replace");
    assert_eq!(manifest["files"][1], "edited-1.png");
}

#[test]
fn latents_are_saved_on_request() {
    let place = Place::new();
    let latents = ["--save-latents", "latents.safetensors"];
    let size = ["--width", "96", "-o", "out", "--dst", "a red car"];
    let output = place.succeed(&[&EDIT[..7], &latents, &size, &["--height", "64"]].concat());
    assert!(stdout(&output).ends_with("manifest.json\nlatents.safetensors\n"));
    let bytes = place.bytes("latents.safetensors");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.names(), ["latents"]);
    let tensor = tensors.tensor("latents").unwrap();
    assert_eq!(tensor.dtype(), safetensors::Dtype::F32);
    let manifest = json(&place.bytes("out/manifest.json"));
    assert_eq!(manifest["edits"].as_array().unwrap().len(), 2);
    let (height, width) = (tensor.shape()[2], tensor.shape()[3]);
    assert_eq!(tensor.shape(), [3, 4, height, width]);
    assert_eq!(width * 64, height * 96, "as wide as the picture");
}

#[test]
fn latents_may_lie_beside_the_pictures() {
    let place = Place::new();
    let flags = ["-o", "new/out", "--save-latents", "./new/out/latents"];
    let output = place.edit(&flags);
    assert!(stdout(&output).ends_with("new/out/latents\nnew/out/manifest.json\n"));
    assert!(place.path("new/out/latents").is_file());
    place.edit(&["-o", "new/out", "--force", "--save-latents", "new/latents"]);
    assert!(place.path("new/latents").is_file());
    assert!(!place.path("new/out/latents").exists(), "the earlier run's");
}

#[test]
fn pictures_need_not_be_square() {
    let place = Place::new();
    place.succeed(
        &[
            &EDIT[..7],
            &["--width", "96", "--height", "40", "-o", "out"],
        ]
        .concat(),
    );
    assert_eq!(size(&place, "out/source.png"), (96, 40));
    assert_eq!(size(&place, "out/edited-1.png"), (96, 40));
}

#[test]
fn a_baseline_widens_the_strip_and_equals_no_edit_control() {
    let place = Place::new();
    place.edit(&["--seed", "3", "-o", "plain"]);
    let output = place.edit(&["--seed", "3", "-o", "both", "--baseline"]);
    assert!(stdout(&output).contains("both/baseline-1.png\n"));
    assert!(size(&place, "both/strip.png").0 > size(&place, "plain/strip.png").0);
    for name in ["source.png", "edited-1.png"] {
        let both = place.bytes(&format!("both/{name}"));
        assert_eq!(both, place.bytes(&format!("plain/{name}")), "{name}");
    }
    let free = place.edit(&["--seed", "3", "-o", "free", "--no-edit-control"]);
    assert!(stderr(&free).contains("edit 1: without control"));
    let edited = place.bytes("free/edited-1.png");
    assert_eq!(edited, place.bytes("both/baseline-1.png"));
    assert_ne!(edited, place.bytes("plain/edited-1.png"));
}

#[test]
fn a_weight_alone_edits_the_source_prompt() {
    let place = Place::new();
    let prompt = ["edit", "--src", "a big red bicycle", "--steps", "2"];
    let flags = ["--weight", "red=-1", "--weight", "big=3", "--seed", "1"];
    let output = place.succeed(&[&prompt[..], &flags].concat());
    let folder = "p2p-out/a-big-red-bicycle--red-1-big-3-1";
    assert!(stdout(&output).starts_with(folder), "{}", stdout(&output));
    assert!(stderr(&output).contains("warning: big=3 is outside"));
    let manifest = json(&place.bytes(&format!("{folder}/manifest.json")));
    assert_eq!(manifest["edits"][0]["prompt"], "a big red bicycle");
    assert_eq!(manifest["edits"][0]["weight"]["red"], -1.0);
    assert_ne!(
        place.bytes(&format!("{folder}/source.png")),
        place.bytes(&format!("{folder}/edited-1.png"))
    );
}

#[test]
fn force_replaces_an_earlier_run() {
    let place = Place::new();
    place.edit(&["--dst", "a big red boat", "--seed", "1", "-o", "out"]);
    let before = place.bytes("out/source.png");
    std::fs::write(place.path("out/mine.txt"), "kept").unwrap();
    place.edit(&["--seed", "2", "-o", "out", "--force"]);
    assert_ne!(place.bytes("out/source.png"), before);
    assert!(!place.path("out/edited-2.png").exists());
    assert_eq!(place.bytes("out/mine.txt"), b"kept");
}

#[test]
fn fresh_noise_comes_from_the_seed() {
    let place = Place::new();
    let latents = |out: &str, scheduler: &str| {
        let flags = ["--seed", "1", "-o", out, "--save-latents", "latents"];
        let flags = [&flags[..], &["--force", "--scheduler", scheduler]].concat();
        place.edit(&flags);
        let manifest = json(&place.bytes(&format!("{out}/manifest.json")));
        assert_eq!(manifest["seed"], 1);
        (manifest["scheduler"].clone(), place.bytes("latents"))
    };
    let first = latents("first", "euler-a");
    assert_eq!(first.0, "euler-a");
    assert_eq!(first, latents("second", "Euler a"));
    let picture = |out: &str| place.bytes(&format!("{out}/edited-1.png"));
    assert_eq!(picture("first"), picture("second"));
    assert_ne!(first.1, latents("third", "euler").1);
}

#[test]
fn progress_counts_the_calls_of_the_denoiser() {
    let place = Place::new();
    let said = stderr(&place.edit(&["--scheduler", "pndm"]));
    assert!(said.contains("64x64, 2 steps"), "{said}");
    assert!(said.contains("step 1/3"), "{said}");
}

/// Types of a PNG's chunks in file order, without repeated neighbours.
fn chunks(png: &[u8]) -> Vec<String> {
    let (mut kinds, mut rest) = (vec![], &png[8..]);
    while let [a, b, c, d, kind @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        kinds.push(String::from_utf8_lossy(&kind[..4]).into_owned());
        rest = &kind[4 + length + 4..];
    }
    kinds.dedup();
    kinds
}

#[test]
fn thread_counts_and_folders_change_no_byte() {
    let run = |threads: &str, out: &str| {
        let place = Place::new();
        let flags = ["--threads", threads, "--seed", "5", "-o", out];
        let latents = ["--save-latents", "latents", "--weight", "red=2"];
        // At the model's native size, where there is work to share.
        place.succeed(&[&EDIT[..7], &flags, &latents].concat());
        let pictures = ["source.png", "edited-1.png", "strip.png"];
        let pictures = pictures.map(|f| place.bytes(&format!("{out}/{f}")));
        (pictures, place.bytes("latents"))
    };
    let (one, two) = (run("1", "one"), run("2", "somewhere/else"));
    assert!(one == two, "threads or folder change a byte");
    let told = ["IHDR", "tEXt", "iTXt", "IDAT", "IEND"];
    let [source, edited, strip] = one.0.each_ref().map(|png| chunks(png));
    assert_eq!(
        (&source[..], &edited[..]),
        (&told.map(str::to_owned)[..], &source[..])
    );
    assert_eq!(strip, ["IHDR", "iTXt", "IDAT", "IEND"]);
}

#[test]
fn a_word_unknown_to_the_embedded_model_causes_a_warning() {
    let place = Place::new();
    let warned = |src: &str| {
        let out = src.replace(' ', "-");
        let flags = ["--weight", "red=1", "--steps", "1", "-o", &out];
        stderr(&place.succeed(&[&["edit", "--src", src][..], &flags].concat()))
    };
    let unknown = warned("a red dragon, on the strett");
    assert!(
        unknown.contains("storybook was never taught the word \"dragon\"\n"),
        "{unknown}"
    );
    assert!(
        unknown.contains("\"strett\"; did you mean \"street\"?"),
        "{unknown}"
    );
    assert!(!warned("A red child's BALL, on the street!").contains("taught"));
}

/// Other settings for the same prompts and seed get a new default folder, so users can try settings freely.
#[test]
fn a_default_folder_that_exists_gets_a_number() {
    let place = Place::new();
    let folders = [
        &["--seed", "1"][..],
        &["--seed", "1", "--strength", "0.1,1"],
    ]
    .map(|flags| {
        let paths = stdout(&place.edit(flags));
        paths
            .lines()
            .next()
            .unwrap()
            .rsplit_once('/')
            .unwrap()
            .0
            .to_owned()
    });
    let first = "p2p-out/a-big-red-bicycle--a-big-red-car-1";
    assert_eq!(folders, [first.to_owned(), format!("{first}-2")]);
}
