//! The family of a single-file checkpoint, told from the names and shapes of its tensors, and the configs of each
//! family. Owns the list of files that are no checkpoint. Never reads a tensor.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::message;
use crate::message::Message;
use crate::model::component::Component;
use crate::setting::Setting;

/// A family of checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Stable Diffusion 1.x.
    Sd1,
    /// Stable Diffusion 2.x.
    Sd2,
    /// Stable Diffusion XL.
    Sdxl,
}

/// The prefix of the UNet's tensors in a checkpoint.
pub const UNET_PREFIX: &str = "model.diffusion_model.";
/// The prefix of the VAE's tensors in a checkpoint.
pub const VAE_PREFIX: &str = "first_stage_model.";

/// Channels of the latents in all three families.
const LATENT_CHANNELS: usize = 4;

type Shapes = HashMap<String, Vec<usize>>;

macro_rules! embed {
    ($family:literal: $($path:literal),* $(,)?) => {
        &[$(($path, include_bytes!(concat!("../../../assets/families/", $family, "/", $path)).as_slice())),*]
    };
}

const SD1: &[(&str, &[u8])] = embed!["sd1": "model_index.json", "unet/config.json", "vae/config.json",
    "text_encoder/config.json", "tokenizer/tokenizer_config.json", "scheduler/scheduler_config.json"];
const SD2: &[(&str, &[u8])] = embed!["sd2": "model_index.json", "unet/config.json", "vae/config.json",
    "text_encoder/config.json", "tokenizer/tokenizer_config.json", "scheduler/scheduler_config.json"];
const SDXL: &[(&str, &[u8])] = embed!["sdxl": "model_index.json", "unet/config.json", "vae/config.json",
    "text_encoder/config.json", "text_encoder_2/config.json", "tokenizer/tokenizer_config.json",
    "tokenizer_2/tokenizer_config.json", "scheduler/scheduler_config.json"];

impl Family {
    /// The name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sd1 => "Stable Diffusion 1.x",
            Self::Sd2 => "Stable Diffusion 2.x",
            Self::Sdxl => "Stable Diffusion XL",
        }
    }

    /// The family's configs: path in a diffusers folder, and content.
    pub fn configs(self) -> &'static [(&'static str, &'static [u8])] {
        match self {
            Self::Sd1 => SD1,
            Self::Sd2 => SD2,
            Self::Sdxl => SDXL,
        }
    }

    /// The text encoders, and where a checkpoint stores them.
    pub fn text_encoders(self) -> &'static [(Component, StoredEncoder)] {
        match self {
            Self::Sd1 => &[(
                Component::TextEncoder,
                StoredEncoder::Clip("cond_stage_model.transformer."),
            )],
            Self::Sd2 => &[(
                Component::TextEncoder,
                StoredEncoder::OpenClip("cond_stage_model.model."),
            )],
            Self::Sdxl => &[
                (
                    Component::TextEncoder,
                    StoredEncoder::Clip("conditioner.embedders.0.transformer."),
                ),
                (
                    Component::TextEncoder2,
                    StoredEncoder::OpenClip("conditioner.embedders.1.model."),
                ),
            ],
        }
    }

    /// The family of a checkpoint, from its tensors' shapes. With `any_size` configs come from another folder, so
    /// sizes need not be known ones. `name` is the file's name in messages.
    ///
    /// # Errors
    /// [`Error::Usage`] where the file is no whole model, or of a kind that is not supported.
    pub fn of(name: &str, shapes: &Shapes, any_size: bool) -> Result<Self> {
        if let Some((what, cure)) = other_kind(shapes) {
            return Err(not_a_model(format!("{name} is {what}"), cure));
        }
        check_latent_channels(name, shapes, any_size)?;
        if any_size {
            let has = |text: &str| shapes.keys().any(|key| key.contains(text));
            return Ok(if has(&format!("{UNET_PREFIX}label_emb.")) {
                Self::Sdxl
            } else if has("cond_stage_model.model.") {
                Self::Sd2
            } else {
                Self::Sd1
            });
        }
        match text_width(shapes) {
            768 => Ok(Self::Sd1),
            1024 => Ok(Self::Sd2),
            2048 => Ok(Self::Sdxl),
            1280 => Err(not_a_model(
                format!("{name} is a refiner of Stable Diffusion XL, which draws nothing alone"),
                "use the base model, such as sd_xl_base_1.0.safetensors",
            )),
            width => Err(not_a_model(
                format!(
                    "{name} is of an unknown family: its cross-attention reads {width} channels"
                ),
                config_cure(),
            )),
        }
    }
}

/// The cure for a checkpoint whose sizes are unknown.
pub fn config_cure() -> Message {
    message![
        "name a folder in diffusers layout with its configs: ",
        Setting::Config.to("DIR")
    ]
}

fn not_a_model(cause: impl Into<Message>, cure: impl Into<Message>) -> Error {
    Error::usage(cause, cure).about(Setting::Model)
}

/// Channels of the text states that the UNet's cross-attention reads; 0 where it has none.
fn text_width(shapes: &Shapes) -> usize {
    let is_key = |key: &str| key.starts_with(UNET_PREFIX) && key.ends_with("attn2.to_k.weight");
    let key = shapes.iter().find(|(key, _)| is_key(key));
    let width = key.and_then(|(_, dims)| dims.get(1));
    width.copied().unwrap_or_default()
}

/// Refuses UNets that read more than latents.
fn check_latent_channels(name: &str, shapes: &Shapes, any_size: bool) -> Result<()> {
    let key = format!("{UNET_PREFIX}input_blocks.0.0.weight");
    let Some(channels) = shapes.get(&key).and_then(|dims| dims.get(1)) else {
        let what = format!("{name} is no Stable Diffusion checkpoint: it has no {key}");
        return Err(not_a_model(what, OTHERS));
    };
    let kind = match *channels {
        LATENT_CHANNELS => return Ok(()),
        9 => "an inpainting model",
        8 => "an InstructPix2Pix model",
        5 => "a depth model",
        _ if any_size => return Ok(()),
        _ => "a model of another kind",
    };
    Err(not_a_model(
        format!("{name} is {kind}: its UNet reads {channels} channels, not {LATENT_CHANNELS}"),
        "use the text-to-image model that it was made from",
    ))
}

/// How a checkpoint stores a text encoder: by which library's names, and below which prefix.
#[derive(Debug, Clone, Copy)]
pub enum StoredEncoder {
    /// By the names of transformers, which diffusers shares.
    Clip(&'static str),
    /// By the names of OpenCLIP.
    OpenClip(&'static str),
}

impl StoredEncoder {
    /// The prefix of the tensors' names.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Clip(prefix) | Self::OpenClip(prefix) => prefix,
        }
    }
}

const OTHERS: &str =
    "use a checkpoint of Stable Diffusion 1.x, 2.x or XL, with its model.diffusion_model.* tensors";

/// What to do with a file that is no checkpoint.
#[derive(Debug, Clone, Copy)]
enum Cure {
    /// Use a checkpoint.
    Checkpoint,
    /// Give the file with another setting.
    With(Setting),
    /// Give the folder around the file.
    Folder,
}

impl From<Cure> for Message {
    fn from(cure: Cure) -> Self {
        match cure {
            Cure::Checkpoint => OTHERS.into(),
            Cure::With(Setting::Lora) => message![
                "give it with ",
                Setting::Lora.to("FILE"),
                ", beside the model it was made for",
            ],
            Cure::With(setting) => {
                message![
                    "give it with ",
                    setting.to("FILE"),
                    ", beside a ",
                    Setting::Model
                ]
            }
            Cure::Folder => message![
                "give ",
                Setting::Model,
                " the folder that holds model_index.json and unet/ with this file",
            ],
        }
    }
}

/// Files that are no checkpoint: text in a tensor's name, the kind of file, and the cure.
const OTHER_KINDS: [(&str, &str, Cure); 17] = [
    (
        "lora_down",
        "a LoRA, not a model",
        Cure::With(Setting::Lora),
    ),
    ("lora_A", "a LoRA, not a model", Cure::With(Setting::Lora)),
    (
        ".lora.down.",
        "a LoRA, not a model",
        Cure::With(Setting::Lora),
    ),
    (
        "hada_w1",
        "a LoRA of the LoHa kind, not a model",
        Cure::Checkpoint,
    ),
    (
        "lokr_w",
        "a LoRA of the LoKr kind, not a model",
        Cure::Checkpoint,
    ),
    (
        "edm_mean",
        "a Playground 2.5 model, which is sampled in another way",
        Cure::Checkpoint,
    ),
    (
        "joint_blocks.",
        "a Stable Diffusion 3 model",
        Cure::Checkpoint,
    ),
    ("double_blocks.", "a Flux model", Cure::Checkpoint),
    ("double_layers.", "an AuraFlow model", Cure::Checkpoint),
    (
        "clip_txt_mapper.",
        "a Stable Cascade model",
        Cure::Checkpoint,
    ),
    (
        "motion_modules.",
        "a motion module of AnimateDiff",
        Cure::Checkpoint,
    ),
    ("control_model.", "a ControlNet", Cure::Checkpoint),
    (
        "controlnet_cond_embedding.",
        "a ControlNet",
        Cure::Checkpoint,
    ),
    (
        "patchify_proj.",
        "a model of another architecture",
        Cure::Checkpoint,
    ),
    (
        "emb_params",
        "a textual inversion, not a model",
        Cure::Checkpoint,
    ),
    (
        "down_blocks.0.resnets.0.time_emb_proj",
        "a UNet alone, in diffusers' names",
        Cure::Folder,
    ),
    (
        "decoder.mid_block.",
        "a VAE alone",
        Cure::With(Setting::Vae),
    ),
];

/// The kind of a file that is no checkpoint, and the cure.
fn other_kind(shapes: &Shapes) -> Option<(&'static str, Cure)> {
    let has = |text: &str| shapes.keys().any(|key| key.contains(text));
    let known = OTHER_KINDS.iter().find(|(text, ..)| has(text));
    if let Some((_, what, cure)) = known {
        return Some((what, *cure));
    }
    let starts = |prefix: &str| shapes.keys().any(|key| key.starts_with(prefix));
    if starts(UNET_PREFIX) {
        return None;
    }
    if starts("decoder.") || starts(VAE_PREFIX) {
        return Some(("a VAE alone", Cure::With(Setting::Vae)));
    }
    (starts("text_model.") || starts("transformer.resblocks."))
        .then_some(("a text encoder alone", Cure::With(Setting::TextEncoder)))
}
