//! Loading a model's weights, and the hashes that identify them. Owns which weight file becomes which
//! component; it must never parse a config.

use candle_core::DType;

use super::component::{ByComponent, Component, MODEL_INDEX, TOKENIZER_FILES};
use super::folder::{Model, ModelFolder};
use super::states::TextEncoders;
use super::text::TextEncoder;
use super::unet::UNet;
use super::vae::Vae;
use super::weights::{Weights, sha256};
use crate::error::Result;
use crate::kernels::Packing;

impl ModelFolder {
    /// Loads the weights with the small convolution tiles, which are as exact as plain convolutions.
    ///
    /// # Errors
    /// [`Error::Model`](crate::error::Error::Model) where weights are missing, damaged, or of other shapes than
    /// the configs say.
    pub fn load(&self) -> Result<Model> {
        self.load_as(Packing::default())
    }

    /// Loads the weights. The VAE has the large convolution tiles whatever `packing` says.
    ///
    /// # Errors
    /// See [`load`](Self::load).
    pub fn load_as(&self, packing: Packing) -> Result<Model> {
        // Reading, packing and hashing share the threads.
        let (unet, (others, hashes)) = rayon::join(
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
        let (unet, (vae, text_encoders)) = (unet?, others?);
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
        let weights = self.weights(Component::Unet, packing)?;
        let weights = weights.on(&self.compute.device, self.compute.dtype);
        UNet::load(&self.unet, &weights)
    }

    pub(super) fn load_vae(&self, packing: Packing) -> Result<Vae> {
        let weights = self.weights(Component::Vae, packing)?;
        let vae = Vae::load(&self.vae, &weights.on(&self.compute.device, DType::F32))?;
        if self.compute.vae_tiling {
            Ok(vae.tiled(Vae::BAND))
        } else {
            Ok(vae)
        }
    }

    pub(super) fn load_text_encoders(&self, packing: Packing) -> Result<TextEncoders> {
        let second = self.second.as_ref();
        let second =
            second.map(|second| second.load(&self.weights(Component::TextEncoder2, packing)?));
        let first = self.weights(Component::TextEncoder, packing)?;
        Ok(TextEncoders {
            first: TextEncoder::load(&self.text, &first)?,
            second: second.transpose()?,
        })
    }

    pub(super) fn unet_bytes(&self) -> Result<u64> {
        self.files.size(&self.weight_file(Component::Unet)?)
    }

    /// A component's weights with its LoRAs.
    fn weights(&self, component: Component, packing: Packing) -> Result<Weights> {
        let weights = Weights::open(&self.files, &self.weight_file(component)?)?;
        let added = self.loras.additions.get(&component).cloned();
        Ok(weights
            .packed_as(packing)
            .with_additions(added.unwrap_or_default()))
    }

    /// SHA-256 of the weights and of the configs, in hex, as in [`Model`]. Together with the LoRAs they
    /// determine what the model draws. Nothing is loaded.
    ///
    /// # Errors
    /// [`Error::Model`](crate::error::Error::Model) where a file is missing or damaged.
    pub fn hashes(&self) -> Result<(String, String)> {
        let weights: ByComponent<String> = self.weight_files()?;
        let weights = weights.into_values().collect::<Vec<_>>();
        Ok((sha256(&self.files, &weights)?, self.configs_sha256()?))
    }

    fn configs_sha256(&self) -> Result<String> {
        let files = &self.files;
        // Of a tokenizer in both forms only `tokenizer.json` is read, so only that one counts.
        let unread = |path: &str| {
            let vocabulary = path.ends_with("vocab.json") || path.ends_with(".txt");
            let (folder, _) = path.split_once('/').unwrap_or_default();
            vocabulary && files.has(&format!("{folder}/tokenizer.json"))
        };
        let read = config_files(self.second.is_some()).into_iter();
        let read = read.filter(|path| files.has(path) && !unread(path));
        sha256(files, &read.collect::<Vec<_>>())
    }
}

/// The small files that determine what a model computes, in the order in which they are hashed. The index
/// counts for a model with two text encoders: it says what an empty negative prompt is.
fn config_files(has_second_encoder: bool) -> Vec<String> {
    let tokenizer = |component: Component| TOKENIZER_FILES.map(|file| component.path(file));
    let configs = [
        Component::Unet,
        Component::Vae,
        Component::TextEncoder,
        Component::Scheduler,
    ];
    let mut all = configs.map(Component::config).to_vec();
    all.extend(tokenizer(Component::Tokenizer));
    if has_second_encoder {
        all.extend([MODEL_INDEX.to_owned(), Component::TextEncoder2.config()]);
        all.extend(tokenizer(Component::Tokenizer2));
    }
    all
}
