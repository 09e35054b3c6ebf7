//! Group norm and layer norm of tokens-major tensors, with a fused SiLU. This file never knows what the channels
//! mean.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::form::wide;
use super::math::swish;
use super::view::View;
use super::{fast, plain, require};
use crate::error::Result;

/// Tokens per task.
const BLOCK: usize = 64;

/// Group norm of `[rows, h, w, c]` or `[rows, n, c]` over the channels of each group and all pixels, times `weight`
/// `[c]` plus `bias` `[c]`, then SiLU if `silu`.
///
/// # Errors
/// If the channels differ, or if they do not divide into `groups`.
pub fn group_norm(
    x: &Tensor,
    groups: usize,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    silu: bool,
) -> Result<Tensor> {
    if !fast(&[x, weight, bias]) {
        return plain::group_norm(x, groups, weight, bias, eps, silu);
    }
    let c = weight.dim(0)?;
    check(x, c, groups, (weight, bias))?;
    let rows = x.dim(0)?;
    let (x_view, w, b) = (View::new(x)?, View::new(weight)?, View::new(bias)?);
    let out = View::with(&[&x_view, &w, &b], |s| {
        let per_row = s[0].len() / rows.max(1);
        let mut out = vec![0f32; s[0].len()];
        for (from, to) in s[0]
            .chunks(per_row.max(1))
            .zip(out.chunks_mut(per_row.max(1)))
        {
            let mut moments = Moments::new(c);
            moments.gather(from);
            let (scale, shift) = moments.affine(groups, s[1], s[2], eps);
            spread(to, from, &scale, &shift, silu);
        }
        out
    })?;
    Ok(Tensor::from_vec(out, x.shape(), &Device::Cpu)?)
}

/// The sums from which a group norm computes the mean and variance of a picture. They can be gathered one part of the
/// picture at a time.
#[derive(Debug, Clone)]
pub struct Moments {
    /// The sum of each channel, then the sum of squares of each channel. They are f64, so that one pass gives the
    /// mean and variance without a visible loss through cancellation.
    total: Vec<f64>,
    pixels: usize,
}

impl Moments {
    /// The sums of no pixel.
    pub fn new(channels: usize) -> Self {
        Self {
            total: vec![0f64; 2 * channels],
            pixels: 0,
        }
    }

    fn channels(&self) -> usize {
        self.total.len() / 2
    }

    /// Adds pixels `[.., c]`.
    ///
    /// # Errors
    /// If the number of channels differs.
    pub fn add(&mut self, x: &Tensor) -> Result<()> {
        let c = self.channels();
        require(x.dims().last() == Some(&c), "channels differ")?;
        if fast(&[x]) {
            View::with(&[&View::new(x)?], |s| self.gather(s[0]))?;
        } else {
            self.count(&plain::moments(x)?, x.elem_count() / c);
        }
        Ok(())
    }

    fn gather(&mut self, pixels: &[f32]) {
        let c = self.channels();
        let blocks: Vec<Vec<f64>> = pixels
            .par_chunks(BLOCK * c)
            .map(|block| moments(block, c))
            .collect();
        blocks.iter().for_each(|block| self.count(block, 0));
        self.pixels += pixels.len() / c;
    }

    fn count(&mut self, sums: &[f64], pixels: usize) {
        self.total.iter_mut().zip(sums).for_each(|(t, s)| *t += s);
        self.pixels += pixels;
    }

    /// The normalization as one factor and one summand per channel.
    fn affine(
        &self,
        groups: usize,
        weight: &[f32],
        bias: &[f32],
        eps: f64,
    ) -> (Vec<f32>, Vec<f32>) {
        let (c, total) = (self.channels(), &self.total);
        let per_group = c / groups;
        let count = (self.pixels * per_group) as f64;
        let (mut scale, mut shift) = (vec![0f32; c], vec![0f32; c]);
        for group in 0..groups {
            let channels = group * per_group..(group + 1) * per_group;
            let sum: f64 = channels.clone().map(|i| total[i]).sum();
            let squares: f64 = channels.clone().map(|i| total[c + i]).sum();
            let mean = sum / count;
            let inverse = 1.0 / ((squares / count - mean * mean).max(0.0) + eps).sqrt();
            for i in channels {
                scale[i] = (inverse * f64::from(weight[i])) as f32;
                shift[i] = (f64::from(bias[i]) - mean * inverse * f64::from(weight[i])) as f32;
            }
        }
        (scale, shift)
    }
}

fn check(x: &Tensor, c: usize, groups: usize, (weight, bias): (&Tensor, &Tensor)) -> Result<()> {
    require(
        x.dims().last() == Some(&c) && weight.dims() == [c] && bias.dims() == [c],
        "channels differ",
    )?;
    require(
        groups > 0 && c.is_multiple_of(groups),
        "channels don't divide into groups",
    )
}

/// Group norm of a part `[.., c]` of a picture, with the moments of the whole picture, then SiLU if `silu`.
///
/// # Errors
/// If the channels differ, or if they do not divide into `groups`.
pub fn group_norm_of_part(
    x: &Tensor,
    moments: &Moments,
    groups: usize,
    (weight, bias): (&Tensor, &Tensor),
    eps: f64,
    silu: bool,
) -> Result<Tensor> {
    let c = moments.channels();
    check(x, c, groups, (weight, bias))?;
    let values = |x: &Tensor| x.to_dtype(DType::F32)?.to_vec1::<f32>();
    let (scale, shift) = moments.affine(groups, &values(weight)?, &values(bias)?, eps);
    if !fast(&[x]) {
        let per_channel = |values| Tensor::from_vec(values, c, x.device());
        return plain::scale_shift(x, &per_channel(scale)?, &per_channel(shift)?, silu);
    }
    let out = View::with(&[&View::new(x)?], |s| {
        let mut out = vec![0f32; s[0].len()];
        spread(&mut out, s[0], &scale, &shift, silu);
        out
    })?;
    Ok(Tensor::from_vec(out, x.shape(), &Device::Cpu)?)
}

fn spread(to: &mut [f32], from: &[f32], scale: &[f32], shift: &[f32], silu: bool) {
    let block = BLOCK * scale.len();
    to.par_chunks_mut(block)
        .zip(from.par_chunks(block))
        .for_each(|(to, from)| scale_shift(to, from, scale, shift, silu));
}

wide! {
    /// The sum of each channel of a block of tokens, then the sum of squares of each channel.
    pub fn moments(block: &[f32], c: usize) -> Vec<f64> {
        let mut out = vec![0f64; 2 * c];
        let (sums, squares) = out.split_at_mut(c);
        for token in block.chunks_exact(c) {
            for ((s, q), &x) in sums.iter_mut().zip(squares.iter_mut()).zip(token) {
                let x = f64::from(x);
                *s += x;
                *q += x * x;
            }
        }
        out
    }
}

wide! {
    /// `x * scale + shift` per channel, then SiLU if `silu`.
    pub fn scale_shift(to: &mut [f32], from: &[f32], scale: &[f32], shift: &[f32], silu: bool) {
        let c = scale.len();
        for (to, from) in to.chunks_exact_mut(c).zip(from.chunks_exact(c)) {
            for (((y, &x), &a), &b) in to.iter_mut().zip(from).zip(scale).zip(shift) {
                *y = x * a + b;
            }
            if silu {
                for y in to {
                    *y = swish(*y, 1.0);
                }
            }
        }
    }
}

/// Layer norm of `[.., c]` over the last dimension, times `weight` `[c]` plus `bias` `[c]`.
///
/// # Errors
/// If the channels differ.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    if !fast(&[x, weight, bias]) {
        return plain::layer_norm(x, weight, bias, eps);
    }
    let c = weight.dim(0)?;
    require(
        x.dims().last() == Some(&c) && bias.dims() == [c],
        "channels differ",
    )?;
    let (x_view, w, b) = (View::new(x)?, View::new(weight)?, View::new(bias)?);
    let out = View::with(&[&x_view, &w, &b], |s| {
        let mut out = vec![0f32; s[0].len()];
        out.par_chunks_mut(BLOCK * c)
            .zip(s[0].par_chunks(BLOCK * c))
            .for_each(|(to, from)| layer_norm_tokens(to, from, s[1], s[2], eps));
        out
    })?;
    Ok(Tensor::from_vec(out, x.shape(), &Device::Cpu)?)
}

wide! {
    /// Layer norm of tokens. Mean and variance use sixteen partial sums on every machine, so that the order of
    /// additions is the same everywhere.
    pub fn layer_norm_tokens(to: &mut [f32], from: &[f32], weight: &[f32], bias: &[f32], eps: f64) {
        let c = weight.len();
        for (to, from) in to.chunks_exact_mut(c).zip(from.chunks_exact(c)) {
            let (mut sums, mut squares) = ([0f64; 16], [0f64; 16]);
            for chunk in from.chunks(16) {
                for ((s, q), &x) in sums.iter_mut().zip(squares.iter_mut()).zip(chunk) {
                    let x = f64::from(x);
                    *s += x;
                    *q += x * x;
                }
            }
            let mean = sums.iter().sum::<f64>() / c as f64;
            let variance = (squares.iter().sum::<f64>() / c as f64 - mean * mean).max(0.0);
            let inverse = (1.0 / (variance + eps).sqrt()) as f32;
            let mean = mean as f32;
            for (((y, &x), &w), &b) in to.iter_mut().zip(from).zip(weight).zip(bias) {
                *y = (x - mean) * inverse * w + b;
            }
        }
    }
}
