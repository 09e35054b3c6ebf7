//! The flags that choose a model's files, components, device and dtype, beside `--model` itself.

use std::str::FromStr;

use clap::{Args, ValueEnum, ValueHint};

use prompt_to_prompt::device::{ComputeChoice, DeviceChoice, DtypeChoice};
use prompt_to_prompt::hub::is_revision;
use prompt_to_prompt::model::{LoraSource, ModelSource, Prediction, is_variant};

use super::values::PathOrName;

/// The files and components of a model, LoRAs, and what computes it.
#[derive(Debug, Clone, Default, Args)]
pub struct ModelArgs {
    /// Branch, tag or commit of a model on the hub [default: main; when a picture is drawn again, the commit that
    /// drew it]
    #[arg(help_heading = "Model", long, value_name = "NAME", value_parser = revision, value_hint = ValueHint::Other)]
    pub revision: Option<String>,

    /// Variant of the weight files, such as fp16, which is half as large; a component without that variant uses its
    /// plain files [default: the plain files]
    #[arg(help_heading = "Model", long, value_name = "NAME", value_parser = variant, value_hint = ValueHint::Other)]
    pub variant: Option<String>,

    /// Never use the network, only files on this machine; HF_HUB_OFFLINE=1 does the same for all commands
    #[arg(help_heading = "Model", long)]
    pub offline: bool,

    /// Use another VAE: a folder in diffusers layout, a .safetensors file, or either on the hub, OWNER/NAME or
    /// OWNER/NAME/FILE [default: the model's]
    #[arg(help_heading = "Model", long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub vae: Option<PathOrName>,

    /// Use another text encoder (both, for Stable Diffusion XL): a folder in diffusers layout, a .safetensors
    /// file, or either on the hub [default: the model's]
    #[arg(help_heading = "Model", long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub text_encoder: Option<PathOrName>,

    /// Use another tokenizer: a folder, or a model on the hub [default: the model's; for a single file the built-in
    /// tokenizer of CLIP]
    #[arg(help_heading = "Model", long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub tokenizer: Option<PathOrName>,

    /// A diffusers folder with the configs of a single-file checkpoint; the folder needs no weights
    /// [default: the configs of the file's family]
    #[arg(help_heading = "Model", long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub config: Option<PathOrName>,

    /// What the UNet predicts, whatever the model's files say [default: what they say; v_prediction for a single
    /// file of Stable Diffusion 2.x]
    #[arg(help_heading = "Model", long, value_enum, value_name = "TYPE")]
    pub prediction_type: Option<PredictionArg>,

    /// Add a LoRA to the weights, in full or scaled: style.safetensors=0.8; repeatable. The LoRA is a file, on this
    /// machine or on the hub as OWNER/NAME/FILE, in the layout of diffusers, PEFT or kohya's tools
    #[arg(help_heading = "Model", long, value_name = "FILE[=SCALE]", value_hint = ValueHint::FilePath)]
    pub lora: Vec<LoraArg>,

    /// Device that computes UNet and VAE: auto, cpu, cuda, cuda:1 (the second card) or metal
    /// [default: auto: P2P_DEVICE if it is set, else a graphics card that this build supports, else cpu]
    #[arg(help_heading = "Model", long, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,

    /// Dtype that the UNet computes in; the VAE always computes in f32. On the CPU, f16 and bf16 take less memory and
    /// more time [default: auto: P2P_DTYPE if it is set, else f32 on the CPU and f16 on a graphics card]
    #[arg(help_heading = "Model", long, value_enum, value_name = "TYPE")]
    pub dtype: Option<DtypeArg>,

    /// Decode pictures in bands of rows, so that large pictures need less memory; equal up to rounding
    #[arg(help_heading = "Model", long)]
    pub vae_tiling: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum DtypeArg {
    Auto,
    F32,
    F16,
    Bf16,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum PredictionArg {
    Epsilon,
    VPrediction,
}

/// A branch, a tag or a commit.
pub fn revision(text: &str) -> Result<String, String> {
    if is_revision(text) {
        Ok(text.to_owned())
    } else {
        Err("write a branch, a tag or a commit, such as main or v1.0".to_owned())
    }
}

/// The variant in the names of weight files, before their extension.
pub fn variant(text: &str) -> Result<String, String> {
    if is_variant(text) {
        Ok(text.to_owned())
    } else {
        Err("write what stands before .safetensors, such as fp16".to_owned())
    }
}

/// A LoRA and its scale.
#[derive(Debug, Clone)]
pub struct LoraArg(LoraSource);

impl FromStr for LoraArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let scaled = text.rsplit_once('=');
        let scaled = scaled.and_then(|(path, scale)| Some((path, scale.parse::<f64>().ok()?)));
        // A file name may contain a `=` itself.
        let (path, scale) = scaled.unwrap_or((text, 1.0));
        if path.is_empty() || path.ends_with('=') || !scale.is_finite() {
            return Err("write FILE or FILE=SCALE, such as style.safetensors=0.8".to_owned());
        }
        Ok(Self(LoraSource {
            path: path.into(),
            scale,
        }))
    }
}

impl ModelArgs {
    /// These flags, and the other ones where these are not given.
    pub fn or(&self, others: &Self) -> Self {
        fn either<T: Clone>(own: &Option<T>, other: &Option<T>) -> Option<T> {
            own.as_ref().or(other.as_ref()).cloned()
        }
        Self {
            revision: either(&self.revision, &others.revision),
            variant: either(&self.variant, &others.variant),
            offline: self.offline || others.offline,
            vae: either(&self.vae, &others.vae),
            text_encoder: either(&self.text_encoder, &others.text_encoder),
            tokenizer: either(&self.tokenizer, &others.tokenizer),
            config: either(&self.config, &others.config),
            prediction_type: self.prediction_type.or(others.prediction_type),
            lora: if self.lora.is_empty() {
                others.lora.clone()
            } else {
                self.lora.clone()
            },
            device: self.device.or(others.device),
            dtype: self.dtype.or(others.dtype),
            vae_tiling: self.vae_tiling || others.vae_tiling,
        }
    }

    /// The model `model` with these files and components.
    pub fn source(&self, model: &str) -> ModelSource {
        let path = |given: &Option<PathOrName>| given.as_ref().map(|path| path.0.clone());
        ModelSource {
            model: model.to_owned(),
            revision: self.revision.clone(),
            variant: self.variant.clone(),
            offline: self.offline,
            config: path(&self.config),
            vae: path(&self.vae),
            text_encoder: path(&self.text_encoder),
            tokenizer: path(&self.tokenizer),
            prediction: self.prediction_type.map(|arg| match arg {
                PredictionArg::Epsilon => Prediction::Epsilon,
                PredictionArg::VPrediction => Prediction::Velocity,
            }),
            loras: self.lora.iter().map(|arg| arg.0.clone()).collect(),
            compute: ComputeChoice {
                device: self.device.unwrap_or_default(),
                dtype: self.dtype.map_or(DtypeChoice::Auto, |arg| match arg {
                    DtypeArg::Auto => DtypeChoice::Auto,
                    DtypeArg::F32 => DtypeChoice::F32,
                    DtypeArg::F16 => DtypeChoice::F16,
                    DtypeArg::Bf16 => DtypeChoice::Bf16,
                }),
                vae_tiling: self.vae_tiling,
            },
        }
    }
}
