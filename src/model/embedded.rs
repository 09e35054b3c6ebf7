//! The model that is compiled into the binary, so that the first edit needs no network and no download.
//! Owns the list of its files only: they are read like the files of any folder.

use super::files::ModelFiles;

/// The name of the embedded model.
pub const STORYBOOK: &str = "storybook";

macro_rules! embed {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_bytes!(concat!("../../assets/storybook/", $path)).as_slice())),*]
    };
}

const FILES: &[(&str, &[u8])] = embed![
    "model_index.json",
    "p2p.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    "scheduler/scheduler_config.json",
];

/// The size of the embedded model's files in bytes.
pub fn storybook_size() -> u64 {
    FILES.iter().map(|(_, bytes)| bytes.len() as u64).sum()
}

pub(super) fn files() -> ModelFiles {
    ModelFiles::Embedded(FILES)
}
