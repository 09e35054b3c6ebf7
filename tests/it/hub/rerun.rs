//! Reruns of pictures from models of the hub: revision, variant, components and LoRAs are recorded.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
const VAE: &str = "vae/diffusion_pytorch_model.safetensors";
const LORA: &str = "sd1-peft.safetensors";

/// A hub where `main` and `v1.0` of the miniature are one commit whose UNet has a variant. Other
/// repositories have a VAE and a LoRA.
fn place() -> Place {
    let mut files = miniature();
    let other = |path: &str| {
        let mut bytes = miniature()[path].clone();
        // Changes the last number of the last tensor.
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    files.insert(UNET.replace(".safe", ".fp16.safe"), other(UNET));
    let place = Place::with(BTreeMap::new());
    let commit = place.mock.add(ID, files);
    place.mock.name(ID, "v1.0", &commit);
    let vae = ["vae/config.json", VAE].map(|path| {
        let name = path.replace("vae/", "");
        (
            name,
            if path == VAE {
                other(path)
            } else {
                miniature()[path].clone()
            },
        )
    });
    place.mock.add("ada/vae", BTreeMap::from(vae));
    let lora = std::fs::read(fixture("lora").join(LORA)).unwrap();
    place
        .mock
        .add("ada/loras", BTreeMap::from([(LORA.to_owned(), lora)]));
    place
}

const DRAW: [&str; 13] = [
    "edit", "--model", ID, "--src", "a cat", "--dst", "a dog", "--steps", "2", "--seed", "3", "-o",
    "out",
];

fn pixels(place: &Place, path: &str) -> image::RgbImage {
    image::open(place.work.path().join(path)).unwrap().to_rgb8()
}

#[test]
fn a_variant_is_kept_under_every_name_of_the_revision() {
    let place = place();
    place.succeed(&[&DRAW[..], &["--variant", "fp16"]].concat());
    for revision in ["v1.0", "main"] {
        place.succeed(&["verify", "out/edited-1.png", "--revision", revision]);
    }
    let mut moved = miniature();
    *moved.get_mut(UNET).unwrap().last_mut().unwrap() ^= 2;
    moved.insert(UNET.replace(".safe", ".fp16.safe"), moved[UNET].clone());
    place.mock.add(ID, moved);
    let output = place.p2p(&["verify", "out/edited-1.png", "--revision", "main"]);
    // The revision was asked for, so another commit is only a warning.
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("its weights differ"), "{said}");
    place.succeed(&["verify", "out/edited-1.png"]);
}

/// The words of the command that the report shows for the first edit.
fn command_of_report(place: &Place) -> Vec<String> {
    let html = std::fs::read_to_string(place.work.path().join("out/report.html")).unwrap();
    let from = html.find("<pre id=\"command-1\">").unwrap();
    let command = html[from..].split("</pre>").next().unwrap();
    let mut command = regex::Regex::new("<[^>]*>")
        .unwrap()
        .replace_all(command, "")
        .into_owned();
    for (entity, sign) in [("&#39;", "'"), ("&quot;", "\""), ("&amp;", "&")] {
        command = command.replace(entity, sign);
    }
    shlex::split(&command).unwrap()
}

#[test]
fn overrides_are_used_again() {
    let place = place();
    let lora = format!("ada/loras/{LORA}=0.5");
    place.succeed(
        &[
            &DRAW[..],
            &["--vae", "ada/vae", "--lora", &lora, "--report"],
        ]
        .concat(),
    );
    let manifest = std::fs::read(place.work.path().join("out/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let page = |id: &str, to: &str| {
        let main = place
            .cache()
            .join(format!("models--{}/refs/main", id.replace('/', "--")));
        let commit = std::fs::read_to_string(main).unwrap();
        format!("https://huggingface.co/{id}/{}", to.replace('*', &commit))
    };
    let vae = page("ada/vae", "tree/*");
    let lora = page("ada/loras", &format!("blob/*/{LORA}"));
    assert_eq!(manifest["model"]["overrides"]["vae"], *vae);
    assert_eq!(manifest["model"]["loras"][0]["name"], *lora);
    let info = stdout(&place.succeed(&["info", "out/edited-1.png"]));
    assert!(
        info.contains(&vae) && info.contains(&format!("{lora}=0.5")),
        "{info}"
    );
    // The report's command draws the same picture.
    let mut args = command_of_report(&place);
    args.extend(["-o".to_owned(), "pasted".to_owned()]);
    let args: Vec<&str> = args[1..].iter().map(String::as_str).collect();
    place.succeed(&args);
    assert!(pixels(&place, "pasted/edited-1.png") == pixels(&place, "out/edited-1.png"));
    // A flag replaces one component, and the others are used again.
    let other = place.p2p(&["rerun", "out/edited-1.png", "--vae", ID, "-o", "other"]);
    let said = stderr(&other);
    assert!(
        other.status.success() && said.contains("its weights differ"),
        "{said}"
    );
    let info = stdout(&place.succeed(&["info", "other/edited-1.png"]));
    assert!(
        info.contains(&lora) && info.contains(&page(ID, "tree/*")),
        "{info}"
    );
    // With an empty cache, recorded commits are downloaded. Newer commits and local folders of the same names
    // change nothing.
    std::fs::remove_dir_all(place.cache()).unwrap();
    std::fs::create_dir_all(place.work.path().join(ID)).unwrap();
    for id in ["ada/vae", "ada/loras"] {
        place.mock.add(
            id,
            BTreeMap::from([("README.md".to_owned(), b"moved".to_vec())]),
        );
        std::fs::create_dir_all(place.work.path().join(id)).unwrap();
    }
    place.succeed(&["verify", "out/edited-1.png"]);
}

#[test]
fn local_components_must_be_given_again() {
    let place = place();
    let vae = place.work.path().join("vae");
    std::fs::create_dir(&vae).unwrap();
    for path in ["vae/config.json", VAE] {
        std::fs::write(place.work.path().join(path), &miniature()[path]).unwrap();
    }
    // With other weights the picture differs.
    let file = place.work.path().join(VAE);
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    place.succeed(&[&DRAW[..], &["--vae", "vae"]].concat());
    let output = place.p2p(&["verify", "out/edited-1.png"]);
    assert_eq!(output.status.code(), Some(4));
    let said = stderr(&output);
    assert!(said.contains("was drawn with --vae vae"), "{said}");
    place.succeed(&["verify", "out/edited-1.png", "--vae", "vae"]);
}

#[test]
fn a_local_folder_of_the_same_name_is_another_model() {
    let place = place();
    place.succeed(&DRAW);
    std::fs::create_dir_all(place.work.path().join(ID)).unwrap();
    place.succeed(&["verify", "out/edited-1.png"]);
    let edit = [
        "edit",
        "--model",
        ID,
        "--revision",
        "main",
        "--src",
        "a cat",
        "--dst",
        "a dog",
    ];
    let output = place.p2p(&edit);
    assert_eq!(output.status.code(), Some(2));
    let cure =
        format!("the model of the hub with this name is https://huggingface.co/{ID}/tree/main");
    assert!(stderr(&output).contains(&cure), "{}", stderr(&output));
}
