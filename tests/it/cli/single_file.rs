//! Single-file checkpoints and LoRAs on the command line: reports, manifest entries, `verify` and `rerun`.

use prompt_to_prompt::report::png;
use serde_json::Value;

use super::{Place, stderr, stdout};
use crate::common::fixture;
use crate::model::copy_of_mini_sd;
use crate::single_file::{Tensors, checkpoint, save};

const EDIT: [&str; 13] = [
    "edit", "--src", "a cat", "--dst", "a dog", "--steps", "2", "--width", "64", "--height", "64",
    "--seed", "5",
];

/// A folder with `mini.safetensors`, `pruned.safetensors` (the same without its VAE) and the LoRA
/// `style.safetensors`; the model folder that has their configs, and its path.
fn place() -> (Place, tempfile::TempDir, String) {
    let (place, folder) = (Place::new(), copy_of_mini_sd());
    let tensors = checkpoint("mini-sd1", folder.path(), &[]);
    save(&tensors, place.0.path(), "mini.safetensors");
    let without = |name: &&String| !name.starts_with("first_stage_model.");
    let pruned = tensors.keys().filter(without);
    let pruned: Tensors = pruned.map(|n| (n.clone(), tensors[n].clone())).collect();
    save(&pruned, place.0.path(), "pruned.safetensors");
    let style = fixture("lora/sd1-kohya.safetensors");
    std::fs::copy(style, place.path("style.safetensors")).unwrap();
    let configs = folder.path().to_str().unwrap().to_owned();
    (place, folder, configs)
}

fn manifest(place: &Place, folder: &str) -> Value {
    serde_json::from_slice(&place.bytes(&format!("{folder}/manifest.json"))).unwrap()
}

#[test]
fn a_single_file_draws_the_same_pictures_as_its_folder() {
    let (place, _folder, configs) = place();
    let with = |model: &str, out: &str, more: &[&str]| {
        let args = [&EDIT[..], &["--model", model, "-o", out], more].concat();
        place.p2p(&args)
    };
    let one = with("mini.safetensors", "one", &["--config", &configs]);
    let said = stderr(&one);
    assert!(one.status.success(), "{said}");
    assert!(
        said.contains("mini.safetensors: Stable Diffusion 1.x, "),
        "{said}"
    );
    assert!(said.lines().next().unwrap().ends_with(" MB f32"), "{said}");
    assert!(with(&configs, "folder", &[]).status.success());
    let pixels = |name: &str| image::open(place.path(name)).unwrap().into_rgb8();
    for name in ["source.png", "edited-1.png"] {
        assert!(pixels(&format!("one/{name}")) == pixels(&format!("folder/{name}")));
    }
    assert_eq!(manifest(&place, "one")["model"]["id"], "mini.safetensors");

    let lacking = with("pruned.safetensors", "two", &["--config", &configs]);
    let said = stderr(&lacking);
    assert_eq!(lacking.status.code(), Some(2), "{said}");
    assert!(
        said.contains("pruned.safetensors has no VAE") && said.contains("--vae PATH"),
        "{said}"
    );
    let filled = ["--config", &configs, "--vae", "mini.safetensors"];
    assert!(with("pruned.safetensors", "two", &filled).status.success());
    assert!(pixels("two/edited-1.png") == pixels("one/edited-1.png"));

    let again = [
        "verify",
        "one/edited-1.png",
        "--model",
        "mini.safetensors",
        "--config",
        &configs,
    ];
    let verdict = place.succeed(&again);
    assert!(
        stdout(&verdict).contains("reproduces"),
        "{}",
        stderr(&verdict)
    );
    assert!(!stderr(&verdict).contains("differ"), "{}", stderr(&verdict));
    let other = [
        "verify",
        "two/edited-1.png",
        "--model",
        "mini.safetensors",
        "--config",
        &configs,
    ];
    let warned = stderr(&place.succeed(&other));
    assert!(warned.contains("its weights differ"), "{warned}");
}

#[test]
fn a_lora_is_recorded_and_needed_to_repeat_a_picture() {
    let (place, _folder, configs) = place();
    let lora = ["--model", &configs, "--lora", "style.safetensors=0.5"];
    place.succeed(&[&EDIT[..], &lora, &["-o", "styled"]].concat());
    place.succeed(&[&EDIT[..], &["--model", &configs, "-o", "plain"]].concat());
    let recorded = &manifest(&place, "styled")["model"]["loras"];
    assert_eq!(recorded[0]["name"], "style.safetensors");
    assert_eq!(recorded[0]["scale"], 0.5);
    assert_eq!(recorded[0]["sha256"].as_str().unwrap().len(), 64);
    assert!(manifest(&place, "plain")["model"].get("loras").is_none());
    let pixels = |name: &str| image::open(place.path(name)).unwrap().into_rgb8();
    assert!(pixels("styled/source.png") != pixels("plain/source.png"));

    let contents = png::read(&place.bytes("styled/edited-1.png")).unwrap();
    let parameters = contents.text("parameters").unwrap();
    assert!(
        parameters.starts_with("a dog <lora:style:0.5>\n"),
        "{parameters}"
    );
    let info = stdout(&place.succeed(&["info", "styled/edited-1.png"]));
    assert!(info.contains("style.safetensors=0.5"), "{info}");

    let picture = ["verify", "styled/edited-1.png"];
    let without = place.p2p(&[&picture[..], &["--model", &configs]].concat());
    let said = stderr(&without);
    assert!(!without.status.success(), "{said}");
    assert!(
        said.contains("give it with --lora style.safetensors=0.5"),
        "{said}"
    );
    place.succeed(&[&picture[..], &lora].concat());
    place.succeed(&[&["rerun", "styled/edited-1.png", "-o", "again"][..], &lora].concat());
    assert_eq!(
        place.bytes("again/edited-1.png"),
        place.bytes("styled/edited-1.png")
    );
    let louder = ["--model", &configs, "--lora", "style.safetensors=0.7"];
    let warned = place.p2p(&[&picture[..], &louder].concat());
    assert_eq!(warned.status.code(), Some(1));
    assert!(
        stderr(&warned).contains("its LoRAs differ"),
        "{}",
        stderr(&warned)
    );
}

#[test]
fn jobs_have_their_own_loras() {
    let (place, _folder, configs) = place();
    let model = toml_string(&configs);
    let job = format!(
        "[defaults]\nsrc = \"a cat\"\ndst = \"a dog\"\nsteps = 2\nwidth = 64\nheight = 64\nseed = 5\n\
         model = {model}\n[[job]]\nname = \"styled\"\nlora = [\"style.safetensors=0.5\"]\n\
         [[job]]\nname = \"plain\"\n[[job]]\nname = \"torn\"\nlora = \"gone.safetensors\"\n"
    );
    std::fs::write(place.path("job.toml"), job).unwrap();
    let done = place.p2p(&["batch", "job.toml", "-o", "out"]);
    let said = stderr(&done);
    assert_eq!(done.status.code(), Some(3), "{said}");
    assert!(
        said.contains("`lora = \"gone.safetensors\"` is not a file"),
        "{said}"
    );
    let lora = ["--model", &configs, "--lora", "style.safetensors=0.5"];
    place.succeed(&[&EDIT[..], &lora, &["-o", "alone"]].concat());
    assert_eq!(
        place.bytes("out/styled/edited-1.png"),
        place.bytes("alone/edited-1.png")
    );
    assert_ne!(
        place.bytes("out/plain/edited-1.png"),
        place.bytes("alone/edited-1.png")
    );
    // Another scale is another job.
    let text = String::from_utf8(place.bytes("job.toml")).unwrap();
    std::fs::write(place.path("job.toml"), text.replace("=0.5", "=0.25")).unwrap();
    place.p2p(&["batch", "job.toml", "-o", "out"]);
    assert_ne!(
        place.bytes("out/styled/edited-1.png"),
        place.bytes("alone/edited-1.png")
    );
}

fn toml_string(text: &str) -> String {
    format!("'{text}'")
}
