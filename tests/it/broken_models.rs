//! Folders that are not a usable model: each refusal names the file, what is wrong with it, and a cure.

use std::path::Path;

use prompt_to_prompt::error::Error;

use super::model::{TEXT, UNET, VAE, copy_of_mini_sd, edit, fingerprint, load, mini_sd, rewrite};
use crate::kernels::bits;

/// Loading fails by the model's fault, and the message names all of `parts`.
fn refused(folder: &Path, parts: &[&str]) {
    let error = load(folder).unwrap_err();
    assert!(matches!(error, Error::Model(_)), "{error}");
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message}");
    for part in parts {
        assert!(message.contains(part), "{message:?} does not name {part:?}");
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

#[test]
fn a_config_that_is_not_implemented_is_an_error() {
    let cases = [
        (
            "vae/config.json",
            "\"norm_num_groups\": 4",
            "\"norm_num_groups\": 0",
            "norm_num_groups",
        ),
        (
            "vae/config.json",
            "\"norm_num_groups\": 4",
            "\"norm_num_groups\": 3",
            "norm_num_groups",
        ),
        (
            "text_encoder/config.json",
            "\"num_attention_heads\": 2",
            "\"num_attention_heads\": 0",
            "num_attention_heads",
        ),
        (
            "text_encoder/config.json",
            "\"max_position_embeddings\": 77",
            "\"max_position_embeddings\": 2",
            "no room",
        ),
        (
            "unet/config.json",
            "\"sample_size\": 64",
            "\"sample_size\": 0",
            "sample_size",
        ),
        (
            "scheduler/scheduler_config.json",
            "\"num_train_timesteps\": 1000",
            "\"num_train_timesteps\": 0",
            "steps_offset",
        ),
        (
            "scheduler/scheduler_config.json",
            "\"beta_start\": 0.00085",
            "\"beta_start\": 7",
            "beta_start",
        ),
        (
            "scheduler/scheduler_config.json",
            "\"thresholding\": false",
            "\"thresholding\": false, \"new_feature\": 1",
            "new_feature",
        ),
        (
            "unet/config.json",
            "\"act_fn\": \"silu\"",
            "\"act_fn\": \"gelu\"",
            "act_fn",
        ),
        (
            "unet/config.json",
            "\"class_embed_type\": null",
            "\"class_embed_type\": \"timestep\"",
            "class_embed_type",
        ),
        (
            "unet/config.json",
            "\"only_cross_attention\": false",
            "\"only_cross_attention\": [false, true]",
            "only_cross",
        ),
        (
            "unet/config.json",
            "\"freq_shift\": 0",
            "\"freq_shift\": 0, \"new_feature\": 3",
            "new_feature",
        ),
        (
            "unet/config.json",
            "\"UNetMidBlock2DCrossAttn\"",
            "\"UNetMidBlock2D\"",
            "mid_block_type",
        ),
        (
            "unet/config.json",
            "\"CrossAttnUpBlock2D\"",
            "\"AttnUpBlock2D\"",
            "AttnUpBlock2D",
        ),
        (
            "unet/config.json",
            "\"attention_head_dim\": 2",
            "\"attention_head_dim\": 5",
            "attention_head_dim",
        ),
        (
            "unet/config.json",
            "\"attention_head_dim\": 2",
            "\"attention_head_dim\": \"two\"",
            "attention_head_dim",
        ),
        (
            "unet/config.json",
            "\"norm_num_groups\": 8",
            "\"norm_num_groups\": 0",
            "norm_num_groups",
        ),
        (
            "vae/config.json",
            "\"shift_factor\": null",
            "\"shift_factor\": 0.1",
            "shift_factor",
        ),
        (
            "vae/config.json",
            "\"UpDecoderBlock2D\"",
            "\"AttnUpDecoderBlock2D\"",
            "up_block_types",
        ),
        (
            "text_encoder/config.json",
            "\"quick_gelu\"",
            "\"relu\"",
            "hidden_act",
        ),
        (
            "scheduler/scheduler_config.json",
            "\"epsilon\"",
            "\"sample\"",
            "prediction_type",
        ),
        (
            "scheduler/scheduler_config.json",
            "\"clip_sample\": false",
            "\"clip_sample\": true",
            "clip_sample",
        ),
        (
            "scheduler/scheduler_config.json",
            "\"leading\"",
            "\"sideways\"",
            "timestep_spacing",
        ),
        (
            "scheduler/scheduler_config.json",
            "\"trained_betas\": null",
            "\"trained_betas\": [0.1]",
            "trained_betas",
        ),
    ];
    for (file, from, to, key) in cases {
        let copy = copy_of_mini_sd();
        edit(copy.path(), file, from, to);
        let named = if key == "no room" { "tokenizer" } else { file };
        refused(copy.path(), &[named, key]);
    }
}

#[test]
fn harmless_differences_of_configs_are_read() {
    let copy = copy_of_mini_sd();
    let unet = "unet/config.json";
    edit(
        copy.path(),
        unet,
        "\"attention_head_dim\": 2",
        "\"attention_head_dim\": [8, 2, 2, 2]",
    );
    edit(
        copy.path(),
        unet,
        "\"transformer_layers_per_block\": 1",
        "\"transformer_layers_per_block\": [1, 1, 1, 1]",
    );
    edit(
        copy.path(),
        unet,
        "\"only_cross_attention\": false",
        "\"only_cross_attention\": [false, false, false, false]",
    );
    edit(
        copy.path(),
        unet,
        "\"upcast_attention\": false",
        "\"upcast_attention\": true, \"_name_or_path\": \"x\"",
    );
    let scheduler = r#"{"_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule":
        "scaled_linear", "skip_prk_steps": true, "steps_offset": 1, "set_alpha_to_one": false, "trained_betas": null}"#;
    std::fs::write(
        copy.path().join("scheduler/scheduler_config.json"),
        scheduler,
    )
    .unwrap();
    let model = load(copy.path()).unwrap();
    assert_eq!(model.scheduler, mini_sd().scheduler);
    for (a, b) in fingerprint(&model).iter().zip(&fingerprint(&mini_sd())) {
        assert_eq!(bits(a), bits(b));
    }
}

#[test]
fn unreadable_folders_say_what_is_wrong() {
    let error = load(Path::new("no/such/folder")).unwrap_err();
    assert!(
        matches!(error, Error::Usage(_)) && error.to_string().contains("--model no/such/folder")
    );
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
    refused(copy.path(), &["p2p.json", "1 to 1000", "mend"]);

    let copy = copy_of_mini_sd();
    std::fs::write(
        copy.path().join("tokenizer/merges.txt"),
        "#version: 0.2\nq zz\n",
    )
    .unwrap();
    refused(copy.path(), &["tokenizer"]);
}
