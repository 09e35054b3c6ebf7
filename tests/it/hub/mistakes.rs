//! Names that cannot be right are refused before anything is downloaded.

use super::refusals::says;
use super::*;

#[test]
fn a_mistyped_lora_shows_before_the_model_is_fetched() {
    let place = Place::new();
    let edit = ["edit", "--model", ID, "--src", "a cat", "--dst", "a dog"];
    let output = place.p2p(&[&edit[..], &["--lora", "nope.safetensors=0.5"]].concat());
    assert_eq!(output.status.code(), Some(2));
    says(&stderr(&output), &["nope.safetensors is not a file"]);
    assert_eq!(place.mock.log().len(), 0);
}

#[test]
fn a_mistyped_part_shows_before_the_model_is_fetched() {
    let place = Place::new();
    std::fs::write(place.work.path().join("old.ckpt"), "a pickle").unwrap();
    let edit = ["edit", "--model", ID, "--src", "a cat", "--dst", "a dog"];
    for (flag, path, what) in [
        ("--vae", "nope.safetensors", "does not exist"),
        ("--text-encoder", "nope", "does not exist"),
        (
            "--tokenizer",
            "nope/tokenizer",
            "no public model nope/tokenizer",
        ),
        ("--vae", "old.ckpt", "is a pickle"),
    ] {
        place.mock.forget();
        let output = place.p2p(&[&edit[..], &[flag, path]].concat());
        says(&stderr(&output), &[path, what]);
        let asked = place.mock.log();
        assert!(asked.iter().all(|r| !r.target.contains(ID)), "{asked:?}");
    }
}

#[test]
fn what_can_be_no_name_is_not_asked_for() {
    let place = Place::new();
    let edit = |more: &[&str]| {
        let args = ["edit", "--src", "a cat", "--dst", "a dog"];
        place.p2p(&[&args[..], more].concat())
    };
    for (output, what) in [
        (edit(&["--model", ID, "--revision", ""]), "a branch, a tag"),
        (
            edit(&["--model", ID, "--revision", "../../x"]),
            "a branch, a tag",
        ),
        (edit(&["--model", ID, "--variant", ""]), "such as fp16"),
        (
            edit(&["--model", ID, "--variant", "../fp16"]),
            "such as fp16",
        ),
        (
            place.p2p(&["models", "pull", ID, "--revision", ""]),
            "a branch, a tag",
        ),
        (
            place.p2p(&["models", "pull", ID, "--variant", "a/b"]),
            "such as fp16",
        ),
        (edit(&["--variant", "fp16"]), "storybook is one file"),
        (
            edit(&["--revision", "main"]),
            "storybook is on this machine",
        ),
        (
            edit(&["--model", "ada/mini-sd@v1.0"]),
            "--model ada/mini-sd --revision v1.0",
        ),
        (
            edit(&[
                "--model",
                "https://huggingface.co/ada/mini-sd/tree/v1",
                "--revision",
                "v2",
            ]),
            "there is --revision v2",
        ),
        (edit(&["--model", "sd51"]), "did you mean sd15?"),
        (
            place.p2p(&["models", "pull", "sdxl-trubo"]),
            "did you mean sdxl-turbo?",
        ),
    ] {
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        says(&stderr(&output), &[what]);
    }
    assert_eq!(place.mock.log().len(), 0);
}

#[test]
fn a_password_in_the_endpoint_is_shown_nowhere() {
    let place = Place::new();
    let commands = [
        &["models", "pull", ID][..],
        &["doctor"],
        &["doctor", "--json"],
    ];
    for endpoint in ["http://u:sekret@127. 0.1", "u:sekret@127.0.0.1:1"] {
        for args in commands {
            let output = place.command(args).env("HF_ENDPOINT", endpoint).output();
            let output = output.unwrap();
            let said = stdout(&output) + &stderr(&output);
            assert!(!said.contains("sekret"), "{args:?}: {said}");
        }
    }
}

#[test]
fn the_address_of_a_page_names_its_model() {
    let place = Place::new();
    let page = format!("https://huggingface.co/{ID}/");
    assert_eq!(place.open(&page).unwrap().id, ID);
}
