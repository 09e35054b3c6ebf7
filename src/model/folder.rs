//! A model as a whole. Opening one reads its configs and tokenizer, which is quick and finds most
//! mistakes; loading it reads the weights.

use candle_core::DType;

use super::checkpoint::{DetectedModel, Renames};
use super::config::Config;
use super::files::Files;
use super::lora::{LoraId, Loras, Targets};
use super::pipeline;
use super::recommended::Recommended;
use super::remote::{LocatedModel, Need, Origin};
use super::scheduler_config::SchedulerConfig;
use super::source::{ComponentOverrides, ModelSource};
use super::states::{Added, SecondEncoder, TextEncoders};
use super::text::{TextConfig, TextEncoder};
use super::tokenizer::Tokenizer;
use super::unet::UNet;
use super::unet_config::UNetConfig;
use super::vae::{Vae, VaeConfig};
use super::weight_files::{TEXT, TEXT_2, UNET, VAE, candidates, check_variant};
use super::weights::{Weights, sha256};
use super::work::Work;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::hub::{Connection, Hub, HubSettings, Silent};
use crate::kernels::Packing;

/// A model that is opened, not yet loaded: what is needed to check a job against it.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    /// `storybook`, the name of the folder or file, or what the hub calls it.
    pub id: String,
    /// Where it came from, if that was the hub.
    pub origin: Option<Origin>,
    /// What of it came from elsewhere.
    pub overrides: ComponentOverrides,
    /// What a user is to be told of it, a line each.
    pub notes: Vec<String>,
    pub tokenizer: Tokenizer,
    pub recommended: Recommended,
    pub unet: UNetConfig,
    pub vae: VaeConfig,
    pub scheduler: SchedulerConfig,
    /// What it is computed with.
    pub compute: Compute,
    text: TextConfig,
    second: Option<Second>,
    loras: Loras,
    /// Of its weight files, as asked for.
    variant: Option<String>,
    pub(super) files: Files,
}

/// The second text encoder of Stable Diffusion XL, before it has weights.
#[derive(Debug, Clone)]
struct Second {
    text: TextConfig,
    tokenizer: Tokenizer,
    zeros_for_empty: bool,
}

/// A model ready to draw.
#[derive(Debug, Clone)]
pub struct Model {
    pub id: String,
    /// Where it came from, if that was the hub.
    pub origin: Option<Origin>,
    pub unet: UNet,
    pub vae: Vae,
    pub text_encoders: TextEncoders,
    pub scheduler: SchedulerConfig,
    /// Over the weight files of UNet, VAE and text encoders, in this order.
    pub weights_sha256: String,
    /// Over the configs and the tokenizer's files, as far as they are there.
    pub configs_sha256: String,
    /// What of it came from elsewhere.
    pub overrides: ComponentOverrides,
    /// What was added to the weights.
    pub loras: Vec<LoraId>,
}

/// The small files that decide what a model computes.
const CONFIGS: [&str; 9] = [
    "unet/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "scheduler/scheduler_config.json",
    "tokenizer/tokenizer.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "tokenizer/tokenizer_config.json",
    "tokenizer/special_tokens_map.json",
];

/// Those of a model with two text encoders besides; its index says what an empty prompt is.
const CONFIGS_2: [&str; 7] = [
    "model_index.json",
    "text_encoder_2/config.json",
    "tokenizer_2/tokenizer.json",
    "tokenizer_2/vocab.json",
    "tokenizer_2/merges.txt",
    "tokenizer_2/tokenizer_config.json",
    "tokenizer_2/special_tokens_map.json",
];

const TOKENIZERS: [&str; 2] = ["tokenizer", "tokenizer_2"];

impl ModelFolder {
    /// `storybook` for the embedded model, else a folder in diffusers layout or a single-file checkpoint,
    /// else one of the hub, which is fetched. A folder named `storybook` is reached as `./storybook`.
    ///
    /// Errors: usage, where `model` is no such thing; model, where its content is broken or of a
    /// kind that is not implemented, or the hub does not give it.
    pub fn open(model: &str) -> Result<Self> {
        Self::open_source(&ModelSource::named(model))
    }

    /// The same with parts from elsewhere, and with LoRAs.
    pub fn open_source(source: &ModelSource) -> Result<Self> {
        let hub = Connection::new(HubSettings::from_env(), &Silent);
        Self::open_with(source, Need::Weights, &hub)
    }

    /// The same by a hub of one's own, and without weights where none are needed: those that are not on this
    /// machine are then not fetched.
    pub fn open_with(source: &ModelSource, need: Need, hub: &dyn Hub) -> Result<Self> {
        // A device that is not there shows before a file is read.
        let compute = source.compute.open()?;
        let located = LocatedModel::new(source, hub, need)?;
        let (id, origin) = located.origin.unzip();
        let overrides = located.overrides;
        let source = &located.source;
        let found = DetectedModel::new(source)?;
        let mut folder = Self::from_files(id.unwrap_or(found.id), found.files)?;
        (folder.origin, folder.notes) = (origin, found.notes);
        folder.compute = compute;
        folder.overrides = overrides;
        folder.variant.clone_from(&source.variant);
        if folder.origin.is_none() && folder.variant.is_some() {
            folder.has_variant()?;
        }
        // To plan with, they need not fit to weights that are not here.
        let fit = need == Need::Weights || folder.has_weights();
        if fit && !source.loras.is_empty() {
            folder.loras = Loras::open(&source.loras, &folder.lora_targets()?)?;
        }
        Ok(folder)
    }

    /// What is added to its weights.
    pub fn loras(&self) -> &[LoraId] {
        &self.loras.ids
    }

    /// UNet and text encoders, as LoRAs may call their layers.
    fn lora_targets(&self) -> Result<Vec<Targets>> {
        let paths = self.weight_files()?;
        let components = paths.iter().enumerate().filter(|(i, _)| *i != 1); // the VAE
        let target = |(i, path): (usize, &String)| {
            let renames = match i {
                0 => Renames::unet(&self.unet),
                _ => Renames::default(),
            };
            let shapes = Weights::open(&self.files, path)?.shapes();
            Ok(Targets::new(shapes, &renames))
        };
        components.map(target).collect()
    }

    fn from_files(id: String, files: Files) -> Result<Self> {
        let config = |path: &str| Config::parse(&files.name(path), &files.read(path)?);
        let index = config("model_index.json")?;
        pipeline::check(&index, &files.name("model_index.json"))?;
        let text = TextConfig::parse(&config("text_encoder/config.json")?)?;
        let unet_file = config("unet/config.json")?;
        let unet = UNetConfig::parse(&unet_file)?;
        let tokenizer = Tokenizer::load(&files, TOKENIZERS[0], text.max_tokens)?;
        let second = match unet.text_time {
            Some(_) => Some(Second::open(&files, &index, &tokenizer)?),
            None => None,
        };
        fits(&unet, &unet_file, &text, second.as_ref())?;
        let scheduler_file = config("scheduler/scheduler_config.json")?;
        let scheduler = SchedulerConfig::parse(&scheduler_file)?;
        Ok(Self {
            id,
            origin: None,
            overrides: ComponentOverrides::new(),
            notes: vec![],
            compute: Compute::default(),
            loras: Loras::default(),
            variant: None,
            tokenizer,
            recommended: Recommended::new(&files, &scheduler_file, &scheduler)?,
            vae: VaeConfig::parse(&config("vae/config.json")?, unet.sample_size)?,
            unet,
            scheduler,
            text,
            second,
            files,
        })
    }

    /// Pixels of a side at which the model was trained.
    pub fn native_size(&self) -> usize {
        self.unet.sample_size * self.vae.factor()
    }

    /// How much the model computes for latents of a size `(height, width)`.
    pub fn work(&self, latent_size: (usize, usize)) -> Work {
        let tokens = self.tokenizer.max_tokens();
        let second = self.second.as_ref().map(|second| &second.text);
        Work::count(
            &self.unet,
            &self.vae,
            (&self.text, second),
            tokens,
            latent_size,
        )
    }

    /// Reads the weights, to be as exact as the plain way.
    pub fn load(&self) -> Result<Model> {
        self.load_as(Packing::default())
    }

    /// Reads the weights; the VAE has the larger tiles in any case.
    pub fn load_as(&self, packing: Packing) -> Result<Model> {
        // Reading, packing and hashing share the threads.
        let (unet, (rest, hashes)) = rayon::join(
            || self.load_unet(packing),
            || {
                rayon::join(
                    || -> Result<_> {
                        Ok((self.load_vae(packing)?, self.load_text_encoders(packing)?))
                    },
                    || self.hashes(),
                )
            },
        );
        let (unet, (vae, text_encoders)) = (unet?, rest?);
        let (weights_sha256, configs_sha256) = hashes?;
        Ok(Model {
            id: self.id.clone(),
            origin: self.origin.clone(),
            unet,
            vae,
            text_encoders,
            scheduler: self.scheduler.clone(),
            weights_sha256,
            configs_sha256,
            overrides: self.overrides.clone(),
            loras: self.loras.ids.clone(),
        })
    }

    pub(super) fn load_unet(&self, packing: Packing) -> Result<UNet> {
        let weights = self.weights(&self.weight_files()?[0], packing)?;
        let weights = weights.on(&self.compute.device, self.compute.dtype);
        UNet::load(&self.unet, &weights.plus(self.loras.components[0].clone()))
    }

    pub(super) fn load_vae(&self, packing: Packing) -> Result<Vae> {
        let weights = self.weights(&self.weight_files()?[1], packing)?;
        let vae = Vae::load(&self.vae, &weights.on(&self.compute.device, DType::F32))?;
        Ok(match self.compute.vae_tiling {
            true => vae.tiled(Vae::BAND),
            false => vae,
        })
    }

    pub(super) fn load_text_encoders(&self, packing: Packing) -> Result<TextEncoders> {
        let paths = self.weight_files()?;
        let weights = |path: usize, component: usize| -> Result<Weights> {
            let added = self.loras.components[component].clone();
            Ok(self.weights(&paths[path], packing)?.plus(added))
        };
        let second = self.second.as_ref();
        let second = second.map(|second| second.load(&weights(3, 2)?));
        Ok(TextEncoders {
            first: TextEncoder::load(&self.text, &weights(2, 1)?)?,
            second: second.transpose()?,
        })
    }

    pub(super) fn unet_bytes(&self) -> Result<u64> {
        self.files.size(&self.weight_files()?[0])
    }

    fn weights(&self, path: &str, packing: Packing) -> Result<Weights> {
        Ok(Weights::open(&self.files, path)?.packed_as(packing))
    }

    /// What determines the pictures it draws, without loading it: the hashes that its
    /// [`Model`] will have, of the weights and of the configs.
    pub fn hashes(&self) -> Result<(String, String)> {
        let weights = sha256(&self.files, &self.weight_files()?)?;
        Ok((weights, self.configs_sha256()?))
    }

    /// Of UNet, VAE and text encoders: a file each, or the index of its shards.
    pub(super) fn weight_files(&self) -> Result<Vec<String>> {
        let mut components = vec![UNET, VAE, TEXT];
        components.extend(self.second.as_ref().map(|_| TEXT_2));
        let file = |component| {
            let names = candidates(component, self.variant.as_deref());
            self.files.first_of(&names)
        };
        components.into_iter().map(file).collect()
    }

    /// Whether its weights are on this machine: opened to be planned with, a model of the hub may lack them.
    pub fn has_weights(&self) -> bool {
        let files = self.weight_files();
        files.is_ok_and(|files| files.iter().all(|file| self.files.size(file).is_ok()))
    }

    /// Of a folder: that one of its components has the variant that is asked for.
    fn has_variant(&self) -> Result<()> {
        let (chosen, names) = (self.weight_files()?, self.files.names());
        let names = names.iter().map(String::as_str);
        check_variant(self.variant.as_deref(), &chosen, names, &self.id)
    }

    fn configs_sha256(&self) -> Result<String> {
        let files = &self.files;
        // Of a tokenizer that comes in both forms only the one that is read counts.
        let unread = |path: &str| {
            let vocabulary = path.ends_with("vocab.json") || path.ends_with(".txt");
            let (folder, _) = path.split_once('/').unwrap_or_default();
            vocabulary && files.has(&format!("{folder}/tokenizer.json"))
        };
        let second = CONFIGS_2.iter().filter(|_| self.second.is_some());
        let configs = CONFIGS.iter().chain(second);
        let read = configs.filter(|path| files.has(path) && !unread(path));
        let configs: Vec<String> = read.map(|path| (*path).to_owned()).collect();
        sha256(files, &configs)
    }
}

impl Second {
    /// `first` is the first tokenizer: a prompt is cut into the same tokens by both.
    fn open(files: &Files, index: &Config, first: &Tokenizer) -> Result<Self> {
        let path = "text_encoder_2/config.json";
        if !files.has(path) {
            return Err(Error::model(
                format!("{} does not exist", files.name(path)),
                "a UNet of Stable Diffusion XL reads two text encoders: add text_encoder_2/ and tokenizer_2/",
            ));
        }
        let text = TextConfig::parse(&Config::parse(&files.name(path), &files.read(path)?)?)?;
        let tokenizer = Tokenizer::load(files, TOKENIZERS[1], text.max_tokens)?;
        if !tokenizer.cuts_like(first) {
            return Err(Error::model(
                format!(
                    "{} differs from tokenizer/ in more than its pad",
                    files.name("tokenizer_2/")
                ),
                "an edit aligns tokens of both encoders at once; fetch both folders again",
            ));
        }
        Ok(Self {
            text,
            tokenizer,
            zeros_for_empty: index.bool("force_zeros_for_empty_prompt", true)?,
        })
    }

    fn load(&self, weights: &Weights) -> Result<SecondEncoder> {
        Ok(SecondEncoder {
            encoder: TextEncoder::load_projected(&self.text, weights)?,
            tokenizer: self.tokenizer.clone(),
            zeros_for_empty: self.zeros_for_empty,
        })
    }
}

/// That the UNet reads what the text encoders write.
fn fits(
    unet: &UNetConfig,
    file: &Config,
    text: &TextConfig,
    second: Option<&Second>,
) -> Result<()> {
    let widths = |text: &TextConfig| text.hidden_size;
    let written = widths(text) + second.map_or(0, |second| widths(&second.text));
    let read = unet.cross_attention_dim;
    if read != written {
        let problem = format!("cross_attention_dim is {read}, the text encoders write {written}");
        return Err(file.error(&problem));
    }
    if let (Some(read), Some(second)) = (unet.text_time, second) {
        let written = second.text.projection + Added::SIZES * read.size_channels;
        if read.input != written {
            let key = "projection_class_embeddings_input_dim";
            let problem = format!("{key} is {}, text and sizes are {written}", read.input);
            return Err(file.error(&problem));
        }
    }
    Ok(())
}
