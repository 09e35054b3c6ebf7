//! The flags that say what a model is put together from, beside `--model` itself.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum, ValueHint};

use prompt_to_prompt::device::{ComputeChoice, DeviceChoice, DtypeChoice};
use prompt_to_prompt::hub::is_revision;
use prompt_to_prompt::model::{LoraSource, ModelSource, Prediction, is_variant};

/// Which of a model's files, parts from elsewhere, and what is added to weights.
#[derive(Debug, Clone, Default, Args)]
pub struct ModelArgs {
    /// Of a model of the hub, this branch, tag or commit [default: main; of a picture the commit that drew it]
    #[arg(help_heading = "Model", long, value_name = "NAME", value_parser = revision, value_hint = ValueHint::Other)]
    pub revision: Option<String>,

    /// Take the weight files of this variant, such as fp16, half as large; where a component has none, its plain
    /// ones [default: the plain files]
    #[arg(help_heading = "Model", long, value_name = "NAME", value_parser = variant, value_hint = ValueHint::Other)]
    pub variant: Option<String>,

    /// Use nothing but what is on this machine; HF_HUB_OFFLINE=1 does the same for all commands
    #[arg(help_heading = "Model", long)]
    pub offline: bool,

    /// Use this VAE: a folder in diffusers layout, a .safetensors file, or either on the hub, OWNER/NAME or
    /// OWNER/NAME/FILE [default: the model's]
    #[arg(help_heading = "Model", long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub vae: Option<PathBuf>,

    /// Use this text encoder, of Stable Diffusion XL both: a folder in diffusers layout, a .safetensors
    /// file, or either on the hub [default: the model's]
    #[arg(help_heading = "Model", long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub text_encoder: Option<PathBuf>,

    /// Use the tokenizer in this folder, or of a model on the hub [default: the model's; of a single file CLIP's, which is built in]
    #[arg(help_heading = "Model", long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub tokenizer: Option<PathBuf>,

    /// A diffusers folder whose configs a single file goes by; it needs no weights
    /// [default: those of the file's family]
    #[arg(help_heading = "Model", long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub config: Option<PathBuf>,

    /// What the UNet predicts, whatever the model's files say [default: as they say; of a single file
    /// of Stable Diffusion 2.x v_prediction]
    #[arg(help_heading = "Model", long, value_enum, value_name = "TYPE")]
    pub prediction_type: Option<PredictionArg>,

    /// Add a LoRA to the weights, all of it or a share, style.safetensors=0.8; repeatable. A file here or on the
    /// hub, OWNER/NAME/FILE; names as diffusers, PEFT or kohya's tools write them
    #[arg(help_heading = "Model", long, value_name = "FILE[=SCALE]", value_hint = ValueHint::FilePath)]
    pub lora: Vec<LoraArg>,

    /// Compute UNet and VAE on this device: auto, cpu, cuda, cuda:1 (a card by its number) or metal
    /// [default: auto: what P2P_DEVICE says, else a graphics card that is compiled in and there, else cpu]
    #[arg(help_heading = "Model", long, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,

    /// Compute the UNet in these numbers; the VAE has f32. On the CPU f16 and bf16 take less memory and
    /// more time [default: auto: what P2P_DTYPE says, else f32 on the CPU, f16 on a graphics card]
    #[arg(help_heading = "Model", long, value_enum, value_name = "TYPE")]
    pub dtype: Option<DtypeArg>,

    /// Decode pictures in bands of rows: large ones in less memory, the same but for rounding
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
    match is_revision(text) {
        true => Ok(text.to_owned()),
        false => Err("write a branch, a tag or a commit, such as main or v1.0".to_owned()),
    }
}

/// What stands in the names of weight files.
pub fn variant(text: &str) -> Result<String, String> {
    match is_variant(text) {
        true => Ok(text.to_owned()),
        false => Err("write what stands before .safetensors, such as fp16".to_owned()),
    }
}

#[derive(Debug, Clone)]
pub struct LoraArg(LoraSource);

impl FromStr for LoraArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let scaled = text.rsplit_once('=');
        let scaled = scaled.and_then(|(path, scale)| Some((path, scale.parse::<f64>().ok()?)));
        // A file's name may have a sign of equality too.
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
    /// These, and of the others what is not among them.
    pub fn or(&self, others: &Self) -> Self {
        let path = |own: &Option<PathBuf>, other: &Option<PathBuf>| {
            own.as_ref().or(other.as_ref()).cloned()
        };
        let text =
            |own: &Option<String>, other: &Option<String>| own.as_ref().or(other.as_ref()).cloned();
        Self {
            revision: text(&self.revision, &others.revision),
            variant: text(&self.variant, &others.variant),
            offline: self.offline || others.offline,
            vae: path(&self.vae, &others.vae),
            text_encoder: path(&self.text_encoder, &others.text_encoder),
            tokenizer: path(&self.tokenizer, &others.tokenizer),
            config: path(&self.config, &others.config),
            prediction_type: self.prediction_type.or(others.prediction_type),
            lora: match self.lora.is_empty() {
                true => others.lora.clone(),
                false => self.lora.clone(),
            },
            device: self.device.or(others.device),
            dtype: self.dtype.or(others.dtype),
            vae_tiling: self.vae_tiling || others.vae_tiling,
        }
    }

    /// With these, the model that `--model` names.
    pub fn source(&self, model: &str) -> ModelSource {
        ModelSource {
            model: model.to_owned(),
            revision: self.revision.clone(),
            variant: self.variant.clone(),
            offline: self.offline,
            config: self.config.clone(),
            vae: self.vae.clone(),
            text_encoder: self.text_encoder.clone(),
            tokenizer: self.tokenizer.clone(),
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
