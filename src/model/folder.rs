//! A model before and after its weights are loaded. Opening a model reads configs and tokenizers, which is
//! quick and finds most mistakes; [`load`](super::load) reads the weights. Never knows edits or jobs.

use std::num::NonZeroUsize;

use super::checkpoint::{DetectedModel, Renames};
use super::component::{ByComponent, Component, MODEL_INDEX};
use super::config::Config;
use super::files::ModelFiles;
use super::lora::{LoraId, Loras, Targets};
use super::pipeline;
use super::recommended::Recommended;
use super::remote::{LocatedModel, Need, Origin};
use super::scheduler_config::SchedulerConfig;
use super::second_encoder::SecondEncoderFiles;
use super::source::{ComponentOverrides, ModelSource};
use super::states::{AddedConditions, TextEncoders};
use super::text::{TextConfig, check_clip_skip};
use super::tokenizer::Tokenizer;
use super::unet::UNet;
use super::unet_config::UNetConfig;
use super::vae::Vae;
use super::vae_config::VaeConfig;
use super::weight_files::{candidates, check_variant};
use super::weights::Weights;
use super::work::Work;
use crate::device::Compute;
use crate::error::Result;
use crate::hub::{Connection, Hub, HubSettings, Silent};

/// A model that is opened but not loaded: enough to check a job against it.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    /// `storybook`, the name of the folder or the file, or the id on the hub.
    pub id: String,
    /// Where the model came from. `None` for a model that is not of the hub.
    pub origin: Option<Origin>,
    /// The components that do not come from the model itself.
    pub overrides: ComponentOverrides,
    /// What the user should know about the model, one line each.
    pub notes: Vec<String>,
    /// The first tokenizer, which prompts are aligned by.
    pub tokenizer: Tokenizer,
    /// Settings that the model's makers recommend.
    pub recommended: Recommended,
    /// The config of the UNet.
    pub unet: UNetConfig,
    /// The config of the VAE.
    pub vae: VaeConfig,
    /// The noise schedule.
    pub scheduler: SchedulerConfig,
    /// The device and the dtype.
    pub compute: Compute,
    pub(super) text: TextConfig,
    pub(super) second: Option<SecondEncoderFiles>,
    pub(super) loras: Loras,
    /// The variant of the weight files that the user named.
    variant: Option<String>,
    pub(super) files: ModelFiles,
}

/// A model whose weights are loaded.
#[derive(Debug, Clone)]
pub struct Model {
    /// `storybook`, the name of the folder or the file, or the id on the hub.
    pub id: String,
    /// Where the model came from. `None` for a model that is not of the hub.
    pub origin: Option<Origin>,
    /// The denoiser.
    pub unet: UNet,
    /// The decoder from latents to pictures.
    pub vae: Vae,
    /// One text encoder or two.
    pub text_encoders: TextEncoders,
    /// The noise schedule.
    pub scheduler: SchedulerConfig,
    /// SHA-256, in hex, of the weight files of UNet, VAE and text encoders, in this order.
    pub weights_sha256: String,
    /// SHA-256, in hex, of the configs and the tokenizers' files, as far as they exist.
    pub configs_sha256: String,
    /// The components that do not come from the model itself.
    pub overrides: ComponentOverrides,
    /// The LoRAs that are added to the weights.
    pub loras: Vec<LoraId>,
}

impl ModelFolder {
    /// Opens a model: `storybook` is the embedded one; other names are a folder in diffusers layout, a
    /// single-file checkpoint, or a model of the hub, which is fetched. A folder named `storybook` is opened
    /// as `./storybook`.
    ///
    /// ```
    /// # fn main() -> prompt_to_prompt::error::Result<()> {
    /// use prompt_to_prompt::model::{ModelFolder, STORYBOOK};
    ///
    /// let folder = ModelFolder::open(STORYBOOK)?;
    /// assert_eq!(folder.native_size(), 128); // pixels
    /// assert_eq!(folder.tokenizer.encode("a cat")?.len, 4); // begin and end included
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Usage`](crate::error::Error::Usage) where `model` is nothing of the kind;
    /// [`Error::Model`](crate::error::Error::Model) where its content is damaged or of a kind that is not
    /// supported, or the hub does not deliver it.
    pub fn open(model: &str) -> Result<Self> {
        Self::open_source(&ModelSource::named(model))
    }

    /// Opens a model with replaced components and LoRAs.
    ///
    /// # Errors
    /// See [`open`](Self::open); [`Error::Usage`](crate::error::Error::Usage) also for a replacement or a LoRA
    /// that does not exist or does not fit, and a device that is not available.
    pub fn open_source(source: &ModelSource) -> Result<Self> {
        let hub = Connection::new(HubSettings::from_env(), &Silent);
        Self::open_with(source, Need::Weights, &hub)
    }

    /// Opens a model with a given hub. With [`Need::Plan`], weights that are not on this machine are not
    /// fetched.
    ///
    /// # Errors
    /// See [`open_source`](Self::open_source).
    pub fn open_with(source: &ModelSource, need: Need, hub: &dyn Hub) -> Result<Self> {
        // A device that is not available shows before a file is read.
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
            folder.check_variant()?;
        }
        // A plan needs no check of LoRAs against weights that are not on this machine.
        let check_loras = need == Need::Weights || folder.has_weights();
        if check_loras && !source.loras.is_empty() {
            folder.loras = Loras::open(&source.loras, &folder.lora_targets()?)?;
        }
        Ok(folder)
    }

    /// The LoRAs that are added to the weights.
    pub fn loras(&self) -> &[LoraId] {
        &self.loras.ids
    }

    /// The layers of UNet and text encoders that LoRAs may add to.
    fn lora_targets(&self) -> Result<ByComponent<Targets>> {
        let mut targets = ByComponent::new();
        for (component, path) in self.weight_files()? {
            let renames = match component {
                Component::Vae => continue,
                Component::Unet => Renames::unet(&self.unet),
                _ => Renames::default(),
            };
            let shapes = Weights::open(&self.files, &path)?.shapes();
            targets.insert(component, Targets::new(component, shapes, &renames));
        }
        Ok(targets)
    }

    fn from_files(id: String, files: ModelFiles) -> Result<Self> {
        let config = |path: &str| Config::parse(&files.name(path), &files.read(path)?);
        let index = config(MODEL_INDEX)?;
        pipeline::check(&index, &files.name(MODEL_INDEX))?;
        let text = TextConfig::parse(&config(&Component::TextEncoder.config())?)?;
        let unet_file = config(&Component::Unet.config())?;
        let unet = UNetConfig::parse(&unet_file)?;
        let tokenizer = Tokenizer::load(&files, Component::Tokenizer, text.max_tokens)?;
        let second = match unet.text_time {
            Some(_) => Some(SecondEncoderFiles::open(&files, &index, &tokenizer)?),
            None => None,
        };
        check_text_widths(&unet, &unet_file, &text, second.as_ref())?;
        let scheduler_file = config(&Component::Scheduler.config())?;
        let scheduler = SchedulerConfig::parse(&scheduler_file)?;
        let vae_file = config(&Component::Vae.config())?;
        let vae = VaeConfig::parse(&vae_file, unet.sample_size)?;
        if vae.latent_channels != unet.latent_channels {
            let (vae, unet) = (vae.latent_channels, unet.latent_channels);
            let problem = format!("latent_channels is {vae}, the UNet's in_channels is {unet}");
            return Err(vae_file.error(&problem));
        }
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
            vae,
            unet,
            scheduler,
            text,
            second,
            files,
        })
    }

    /// Side in pixels of the pictures that the model was trained on.
    pub fn native_size(&self) -> usize {
        self.unet.sample_size * self.vae.factor()
    }

    /// Checks a clip skip against the text encoders; see
    /// [`TextEncoders::read`](super::TextEncoders::read).
    ///
    /// # Errors
    /// [`Error::Usage`](crate::error::Error::Usage) about the clip skip, where a text encoder has fewer layers.
    pub fn check_clip_skip(&self, clip_skip: Option<NonZeroUsize>) -> Result<()> {
        self.text_configs()
            .into_iter()
            .try_for_each(|config| check_clip_skip(clip_skip, config.layers))
    }

    /// How much the model computes for latents of `(height, width)`.
    pub fn work(&self, latent_size: (usize, usize)) -> Work {
        let tokens = self.tokenizer.max_tokens();
        let text = self.text_configs();
        Work::count(&self.unet, &self.vae, &text, tokens, latent_size)
    }

    /// The configs of one text encoder or two.
    fn text_configs(&self) -> Vec<&TextConfig> {
        let second = self.second.as_ref().map(|second| &second.text);
        [Some(&self.text), second].into_iter().flatten().collect()
    }

    /// The weight file of each component, or the index of its shards.
    pub(super) fn weight_files(&self) -> Result<ByComponent<String>> {
        let components = Component::with_weights(self.second.is_some());
        let file = |component| Ok((component, self.weight_file(component)?));
        components.into_iter().map(file).collect()
    }

    /// The weight file of a component, or the index of its shards.
    pub(super) fn weight_file(&self, component: Component) -> Result<String> {
        let names = candidates(component, self.variant.as_deref());
        self.files.first_of(&names)
    }

    /// Whether all weights are on this machine. A model of the hub that was opened for a plan may lack them.
    pub fn has_weights(&self) -> bool {
        let files = self.weight_files();
        files.is_ok_and(|files| files.values().all(|file| self.files.size(file).is_ok()))
    }

    fn check_variant(&self) -> Result<()> {
        let chosen: Vec<String> = self.weight_files()?.into_values().collect();
        let names = self.files.names();
        let names = names.iter().map(String::as_str);
        check_variant(self.variant.as_deref(), &chosen, names, &self.id)
    }
}

/// Checks that the UNet reads as many channels as the text encoders write.
fn check_text_widths(
    unet: &UNetConfig,
    file: &Config,
    text: &TextConfig,
    second: Option<&SecondEncoderFiles>,
) -> Result<()> {
    let written = text.hidden_size + second.map_or(0, |second| second.text.hidden_size);
    let read = unet.cross_attention_dim;
    if read != written {
        let problem = format!("cross_attention_dim is {read}, the text encoders write {written}");
        return Err(file.error(&problem));
    }
    if let (Some(read), Some(second)) = (unet.text_time, second) {
        let written = second.text.projection + AddedConditions::SIZES * read.size_channels;
        if read.input != written {
            let key = "projection_class_embeddings_input_dim";
            let problem = format!("{key} is {}, text and sizes are {written}", read.input);
            return Err(file.error(&problem));
        }
    }
    Ok(())
}
