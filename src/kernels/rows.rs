//! Small operations between layers. candle's own forms run on one thread, or sum in an order that depends on the
//! machine. This file never knows the layers.

use candle_core::{D, Device, Tensor};
use rayon::prelude::*;

use super::packed::Packed;
use super::product::{Finish, Left, product};
use super::view::View;
use super::{fast, require};
use crate::error::Result;

/// Lines per task.
const BLOCK: usize = 256;

/// The matrix product of `[m, k]` and `[k, n]`: `[m, n]`.
///
/// # Errors
/// If the shapes do not fit together, or if `k` is 0.
pub fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if !fast(&[a, b]) {
        return Ok(a.matmul(b)?);
    }
    let ((m, k), (b_k, n)) = (a.dims2()?, b.dims2()?);
    require(k == b_k && k > 0, "the factors of a product don't fit")?;
    let out = View::with(&[&View::new(a)?, &View::new(b)?], |s| {
        let packed = Packed::from_rows(s[1], (k, n));
        let finish = Finish::Add {
            bias: None,
            residual: None,
        };
        product(m, &packed, finish, Left::Lines(s[0]))
    })?;
    Ok(Tensor::from_vec(out, (m, n), &Device::Cpu)?)
}

/// Joins the channels of `[.., c]` and `[.., d]` to `[.., c + d]`.
///
/// # Errors
/// If the other dimensions differ.
pub fn concat_channels(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if !fast(&[a, b]) {
        return Ok(Tensor::cat(&[a, b], D::Minus1)?);
    }
    let (c, d) = (a.dim(D::Minus1)?, b.dim(D::Minus1)?);
    let lines = a.elem_count() / c;
    require(lines == b.elem_count() / d, "pictures of different sizes")?;
    let mut out = vec![0f32; lines * (c + d)];
    View::with(&[&View::new(a)?, &View::new(b)?], |s| {
        let from = s[0].par_chunks(BLOCK * c).zip(s[1].par_chunks(BLOCK * d));
        out.par_chunks_mut(BLOCK * (c + d))
            .zip(from)
            .for_each(|(to, (a, b))| {
                let lines = to
                    .chunks_exact_mut(c + d)
                    .zip(a.chunks_exact(c).zip(b.chunks_exact(d)));
                for (to, (a, b)) in lines {
                    to[..c].copy_from_slice(a);
                    to[c..].copy_from_slice(b);
                }
            });
    })?;
    let mut shape = a.dims().to_vec();
    shape.pop();
    shape.push(c + d);
    Ok(Tensor::from_vec(out, shape, &Device::Cpu)?)
}
