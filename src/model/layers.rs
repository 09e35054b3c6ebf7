//! The layers that models are built of, each owning its weights in the form its kernel wants.

use std::ops::Range;

use candle_core::Tensor;

use super::weights::Weights;
use crate::error::Result;
use crate::kernels::{self, Conv, ConvWeight, Moments};

/// Floats of a row from which on rows are worked on one after another.
const LARGE: usize = 1 << 20;

/// What `f` makes of `x` `[rows, ..]`: of each row by itself where they are large, so that what is needed
/// on the way stands in memory once, not once a row; `f` is told which rows it has. Rows never meet in `f`, and the bits are the same.
pub fn in_turn(x: &Tensor, f: impl Fn(&Tensor, Range<usize>) -> Result<Tensor>) -> Result<Tensor> {
    let rows = x.dim(0)?;
    if rows < 2 || x.elem_count() / rows < LARGE {
        return f(x, 0..rows);
    }
    let done = (0..rows).map(|row| f(&x.narrow(0, row, 1)?, row..row + 1));
    Ok(Tensor::cat(&done.collect::<Result<Vec<_>>>()?, 0)?)
}

/// `[rows, .., in]` to `[rows, .., out]`
#[derive(Debug, Clone)]
pub struct Linear(ConvWeight);

impl Linear {
    pub fn load(w: &Weights, input: usize, output: usize) -> Result<Self> {
        let bias = Some(w.get(output, "bias")?);
        Ok(Self(ConvWeight::from_linear(
            &w.get((output, input), "weight")?,
            bias,
        )?))
    }

    pub fn load_no_bias(w: &Weights, input: usize, output: usize) -> Result<Self> {
        Ok(Self(ConvWeight::from_linear(
            &w.get((output, input), "weight")?,
            None,
        )?))
    }

    /// Accepts a linear weight stored as a 1x1 convolution, as older files do.
    pub fn load_either(w: &Weights, input: usize, output: usize) -> Result<Self> {
        match w.dims("weight") {
            Some(dims) if dims.len() == 4 => Self::load_conv1x1(w, input, output),
            _ => Self::load(w, input, output),
        }
    }

    /// A 1x1 convolution is a linear layer over pixels.
    pub fn load_conv1x1(w: &Weights, input: usize, output: usize) -> Result<Self> {
        let weight = w.get((output, input, 1, 1), "weight")?;
        Ok(Self(ConvWeight::from_conv(
            &weight,
            Some(w.get(output, "bias")?),
            0,
            w.packing(),
        )?))
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        kernels::linear(x, &self.0, None)
    }

    /// Plus a residual of the output's shape.
    pub fn forward_onto(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        kernels::linear(x, &self.0, Some(residual))
    }
}

/// A linear layer whose second half gates its first (GEGLU): `[rows, .., in]` to `[rows, .., out]`.
#[derive(Debug, Clone)]
pub struct GegluLinear(ConvWeight);

impl GegluLinear {
    pub fn load(w: &Weights, input: usize, output: usize) -> Result<Self> {
        let weight = w.get((2 * output, input), "weight")?;
        Ok(Self(ConvWeight::from_geglu(
            &weight,
            w.get(2 * output, "bias")?,
        )?))
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        kernels::geglu_linear(x, &self.0)
    }
}

/// 3x3, padded by one: `[rows, h, w, in]` to `[rows, h', w', out]`.
#[derive(Debug, Clone)]
pub struct Conv3x3(ConvWeight);

impl Conv3x3 {
    /// `pixels`: how many it puts out at the model's own size.
    pub fn load(w: &Weights, input: usize, output: usize, pixels: usize) -> Result<Self> {
        let weight = w.get((output, input, 3, 3), "weight")?;
        Ok(Self(ConvWeight::from_conv(
            &weight,
            Some(w.get(output, "bias")?),
            pixels,
            w.packing(),
        )?))
    }

    /// That halves the size.
    pub fn load_strided(w: &Weights, channels: usize) -> Result<Self> {
        Self::load(w, channels, channels, 0)
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_with(x, Conv::default())
    }

    pub fn forward_with(&self, x: &Tensor, how: Conv) -> Result<Tensor> {
        kernels::conv2d(x, &self.0, how)
    }

    /// Of every second pixel.
    pub fn downsample(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_with(
            x,
            Conv {
                stride: 2,
                ..Conv::default()
            },
        )
    }

    /// After nearest-neighbour upsampling to `(h, w)`.
    pub fn upsample(&self, x: &Tensor, size: (usize, usize)) -> Result<Tensor> {
        self.forward_with(
            x,
            Conv {
                upsample: Some(size),
                ..Conv::default()
            },
        )
    }
}

/// Over each group's channels and all pixels of a row.
#[derive(Debug, Clone)]
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: usize,
    eps: f64,
}

impl GroupNorm {
    pub fn load(w: &Weights, channels: usize, groups: usize, eps: f64) -> Result<Self> {
        let (weight, bias) = (w.get(channels, "weight")?, w.get(channels, "bias")?);
        Ok(Self {
            weight,
            bias,
            groups,
            eps,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        kernels::group_norm(x, self.groups, &self.weight, &self.bias, self.eps, false)
    }

    pub fn channels(&self) -> usize {
        self.weight.elem_count()
    }

    /// With SiLU after it, of a part of a picture whose moments are known.
    pub fn forward_part_silu(&self, x: &Tensor, moments: &Moments) -> Result<Tensor> {
        let affine = (&self.weight, &self.bias);
        kernels::group_norm_of_part(x, moments, self.groups, affine, self.eps, true)
    }

    pub fn forward_silu(&self, x: &Tensor) -> Result<Tensor> {
        kernels::group_norm(x, self.groups, &self.weight, &self.bias, self.eps, true)
    }
}

/// Over the last dimension.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    pub fn load(w: &Weights, channels: usize, eps: f64) -> Result<Self> {
        let (weight, bias) = (w.get(channels, "weight")?, w.get(channels, "bias")?);
        Ok(Self { weight, bias, eps })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        kernels::layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}
