//! Models: a diffusers folder, a single-file checkpoint, one of the hub, or the embedded one, as a UNet with an
//! attention seam, a VAE decoder, a CLIP text encoder and a tokenizer. Never knows edits, jobs or what a hook is for.
//!
//! Every size comes from the folder's `config.json`s. Activations are tokens-major; a layer owns its
//! weights in the form its product wants.

mod bands;
mod checkpoint;
mod components;
mod config;
mod denoiser;
mod embedded;
mod files;
mod fit;
mod folder;
mod footprint;
mod layers;
mod lora;
mod pipeline;
mod recommended;
mod remote;
mod resnet;
mod scheduler_config;
mod source;
mod source_checks;
mod states;
mod tensor_file;
mod text;
mod tokenizer;
mod transformer;
mod unet;
mod unet_config;
mod unet_shape;
mod vae;
mod weight_files;
mod weights;
mod work;

pub use checkpoint::{KeyMap, Renames, StoredTensor, flatten_attention, key_map};
pub use components::{Components, OnDemandModel};
pub use config::Config;
pub use denoiser::{Conditioning, Denoiser, DenoiserCall, Eps, TextSchedule, UNetDenoiser};
pub use embedded::{STORYBOOK, storybook_size};
pub use files::Files;
pub use fit::RunSize;
pub use folder::{Model, ModelFolder};
pub use footprint::{Footprint, MemoryOptions};
pub use lora::LoraId;
pub use recommended::Recommended;
pub use remote::{LocatedModel, Need, Origin, family_of};
pub use scheduler_config::{Prediction, SchedulerConfig, Spacing};
pub use source::{ComponentOverrides, LoraSource, ModelSource};
pub use states::{Added, PromptStates, SecondEncoder, TextEncoders};
pub use text::{TextConfig, TextEncoder};
pub use tokenizer::Tokenizer;
pub use transformer::TextKeyValues;
pub use unet::UNet;
pub use unet_config::UNetConfig;
pub use vae::{Vae, VaeConfig};
pub use weight_files::is_variant;
pub use weights::Weights;
pub use work::{SiteWork, Work};
