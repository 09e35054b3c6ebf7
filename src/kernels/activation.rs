//! Elementwise activations: SiLU, the quick GELU of CLIP, and GEGLU. GEGLU uses the exact error function, as in
//! diffusers, not the tanh approximation. This file never knows a layer.

use candle_core::{D, Device, Tensor};
use rayon::prelude::*;

use super::form::wide;
use super::lanes::LANES;
use super::math::{erf, swish};
use super::view::View;
use super::{fast, plain};
use crate::error::Result;

/// Floats per task.
const BLOCK: usize = 1 << 14;

/// SiLU: `x * sigmoid(x)`, elementwise.
///
/// # Errors
/// If candle cannot compute an operation on this device.
pub fn silu(x: &Tensor) -> Result<Tensor> {
    if fast(&[x]) {
        swish_all(x, 1.0)
    } else {
        plain::swish(x, 1.0)
    }
}

/// The quick GELU of CLIP: `x * sigmoid(1.702 x)`, elementwise.
///
/// # Errors
/// If candle cannot compute an operation on this device.
pub fn quick_gelu(x: &Tensor) -> Result<Tensor> {
    if fast(&[x]) {
        swish_all(x, 1.702)
    } else {
        plain::swish(x, 1.702)
    }
}

fn swish_all(x: &Tensor, scale: f32) -> Result<Tensor> {
    let view = View::new(x)?;
    let out = View::with(&[&view], |s| {
        let mut out = s[0].to_vec();
        out.par_chunks_mut(BLOCK)
            .for_each(|block| swish_slice(block, scale));
        out
    })?;
    Ok(Tensor::from_vec(out, x.shape(), &Device::Cpu)?)
}

wide! {
    /// Replaces each `x` by `x * sigmoid(scale * x)`.
    pub fn swish_slice(block: &mut [f32], scale: f32) {
        for x in block {
            *x = swish(*x, scale);
        }
    }
}

/// GEGLU, `[.., 2 f]` to `[.., f]`: the first half of the channels times the exact GELU of the second half.
///
/// # Errors
/// If `x` has no dimensions, or if candle cannot compute an operation on this device.
pub fn geglu(x: &Tensor) -> Result<Tensor> {
    if !fast(&[x]) {
        return plain::geglu(x);
    }
    let f = x.dim(D::Minus1)? / 2;
    let view = View::new(x)?;
    let out = View::with(&[&view], |s| {
        let mut out = vec![0f32; s[0].len() / 2];
        let tokens = (BLOCK / f).max(1);
        out.par_chunks_mut(tokens * f)
            .zip(s[0].par_chunks(tokens * 2 * f))
            .for_each(|(to, from)| geglu_tokens(to, from, f));
        out
    })?;
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.push(f);
    Ok(Tensor::from_vec(out, shape, &Device::Cpu)?)
}

/// `h * gelu(g)`, with the exact GELU.
#[inline(always)]
fn gated(h: f32, g: f32) -> f32 {
    h * (0.5 * g * (1.0 + erf(g * std::f32::consts::FRAC_1_SQRT_2)))
}

wide! {
    /// GEGLU of tokens of `2 f` channels to tokens of `f` channels.
    pub fn geglu_tokens(to: &mut [f32], from: &[f32], f: usize) {
        for (to, from) in to.chunks_exact_mut(f).zip(from.chunks_exact(2 * f)) {
            let (hidden, gate) = from.split_at(f);
            for ((y, &h), &g) in to.iter_mut().zip(hidden).zip(gate) {
                *y = gated(h, g);
            }
        }
    }
}

wide! {
    /// GEGLU where panels of sixteen hidden channels alternate with panels of their sixteen gates. The bias is
    /// added first.
    pub fn geglu_halves(to: &mut [f32], from: &[f32], bias: &[f32]) {
        let (to, _) = to.as_chunks_mut::<LANES>();
        let (from, _) = from.as_chunks::<LANES>();
        let (bias, _) = bias.as_chunks::<LANES>();
        for ((to, x), b) in to.iter_mut().zip(from.chunks_exact(2)).zip(bias.chunks_exact(2)) {
            for i in 0..LANES {
                to[i] = gated(x[0][i] + b[0][i], x[1][i] + b[1][i]);
            }
        }
    }
}
