//! A single-file checkpoint as a diffusers folder: which tensors belong to which component, and the configs and
//! tokenizers that such a file lacks. Never computes anything.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::DType;

use super::family::{Family, StoredEncoder, UNET_PREFIX, VAE_PREFIX, config_cure};
use super::names::{KeyMap, Renames, flatten_attention, key_map};
use super::{Assembly, CheckpointSection, DetectedModel, check_ending, file_name};
use crate::error::{Error, Result};
use crate::message;
use crate::model::component::Component;
use crate::model::config::Config;
use crate::model::files::ModelFiles;
use crate::model::scheduler_config::Prediction;
use crate::model::source::ModelSource;
use crate::model::tensor_file::TensorFile;
use crate::model::unet_config::UNetConfig;
use crate::model::unet_shape::UNetShape;
use crate::setting::Setting;

/// Training steps after which Stable Diffusion 2.0 base was published.
const BASE_STEPS: f64 = 875_000.0;

/// Side of the latents of Stable Diffusion 2.x's base models, which predict noise.
const BASE_SAMPLE_SIZE: usize = 64;

/// Opens a single-file checkpoint.
///
/// # Errors
/// [`Error::Usage`] where the file is no checkpoint of a supported family, or lacks a component;
/// [`Error::Model`] where it is damaged.
pub fn open(path: &Path, source: &ModelSource) -> Result<DetectedModel> {
    check_ending(path).map_err(|error| error.about(Setting::Model))?;
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    if !["safetensors", "sft"].contains(&&*ending.to_lowercase()) {
        let cause = message![
            Setting::Model.to(path.display()),
            " is not a folder, nor a .safetensors file"
        ];
        let cure = message![
            "give a folder in diffusers layout or a .safetensors checkpoint, or leave ",
            Setting::Model,
            " out for the embedded model",
        ];
        return Err(Error::usage(cause, cure).about(Setting::Model));
    }
    let checkpoint = Checkpoint::open(path, source.config.is_some())?;
    let name = checkpoint.file.name.clone();
    let files = assemble(&checkpoint, source)?;
    let mut notes = vec![checkpoint.describe()];
    let is_told = source.prediction.is_some() || source.config.is_some();
    if checkpoint.family == Family::Sd2 && checkpoint.prediction().is_none() && !is_told {
        notes.push(format!(
            "{name} does not say what its UNet predicts: v at 768 px is assumed; if pictures are only noise, it \
             is a base model: --prediction-type epsilon"
        ));
    }
    Ok(DetectedModel {
        id: file_name(path),
        files: ModelFiles::Assembled(files.into()),
        notes,
    })
}

/// A checkpoint and its family.
pub struct Checkpoint {
    /// The file.
    pub file: Arc<TensorFile>,
    /// The family.
    pub family: Family,
    /// Names and shapes of all tensors.
    pub shapes: HashMap<String, Vec<usize>>,
}

impl Checkpoint {
    /// Opens a file. With `any_size` its sizes need not be those of a known family.
    pub fn open(path: &Path, any_size: bool) -> Result<Self> {
        let file = TensorFile::open(path, &path.display().to_string())?;
        let shapes = file.shapes();
        Ok(Self {
            family: Family::of(&file.name, &shapes, any_size)?,
            file: file.into(),
            shapes,
        })
    }

    /// Name, family, size and dtype in one line.
    fn describe(&self) -> String {
        let bytes: u64 = self.shapes.keys().map(|name| self.file.bytes(name)).sum();
        let dtype = self
            .file
            .dtype(&format!("{UNET_PREFIX}input_blocks.0.0.weight"));
        let has_average = self.shapes.keys().any(|key| key.starts_with("model_ema."));
        let average = if has_average {
            ", EMA weights ignored"
        } else {
            ""
        };
        let size = match bytes {
            b if b >= 1_000_000_000 => format!("{:.1} GB", b as f64 / 1e9),
            b => format!("{:.1} MB", b as f64 / 1e6),
        };
        let (name, family) = (&self.file.name, self.family.name());
        format!("{name}: {family}, {size} {dtype}{average}")
    }

    /// What the UNet predicts, as far as the file says so.
    fn prediction(&self) -> Option<Prediction> {
        let keys = ["modelspec.prediction_type", "prediction_type"];
        match keys.iter().find_map(|key| self.file.metadata(key)) {
            Some("v" | "v_prediction" | "v-prediction") => return Some(Prediction::Velocity),
            Some("epsilon" | "eps") => return Some(Prediction::Epsilon),
            _ => {}
        }
        if self.shapes.contains_key("v_pred") {
            return Some(Prediction::Velocity);
        }
        // diffusers recognises the base model of 2.x by this number.
        let steps = self.scalar("global_step");
        steps
            .filter(|steps| *steps == BASE_STEPS)
            .map(|_| Prediction::Epsilon)
    }

    /// The first value of a tensor.
    fn scalar(&self, name: &str) -> Option<f64> {
        self.shapes.get(name)?;
        let tensor = self.file.read(name, None).ok()?;
        let values = tensor
            .to_dtype(DType::F64)
            .and_then(|t| t.flatten_all())
            .ok()?;
        values.to_vec1().ok()?.first().copied()
    }

    /// A component's tensors by diffusers' names. `None` where the file has none.
    pub fn component(&self, prefix: &str, renames: &Renames) -> Option<KeyMap> {
        let map = key_map(prefix, renames, &self.shapes);
        (!map.is_empty()).then_some(map)
    }

    /// A text encoder. `None` where the file has none.
    pub fn encoder(&self, stored: StoredEncoder, layers: usize) -> Option<CheckpointSection> {
        let renames = match stored {
            StoredEncoder::Clip(_) => Renames::default(),
            StoredEncoder::OpenClip(_) => Renames::open_clip(layers),
        };
        let map = self.component(stored.prefix(), &renames)?;
        Some(CheckpointSection::mapped(self.file.clone(), map))
    }
}

/// The VAE of a file, whose tensors' names begin with `prefix`. `None` where the file has none.
pub fn vae(
    file: &Arc<TensorFile>,
    prefix: &str,
    levels: usize,
    layers: usize,
) -> Option<CheckpointSection> {
    let mut map = key_map(prefix, &Renames::vae(levels, layers), &file.shapes());
    flatten_attention(&mut map);
    let has_decoder = map.contains_key("decoder.conv_in.weight");
    has_decoder.then(|| CheckpointSection::mapped(file.clone(), map))
}

/// The checkpoint as a folder: configs and tokenizers first, then the weights by their configs.
fn assemble(checkpoint: &Checkpoint, source: &ModelSource) -> Result<Assembly> {
    let configs = assemble_configs(checkpoint, source)?;
    let configs = ModelFiles::Assembled(configs.into());
    let config = |component: Component| {
        let path = component.config();
        Config::parse(&configs.name(&path), &configs.read(&path)?)
    };
    let file = &checkpoint.file;
    let unet = UNetConfig::parse(&config(Component::Unet)?)?;
    let map = checkpoint.component(UNET_PREFIX, &Renames::unet(&unet));
    let map = map.unwrap_or_default();
    check_unet(&file.name, &map, &unet)?;
    let mut files = Assembly::over(&file.name, configs.clone());
    let section = CheckpointSection::mapped(file.clone(), map);
    files.section(&Component::Unet.weights(), section);
    let vae_config = config(Component::Vae)?;
    let levels = vae_config.usizes("block_out_channels")?.len();
    let layers = vae_config.usize("layers_per_block")?.unwrap_or(1);
    match vae(file, VAE_PREFIX, levels, layers) {
        Some(section) => files.section(&Component::Vae.weights(), section),
        None if source.vae.is_some() => {}
        None => return Err(lacks(&file.name, "VAE", Setting::Vae)),
    }
    for (component, stored) in checkpoint.family.text_encoders() {
        let text = config(*component)?;
        let layers = text.usize("num_hidden_layers")?.unwrap_or_default();
        // A config may leave out the last layer, although the file has it.
        match checkpoint.encoder(*stored, layers + 1) {
            Some(section) => files.section(&component.weights(), section),
            None if source.text_encoder.is_some() => {}
            None => return Err(lacks(&file.name, "text encoder", Setting::TextEncoder)),
        }
    }
    Ok(files)
}

/// The configs of the checkpoint's family or of the folder that the user names, and CLIP's tokenizers.
fn assemble_configs(checkpoint: &Checkpoint, source: &ModelSource) -> Result<Assembly> {
    let (family, name) = (checkpoint.family, &checkpoint.file.name);
    let guess = match family {
        Family::Sd2 => Prediction::Velocity,
        Family::Sd1 | Family::Sdxl => Prediction::Epsilon,
    };
    let mut files = match &source.config {
        None => {
            let mut files = Assembly::new(name);
            for (path, text) in family.configs() {
                files.text(path, *text);
            }
            if checkpoint.shapes.contains_key("ztsnr") {
                let path = Component::Scheduler.config();
                files.set(&path, "rescale_betas_zero_snr", true.into())?;
            }
            let prediction = source.prediction.or(checkpoint.prediction());
            set_prediction(&mut files, prediction.unwrap_or(guess), family)?;
            files
        }
        Some(folder) => {
            check_configs(folder)?;
            let mut files = Assembly::over(name, ModelFiles::Folder(folder.to_owned()));
            if let Some(prediction) = source.prediction {
                // The configs of a folder name their own size, so no family's size is set.
                set_prediction(&mut files, prediction, Family::Sd1)?;
            }
            files
        }
    };
    for (encoder, tokenizer) in Component::TEXT_ENCODERS {
        let mut encoders = family.text_encoders().iter();
        if encoders.any(|(component, _)| *component == encoder) {
            files.fill_tokenizer(tokenizer);
        }
    }
    Ok(files)
}

fn lacks(name: &str, component: &str, setting: Setting) -> Error {
    let cure = message![
        "give one with ",
        setting.to("PATH"),
        ": a folder in diffusers layout, or another checkpoint that has it",
    ];
    Error::usage(format!("{name} has no {component}"), cure).about(setting)
}

/// Checks that a folder has the configs of a model.
///
/// # Errors
/// [`Error::Usage`] about the config, where it has none.
pub fn check_configs(folder: &Path) -> Result<()> {
    let path = Component::Unet.config();
    if folder.join(&path).is_file() {
        return Ok(());
    }
    let cause = message![
        Setting::Config.to(folder.display()),
        format!(" has no {path}")
    ];
    let cure = "give a folder in diffusers layout; it needs no weights";
    Err(Error::usage(cause, cure).about(Setting::Config))
}

/// Sets what the UNet predicts. In the second family that decides the native size too.
pub fn set_prediction(files: &mut Assembly, prediction: Prediction, family: Family) -> Result<()> {
    if family == Family::Sd2 && prediction == Prediction::Epsilon {
        let unet = Component::Unet.config();
        files.set(&unet, "sample_size", BASE_SAMPLE_SIZE.into())?;
    }
    let scheduler = Component::Scheduler.config();
    files.set(&scheduler, "prediction_type", prediction.name().into())
}

/// Checks that the UNet has every layer of its config.
fn check_unet(name: &str, map: &KeyMap, unet: &UNetConfig) -> Result<()> {
    let shape = UNetShape::new(unet);
    let missing = shape.layers().find(|layer| {
        let prefix = format!("{}.", layer.name);
        !map.keys().any(|key| key.starts_with(&prefix))
    });
    let Some(missing) = missing else {
        return Ok(());
    };
    let cause = format!(
        "{name} is not built like its family: its UNet lacks {}",
        missing.name
    );
    Err(Error::usage(cause, config_cure()).about(Setting::Model))
}
