//! The plain candle form of every kernel. It is slow and clear, and runs on any device, in any dtype, and with
//! gradients. Tests compare the fast forms with it. Long sums of f16 and bf16 values are computed in f32.
//! This file never knows the packed form of a weight.

use candle_core::{D, DType, Device, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::{Conv, ConvWeight};
use crate::error::Result;

/// The plain form of [`super::linear`].
///
/// # Errors
/// If the shapes do not fit together.
pub fn linear(x: &Tensor, layer: &ConvWeight, residual: Option<&Tensor>) -> Result<Tensor> {
    let weight = layer.matrix()?;
    let (k, n) = weight.dims2()?;
    let rows = x.dim(0)?;
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.push(n);
    let weight = weight.unsqueeze(0)?.broadcast_as((rows, k, n))?;
    let y = x
        .reshape((rows, (), k))?
        .contiguous()?
        .matmul(&weight)?
        .reshape(shape)?;
    plus(y, [layer.bias.as_ref(), residual])
}

/// The plain form of [`super::conv2d`].
///
/// # Errors
/// If the shapes do not fit together.
pub fn conv2d(x: &Tensor, layer: &ConvWeight, how: Conv) -> Result<Tensor> {
    let (weight, n, dtype) = (layer.taps()?, layer.c_out, x.dtype());
    let x = match how.upsample {
        Some(size) => upsample_nearest(x, size)?,
        None => x.clone(),
    };
    let x = x.permute((0, 3, 1, 2))?.contiguous()?;
    // On the CPU, candle has no convolution of bf16, and its convolution of f16 is slow.
    let (x, weight) = if x.device().is_cpu() {
        (widened(&x)?, widened(&weight)?)
    } else {
        (x, weight)
    };
    let (before, after) = how.padding.around(layer.kernel);
    // The padding of candle's convolution is the same on all sides, so the difference is padded first.
    let x = x
        .pad_with_zeros(2, 0, after - before)?
        .pad_with_zeros(3, 0, after - before)?;
    let y = x.conv2d(&weight, before, how.stride, 1, 1)?;
    let y = y.permute((0, 2, 3, 1))?.contiguous()?.to_dtype(dtype)?;
    let shift = how.shift.map(|s| s.reshape(((), 1, 1, n))).transpose()?;
    plus(y, [layer.bias.as_ref(), shift.as_ref(), how.residual])
}

/// The sum of `y` and the other tensors, added in order.
fn plus<const N: usize>(y: Tensor, others: [Option<&Tensor>; N]) -> Result<Tensor> {
    let add = |y: Tensor, other: &&Tensor| y.broadcast_add(other);
    Ok(others.iter().flatten().try_fold(y, add)?)
}

/// Nearest-neighbour upsampling of `[rows, h, w, c]` to the size `(to_h, to_w)` in pixels, with PyTorch's rounding.
///
/// # Errors
/// If `x` does not have four dimensions.
pub fn upsample_nearest(x: &Tensor, (to_h, to_w): (usize, usize)) -> Result<Tensor> {
    let (_, h, w, _) = x.dims4()?;
    let pick = |from: usize, to: usize| -> Result<Tensor> {
        let index = (0..to).map(|i| (i * from / to) as u32).collect::<Vec<_>>();
        Ok(Tensor::from_vec(index, to, x.device())?)
    };
    let tall = x.contiguous()?.index_select(&pick(h, to_h)?, 1)?;
    Ok(tall.index_select(&pick(w, to_w)?, 2)?)
}

/// The plain form of [`super::group_norm`].
///
/// # Errors
/// If the shapes do not fit together.
pub fn group_norm(
    x: &Tensor,
    groups: usize,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    silu: bool,
) -> Result<Tensor> {
    let (rows, c, dtype) = (x.dim(0)?, weight.dim(0)?, x.dtype());
    let (x, weight, bias) = (&widened(x)?, &widened(weight)?, &widened(bias)?);
    let grouped = x.reshape((rows, (), groups, c / groups))?; // [rows, n, groups, c/groups]
    let mean = grouped.mean_keepdim((1, 3))?;
    let centred = grouped.broadcast_sub(&mean)?;
    let variance = centred.sqr()?.mean_keepdim((1, 3))?;
    let normed = centred
        .broadcast_div(&(variance + eps)?.sqrt()?)?
        .reshape(x.shape())?;
    let y = normed.broadcast_mul(weight)?.broadcast_add(bias)?;
    let y = if silu { swish(&y, 1.0)? } else { y };
    Ok(y.to_dtype(dtype)?)
}

/// The plain form of the sums of [`super::Moments`]: the sum of each channel of the pixels `[.., c]`, then the sum of
/// squares of each channel.
///
/// # Errors
/// If `x` has no dimensions.
pub fn moments(x: &Tensor) -> Result<Vec<f64>> {
    let c = x.dim(D::Minus1)?;
    let x = widened(x)?.reshape(((), c))?;
    let n = x.dim(0)? as f64;
    // The sum of squares is computed without the mean, because f32 would lose too many bits with it.
    let mean = x.mean_keepdim(0)?;
    let rest = x.broadcast_sub(&mean)?.sqr()?.sum(0)?;
    let values = |x: Tensor| {
        x.to_device(&Device::Cpu)?
            .to_dtype(DType::F64)?
            .to_vec1::<f64>()
    };
    let (mean, rest) = (values(mean.squeeze(0)?)?, values(rest)?);
    let squares = mean.iter().zip(&rest).map(|(m, rest)| rest + n * m * m);
    Ok(mean.iter().map(|m| n * m).chain(squares).collect())
}

/// `x * scale + shift` per channel, then SiLU if `silu`. `x` is `[.., c]`, `scale` and `shift` are `[c]`.
///
/// # Errors
/// If the channels differ.
pub fn scale_shift(x: &Tensor, scale: &Tensor, shift: &Tensor, silu: bool) -> Result<Tensor> {
    let wide = widened(x)?;
    let [scale, shift] = [scale.to_dtype(wide.dtype())?, shift.to_dtype(wide.dtype())?];
    let y = wide.broadcast_mul(&scale)?.broadcast_add(&shift)?;
    let y = if silu { swish(&y, 1.0)? } else { y };
    Ok(y.to_dtype(x.dtype())?)
}

/// An f16 or bf16 tensor as f32. Other tensors are returned as they are.
///
/// # Errors
/// If candle cannot convert the tensor.
pub fn widened(x: &Tensor) -> Result<Tensor> {
    Ok(match x.dtype() {
        DType::F16 | DType::BF16 => x.to_dtype(DType::F32)?,
        _ => x.clone(),
    })
}

/// The plain form of [`super::layer_norm`].
///
/// # Errors
/// If the channels differ.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let dtype = x.dtype();
    let (x, weight, bias) = (&widened(x)?, &widened(weight)?, &widened(bias)?);
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let normed = centred.broadcast_div(&(variance + eps)?.sqrt()?)?;
    let y = normed.broadcast_mul(weight)?.broadcast_add(bias)?;
    Ok(y.to_dtype(dtype)?)
}

/// `x * sigmoid(scale * x)`, elementwise.
///
/// # Errors
/// If candle cannot compute an operation on this device.
pub fn swish(x: &Tensor, scale: f64) -> Result<Tensor> {
    let wide = widened(x)?;
    let y = (&wide / ((&wide * -scale)?.exp()? + 1.0)?)?;
    Ok(y.to_dtype(x.dtype())?)
}

/// The plain form of [`super::geglu`].
///
/// # Errors
/// If `x` has no dimensions.
pub fn geglu(x: &Tensor) -> Result<Tensor> {
    let halves = x.chunk(2, D::Minus1)?;
    Ok((&halves[0] * halves[1].gelu_erf()?)?)
}

/// The plain form of [`super::causal_attention`].
///
/// # Errors
/// If the shapes do not fit together.
pub fn causal_attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize) -> Result<Tensor> {
    let (rows, t, c) = q.dims3()?;
    let d = c / heads;
    let by_head = |x: &Tensor| -> Result<Tensor> {
        let split = x.reshape((rows, t, heads, d))?;
        Ok(split.transpose(1, 2)?.contiguous()?)
    };
    let hidden = |i: usize| {
        if i % t > i / t {
            f32::NEG_INFINITY
        } else {
            0.0
        }
    };
    let mask = Tensor::from_vec(
        (0..t * t).map(hidden).collect::<Vec<_>>(),
        (t, t),
        q.device(),
    )?;
    let q = (by_head(q)? * (1.0 / (d as f64).sqrt()))?;
    let scores = q.matmul(&by_head(k)?.transpose(2, 3)?)?;
    let scores = scores.to_dtype(DType::F32)?.broadcast_add(&mask)?;
    let out = softmax_last_dim(&scores)?
        .to_dtype(v.dtype())?
        .matmul(&by_head(v)?)?;
    Ok(out.transpose(1, 2)?.contiguous()?.reshape((rows, t, c))?)
}
