//! Folders that are no usable model: each error names the file, the problem, and a cure.

use std::path::Path;

use prompt_to_prompt::error::Error;
use prompt_to_prompt::setting::Setting;

use super::model::{TEXT, UNET, VAE, copy_of_mini_sd, edit, load, rewrite};

/// Checks that loading fails with a model error whose message contains all of `texts`.
pub fn refused(folder: &Path, texts: &[&str]) {
    let error = load(folder).unwrap_err();
    assert!(matches!(error, Error::Model(_)), "{error}");
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message}");
    for text in texts {
        assert!(message.contains(text), "{message:?} lacks {text:?}");
    }
}

#[test]
fn broken_weights_name_the_file_and_the_tensor() {
    let name = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight";
    let copy = copy_of_mini_sd();
    rewrite(copy.path(), UNET, |n, t| (n != name).then_some((n, t)));
    refused(copy.path(), &[name, UNET, "no tensor"]);

    let copy = copy_of_mini_sd();
    rewrite(copy.path(), UNET, |n, t| {
        if n == name {
            Some((n, t.t().unwrap().contiguous().unwrap()))
        } else {
            Some((n, t))
        }
    });
    refused(
        copy.path(),
        &[name, UNET, "[24, 32]", "[32, 24]", "config.json"],
    );

    for keep in [0, 5, 1000, 200_000] {
        let copy = copy_of_mini_sd();
        let path = copy.path().join(VAE);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..keep]).unwrap();
        refused(copy.path(), &[VAE, "not a whole safetensors file"]);
    }

    let copy = copy_of_mini_sd();
    std::fs::remove_file(copy.path().join(TEXT)).unwrap();
    refused(copy.path(), &[TEXT, "does not exist"]);
    std::fs::write(copy.path().join("text_encoder/pytorch_model.bin"), b"x").unwrap();
    refused(
        copy.path(),
        &["pytorch_model.bin", "pickle", "save_pretrained"],
    );
}

/// A file must not make the program allocate whatever length its header claims.
#[test]
fn a_header_that_claims_too_many_bytes_is_not_read() {
    for length in [100_000_001, 1 << 40, u64::MAX] {
        let copy = copy_of_mini_sd();
        let file = copy.path().join(UNET);
        let mut bytes = u64::to_le_bytes(length).to_vec();
        bytes.extend([b' '; 1000]);
        std::fs::write(&file, &bytes).unwrap();
        let claims = format!("claims {length} bytes");
        let peak = crate::allocations::peak_during(|| {
            refused(copy.path(), &[UNET, &claims, "the limit is 100000000"]);
        });
        assert!(peak < 64 << 20, "{peak} bytes were allocated");
    }
    // A length below the limit is compared with the file's own.
    let copy = copy_of_mini_sd();
    let header = u64::to_le_bytes(100_000_000);
    std::fs::write(copy.path().join(UNET), header).unwrap();
    refused(copy.path(), &[UNET, "its header is longer than the file"]);
}

#[test]
fn unreadable_folders_say_what_is_wrong() {
    let error = load(Path::new("no/such/folder")).unwrap_err();
    assert!(matches!(error, Error::Usage(_)), "{error}");
    assert_eq!(error.report().about, Some(Setting::Model));
    let (cause, _) = error.parts(&prompt_to_prompt::message::Flags);
    assert!(cause.contains("--model no/such/folder"), "{cause}");
    let empty = tempfile::tempdir().unwrap();
    let error = load(empty.path()).unwrap_err();
    assert!(matches!(error, Error::Usage(_)));
    let said = error.to_string();
    assert!(
        said.contains("not a diffusers folder") && said.contains("model_index.json"),
        "{said}"
    );

    let copy = copy_of_mini_sd();
    edit(copy.path(), "vae/config.json", "\"act_fn\"", "act_fn");
    refused(
        copy.path(),
        &["vae/config.json", "not valid JSON", "line", "column"],
    );
    std::fs::remove_file(copy.path().join("vae/config.json")).unwrap();
    refused(copy.path(), &["vae/config.json", "cannot read"]);

    let copy = copy_of_mini_sd();
    std::fs::write(
        copy.path().join("p2p.json"),
        r#"{"steps": 20, "guidence": 5}"#,
    )
    .unwrap();
    refused(copy.path(), &["p2p.json", "guidence"]);
    std::fs::write(copy.path().join("p2p.json"), r#"{"steps": 0}"#).unwrap();
    refused(copy.path(), &["p2p.json", "1 to 1000", "correct the file"]);

    let copy = copy_of_mini_sd();
    std::fs::write(
        copy.path().join("tokenizer/merges.txt"),
        "#version: 0.2\nq zz\n",
    )
    .unwrap();
    refused(copy.path(), &["tokenizer"]);
}
