//! The layers that models are built of. Each owns its weights in the form that its kernel wants. Never knows
//! which model a layer is in.

use std::ops::Range;

use candle_core::Tensor;

use super::weights::Weights;
use crate::error::Result;
use crate::kernels::{self, Conv, ConvWeight, Moments, Padding};

/// Floats of a row from which rows are computed one after another.
const LARGE: usize = 1 << 20;

/// Applies `f` to `x` `[rows, ..]`, row by row where rows are large: the intermediate tensors of one row at a
/// time take less memory. `f` is told which rows it gets. It must treat rows independently; then the bits are
/// the same either way.
///
/// # Errors
/// Fails when `f` fails.
pub fn by_row(x: &Tensor, f: impl Fn(&Tensor, Range<usize>) -> Result<Tensor>) -> Result<Tensor> {
    let rows = x.dim(0)?;
    if rows < 2 || x.elem_count() / rows < LARGE {
        return f(x, 0..rows);
    }
    let done = (0..rows).map(|row| f(&x.narrow(0, row, 1)?, row..row + 1));
    Ok(Tensor::cat(&done.collect::<Result<Vec<_>>>()?, 0)?)
}

/// A linear layer, `[rows, .., in]` to `[rows, .., out]`.
#[derive(Debug, Clone)]
pub struct Linear(ConvWeight);

impl Linear {
    /// Loads `weight` `[output, input]` and `bias`.
    pub fn load(w: &Weights, input: usize, output: usize) -> Result<Self> {
        let weight = w.get((output, input), "weight")?;
        let bias = Some(w.get(output, "bias")?);
        Ok(Self(ConvWeight::from_linear(&weight, bias)?))
    }

    /// Loads `weight` `[output, input]`.
    pub fn load_no_bias(w: &Weights, input: usize, output: usize) -> Result<Self> {
        let weight = w.get((output, input), "weight")?;
        Ok(Self(ConvWeight::from_linear(&weight, None)?))
    }

    /// Loads a linear layer that older files store as a 1x1 convolution.
    pub fn load_either(w: &Weights, input: usize, output: usize) -> Result<Self> {
        match w.dims("weight") {
            Some(dims) if dims.len() == 4 => Self::load_conv1x1(w, input, output),
            _ => Self::load(w, input, output),
        }
    }

    /// Loads a 1x1 convolution, which is a linear layer over pixels.
    pub fn load_conv1x1(w: &Weights, input: usize, output: usize) -> Result<Self> {
        let weight = w.get((output, input, 1, 1), "weight")?;
        let bias = Some(w.get(output, "bias")?);
        let packed = ConvWeight::from_conv(&weight, bias, 0, w.packing())?;
        Ok(Self(packed))
    }

    /// `[rows, .., in]` to `[rows, .., out]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        kernels::linear(x, &self.0, None)
    }

    /// The layer's output plus a residual of that shape.
    pub fn forward_onto(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        kernels::linear(x, &self.0, Some(residual))
    }
}

/// A linear layer whose second half gates its first half (GEGLU), `[rows, .., in]` to `[rows, .., out]`.
#[derive(Debug, Clone)]
pub struct GegluLinear(ConvWeight);

impl GegluLinear {
    /// Loads `weight` `[2 * output, input]` and `bias`.
    pub fn load(w: &Weights, input: usize, output: usize) -> Result<Self> {
        let weight = w.get((2 * output, input), "weight")?;
        let bias = w.get(2 * output, "bias")?;
        Ok(Self(ConvWeight::from_geglu(&weight, bias)?))
    }

    /// `[rows, .., in]` to `[rows, .., out]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        kernels::geglu_linear(x, &self.0)
    }
}

/// A 3x3 convolution, `[rows, h, w, in]` to `[rows, h', w', out]`.
#[derive(Debug, Clone)]
pub struct Conv3x3(ConvWeight);

impl Conv3x3 {
    /// Loads the weights. `pixels` is the size of the output at the model's native size, which decides the
    /// algorithm.
    pub fn load(w: &Weights, input: usize, output: usize, pixels: usize) -> Result<Self> {
        let weight = w.get((output, input, 3, 3), "weight")?;
        let bias = Some(w.get(output, "bias")?);
        let packed = ConvWeight::from_conv(&weight, bias, pixels, w.packing())?;
        Ok(Self(packed))
    }

    /// Loads the weights of a convolution that halves height and width.
    pub fn load_strided(w: &Weights, channels: usize) -> Result<Self> {
        Self::load(w, channels, channels, 0)
    }

    /// The convolution with stride 1 and one pixel of padding on every side.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_with(x, Conv::default())
    }

    /// The convolution with other options.
    pub fn forward_with(&self, x: &Tensor, options: Conv) -> Result<Tensor> {
        kernels::conv2d(x, &self.0, options)
    }

    /// The convolution at every second pixel. UNets of diffusers pad [`Padding::Symmetric`], the encoder of a
    /// VAE pads [`Padding::BottomRight`].
    pub fn downsample(&self, x: &Tensor, padding: Padding) -> Result<Tensor> {
        let options = Conv {
            stride: 2,
            padding,
            ..Conv::default()
        };
        self.forward_with(x, options)
    }

    /// The convolution after nearest-neighbour upsampling to `(h, w)`.
    pub fn upsample(&self, x: &Tensor, size: (usize, usize)) -> Result<Tensor> {
        let options = Conv {
            upsample: Some(size),
            ..Conv::default()
        };
        self.forward_with(x, options)
    }
}

/// Group norm: over each group's channels and all pixels of a row.
#[derive(Debug, Clone)]
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: usize,
    eps: f64,
}

impl GroupNorm {
    /// Loads the weights.
    pub fn load(w: &Weights, channels: usize, groups: usize, eps: f64) -> Result<Self> {
        let (weight, bias) = (w.get(channels, "weight")?, w.get(channels, "bias")?);
        Ok(Self {
            weight,
            bias,
            groups,
            eps,
        })
    }

    /// The norm of `x` `[rows, h, w, channels]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        kernels::group_norm(x, self.groups, &self.weight, &self.bias, self.eps, false)
    }

    /// How many channels there are.
    pub fn channels(&self) -> usize {
        self.weight.elem_count()
    }

    /// Norm and SiLU of some rows of a picture whose moments are known.
    pub fn forward_band_silu(&self, x: &Tensor, moments: &Moments) -> Result<Tensor> {
        let affine = (&self.weight, &self.bias);
        kernels::group_norm_of_part(x, moments, self.groups, affine, self.eps, true)
    }

    /// Norm and SiLU of `x` `[rows, h, w, channels]`.
    pub fn forward_silu(&self, x: &Tensor) -> Result<Tensor> {
        kernels::group_norm(x, self.groups, &self.weight, &self.bias, self.eps, true)
    }
}

/// Layer norm: over the last dimension.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// Loads the weights.
    pub fn load(w: &Weights, channels: usize, eps: f64) -> Result<Self> {
        let (weight, bias) = (w.get(channels, "weight")?, w.get(channels, "bias")?);
        Ok(Self { weight, bias, eps })
    }

    /// The norm of `x` `[.., channels]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        kernels::layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}
