//! Linear layers and convolutions. A direct convolution gathers the neighbourhoods of its pixels into the scratch
//! of a task, so no copy of the size of the picture is made. This file never knows where in a model a layer is.

use std::ops::Range;

use candle_core::{Device, Tensor};

use super::product::{Bias, Finish, Left, product};
use super::view::with_optional;
use super::weight::{ConvWeight, Held};
use super::{fast, geglu, plain, require};
use crate::error::Result;

/// The options of a convolution.
#[derive(Debug, Clone, Copy)]
pub struct Conv<'a> {
    /// Input pixels from one output pixel to the next.
    pub stride: usize,
    /// The zeros around the input of a 3x3 kernel.
    pub padding: Padding,
    /// Size `(height, width)` to which the input is upsampled first, by nearest neighbour with PyTorch's rounding.
    pub upsample: Option<(usize, usize)>,
    /// A time embedding, `[c_out]` or `[rows, c_out]`, which is added to the bias.
    pub shift: Option<&'a Tensor>,
    /// A tensor of the shape of the output, which is added to the output.
    pub residual: Option<&'a Tensor>,
}

/// The sides on which zeros are added around the input of a 3x3 kernel. A 1x1 kernel has no padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// One pixel on every side. With stride 2, a side of `n` pixels becomes `n / 2` rounded up.
    Symmetric,
    /// One pixel below and one to the right, as diffusers pads the downsampling of a VAE's encoder: `(0, 1, 0, 1)`,
    /// then a convolution without padding. With stride 2, a side of `n` pixels becomes `n / 2` rounded down. Winograd
    /// kernels have no such form: a layer that is packed for one is computed in its plain form.
    BottomRight,
}

impl Padding {
    /// Pixels before the first and after the last one, along a side.
    pub(super) fn around(self, kernel: usize) -> (usize, usize) {
        match self {
            _ if kernel == 1 => (0, 0),
            Self::Symmetric => (kernel / 2, kernel / 2),
            Self::BottomRight => (0, kernel / 2),
        }
    }
}

impl Default for Conv<'_> {
    fn default() -> Self {
        Self {
            stride: 1,
            padding: Padding::Symmetric,
            upsample: None,
            shift: None,
            residual: None,
        }
    }
}

/// A linear layer, `[rows, .., c_in]` to `[rows, .., c_out]`. A residual of the shape of the output is added.
///
/// # Errors
/// If the shapes do not fit together.
pub fn linear(x: &Tensor, layer: &ConvWeight, residual: Option<&Tensor>) -> Result<Tensor> {
    let packed = match &layer.held {
        Held::Direct(packed) if layer.runs(x) && residual.iter().all(|r| fast(&[r])) => packed,
        _ => return plain::linear(x, layer, residual),
    };
    layer.check(x)?;
    let (k, n) = (layer.c_in, layer.c_out);
    let m = x.elem_count() / k;
    let fits = residual.is_none_or(|r| r.elem_count() == m * n);
    require(fits, "the residual is of another size")?;
    let out = with_optional(x, [layer.bias.as_ref(), residual], |x, [bias, residual]| {
        let bias = bias.map(|values| Bias::new(values, n, m));
        product(m, packed, Finish::Add { bias, residual }, Left::Lines(x))
    })?;
    shaped(out, x, n)
}

/// A linear layer of `2 f` channels followed by [`geglu`]: `[.., c_in]` to `[.., f]`.
///
/// # Errors
/// If the shapes do not fit together.
pub fn geglu_linear(x: &Tensor, layer: &ConvWeight) -> Result<Tensor> {
    let (packed, bias) = match &layer.held {
        Held::Geglu(packed, bias) if layer.runs(x) => (packed, bias),
        _ => return geglu(&linear(x, layer, None)?),
    };
    layer.check(x)?;
    let k = layer.c_in;
    let m = x.elem_count() / k;
    let out = with_optional(x, [], |x, []| {
        product(m, packed, Finish::Geglu { bias }, Left::Lines(x))
    })?;
    shaped(out, x, layer.c_out / 2)
}

/// The tensor of the shape of `like`, but with `width` channels.
fn shaped(out: Vec<f32>, like: &Tensor, width: usize) -> Result<Tensor> {
    let mut shape = like.dims().to_vec();
    shape.pop();
    shape.push(width);
    Ok(Tensor::from_vec(out, shape, &Device::Cpu)?)
}

/// A convolution, `[rows, h, w, c_in]` to `[rows, h', w', c_out]`, with the options `how`.
///
/// # Errors
/// If the shapes do not fit together, or if the padded picture is smaller than the kernel.
pub fn conv2d(x: &Tensor, layer: &ConvWeight, how: Conv) -> Result<Tensor> {
    let others = [how.shift, how.residual, layer.bias.as_ref()];
    let packed = match &layer.held {
        Held::Direct(_) => true,
        Held::Winograd(_) => how.stride == 1 && how.padding == Padding::Symmetric,
        Held::Geglu(..) | Held::Plain(_) => false,
    };
    if !packed || !layer.runs(x) || !others.iter().flatten().all(|x| fast(&[x])) {
        return plain::conv2d(x, layer, how);
    }
    layer.check(x)?;
    let picture = Picture::new(x, layer.kernel, how)?;
    let (rows, (h, w)) = (picture.rows, picture.out());
    let n = layer.c_out;
    let sizes = how.residual.is_none_or(|r| r.dims() == [rows, h, w, n])
        && how
            .shift
            .is_none_or(|s| [n, rows * n].contains(&s.elem_count()));
    require(sizes, "a residual or a shift of another size")?;
    let out = with_optional(x, others, |x, [shift, residual, bias]| {
        let bias = shifted(bias, shift);
        let bias = bias.as_deref().map(|bias| Bias::new(bias, n, h * w));
        match &layer.held {
            Held::Winograd(winograd) => winograd.conv(x, &picture, bias, residual),
            Held::Direct(packed) => {
                let gather = |first, terms, lhs: &mut [f32]| picture.gather(x, first, terms, lhs);
                let finish = Finish::Add { bias, residual };
                product(rows * h * w, packed, finish, Left::Gather(&gather))
            }
            _ => unreachable!("other forms take the plain path above"),
        }
    })?;
    Ok(Tensor::from_vec(out, (rows, h, w, n), &Device::Cpu)?)
}

/// The bias plus the shift, `[c_out]`, or `[rows, c_out]` if each row has its own shift.
fn shifted(bias: Option<&[f32]>, shift: Option<&[f32]>) -> Option<Vec<f32>> {
    match (bias, shift) {
        (Some(bias), Some(shift)) => {
            let pairs = bias.iter().cycle().zip(shift);
            Some(pairs.map(|(b, s)| b + s).collect())
        }
        (one, other) => one.or(other).map(<[f32]>::to_vec),
    }
}

/// The input pictures of a convolution.
pub(super) struct Picture {
    /// Pictures in the batch.
    pub rows: usize,
    /// Height and width in memory.
    stored: (usize, usize),
    /// Height after upsampling.
    pub h: usize,
    /// Width after upsampling.
    pub w: usize,
    /// Channels.
    pub c: usize,
    stride: usize,
    kernel: usize,
    /// Pixels of padding before the first and after the last one, along a side.
    padding: (usize, usize),
}

impl Picture {
    fn new(x: &Tensor, kernel: usize, how: Conv) -> Result<Self> {
        let (rows, h, w, c) = x.dims4()?;
        let seen = how.upsample.unwrap_or((h, w));
        require(
            h * w * seen.0 * seen.1 > 0 && how.stride > 0,
            "an empty picture",
        )?;
        let (before, after) = how.padding.around(kernel);
        require(
            seen.0.min(seen.1) + before + after >= kernel,
            "a picture smaller than its kernel",
        )?;
        Ok(Self {
            rows,
            stored: (h, w),
            h: seen.0,
            w: seen.1,
            c,
            stride: how.stride,
            kernel,
            padding: how.padding.around(kernel),
        })
    }

    /// Height and width of the output.
    pub fn out(&self) -> (usize, usize) {
        let (before, after) = self.padding;
        let side = |n: usize| (n + before + after - self.kernel) / self.stride + 1;
        (side(self.h), side(self.w))
    }

    /// The offset in memory of the pixel at `(y, x)` of the padded picture, or `None` if the pixel is padding.
    pub fn pixel(&self, row: usize, y: usize, x: usize) -> Option<usize> {
        let (pad, _) = self.padding;
        let inside = |v: usize, side: usize| (pad..side + pad).contains(&v);
        if !inside(y, self.h) || !inside(x, self.w) {
            return None;
        }
        let (stored_h, stored_w) = self.stored;
        let (y, x) = ((y - pad) * stored_h / self.h, (x - pad) * stored_w / self.w);
        Some(((row * stored_h + y) * stored_w + x) * self.c)
    }

    /// Writes some terms of the patches of the output pixels from `first` on. A term is a channel of a tap. Padding
    /// is written as zeros.
    fn gather(&self, from: &[f32], first: usize, terms: Range<usize>, lhs: &mut [f32]) {
        let (out_h, out_w) = self.out();
        for (i, mut patch) in lhs.chunks_exact_mut(terms.len()).enumerate() {
            let at = first + i;
            let (row, rest) = (at / (out_h * out_w), at % (out_h * out_w));
            let (y, x) = (rest / out_w * self.stride, rest % out_w * self.stride);
            let mut term = terms.start;
            while term < terms.end {
                let (tap, channel) = (term / self.c, term % self.c);
                let len = (self.c - channel).min(terms.end - term);
                let (to, rest) = std::mem::take(&mut patch).split_at_mut(len);
                match self.pixel(row, y + tap / self.kernel, x + tap % self.kernel) {
                    Some(at) => to.copy_from_slice(&from[at + channel..][..len]),
                    None => to.fill(0.0),
                }
                (patch, term) = (rest, term + len);
            }
        }
    }
}
