//! Which kind of model a single file holds, told from names and shapes, and the configs that go with a
//! kind. What cannot be used is named.

use std::collections::HashMap;

use crate::error::{Error, Result};

/// What three kinds of checkpoints there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Sd1,
    Sd2,
    Sdxl,
}

pub const UNET: &str = "model.diffusion_model.";
pub const VAE: &str = "first_stage_model.";

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
    pub fn name(self) -> &'static str {
        match self {
            Self::Sd1 => "Stable Diffusion 1.x",
            Self::Sd2 => "Stable Diffusion 2.x",
            Self::Sdxl => "Stable Diffusion XL",
        }
    }

    /// Its configs, by their path in a diffusers folder.
    pub fn configs(self) -> &'static [(&'static str, &'static [u8])] {
        match self {
            Self::Sd1 => SD1,
            Self::Sd2 => SD2,
            Self::Sdxl => SDXL,
        }
    }

    /// Folders of its text encoders, and where a checkpoint keeps them.
    pub fn text_encoders(self) -> &'static [(&'static str, Encoder)] {
        match self {
            Self::Sd1 => &[(
                "text_encoder",
                Encoder::Clip("cond_stage_model.transformer."),
            )],
            Self::Sd2 => &[("text_encoder", Encoder::OpenClip("cond_stage_model.model."))],
            Self::Sdxl => &[
                (
                    "text_encoder",
                    Encoder::Clip("conditioner.embedders.0.transformer."),
                ),
                (
                    "text_encoder_2",
                    Encoder::OpenClip("conditioner.embedders.1.model."),
                ),
            ],
        }
    }

    /// Of a checkpoint. `any_size`: configs come from elsewhere, so that shapes need not be known ones.
    ///
    /// Errors: usage, where `name` is no whole model, or one of a kind that is not implemented.
    pub fn of(name: &str, shapes: &Shapes, any_size: bool) -> Result<Self> {
        let has = |part: &str| shapes.keys().any(|key| key.contains(part));
        if let Some((what, cure)) = other_kind(shapes) {
            return Err(Error::usage(format!("{name} is {what}"), cure));
        }
        let key = format!("{UNET}input_blocks.0.0.weight");
        match shapes.get(&key).and_then(|dims| dims.get(1)) {
            Some(4) => {}
            Some(channels) => {
                let kind = match channels {
                    9 => "an inpainting model",
                    8 => "an InstructPix2Pix model",
                    5 => "a depth model",
                    _ => "a model of another kind",
                };
                return Err(Error::usage(
                    format!("{name} is {kind}: its UNet reads {channels} channels, not 4"),
                    "use the text-to-image model that it was made from",
                ));
            }
            None => {
                let what = format!("{name} is no Stable Diffusion checkpoint: it has no {key}");
                return Err(Error::usage(what, OTHERS));
            }
        }
        let attends = "attn2.to_k.weight";
        let cross = shapes
            .iter()
            .find(|(key, _)| key.starts_with(UNET) && key.ends_with(attends));
        let width = cross
            .and_then(|(_, dims)| dims.get(1))
            .copied()
            .unwrap_or_default();
        match width {
            _ if any_size && has(&format!("{UNET}label_emb.")) => Ok(Self::Sdxl),
            _ if any_size && has("cond_stage_model.model.") => Ok(Self::Sd2),
            _ if any_size => Ok(Self::Sd1),
            768 => Ok(Self::Sd1),
            1024 => Ok(Self::Sd2),
            2048 => Ok(Self::Sdxl),
            1280 => Err(Error::usage(
                format!("{name} is a refiner of Stable Diffusion XL, which draws nothing alone"),
                "use the base model, such as sd_xl_base_1.0.safetensors",
            )),
            _ => Err(Error::usage(
                format!(
                    "{name} is of an unknown family: its cross-attention reads {width} channels"
                ),
                "say which configs it goes by: --config DIR, a folder in diffusers layout",
            )),
        }
    }
}

/// Which code wrote a text encoder.
#[derive(Debug, Clone, Copy)]
pub enum Encoder {
    /// transformers, whose names diffusers has too.
    Clip(&'static str),
    OpenClip(&'static str),
}

impl Encoder {
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Clip(prefix) | Self::OpenClip(prefix) => prefix,
        }
    }
}

const OTHERS: &str =
    "use a checkpoint of Stable Diffusion 1.x, 2.x or XL, with its model.diffusion_model.* tensors";

/// Files that hold something else, by a name in them: what it is, and the cure.
const KINDS: [(&str, &str, &str); 17] = [
    ("lora_down", "a LoRA, not a model", LORA),
    ("lora_A", "a LoRA, not a model", LORA),
    (".lora.down.", "a LoRA, not a model", LORA),
    ("hada_w1", "a LoRA of the LoHa kind, not a model", OTHERS),
    ("lokr_w", "a LoRA of the LoKr kind, not a model", OTHERS),
    (
        "edm_mean",
        "a Playground 2.5 model, which is sampled in another way",
        OTHERS,
    ),
    ("joint_blocks.", "a Stable Diffusion 3 model", OTHERS),
    ("double_blocks.", "a Flux model", OTHERS),
    ("double_layers.", "an AuraFlow model", OTHERS),
    ("clip_txt_mapper.", "a Stable Cascade model", OTHERS),
    ("motion_modules.", "a motion module of AnimateDiff", OTHERS),
    ("control_model.", "a ControlNet", OTHERS),
    ("controlnet_cond_embedding.", "a ControlNet", OTHERS),
    ("patchify_proj.", "a model of another architecture", OTHERS),
    ("emb_params", "a textual inversion, not a model", OTHERS),
    (
        "down_blocks.0.resnets.0.time_emb_proj",
        "a UNet alone, in diffusers' names",
        FOLDER,
    ),
    ("decoder.mid_block.", "a VAE alone", VAE_FLAG),
];
const LORA: &str = "give it with --lora FILE, beside the model it was made for";
const FOLDER: &str = "give --model the folder that holds model_index.json and unet/ with this file";
const VAE_FLAG: &str = "give it with --vae FILE, beside a --model";

fn other_kind(shapes: &Shapes) -> Option<(&'static str, &'static str)> {
    let has = |part: &str| shapes.keys().any(|key| key.contains(part));
    let known = KINDS.iter().find(|(part, ..)| has(part));
    if let Some((_, what, cure)) = known {
        return Some((what, cure));
    }
    let starts = |prefix: &str| shapes.keys().any(|key| key.starts_with(prefix));
    if starts(UNET) {
        return None;
    }
    if starts("decoder.") || starts(VAE) {
        return Some(("a VAE alone", VAE_FLAG));
    }
    (starts("text_model.") || starts("transformer.resblocks.")).then_some((
        "a text encoder alone",
        "give it with --text-encoder FILE, beside a --model",
    ))
}
