//! Where a run takes a model's parts from, one after another: text encoders, UNet, VAE. A [`Model`] holds
//! them all; [`InTurn`] reads each when its turn comes and has it dropped after. Never knows what the
//! parts are used for.

use std::borrow::Cow;

use super::folder::{Model, ModelFolder};
use super::lora::LoraId;
use super::remote::Origin;
use super::scheduler_config::SchedulerConfig;
use super::source::Elsewhere;
use super::states::TextEncoders;
use super::unet::UNet;
use super::vae::Vae;
use crate::error::Result;
use crate::kernels::Keep;

/// A model's parts, and what determines them.
pub trait Parts: Sync {
    fn id(&self) -> &str;

    /// Where the model came from, if that was the hub.
    fn origin(&self) -> Option<&Origin>;

    fn scheduler(&self) -> &SchedulerConfig;

    /// SHA-256 of the weights and of the configs, as [`Model`] has them.
    fn hashes(&self) -> [&str; 2];

    /// What of it came from elsewhere.
    fn elsewhere(&self) -> &Elsewhere;

    /// What was added to the weights.
    fn loras(&self) -> &[LoraId];

    fn text_encoders(&self) -> Result<Cow<'_, TextEncoders>>;

    fn unet(&self) -> Result<Cow<'_, UNet>>;

    fn vae(&self) -> Result<Cow<'_, Vae>>;
}

impl Parts for Model {
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

    fn elsewhere(&self) -> &Elsewhere {
        &self.elsewhere
    }

    fn loras(&self) -> &[LoraId] {
        &self.loras
    }

    fn text_encoders(&self) -> Result<Cow<'_, TextEncoders>> {
        Ok(Cow::Borrowed(&self.text_encoders))
    }

    fn unet(&self) -> Result<Cow<'_, UNet>> {
        Ok(Cow::Borrowed(&self.unet))
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
    pub fn parts(&self, keep: Keep, single: bool) -> Result<Box<dyn Parts>> {
        let large = self.unet_bytes()? >= LARGE;
        Ok(match keep.late || (single && large) {
            true => Box::new(InTurn::new(self, keep)?),
            false => Box::new(self.load_as(keep)?),
        })
    }
}

/// A model of which no two parts stand in memory at once.
#[derive(Debug, Clone)]
pub struct InTurn {
    folder: ModelFolder,
    keep: Keep,
    hashes: [String; 2],
}

impl InTurn {
    /// Errors: weights that are broken, though most of them are read later: a VAE that shows its fault
    /// when the picture is to be decoded has cost a whole run.
    pub fn new(folder: &ModelFolder, keep: Keep) -> Result<Self> {
        let late = Keep { late: true, ..keep };
        let (vae, hashes) = rayon::join(|| folder.load_vae(late), || folder.hashes());
        vae?;
        Ok(Self {
            folder: folder.clone(),
            keep,
            hashes: hashes?.into(),
        })
    }
}

impl Parts for InTurn {
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

    fn elsewhere(&self) -> &Elsewhere {
        &self.folder.elsewhere
    }

    fn loras(&self) -> &[LoraId] {
        self.folder.loras()
    }

    fn text_encoders(&self) -> Result<Cow<'_, TextEncoders>> {
        self.folder.load_text_encoders(self.keep).map(Cow::Owned)
    }

    fn unet(&self) -> Result<Cow<'_, UNet>> {
        self.folder.load_unet(self.keep).map(Cow::Owned)
    }

    fn vae(&self) -> Result<Cow<'_, Vae>> {
        self.folder.load_vae(self.keep).map(Cow::Owned)
    }
}
