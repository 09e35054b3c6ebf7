//! Configs with values that are not supported, and configs that differ without changing what is computed.

use super::broken_models::refused;
use super::model::{copy_of_mini_sd, edit, fingerprint, load, mini_sd};
use crate::kernels::bits;

#[test]
fn a_value_that_is_not_supported_is_an_error() {
    for (file, from, to, key) in CASES {
        let copy = copy_of_mini_sd();
        edit(copy.path(), file, from, to);
        let named = if key == "no room" { "tokenizer" } else { file };
        refused(copy.path(), &[named, key]);
    }
}

/// A file, a text in it and what replaces the text, and a word of the error.
const CASES: [(&str, &str, &str, &str); 26] = [
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
    (
        "unet/config.json",
        "\"in_channels\": 4",
        "\"in_channels\": 9",
        "in_channels is 9, out_channels is 4",
    ),
    (
        "vae/config.json",
        "\"latent_channels\": 4",
        "\"latent_channels\": 16",
        "latent_channels is 16, the UNet's in_channels is 4",
    ),
];

#[test]
fn harmless_differences_of_configs_are_accepted() {
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
