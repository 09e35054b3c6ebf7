//! Where a run takes a model's parts from, one after another: text encoders, UNet, VAE. A [`Model`] holds
//! them all; [`OnDemandModel`] reads each when its turn comes and has it dropped after. Never knows what the
//! parts are used for.

use std::borrow::Cow;

use super::denoiser::{Conditioning, Denoiser, UNetDenoiser};
use super::folder::{Model, ModelFolder};
use super::lora::LoraId;
use super::remote::Origin;
use super::scheduler_config::SchedulerConfig;
use super::source::ComponentOverrides;
use super::states::TextEncoders;
use super::vae::Vae;
use crate::error::Result;
use crate::kernels::Packing;

/// A model's parts, and what determines them.
pub trait Components: Sync {
    fn id(&self) -> &str;

    /// Where the model came from, if that was the hub.
    fn origin(&self) -> Option<&Origin>;

    fn scheduler(&self) -> &SchedulerConfig;

    /// SHA-256 of the weights and of the configs, as [`Model`] has them.
    fn hashes(&self) -> [&str; 2];

    /// What of it came from elsewhere.
    fn overrides(&self) -> &ComponentOverrides;

    /// What was added to the weights.
    fn loras(&self) -> &[LoraId];

    fn text_encoders(&self) -> Result<Cow<'_, TextEncoders>>;

    /// The model's denoiser for a run with these text states.
    ///
    /// # Errors
    /// If weights are missing or damaged, or if the text states do not fit the model.
    fn denoiser(&self, conditioning: &Conditioning) -> Result<Box<dyn Denoiser + '_>>;

    fn vae(&self) -> Result<Cow<'_, Vae>>;
}

impl Components for Model {
    fn id(&self) -> &str {
        &self.id
    }

    fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    fn scheduler(&self) -> &SchedulerConfig {
        &self.scheduler
    }

    fn hashes(&self) -> [&str; 2] {
        [&self.weights_sha256, &self.configs_sha256]
    }

    fn overrides(&self) -> &ComponentOverrides {
        &self.overrides
    }

    fn loras(&self) -> &[LoraId] {
        &self.loras
    }

    fn text_encoders(&self) -> Result<Cow<'_, TextEncoders>> {
        Ok(Cow::Borrowed(&self.text_encoders))
    }

    fn denoiser(&self, conditioning: &Conditioning) -> Result<Box<dyn Denoiser + '_>> {
        Ok(Box::new(UNetDenoiser::new(&self.unet, conditioning)?))
    }

    fn vae(&self) -> Result<Cow<'_, Vae>> {
        Ok(Cow::Borrowed(&self.vae))
    }
}

/// Bytes of a UNet's weights from which on a single run reads parts in turn: a second more, of minutes.
pub(super) const LARGE: u64 = 1 << 30;

impl ModelFolder {
    /// Reads the weights: all at once, or in turn, where kernels are to be kept small, or a large model
    /// is for a `single` run.
    pub fn parts(&self, packing: Packing, single: bool) -> Result<Box<dyn Components>> {
        let large = self.unet_bytes()? >= LARGE;
        Ok(match packing.on_demand || (single && large) {
            true => Box::new(OnDemandModel::new(self, packing)?),
            false => Box::new(self.load_as(packing)?),
        })
    }
}

/// A model of which no two parts stand in memory at once.
#[derive(Debug, Clone)]
pub struct OnDemandModel {
    folder: ModelFolder,
    packing: Packing,
    hashes: [String; 2],
}

impl OnDemandModel {
    /// Errors: weights that are broken, though most of them are read later: a VAE that shows its fault
    /// when the picture is to be decoded has cost a whole run.
    pub fn new(folder: &ModelFolder, packing: Packing) -> Result<Self> {
        let late = Packing {
            on_demand: true,
            ..packing
        };
        let (vae, hashes) = rayon::join(|| folder.load_vae(late), || folder.hashes());
        vae?;
        Ok(Self {
            folder: folder.clone(),
            packing,
            hashes: hashes?.into(),
        })
    }
}

impl Components for OnDemandModel {
    fn id(&self) -> &str {
        &self.folder.id
    }

    fn origin(&self) -> Option<&Origin> {
        self.folder.origin.as_ref()
    }

    fn scheduler(&self) -> &SchedulerConfig {
        &self.folder.scheduler
    }

    fn hashes(&self) -> [&str; 2] {
        [&self.hashes[0], &self.hashes[1]]
    }

    fn overrides(&self) -> &ComponentOverrides {
        &self.folder.overrides
    }

    fn loras(&self) -> &[LoraId] {
        self.folder.loras()
    }

    fn text_encoders(&self) -> Result<Cow<'_, TextEncoders>> {
        self.folder.load_text_encoders(self.packing).map(Cow::Owned)
    }

    fn denoiser(&self, conditioning: &Conditioning) -> Result<Box<dyn Denoiser + '_>> {
        let unet = self.folder.load_unet(self.packing)?;
        Ok(Box::new(UNetDenoiser::new(unet, conditioning)?))
    }

    fn vae(&self) -> Result<Cow<'_, Vae>> {
        self.folder.load_vae(self.packing).map(Cow::Owned)
    }
}
