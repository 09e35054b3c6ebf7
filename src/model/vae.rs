//! The VAE's decoder (diffusers' `AutoencoderKL`): latents to pixels.

use candle_core::{Device, Tensor};

use super::bands::Bands;
use super::config::Config;
use super::layers::{Conv3x3, GroupNorm, Linear};
use super::resnet::{Resnet, ResnetShape};
use super::weights::Weights;
use crate::attention::{SitePlan, attend};
use crate::error::Result;
use crate::kernels::Packing;

/// diffusers hard-codes it for autoencoders.
const EPS: f64 = 1e-6;

/// `vae/config.json`, as far as decoding needs it.
#[derive(Debug, Clone)]
pub struct VaeConfig {
    pub block_out_channels: Vec<usize>,
    pub layers_per_block: usize,
    pub latent_channels: usize,
    pub norm_num_groups: usize,
    pub scaling_factor: f64,
    pub mid_block_add_attention: bool,
    pub use_post_quant_conv: bool,
    /// Latents of a side at the size the model was trained at.
    pub latent_side: usize,
}

impl VaeConfig {
    /// `latent_side` is the UNet's to know.
    pub fn parse(config: &Config, latent_side: usize) -> Result<Self> {
        config.only("act_fn", "silu")?;
        config.only("out_channels", 3)?;
        config.only("latent_channels", 4)?;
        config.only("up_block_types", "UpDecoderBlock2D")?;
        config.off(&["shift_factor", "latents_mean", "latents_std"])?;
        // About the encoder, precision, or the size of training.
        config.ignore(&[
            "in_channels",
            "down_block_types",
            "use_quant_conv",
            "sample_size",
        ]);
        config.ignore(&["force_upcast"]);
        let parsed = Self {
            block_out_channels: config.usizes("block_out_channels")?,
            layers_per_block: config.usize("layers_per_block")?.unwrap_or(1),
            latent_channels: 4,
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
        if groups == 0
            || channels
                .iter()
                .any(|c| *c == 0 || !c.is_multiple_of(groups))
        {
            let problem = format!("norm_num_groups {groups} does not divide {channels:?} channels");
            return Err(config.error(&problem));
        }
        Ok(parsed)
    }

    /// Pixels per latent: each level but the last doubles the size.
    pub fn factor(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }

    /// The decoder's residual blocks, level by level from coarse to fine. Every level but the last ends
    /// by doubling the size.
    pub fn levels(&self) -> Vec<Vec<ResnetShape>> {
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

    /// One of the two around the attention on the coarsest grid.
    pub fn middle(&self) -> ResnetShape {
        let coarsest = self.block_out_channels[self.block_out_channels.len() - 1];
        self.resnet(coarsest, coarsest, self.pixels(0))
    }

    /// Pixels of a level's grid, the coarsest being 0, at the model's own size.
    fn pixels(&self, level: usize) -> usize {
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

#[derive(Debug, Clone)]
pub struct Vae {
    /// Where it computes. Latents and pictures are the CPU's.
    device: Device,
    /// Floats of a band, where large maps are held in bands.
    band: Option<usize>,
    scaling_factor: f64,
    post_quant: Option<Linear>,
    conv_in: Conv3x3,
    mid: (Resnet, Option<MidAttention>, Resnet),
    up: Vec<(Vec<Resnet>, Option<Conv3x3>)>,
    norm_out: GroupNorm,
    conv_out: Conv3x3,
}

impl Vae {
    pub fn load(config: &VaeConfig, w: &Weights) -> Result<Self> {
        // A picture of 8 bits can bear the larger tiles.
        let w = &w.clone().packed_as(Packing {
            large_tiles: true,
            ..w.packing()
        });
        let (latent, groups) = (config.latent_channels, config.norm_num_groups);
        let (middle, last) = (config.middle(), config.block_out_channels[0]);
        let top = middle.input;
        let post_quant = match config.use_post_quant_conv {
            true => Some(Linear::load_conv1x1(
                &w.pp("post_quant_conv"),
                latent,
                latent,
            )?),
            false => None,
        };
        let w = w.pp("decoder");
        let mid = w.pp("mid_block");
        let attention = match config.mid_block_add_attention {
            true => Some(MidAttention::load(&mid.pp("attentions.0"), top, groups)?),
            false => None,
        };
        Ok(Self {
            device: w.place().0,
            band: None,
            scaling_factor: config.scaling_factor,
            post_quant,
            conv_in: Conv3x3::load(&w.pp("conv_in"), latent, top, middle.pixels)?,
            mid: (
                Resnet::load(&mid.pp("resnets.0"), middle)?,
                attention,
                Resnet::load(&mid.pp("resnets.1"), middle)?,
            ),
            up: up_blocks(&w.pp("up_blocks"), config)?,
            norm_out: GroupNorm::load(&w.pp("conv_norm_out"), last, groups, EPS)?,
            conv_out: Conv3x3::load(&w.pp("conv_out"), last, 3, 0)?,
        })
    }

    /// Floats of a band, about, as `--vae-tiling` has it: 32 MiB.
    pub const BAND: usize = 1 << 23;

    /// The same with maps in bands of rows of about `floats` floats: less memory, and the same pictures
    /// but for rounding.
    pub fn tiled(self, floats: usize) -> Self {
        Self {
            band: Some(floats),
            ..self
        }
    }

    /// `[rows, 4, h, w]` as the sampler leaves them, to pictures `[rows, 3, f h, f w]`, about -1 to 1.
    /// One row at a time: decoding is where memory peaks.
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

    /// From the coarsest grid on, `[1, h, w, c]` to `[1, f h, f w, 3]`.
    fn finish(&self, mut x: Tensor) -> Result<Tensor> {
        for (resnets, upsample) in &self.up {
            for resnet in resnets {
                x = resnet.forward(&x, None)?;
            }
            if let Some(conv) = upsample {
                let (_, h, w, _) = x.dims4()?;
                x = conv.upsample(&x, (2 * h, 2 * w))?;
            }
        }
        self.conv_out.forward(&self.norm_out.forward_silu(&x)?)
    }

    fn finish_in_bands<'a>(&'a self, mut x: Bands<'a>) -> Result<Tensor> {
        for (resnets, upsample) in &self.up {
            for resnet in resnets {
                x = resnet.forward_bands(x)?;
            }
            if let Some(conv) = upsample {
                x = x.doubled(conv);
            }
        }
        let as_it_is = |x: Tensor, _: &_| Ok(x);
        x.normed_conv(&self.norm_out, &self.conv_out, as_it_is)?
            .join()
    }
}

/// Of each level its residual blocks, and the convolution after doubling the size.
fn up_blocks(w: &Weights, config: &VaeConfig) -> Result<Vec<(Vec<Resnet>, Option<Conv3x3>)>> {
    let levels = config.levels();
    let block = |(i, level): (usize, &Vec<ResnetShape>)| {
        let (w, c) = (w.pp(i), level[0].output);
        let resnet =
            |(i, shape): (usize, &ResnetShape)| Resnet::load(&w.pp(format!("resnets.{i}")), *shape);
        let resnets = level.iter().enumerate().map(resnet);
        let upsample = match i + 1 < levels.len() {
            true => {
                let pixels = config.pixels(i + 1);
                Some(Conv3x3::load(&w.pp("upsamplers.0.conv"), c, c, pixels)?)
            }
            false => None,
        };
        Ok((resnets.collect::<Result<_>>()?, upsample))
    };
    levels.iter().enumerate().map(block).collect()
}

/// Single-head self-attention over the coarsest grid.
#[derive(Debug, Clone)]
struct MidAttention {
    norm: GroupNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
}

impl MidAttention {
    /// Newer files say `to_q`, older ones `query`.
    fn load(w: &Weights, c: usize, groups: usize) -> Result<Self> {
        let names = match w.has("query.weight") {
            true => ["query", "key", "value", "proj_attn"],
            false => ["to_q", "to_k", "to_v", "to_out.0"],
        };
        let linear = |name: &str| Linear::load_either(&w.pp(name), c, c);
        Ok(Self {
            norm: GroupNorm::load(&w.pp("group_norm"), c, groups, EPS)?,
            q: linear(names[0])?,
            k: linear(names[1])?,
            v: linear(names[2])?,
            out: linear(names[3])?,
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
