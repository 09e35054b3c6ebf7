//! The UNet's time embedding: sinusoids of the timestep through two linear layers, and what Stable Diffusion
//! XL adds to them. Never knows which step of a run it is.

use candle_core::{Device, Tensor};

use super::layers::Linear;
use super::states::AddedConditions;
use super::unet_config::{TextTime, UNetConfig};
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::kernels::silu;

/// The time embedding's layers.
#[derive(Debug, Clone)]
pub(super) struct TimeEmbedding {
    first: Linear,
    second: Linear,
    added: Option<Added>,
    sinusoids: Sinusoids,
}

/// The layers for pooled embedding and picture sizes (diffusers' `add_embedding`).
#[derive(Debug, Clone)]
struct Added {
    sizes: TextTime,
    first: Linear,
    second: Linear,
}

/// How a whole number becomes sines and cosines.
#[derive(Debug, Clone)]
struct Sinusoids {
    /// Channels of a timestep.
    channels: usize,
    freq_shift: f64,
    flip_sin_to_cos: bool,
}

impl TimeEmbedding {
    pub fn load(config: &UNetConfig, w: &Weights) -> Result<Self> {
        let (first, time) = (config.block_out_channels[0], config.time_channels());
        let added = |sizes: TextTime| -> Result<_> {
            let w = w.pp("add_embedding");
            Ok(Added {
                sizes,
                first: Linear::load(&w.pp("linear_1"), sizes.input, time)?,
                second: Linear::load(&w.pp("linear_2"), time, time)?,
            })
        };
        Ok(Self {
            first: Linear::load(&w.pp("time_embedding.linear_1"), first, time)?,
            second: Linear::load(&w.pp("time_embedding.linear_2"), time, time)?,
            added: config.text_time.map(added).transpose()?,
            sinusoids: Sinusoids {
                channels: first,
                freq_shift: config.freq_shift,
                flip_sin_to_cos: config.flip_sin_to_cos,
            },
        })
    }

    /// Whether prompts add to the embedding.
    pub fn has_added(&self) -> bool {
        self.added.is_some()
    }

    /// The embedding of a timestep, `[1, 1, time]`. `placed` moves an input to the device and the dtype of
    /// the layers.
    pub fn embed(
        &self,
        timestep: usize,
        placed: impl Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let sinusoids = self.sinusoids.of(timestep, self.sinusoids.channels);
        let x = Tensor::new(sinusoids, &Device::Cpu)?;
        let x = placed(&x.unsqueeze(0)?.unsqueeze(0)?)?;
        self.second.forward(&silu(&self.first.forward(&x)?)?)
    }

    /// The embedding of pooled embeddings and picture sizes, `[rows, 1, time]`. `None` for a model without
    /// this input.
    pub fn embed_added(
        &self,
        conditions: Option<&AddedConditions>,
        placed: impl Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Option<Tensor>> {
        let Some(added) = &self.added else {
            return Ok(None);
        };
        let conditions = conditions.ok_or_else(|| {
            Error::model(
                "this UNet needs the prompts' pooled embeddings",
                "encode prompts with TextEncoders::read",
            )
        })?;
        let channels = added.sizes.size_channels;
        let sizes = conditions
            .sizes
            .map(|size| self.sinusoids.of(size, channels));
        let sizes = Tensor::new(sizes.concat(), conditions.pooled.device())?;
        let rows = conditions.pooled.dim(0)?;
        let sizes = sizes
            .unsqueeze(0)?
            .broadcast_as((rows, AddedConditions::SIZES * channels))?;
        let x = Tensor::cat(&[&conditions.pooled, &sizes.contiguous()?], 1)?;
        let x = placed(&x.unsqueeze(1)?)?;
        let x = silu(&added.first.forward(&x)?)?;
        Ok(Some(added.second.forward(&x)?))
    }
}

impl Sinusoids {
    /// A whole number as sines and cosines of `channels / 2` angles each.
    fn of(&self, number: usize, channels: usize) -> Vec<f32> {
        let half = channels / 2;
        let spread = half as f32 - self.freq_shift as f32;
        let angle = |i: usize| {
            // Rounded to f32 where torch rounds: at timestep 981 the last bit of the exponent shows.
            let exponent = -(10000f64.ln() as f32) * i as f32 / spread;
            f64::from(number as f32 * f64::from(exponent).exp() as f32)
        };
        let sines = (0..half).map(|i| angle(i).sin() as f32);
        let cosines = (0..half).map(|i| angle(i).cos() as f32);
        if self.flip_sin_to_cos {
            cosines.chain(sines).collect()
        } else {
            sines.chain(cosines).collect()
        }
    }
}
