//! `vae/config.json`: the sizes of an `AutoencoderKL`, as far as decoding needs them. Owns which of its keys
//! are supported. Never knows a weight.

use super::config::Config;
use super::resnet::ResnetShape;
use crate::error::Result;

/// diffusers hard-codes the epsilon of an autoencoder's group norms.
pub(super) const EPS: f64 = 1e-6;

/// The sizes of a VAE. Lists have a value per level, from fine to coarse.
#[derive(Debug, Clone)]
pub struct VaeConfig {
    /// Channels of each level.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of each level in the encoder; the decoder has one more.
    pub layers_per_block: usize,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Channels of a picture.
    pub picture_channels: usize,
    /// Groups of the group norms.
    pub norm_num_groups: usize,
    /// The factor between the VAE's latents and those that the UNet denoises.
    pub scaling_factor: f64,
    /// Whether the mid block has attention.
    pub mid_block_add_attention: bool,
    /// Whether a 1x1 convolution comes before the decoder.
    pub use_post_quant_conv: bool,
    /// Side of the latents that the model was trained on.
    pub latent_side: usize,
}

/// diffusers' default of `latent_channels`.
const DEFAULT_LATENT_CHANNELS: usize = 4;

impl VaeConfig {
    /// Reads the config. `latent_side` comes from the UNet's config.
    ///
    /// # Errors
    /// [`Error::Model`](crate::error::Error::Model) for missing keys, and values that are not supported.
    pub fn parse(config: &Config, latent_side: usize) -> Result<Self> {
        config.only("act_fn", "silu")?;
        config.only("out_channels", 3)?;
        config.only("up_block_types", "UpDecoderBlock2D")?;
        config.off(&["shift_factor", "latents_mean", "latents_std"])?;
        // These keys are about the encoder, precision, or the size of training.
        config.ignore(&["in_channels", "down_block_types", "use_quant_conv"]);
        config.ignore(&["sample_size", "force_upcast"]);
        let latent_channels = config.usize("latent_channels")?;
        let parsed = Self {
            block_out_channels: config.usizes("block_out_channels")?,
            layers_per_block: config.usize("layers_per_block")?.unwrap_or(1),
            latent_channels: latent_channels.unwrap_or(DEFAULT_LATENT_CHANNELS),
            picture_channels: 3,
            norm_num_groups: config.usize("norm_num_groups")?.unwrap_or(32),
            scaling_factor: config.f64("scaling_factor")?.unwrap_or(0.18215),
            mid_block_add_attention: config.bool("mid_block_add_attention", true)?,
            use_post_quant_conv: config.bool("use_post_quant_conv", true)?,
            latent_side,
        };
        config.finish()?;
        let (channels, groups) = (&parsed.block_out_channels, parsed.norm_num_groups);
        if channels.is_empty() {
            return Err(config.error("block_out_channels is empty"));
        }
        let divides = |c: &usize| *c > 0 && c.is_multiple_of(groups);
        if groups == 0 || !channels.iter().all(divides) {
            let problem = format!("norm_num_groups {groups} does not divide {channels:?} channels");
            return Err(config.error(&problem));
        }
        Ok(parsed)
    }

    /// Pixels of a picture per latent, along a side: each level but the last doubles the size.
    pub fn factor(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }

    /// The decoder's residual blocks, level by level from coarse to fine. Every level but the last ends with
    /// an upsampling that doubles the size.
    pub(super) fn levels(&self) -> Vec<Vec<ResnetShape>> {
        let channels: Vec<usize> = self.block_out_channels.iter().rev().copied().collect();
        let level = |(i, &output): (usize, &usize)| {
            let before = channels[i.saturating_sub(1)];
            let input = |layer| if layer == 0 { before } else { output };
            let layers = 0..=self.layers_per_block;
            let resnet = |l| self.resnet(input(l), output, self.pixels(i));
            layers.map(resnet).collect()
        };
        channels.iter().enumerate().map(level).collect()
    }

    /// The shape of both residual blocks around the mid block's attention.
    pub(super) fn middle(&self) -> ResnetShape {
        let coarsest = self.block_out_channels[self.block_out_channels.len() - 1];
        self.resnet(coarsest, coarsest, self.pixels(0))
    }

    /// Pixels of a level's grid at the model's native size. The coarsest level is 0.
    pub(super) fn pixels(&self, level: usize) -> usize {
        (self.latent_side << level).pow(2)
    }

    fn resnet(&self, input: usize, output: usize, pixels: usize) -> ResnetShape {
        ResnetShape {
            input,
            output,
            time: None,
            groups: self.norm_num_groups,
            eps: EPS,
            pixels,
        }
    }
}
