//! The residual block of UNet and VAE: norm, SiLU and convolution, twice, with a time embedding in between in
//! the UNet. Never knows where in a model a block is.

use candle_core::Tensor;

use super::bands::Bands;
use super::layers::{Conv3x3, GroupNorm, Linear, by_row};
use super::weights::Weights;
use crate::error::Result;
use crate::kernels::Conv;

/// Sizes of a residual block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResnetShape {
    /// Channels of the input.
    pub input: usize,
    /// Channels of the output.
    pub output: usize,
    /// Channels of the time embedding. `None` in a VAE.
    pub time: Option<usize>,
    /// Groups of the group norms.
    pub groups: usize,
    /// Epsilon of the group norms.
    pub eps: f64,
    /// Pixels of the block's grid at the model's native size.
    pub pixels: usize,
}

/// A residual block (diffusers' `ResnetBlock2D`).
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
    /// Loads the weights.
    pub fn load(w: &Weights, shape: ResnetShape) -> Result<Self> {
        let ResnetShape {
            input,
            output,
            time,
            groups,
            eps,
            pixels,
        } = shape;
        let time = time
            .map(|t| Linear::load(&w.pp("time_emb_proj"), t, output))
            .transpose()?;
        let shortcut = if input == output {
            None
        } else {
            Some(Linear::load_conv1x1(&w.pp("conv_shortcut"), input, output)?)
        };
        Ok(Self {
            norm1: GroupNorm::load(&w.pp("norm1"), input, groups, eps)?,
            conv1: Conv3x3::load(&w.pp("conv1"), input, output, pixels)?,
            time,
            norm2: GroupNorm::load(&w.pp("norm2"), output, groups, eps)?,
            conv2: Conv3x3::load(&w.pp("conv2"), output, output, pixels)?,
            shortcut,
        })
    }

    /// The block on `x` `[rows, h, w, input]`. `time` is the time embedding after SiLU: `[1, 1, time]` for all
    /// rows, or `[rows, 1, time]`.
    pub fn forward(&self, x: &Tensor, time: Option<&Tensor>) -> Result<Tensor> {
        let time = match (&self.time, time) {
            (Some(project), Some(time)) => Some(project.forward(time)?), // [1 or rows, 1, output]
            _ => None,
        };
        by_row(x, |x, rows| match &time {
            Some(time) if time.dim(0)? > 1 => {
                self.convolve(x, Some(&time.narrow(0, rows.start, rows.len())?))
            }
            time => self.convolve(x, time.as_ref()),
        })
    }

    /// The block on a map in bands, without a time embedding. It takes much less memory, and the result is
    /// the same but for rounding.
    pub fn forward_bands(&self, mut x: Bands) -> Result<Bands<'static>> {
        let (input, output) = (self.norm1.channels(), self.norm2.channels());
        let moments = x.moments(input)?;
        let normed = |rows: &Tensor| self.norm1.forward_band_silu(rows, &moments);
        let bands = x.ranges(input.max(output));
        let bands = bands.map(|rows| x.convolved(&self.conv1, &rows, normed));
        let h = Bands::collect(bands, x.floats())?;
        h.normed_conv(&self.norm2, &self.conv2, |out, rows| {
            let from = x.rows(rows.clone())?;
            let shortcut = match &self.shortcut {
                Some(shortcut) => shortcut.forward(&from)?,
                None => from,
            };
            x.release(rows.end)?;
            Ok((out + shortcut)?)
        })
    }

    /// `shift` is `[1 or rows, 1, output]`.
    fn convolve(&self, x: &Tensor, shift: Option<&Tensor>) -> Result<Tensor> {
        let with_shift = Conv {
            shift,
            ..Conv::default()
        };
        let h = self
            .conv1
            .forward_with(&self.norm1.forward_silu(x)?, with_shift)?;
        let shortcut = match &self.shortcut {
            Some(shortcut) => shortcut.forward(x)?,
            None => x.clone(),
        };
        let with_residual = Conv {
            residual: Some(&shortcut),
            ..Conv::default()
        };
        self.conv2
            .forward_with(&self.norm2.forward_silu(&h)?, with_residual)
    }
}
