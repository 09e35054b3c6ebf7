//! How a run gets a model's components, one after another: text encoders, UNet, VAE. A [`Model`] holds all of
//! them; [`OnDemandModel`] loads each when it is needed and drops it afterwards. Never knows what the
//! components are used for.

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

/// A model's components, and everything else that determines its pictures.
pub trait Components: Sync {
    /// The model's name.
    fn id(&self) -> &str;

    /// Where the model came from. `None` for a model that is not of the hub.
    fn origin(&self) -> Option<&Origin>;

    /// The noise schedule.
    fn scheduler(&self) -> &SchedulerConfig;

    /// SHA-256 of the weights and of the configs, in hex, as in [`Model`].
    fn hashes(&self) -> [&str; 2];

    /// The components that do not come from the model itself.
    fn overrides(&self) -> &ComponentOverrides;

    /// The LoRAs that are added to the weights.
    fn loras(&self) -> &[LoraId];

    /// The text encoders.
    ///
    /// # Errors
    /// [`Error::Model`](crate::error::Error::Model) where the weights are damaged. All three loading methods
    /// share this.
    fn text_encoders(&self) -> Result<Cow<'_, TextEncoders>>;

    /// The model's denoiser for a run with these text states.
    ///
    /// # Errors
    /// If weights are missing or damaged, or if the text states do not fit the model.
    fn denoiser(&self, conditioning: &Conditioning) -> Result<Box<dyn Denoiser + '_>>;

    /// The decoder from latents to pictures.
    ///
    /// # Errors
    /// See [`text_encoders`](Self::text_encoders).
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

/// Bytes of UNet weights from which a single run loads components on demand. That costs a second, of a run
/// that takes minutes.
pub(super) const LARGE: u64 = 1 << 30;

impl ModelFolder {
    /// Opens the components for one run (`single`) or for many. All weights are loaded now, unless kernels are
    /// made on demand or a large model serves a single run: then each component is loaded when it is needed.
    ///
    /// # Errors
    /// [`Error::Model`](crate::error::Error::Model) where weights are missing or damaged.
    pub fn open_components(&self, packing: Packing, single: bool) -> Result<Box<dyn Components>> {
        let large = self.unet_bytes()? >= LARGE;
        if packing.on_demand || (single && large) {
            Ok(Box::new(OnDemandModel::new(self, packing)?))
        } else {
            Ok(Box::new(self.load_as(packing)?))
        }
    }
}

/// A model whose components are loaded on demand: memory holds one of them at a time.
#[derive(Debug, Clone)]
pub struct OnDemandModel {
    folder: ModelFolder,
    packing: Packing,
    hashes: [String; 2],
}

impl OnDemandModel {
    /// Hashes all weights, and loads the VAE once to check it: a damaged VAE that shows only when the picture
    /// is decoded has cost a whole run.
    ///
    /// # Errors
    /// [`Error::Model`](crate::error::Error::Model) where weights are missing or damaged.
    pub fn new(folder: &ModelFolder, packing: Packing) -> Result<Self> {
        let checked_as = Packing {
            on_demand: true,
            ..packing
        };
        let (vae, hashes) = rayon::join(|| folder.load_vae(checked_as), || folder.hashes());
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
