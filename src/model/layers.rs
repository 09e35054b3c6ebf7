//! The layers that models are built of, each owning its weights in the form its kernel wants.

use candle_core::Tensor;

use super::weights::Weights;
use crate::error::Result;
use crate::kernels::{self, ConvWeight};

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
        )?))
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        kernels::linear(x, &self.0)
    }
}

/// 3x3, padded by one: `[rows, h, w, in]` to `[rows, h', w', out]`.
#[derive(Debug, Clone)]
pub struct Conv3x3 {
    weight: ConvWeight,
    stride: usize,
}

impl Conv3x3 {
    pub fn load(w: &Weights, input: usize, output: usize, stride: usize) -> Result<Self> {
        let weight = w.get((output, input, 3, 3), "weight")?;
        let weight = ConvWeight::from_conv(&weight, Some(w.get(output, "bias")?))?;
        Ok(Self { weight, stride })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        kernels::conv2d(x, &self.weight, self.stride)
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
