//! The plain candle form of every kernel: slow, clear, on any device, with gradients. The tests hold
//! the fast forms against these.

use candle_core::{D, Tensor};

use super::ConvWeight;
use crate::error::Result;

/// See [`super::linear`].
pub fn linear(x: &Tensor, layer: &ConvWeight) -> Result<Tensor> {
    let (k, n) = layer.weight.dims2()?;
    let rows = x.dim(0)?;
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.push(n);
    let weight = layer.weight.unsqueeze(0)?.broadcast_as((rows, k, n))?;
    let y = x
        .reshape((rows, (), k))?
        .contiguous()?
        .matmul(&weight)?
        .reshape(shape)?;
    with_bias(y, layer)
}

/// See [`super::conv2d`].
pub fn conv2d(x: &Tensor, layer: &ConvWeight, stride: usize) -> Result<Tensor> {
    let (k, n) = (layer.kernel, layer.weight.dim(1)?);
    let c = x.dim(D::Minus1)?;
    let weight = layer
        .weight
        .reshape((k, k, c, n))?
        .permute((3, 2, 0, 1))?
        .contiguous()?;
    let x = x.permute((0, 3, 1, 2))?.contiguous()?;
    let y = x.conv2d(&weight, k / 2, stride, 1, 1)?;
    with_bias(y.permute((0, 2, 3, 1))?.contiguous()?, layer)
}

fn with_bias(y: Tensor, layer: &ConvWeight) -> Result<Tensor> {
    Ok(match &layer.bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    })
}

/// See [`super::group_norm`].
pub fn group_norm(
    x: &Tensor,
    groups: usize,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    silu: bool,
) -> Result<Tensor> {
    let (rows, c) = (x.dim(0)?, weight.dim(0)?);
    let grouped = x.reshape((rows, (), groups, c / groups))?; // [rows, n, groups, c/groups]
    let mean = grouped.mean_keepdim((1, 3))?;
    let centred = grouped.broadcast_sub(&mean)?;
    let variance = centred.sqr()?.mean_keepdim((1, 3))?;
    let normed = centred
        .broadcast_div(&(variance + eps)?.sqrt()?)?
        .reshape(x.shape())?;
    let y = normed.broadcast_mul(weight)?.broadcast_add(bias)?;
    if silu { swish(&y, 1.0) } else { Ok(y) }
}

/// See [`super::layer_norm`].
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let normed = centred.broadcast_div(&(variance + eps)?.sqrt()?)?;
    Ok(normed.broadcast_mul(weight)?.broadcast_add(bias)?)
}

/// `x * sigmoid(scale * x)`
pub fn swish(x: &Tensor, scale: f64) -> Result<Tensor> {
    Ok((x / ((x * -scale)?.exp()? + 1.0)?)?)
}

/// See [`super::geglu`].
pub fn geglu(x: &Tensor) -> Result<Tensor> {
    let halves = x.chunk(2, D::Minus1)?;
    Ok((&halves[0] * halves[1].gelu_erf()?)?)
}
