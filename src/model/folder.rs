//! A model as a whole. Opening one reads its configs and tokenizer, which is quick and finds most
//! mistakes; loading it reads the weights.

use std::path::Path;

use super::config::Config;
use super::embedded::{self, STORYBOOK};
use super::files::Files;
use super::scheduler_config::SchedulerConfig;
use super::text::{TextConfig, TextEncoder};
use super::tokenizer::Tokenizer;
use super::unet::UNet;
use super::unet_config::UNetConfig;
use super::vae::{Vae, VaeConfig};
use super::weights::{Weights, sha256};
use super::work::Work;
use crate::error::Result;
use crate::kernels::Keep;

/// What a model's makers recommend, from an optional `p2p.json` beside `model_index.json`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recommended {
    pub steps: Option<usize>,
    pub guidance: Option<f64>,
    /// Part of the run, from its beginning.
    pub cross_steps: Option<f64>,
    pub self_steps: Option<f64>,
    /// The words the model was trained on, in lower case; empty where it isn't so small as to list them.
    pub words: Vec<String>,
}

/// A model that is opened, not yet loaded: what is needed to check a job against it.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    /// `storybook`, or the folder's own name.
    pub id: String,
    pub tokenizer: Tokenizer,
    pub recommended: Recommended,
    pub unet: UNetConfig,
    pub vae: VaeConfig,
    pub scheduler: SchedulerConfig,
    text: TextConfig,
    pub(super) files: Files,
}

/// A model ready to draw.
#[derive(Debug, Clone)]
pub struct Model {
    pub id: String,
    pub unet: UNet,
    pub vae: Vae,
    pub text_encoder: TextEncoder,
    pub scheduler: SchedulerConfig,
    /// Over the weight files of UNet, VAE and text encoder, in this order.
    pub weights_sha256: String,
    /// Over the configs and the tokenizer's files, as far as they are there.
    pub configs_sha256: String,
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

impl ModelFolder {
    /// `storybook` for the embedded model, else a folder in diffusers layout. A folder named
    /// `storybook` is reached as `./storybook`.
    ///
    /// Errors: usage, where `model` is no such folder; model, where its content is broken or of a
    /// kind that is not implemented.
    pub fn open(model: &str) -> Result<Self> {
        if model == STORYBOOK {
            return Self::from_files(STORYBOOK.to_owned(), embedded::files());
        }
        let path = Path::new(model);
        let files = Files::folder(path)?;
        // The name alone: where a folder stands does not determine a picture.
        let name = path
            .canonicalize()
            .ok()
            .and_then(|p| p.file_name().map(|n| n.to_owned()));
        let id = name.map_or_else(|| model.to_owned(), |n| n.to_string_lossy().into_owned());
        Self::from_files(id, files)
    }

    fn from_files(id: String, files: Files) -> Result<Self> {
        let config = |path: &str| Config::parse(&files.name(path), &files.read(path)?);
        config("model_index.json")?; // read only to find it torn
        let text = TextConfig::parse(&config("text_encoder/config.json")?)?;
        let unet = UNetConfig::parse(&config("unet/config.json")?)?;
        Ok(Self {
            id,
            tokenizer: Tokenizer::load(&files, text.max_tokens)?,
            recommended: recommended(&files)?,
            vae: VaeConfig::parse(&config("vae/config.json")?, unet.sample_size)?,
            unet,
            scheduler: SchedulerConfig::parse(&config("scheduler/scheduler_config.json")?)?,
            text,
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
        Work::count(&self.unet, &self.vae, &self.text, tokens, latent_size)
    }

    /// Reads the weights, to be as exact as the plain way.
    pub fn load(&self) -> Result<Model> {
        self.load_as(Keep::default())
    }

    /// Reads the weights; the VAE has the larger tiles in any case.
    pub fn load_as(&self, keep: Keep) -> Result<Model> {
        // Reading, packing and hashing share the threads.
        let (unet, (rest, hashes)) = rayon::join(
            || self.load_unet(keep),
            || {
                rayon::join(
                    || -> Result<_> { Ok((self.load_vae(keep)?, self.load_text_encoder(keep)?)) },
                    || self.hashes(),
                )
            },
        );
        let (unet, (vae, text_encoder)) = (unet?, rest?);
        let (weights_sha256, configs_sha256) = hashes?;
        Ok(Model {
            id: self.id.clone(),
            unet,
            vae,
            text_encoder,
            scheduler: self.scheduler.clone(),
            weights_sha256,
            configs_sha256,
        })
    }

    pub(super) fn load_unet(&self, keep: Keep) -> Result<UNet> {
        let [unet, ..] = self.weight_files()?;
        UNet::load(&self.unet, &self.weights(&unet, keep)?)
    }

    pub(super) fn load_vae(&self, keep: Keep) -> Result<Vae> {
        let [_, vae, _] = self.weight_files()?;
        Vae::load(&self.vae, &self.weights(&vae, keep)?)
    }

    pub(super) fn load_text_encoder(&self, keep: Keep) -> Result<TextEncoder> {
        let [.., text] = self.weight_files()?;
        TextEncoder::load(&self.text, &self.weights(&text, keep)?)
    }

    pub(super) fn unet_bytes(&self) -> Result<u64> {
        let [unet, ..] = self.weight_files()?;
        self.files.size(&unet)
    }

    fn weights(&self, path: &str, keep: Keep) -> Result<Weights> {
        Ok(Weights::open(&self.files, path)?.kept(keep))
    }

    /// What determines the pictures it draws, without loading it: the hashes that its
    /// [`Model`] will have, of the weights and of the configs.
    pub fn hashes(&self) -> Result<(String, String)> {
        let weights = sha256(&self.files, &self.weight_files()?)?;
        Ok((weights, self.configs_sha256()?))
    }

    /// Of UNet, VAE and text encoder.
    pub(super) fn weight_files(&self) -> Result<[String; 3]> {
        let part = |folder: &str, stem: &str| {
            let names = ["", ".fp16"].map(|v| format!("{folder}/{stem}{v}.safetensors"));
            self.files.first_of(&names)
        };
        Ok([
            part("unet", "diffusion_pytorch_model")?,
            part("vae", "diffusion_pytorch_model")?,
            part("text_encoder", "model")?,
        ])
    }

    fn configs_sha256(&self) -> Result<String> {
        let files = &self.files;
        // Of a tokenizer that comes in both forms only the one that is read counts.
        let json = files.has("tokenizer/tokenizer.json");
        let read =
            |path: &&str| !(json && (path.ends_with("vocab.json") || path.ends_with(".txt")));
        let configs = CONFIGS.into_iter().filter(|path| files.has(path));
        let configs: Vec<String> = configs.filter(read).map(str::to_owned).collect();
        sha256(files, &configs)
    }
}

fn recommended(files: &Files) -> Result<Recommended> {
    const PATH: &str = "p2p.json";
    if !files.has(PATH) {
        return Ok(Recommended::default());
    }
    let config = Config::parse(&files.name(PATH), &files.read(PATH)?)?
        .or_else("mend the file, or remove it: it only recommends");
    let recommended = Recommended {
        steps: config.usize("steps")?,
        guidance: config.f64("guidance")?,
        cross_steps: config.f64("cross_steps")?,
        self_steps: config.f64("self_steps")?,
        words: match config.value("words") {
            Some(_) => config.strings("words")?,
            None => vec![],
        },
    };
    config.finish()?;
    let fraction = |x: Option<f64>| x.is_none_or(|x| (0.0..=1.0).contains(&x));
    if !fraction(recommended.cross_steps) || !fraction(recommended.self_steps) {
        return Err(config.error("cross_steps and self_steps are fractions from 0 to 1"));
    }
    if recommended.steps.is_some_and(|n| !(1..=1000).contains(&n)) {
        return Err(config.error("steps must be a whole number from 1 to 1000"));
    }
    if recommended
        .guidance
        .is_some_and(|g| !(0.0..=100.0).contains(&g))
    {
        return Err(config.error("guidance must be a number from 0 to 100"));
    }
    Ok(recommended)
}
