//! The residual block of UNet and VAE: norm, SiLU, convolution, twice, with a time embedding between
//! where there is one.

use candle_core::Tensor;

use super::layers::{Conv3x3, GroupNorm, Linear};
use super::weights::Weights;
use crate::error::Result;

/// Sizes of one block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResnetShape {
    pub input: usize,
    pub output: usize,
    /// Channels of the time embedding; `None` in a VAE.
    pub time: Option<usize>,
    pub groups: usize,
    pub eps: f64,
}

#[derive(Debug, Clone)]
pub struct Resnet {
    norm1: GroupNorm,
    conv1: Conv3x3,
    time: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv3x3,
    shortcut: Option<Linear>,
}

impl Resnet {
    pub fn load(w: &Weights, shape: ResnetShape) -> Result<Self> {
        let ResnetShape {
            input,
            output,
            time,
            groups,
            eps,
        } = shape;
        let time = time
            .map(|t| Linear::load(&w.pp("time_emb_proj"), t, output))
            .transpose()?;
        let shortcut = match input == output {
            true => None,
            false => Some(Linear::load_conv1x1(&w.pp("conv_shortcut"), input, output)?),
        };
        Ok(Self {
            norm1: GroupNorm::load(&w.pp("norm1"), input, groups, eps)?,
            conv1: Conv3x3::load(&w.pp("conv1"), input, output, 1)?,
            time,
            norm2: GroupNorm::load(&w.pp("norm2"), output, groups, eps)?,
            conv2: Conv3x3::load(&w.pp("conv2"), output, output, 1)?,
            shortcut,
        })
    }

    /// `x` `[rows, h, w, input]`; `time` `[1, 1, time]` after its SiLU, the same for all rows.
    pub fn forward(&self, x: &Tensor, time: Option<&Tensor>) -> Result<Tensor> {
        let mut h = self.conv1.forward(&self.norm1.forward_silu(x)?)?;
        if let (Some(project), Some(time)) = (&self.time, time) {
            h = h.broadcast_add(&project.forward(time)?.unsqueeze(0)?)?; // [1, 1, 1, output]
        }
        let h = self.conv2.forward(&self.norm2.forward_silu(&h)?)?;
        Ok(match &self.shortcut {
            Some(shortcut) => (shortcut.forward(x)? + h)?,
            None => (x + h)?,
        })
    }
}
