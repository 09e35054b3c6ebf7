//! Models as a UNet with an attention hook, a VAE decoder, CLIP text encoders and tokenizers. A model is a diffusers
//! folder, a single-file checkpoint, a model of the hub, or the embedded one. Never knows edits, jobs, or what a hook
//! is for.
//!
//! Every size comes from the model's configs. Activations are tokens-major: `[rows, h, w, channels]`. A layer owns
//! its weights in the form that its kernel wants.

mod bands;
mod checkpoint;
mod component;
mod components;
mod config;
mod denoiser;
mod embedded;
mod files;
mod fit;
mod folder;
mod footprint;
mod layers;
mod load;
mod lora;
mod pipeline;
mod recommended;
mod remote;
mod resnet;
mod scheduler_config;
mod second_encoder;
mod source;
mod source_checks;
mod states;
mod tensor_file;
mod text;
mod time_embedding;
mod tokenizer;
mod transformer;
mod unet;
mod unet_config;
mod unet_shape;
mod vae;
mod vae_config;
mod weight_files;
mod weights;
mod work;

pub use checkpoint::{KeyMap, Renames, StoredTensor, flatten_attention, key_map};
pub use component::{ByComponent, Component};
pub use components::{Components, OnDemandModel};
pub use config::Config;
pub use denoiser::{Conditioning, Denoiser, DenoiserCall, Eps, TextSchedule, UNetDenoiser};
pub use embedded::{STORYBOOK, storybook_size};
pub use files::ModelFiles;
pub use fit::RunSize;
pub use folder::{Model, ModelFolder};
pub use footprint::{Footprint, MemoryOptions};
pub use lora::LoraId;
pub use recommended::Recommended;
pub use remote::{LocatedModel, Need, Origin, family_of};
pub use scheduler_config::{BetaSchedule, Prediction, SchedulerConfig, Spacing};
pub use source::{ComponentOverrides, LoraSource, ModelSource};
pub use states::{AddedConditions, PromptStates, SecondEncoder, TextEncoders};
pub use text::{Activation, TextConfig, TextEncoder};
pub use tokenizer::Tokenizer;
pub use transformer::TextKeyValues;
pub use unet::UNet;
pub use unet_config::{TextTime, UNetConfig};
pub use vae::Vae;
pub use vae_config::VaeConfig;
pub use weight_files::is_variant;
pub use weights::Weights;
pub use work::{SiteWork, Work};
