//! The decoder of the VAE (diffusers' `AutoencoderKL`): latents to pictures. Never knows what a picture shows.

use candle_core::{Device, Tensor};

use super::bands::Bands;
use super::layers::{Conv3x3, GroupNorm, Linear};
use super::resnet::{Resnet, ResnetShape};
use super::vae_config::{EPS, VaeConfig};
use super::weights::Weights;
use crate::attention::{SitePlan, attend};
use crate::error::Result;
use crate::kernels::Packing;

/// The decoder of a VAE with its weights.
#[derive(Debug, Clone)]
pub struct Vae {
    /// Where layers compute. Latents and pictures are on the CPU.
    device: Device,
    /// Floats of a band, where large maps are computed in bands of rows.
    band: Option<usize>,
    scaling_factor: f64,
    post_quant: Option<Linear>,
    conv_in: Conv3x3,
    mid: (Resnet, Option<MidAttention>, Resnet),
    up: Vec<UpBlock>,
    norm_out: GroupNorm,
    conv_out: Conv3x3,
}

/// The residual blocks of a level, and the convolution after doubling the size.
#[derive(Debug, Clone)]
struct UpBlock {
    resnets: Vec<Resnet>,
    upsample: Option<Conv3x3>,
}

impl Vae {
    /// Loads the weights.
    ///
    /// # Errors
    /// [`Error::Model`](crate::error::Error::Model) for missing weights and wrong shapes.
    pub fn load(config: &VaeConfig, w: &Weights) -> Result<Self> {
        // The rounding of the large tiles does not show in a picture of 8 bits.
        let w = &w.clone().packed_as(Packing {
            large_tiles: true,
            ..w.packing()
        });
        let (latent, groups) = (config.latent_channels, config.norm_num_groups);
        let (middle, last) = (config.middle(), config.block_out_channels[0]);
        let top = middle.input;
        let post_quant = config.use_post_quant_conv;
        let post_quant =
            post_quant.then(|| Linear::load_conv1x1(&w.pp("post_quant_conv"), latent, latent));
        let w = w.pp("decoder");
        let mid = w.pp("mid_block");
        let attention = config.mid_block_add_attention;
        let attention = attention.then(|| MidAttention::load(&mid.pp("attentions.0"), top, groups));
        Ok(Self {
            device: w.placement().0,
            band: None,
            scaling_factor: config.scaling_factor,
            post_quant: post_quant.transpose()?,
            conv_in: Conv3x3::load(&w.pp("conv_in"), latent, top, middle.pixels)?,
            mid: (
                Resnet::load(&mid.pp("resnets.0"), middle)?,
                attention.transpose()?,
                Resnet::load(&mid.pp("resnets.1"), middle)?,
            ),
            up: up_blocks(&w.pp("up_blocks"), config)?,
            norm_out: GroupNorm::load(&w.pp("conv_norm_out"), last, groups, EPS)?,
            conv_out: Conv3x3::load(&w.pp("conv_out"), last, config.picture_channels, 0)?,
        })
    }

    /// About how many floats a band has with VAE tiling: 32 MiB.
    pub const BAND: usize = 1 << 23;

    /// A VAE that computes large maps in bands of about `floats` floats. It takes less memory, and pictures
    /// are the same but for rounding.
    pub fn tiled(self, floats: usize) -> Self {
        Self {
            band: Some(floats),
            ..self
        }
    }

    /// Decodes latents `[rows, channels, h, w]` as the sampler leaves them, to pictures `[rows, 3, f h, f w]` of
    /// about -1 to 1. Rows are decoded one at a time, because decoding is where memory peaks.
    ///
    /// # Errors
    /// Fails for other shapes.
    pub fn decode(&self, latents: &Tensor) -> Result<Tensor> {
        let rows = latents.dim(0)?;
        let decoded = (0..rows).map(|row| self.decode_row(&latents.narrow(0, row, 1)?));
        Ok(Tensor::cat(&decoded.collect::<Result<Vec<_>>>()?, 0)?)
    }

    fn decode_row(&self, latents: &Tensor) -> Result<Tensor> {
        let mut x = (latents / self.scaling_factor)?
            .permute((0, 2, 3, 1))?
            .contiguous()?
            .to_device(&self.device)?;
        if let Some(post_quant) = &self.post_quant {
            x = post_quant.forward(&x)?;
        }
        x = self.mid.0.forward(&self.conv_in.forward(&x)?, None)?;
        if let Some(attention) = &self.mid.1 {
            x = attention.forward(&x)?;
        }
        x = self.mid.2.forward(&x, None)?;
        let x = match self.band {
            Some(floats) => self.finish_in_bands(Bands::whole(x, floats)?)?,
            None => self.finish(x)?,
        };
        let x = x.to_device(&Device::Cpu)?;
        Ok(x.permute((0, 3, 1, 2))?.contiguous()?)
    }

    /// The up blocks and the last convolution: `[1, h, w, c]` to `[1, f h, f w, 3]`.
    fn finish(&self, mut x: Tensor) -> Result<Tensor> {
        for block in &self.up {
            for resnet in &block.resnets {
                x = resnet.forward(&x, None)?;
            }
            if let Some(conv) = &block.upsample {
                let (_, h, w, _) = x.dims4()?;
                x = conv.upsample(&x, (2 * h, 2 * w))?;
            }
        }
        self.conv_out.forward(&self.norm_out.forward_silu(&x)?)
    }

    fn finish_in_bands<'a>(&'a self, mut x: Bands<'a>) -> Result<Tensor> {
        for block in &self.up {
            for resnet in &block.resnets {
                x = resnet.forward_bands(x)?;
            }
            if let Some(conv) = &block.upsample {
                x = x.doubled(conv);
            }
        }
        let unchanged = |x: Tensor, _: &_| Ok(x);
        x.normed_conv(&self.norm_out, &self.conv_out, unchanged)?
            .join()
    }
}

/// The up blocks from coarse to fine.
fn up_blocks(w: &Weights, config: &VaeConfig) -> Result<Vec<UpBlock>> {
    let levels = config.levels();
    let block = |(i, level): (usize, &Vec<ResnetShape>)| {
        let (w, c) = (w.pp(i), level[0].output);
        let resnet =
            |(i, shape): (usize, &ResnetShape)| Resnet::load(&w.pp(format!("resnets.{i}")), *shape);
        let resnets = level.iter().enumerate().map(resnet);
        let doubles = i + 1 < levels.len();
        let upsample =
            doubles.then(|| Conv3x3::load(&w.pp("upsamplers.0.conv"), c, c, config.pixels(i + 1)));
        Ok(UpBlock {
            resnets: resnets.collect::<Result<_>>()?,
            upsample: upsample.transpose()?,
        })
    };
    levels.iter().enumerate().map(block).collect()
}

/// Self-attention with one head, over the coarsest grid.
#[derive(Debug, Clone)]
struct MidAttention {
    norm: GroupNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
}

impl MidAttention {
    /// Loads the weights. Newer files name them `to_q`, older ones `query`.
    fn load(w: &Weights, c: usize, groups: usize) -> Result<Self> {
        let [q, k, v, out] = if w.has("query.weight") {
            ["query", "key", "value", "proj_attn"]
        } else {
            ["to_q", "to_k", "to_v", "to_out.0"]
        };
        let linear = |name: &str| Linear::load_either(&w.pp(name), c, c);
        Ok(Self {
            norm: GroupNorm::load(&w.pp("group_norm"), c, groups, EPS)?,
            q: linear(q)?,
            k: linear(k)?,
            v: linear(v)?,
            out: linear(out)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (rows, h, w, c) = x.dims4()?;
        let n = self.norm.forward(x)?.reshape((rows, h * w, c))?;
        let (q, k, v) = (
            self.q.forward(&n)?,
            self.k.forward(&n)?,
            self.v.forward(&n)?,
        );
        let attended = attend(&q, &k, &v, 1, &SitePlan::Plain, None)?;
        let x = x.reshape((rows, h * w, c))?;
        Ok(self
            .out
            .forward_onto(&attended, &x)?
            .reshape((rows, h, w, c))?)
    }
}
