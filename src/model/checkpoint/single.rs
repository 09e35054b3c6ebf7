//! A single-file checkpoint as a diffusers folder: which tensors are which component's, and the configs
//! and tokenizers that it comes without.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::DType;

use super::family::{Encoder, Family, UNET, VAE};
use super::names::{KeyMap, Renames, flatten_attention, key_map};
use super::{Assembly, CheckpointSection, DetectedModel, check_ending, file_name};
use crate::error::{Error, Result};
use crate::model::config::Config;
use crate::model::files::Files;
use crate::model::scheduler_config::Prediction;
use crate::model::source::ModelSource;
use crate::model::tensor_file::TensorFile;
use crate::model::unet_config::UNetConfig;
use crate::model::unet_shape::UNetShape;

pub const UNET_WEIGHTS: &str = "unet/diffusion_pytorch_model.safetensors";
pub const VAE_WEIGHTS: &str = "vae/diffusion_pytorch_model.safetensors";
/// After which Stable Diffusion 2.0 base was published.
const BASE_STEPS: f64 = 875_000.0;
const SCHEDULER: &str = "scheduler/scheduler_config.json";

pub fn open(path: &Path, source: &ModelSource) -> Result<DetectedModel> {
    check_ending(path)?;
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    if !["safetensors", "sft"].contains(&&*ending.to_lowercase()) {
        return Err(Error::usage(
            format!(
                "--model {} is not a folder, nor a .safetensors file",
                path.display()
            ),
            "give a folder in diffusers layout or a .safetensors checkpoint, or leave --model out for the \
             embedded model",
        ));
    }
    let checkpoint = Checkpoint::open(path, source.config.is_some())?;
    let name = checkpoint.file.name.clone();
    let files = assemble(&checkpoint, source)?;
    let mut notes = vec![checkpoint.describe()];
    let told = source.prediction.is_some() || source.config.is_some();
    if checkpoint.family == Family::Sd2 && checkpoint.guessed() && !told {
        notes.push(format!(
            "{name} does not say what it predicts: taken as v, at 768 px; if pictures are mere noise, it \
             is a base model: --prediction-type epsilon"
        ));
    }
    Ok(DetectedModel {
        id: file_name(path),
        files: Files::Assembled(files.into()),
        notes,
    })
}

/// A file, and what it is.
pub struct Checkpoint {
    pub file: Arc<TensorFile>,
    pub family: Family,
    pub shapes: HashMap<String, Vec<usize>>,
}

impl Checkpoint {
    pub fn open(path: &Path, any_size: bool) -> Result<Self> {
        let file = TensorFile::open(path, &path.display().to_string())?;
        let shapes = file.shapes();
        Ok(Self {
            family: Family::of(&file.name, &shapes, any_size)?,
            file: file.into(),
            shapes,
        })
    }

    fn has(&self, prefix: &str) -> bool {
        self.shapes.keys().any(|key| key.starts_with(prefix))
    }

    /// In one line.
    fn describe(&self) -> String {
        let bytes: u64 = self.shapes.keys().map(|name| self.file.bytes(name)).sum();
        let dtype = self.file.dtype(&format!("{UNET}input_blocks.0.0.weight"));
        let average = match self.has("model_ema.") {
            true => ", EMA weights ignored",
            false => "",
        };
        let size = match bytes {
            b if b >= 1_000_000_000 => format!("{:.1} GB", b as f64 / 1e9),
            b => format!("{:.1} MB", b as f64 / 1e6),
        };
        let (name, family) = (&self.file.name, self.family.name());
        format!("{name}: {family}, {size} {dtype}{average}")
    }

    /// What the file says of its own.
    fn prediction(&self) -> Option<Prediction> {
        let said = ["modelspec.prediction_type", "prediction_type"];
        let said = said.iter().find_map(|key| self.file.note(key));
        match said {
            Some("v" | "v_prediction" | "v-prediction") => return Some(Prediction::Velocity),
            Some("epsilon" | "eps") => return Some(Prediction::Epsilon),
            _ => {}
        }
        if self.shapes.contains_key("v_pred") {
            return Some(Prediction::Velocity);
        }
        // How diffusers knows the base model of 2.x.
        let steps = self.number("global_step");
        steps
            .filter(|steps| *steps == BASE_STEPS)
            .map(|_| Prediction::Epsilon)
    }

    /// A tensor's only number.
    fn number(&self, name: &str) -> Option<f64> {
        self.shapes.get(name)?;
        let tensor = self.file.read(name, None).ok()?;
        let numbers = tensor
            .to_dtype(DType::F64)
            .and_then(|t| t.flatten_all())
            .ok()?;
        numbers.to_vec1().ok()?.first().copied()
    }

    fn guessed(&self) -> bool {
        self.prediction().is_none()
    }

    /// A component's tensors by diffusers' names; `None` where the file has none.
    pub fn component(&self, prefix: &str, renames: &Renames) -> Option<KeyMap> {
        let map = key_map(prefix, renames, &self.shapes);
        (!map.is_empty()).then_some(map)
    }

    pub fn encoder(&self, encoder: Encoder, layers: usize) -> Option<CheckpointSection> {
        let renames = match encoder {
            Encoder::Clip(_) => Renames::default(),
            Encoder::OpenClip(_) => Renames::open_clip(layers),
        };
        let map = self.component(encoder.prefix(), &renames)?;
        Some(CheckpointSection::mapped(self.file.clone(), map))
    }

    /// By whatever prefix it stands.
    pub fn vae(&self, levels: usize, layers: usize) -> Option<CheckpointSection> {
        vae(&self.file, VAE, levels, layers)
    }
}

pub fn vae(
    file: &Arc<TensorFile>,
    prefix: &str,
    levels: usize,
    layers: usize,
) -> Option<CheckpointSection> {
    let mut map = key_map(prefix, &Renames::vae(levels, layers), &file.shapes());
    flatten_attention(&mut map);
    let whole = map.contains_key("decoder.conv_in.weight");
    whole.then(|| CheckpointSection::mapped(file.clone(), map))
}

fn assemble(checkpoint: &Checkpoint, source: &ModelSource) -> Result<Assembly> {
    let (family, file) = (checkpoint.family, &checkpoint.file);
    let mut files = Assembly::new(&file.name);
    for (path, text) in family.configs() {
        files.text(path, *text);
    }
    if checkpoint.shapes.contains_key("ztsnr") {
        files.set(SCHEDULER, "rescale_betas_zero_snr", true.into())?;
    }
    let guess = match (family, checkpoint.prediction()) {
        (Family::Sd2, None) => Prediction::Velocity,
        (_, None) => Prediction::Epsilon,
        (_, Some(said)) => said,
    };
    match &source.config {
        None => set_prediction(&mut files, source.prediction.unwrap_or(guess), family)?,
        Some(folder) => {
            files = configs_of(&file.name, folder)?;
            // A folder says its own size.
            let given = source.prediction;
            given.map_or(Ok(()), |given| {
                set_prediction(&mut files, given, Family::Sd1)
            })?;
        }
    }
    let tokenizers = family.text_encoders().iter();
    for folder in tokenizers.map(|(folder, _)| folder.replace("text_encoder", "tokenizer")) {
        files.fill_tokenizer(&folder);
    }
    let files_now = Files::Assembled(files.into());
    let config = |path: &str| Config::parse(&files_now.name(path), &files_now.read(path)?);
    let unet = UNetConfig::parse(&config("unet/config.json")?)?;
    let map = checkpoint.component(UNET, &Renames::unet(&unet));
    let map = map.unwrap_or_default();
    complete(&file.name, &map, &unet)?;
    let vae = config("vae/config.json")?;
    let levels = vae.usizes("block_out_channels")?.len();
    let layers = vae.usize("layers_per_block")?.unwrap_or(1);
    let mut encoders = vec![];
    for (folder, encoder) in family.text_encoders() {
        let text = config(&format!("{folder}/config.json"))?;
        let layers = text.usize("num_hidden_layers")?.unwrap_or_default();
        // A config may leave out the last layer, which the file has all the same.
        encoders.push((*folder, checkpoint.encoder(*encoder, layers + 1)));
    }
    let mut files = Assembly::over(&file.name, files_now);
    files.part(UNET_WEIGHTS, CheckpointSection::mapped(file.clone(), map));
    match checkpoint.vae(levels, layers) {
        Some(part) => files.part(VAE_WEIGHTS, part),
        None if source.vae.is_some() => {}
        None => return Err(lacks(&file.name, "VAE", "--vae PATH")),
    }
    for (folder, part) in encoders {
        match part {
            Some(part) => files.part(&format!("{folder}/model.safetensors"), part),
            None if source.text_encoder.is_some() => {}
            None => return Err(lacks(&file.name, "text encoder", "--text-encoder PATH")),
        }
    }
    Ok(files)
}

fn lacks(name: &str, part: &str, flag: &str) -> Error {
    Error::usage(
        format!("{name} has no {part}"),
        format!(
            "give one with {flag}: a folder in diffusers layout, or another checkpoint that has it"
        ),
    )
}

/// That a folder has the configs of a model.
pub fn has_configs(folder: &Path) -> Result<()> {
    match folder.join("unet/config.json").is_file() {
        true => Ok(()),
        false => Err(Error::usage(
            format!("--config {} has no unet/config.json", folder.display()),
            "give a folder in diffusers layout; its weights need not be there",
        )),
    }
}

/// The small files of a diffusers folder.
fn configs_of(name: &str, folder: &Path) -> Result<Assembly> {
    has_configs(folder)?;
    Ok(Assembly::over(name, Files::Folder(folder.to_owned())))
}

/// What the UNet predicts; models of the second family differ in the size too.
pub fn set_prediction(files: &mut Assembly, prediction: Prediction, family: Family) -> Result<()> {
    let name = match prediction {
        Prediction::Epsilon => "epsilon",
        Prediction::Velocity => "v_prediction",
    };
    if family == Family::Sd2 && prediction == Prediction::Epsilon {
        files.set("unet/config.json", "sample_size", 64.into())?;
    }
    files.set(SCHEDULER, "prediction_type", name.into())
}

/// That the UNet is built as its configs say.
fn complete(name: &str, map: &KeyMap, unet: &UNetConfig) -> Result<()> {
    let shape = UNetShape::new(unet);
    let missing = shape.parts().find(|part| {
        let below = format!("{}.", part.name);
        !map.keys().any(|key| key.starts_with(&below))
    });
    let Some(missing) = missing else {
        return Ok(());
    };
    Err(Error::usage(
        format!(
            "{name} is not built like its family: its UNet lacks {}",
            missing.name
        ),
        "say which configs it goes by: --config DIR, a folder in diffusers layout",
    ))
}
