//! The denoising UNet (diffusers' `UNet2DConditionModel`): a walk over three flat lists of parts with
//! a stack of skip connections. Attention goes through the seam; nothing here knows who listens.

use candle_core::{Device, Tensor};

use super::layers::{Conv3x3, GroupNorm, Linear};
use super::resnet::Resnet;
use super::transformer::Transformer;
use super::unet_config::UNetConfig;
use super::unet_shape::{PartShape, Sizes, UNetShape};
use super::weights::Weights;
use crate::attention::{AttentionHook, Site};
use crate::error::Result;
use crate::kernels::{silu, upsample_nearest};

/// One step of the walk.
#[derive(Debug, Clone)]
enum Part {
    Resnet(Resnet),
    Transformer(Transformer),
    Downsample(Conv3x3),
    Upsample(Conv3x3),
}

impl Part {
    fn load(shape: &PartShape, w: &Weights) -> Result<Self> {
        let w = w.pp(&shape.name);
        Ok(match &shape.sizes {
            Sizes::Resnet(shape) => Part::Resnet(Resnet::load(&w, *shape)?),
            Sizes::Transformer(shape, sites) => {
                Part::Transformer(Transformer::load(&w, *shape, sites)?)
            }
            Sizes::Downsample(c) => Part::Downsample(Conv3x3::load(&w, *c, *c, 2)?),
            Sizes::Upsample(c) => Part::Upsample(Conv3x3::load(&w, *c, *c, 1)?),
        })
    }
}

#[derive(Debug, Clone)]
pub struct UNet {
    config: UNetConfig,
    time1: Linear,
    time2: Linear,
    conv_in: Conv3x3,
    input: Vec<Vec<Part>>,
    middle: Vec<Part>,
    output: Vec<Vec<Part>>,
    norm_out: GroupNorm,
    conv_out: Conv3x3,
}

impl UNet {
    pub fn load(config: &UNetConfig, w: &Weights) -> Result<Self> {
        let first = config.block_out_channels[0];
        let time = config.time_channels();
        let shape = UNetShape::new(config);
        let list = |shapes: &Vec<PartShape>| {
            let parts = shapes.iter().map(|shape| Part::load(shape, w));
            parts.collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            time1: Linear::load(&w.pp("time_embedding.linear_1"), first, time)?,
            time2: Linear::load(&w.pp("time_embedding.linear_2"), time, time)?,
            conv_in: Conv3x3::load(&w.pp("conv_in"), config.latent_channels, first, 1)?,
            input: shape.input.iter().map(list).collect::<Result<_>>()?,
            middle: list(&shape.middle)?,
            output: shape.output.iter().map(list).collect::<Result<_>>()?,
            norm_out: GroupNorm::load(
                &w.pp("conv_norm_out"),
                first,
                config.norm_num_groups,
                config.norm_eps,
            )?,
            conv_out: Conv3x3::load(&w.pp("conv_out"), first, config.latent_channels, 1)?,
            config: config.clone(),
        })
    }

    /// Predicted noise.
    ///
    /// `latents` `[rows, 4, h, w]`, `timestep` of the training schedule, `context`
    /// `[rows, tokens, cross_attention_dim]`; returns `[rows, 4, h, w]`. Every row is computed by the
    /// same operations whatever the others are.
    pub fn forward(
        &self,
        latents: &Tensor,
        timestep: usize,
        context: &Tensor,
        hook: &mut dyn AttentionHook,
    ) -> Result<Tensor> {
        let time = self.time_embedding(timestep, latents.device())?;
        let mut walk = Walk {
            time: &time,
            context,
            hook,
        };
        let x = latents.permute((0, 2, 3, 1))?.contiguous()?; // [rows, h, w, 4]
        let mut x = self.conv_in.forward(&x)?;
        let mut skips = vec![x.clone()];
        for parts in &self.input {
            x = walk.run(parts, x, None)?;
            skips.push(x.clone());
        }
        x = walk.run(&self.middle, x, None)?;
        for parts in &self.output {
            let skip = skips.pop().expect("an output part per skip connection");
            x = Tensor::cat(&[&x, &skip], 3)?;
            x = walk.run(parts, x, skips.last())?;
        }
        let x = self.conv_out.forward(&self.norm_out.forward_silu(&x)?)?;
        Ok(x.permute((0, 3, 1, 2))?.contiguous()?)
    }

    /// Sinusoids through two layers and the SiLU that every resnet begins with: `[1, 1, time]`.
    fn time_embedding(&self, timestep: usize, device: &Device) -> Result<Tensor> {
        let c = self.config.block_out_channels[0];
        let half = c / 2;
        let spread = half as f32 - self.config.freq_shift as f32;
        let angle = |i: usize| {
            // Rounded to f32 where torch does: at timestep 981 the last bit of the exponent shows.
            let exponent = -(10000f64.ln() as f32) * i as f32 / spread;
            f64::from(timestep as f32 * f64::from(exponent).exp() as f32)
        };
        let sines = (0..half).map(|i| angle(i).sin() as f32);
        let cosines = (0..half).map(|i| angle(i).cos() as f32);
        let sinusoids: Vec<f32> = match self.config.flip_sin_to_cos {
            true => cosines.chain(sines).collect(),
            false => sines.chain(cosines).collect(),
        };
        let x = Tensor::from_vec(sinusoids, (1, 1, 2 * half), device)?;
        silu(&self.time2.forward(&silu(&self.time1.forward(&x)?)?)?)
    }

    /// Every attention site for latents of a size, in order of execution.
    pub fn sites(&self, latent_size: (usize, usize)) -> Vec<Site> {
        self.config.sites(latent_size)
    }

    pub fn config(&self) -> &UNetConfig {
        &self.config
    }
}

/// What every part of a forward pass is given.
struct Walk<'a> {
    time: &'a Tensor,
    context: &'a Tensor,
    hook: &'a mut dyn AttentionHook,
}

impl Walk<'_> {
    /// `next_skip` is what an upsampled picture will meet: on odd grids it is not twice the size.
    fn run(&mut self, parts: &[Part], mut x: Tensor, next_skip: Option<&Tensor>) -> Result<Tensor> {
        for part in parts {
            x = match part {
                Part::Resnet(resnet) => resnet.forward(&x, Some(self.time))?,
                Part::Transformer(t) => t.forward(&x, self.context, &mut *self.hook)?,
                Part::Downsample(conv) => conv.forward(&x)?,
                Part::Upsample(conv) => {
                    let (_, h, w, _) = next_skip.expect("a finer level has skips left").dims4()?;
                    conv.forward(&upsample_nearest(&x, (h, w))?)?
                }
            };
        }
        Ok(x)
    }
}
