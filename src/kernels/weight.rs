//! The weight of a layer in the form that its algorithm reads. It is made once, when a model is loaded. This file
//! never knows which layer it is.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use super::lanes::LANES;
use super::packed::Packed;
use super::view::floats;
use super::winograd::Winograd;
use super::{fast, require};
use crate::error::Result;

/// How the 3x3 convolutions of a model keep their weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Packing {
    /// Whether layers with many pixels use Winograd tiles of 4x4 outputs, not 2x2. Larger tiles are faster, but their
    /// rounding errors are a few times larger. This option changes the bits of the result.
    pub large_tiles: bool,
    /// Whether Winograd kernels are transformed at each call and not kept transformed. This is slower, needs less
    /// memory, and gives the same bits.
    pub on_demand: bool,
}

/// The weight and bias of a linear layer or a convolution.
#[derive(Debug, Clone)]
pub struct ConvWeight {
    pub(super) held: Held,
    /// The bias, `[c_out]`.
    pub bias: Option<Tensor>,
    /// Side of the kernel in pixels: 1 or 3.
    pub kernel: usize,
    /// Input channels.
    pub c_in: usize,
    /// Output channels.
    pub c_out: usize,
}

/// The form in which a weight is kept.
#[derive(Debug, Clone)]
pub(super) enum Held {
    /// A packed matrix `[kh * kw * c_in, c_out]`.
    Direct(Arc<Packed>),
    /// The kernels of a 3x3 convolution.
    Winograd(Arc<Winograd>),
    /// A packed matrix whose panels of hidden channels alternate with panels of gates, and the bias in the same
    /// order, for [`super::geglu_linear`].
    Geglu(Arc<Packed>, Arc<Vec<f32>>),
    /// The weight for candle's own operations: `[c_in, c_out]`, or `[c_out, c_in, 3, 3]` for a 3x3 kernel.
    Plain(Tensor),
}

impl ConvWeight {
    /// Packs the weight of a convolution, `[c_out, c_in, k, k]` in the checkpoint.
    ///
    /// `pixels` is the number of output pixels at the native size of the model. It decides the algorithm, together
    /// with the channels, so that a layer sums in the same order at every picture size.
    ///
    /// # Errors
    /// If the kernel is neither 1x1 nor 3x3, or if the bias does not have `c_out` values.
    pub fn from_conv(
        weight: &Tensor,
        bias: Option<Tensor>,
        pixels: usize,
        packing: Packing,
    ) -> Result<Self> {
        let (c_out, c_in, k, _) = weight.dims4()?;
        require(k == 1 || k == 3, "a convolution is 1x1 or 3x3")?;
        if !packable(weight) {
            let held = Held::Plain(match k {
                1 => weight.reshape((c_out, c_in))?.t()?.contiguous()?,
                _ => weight.clone(),
            });
            return Self::new(held, bias, k, c_in, c_out);
        }
        let within = |i: usize| i % c_in * k * k + i / c_in;
        let packed = Packed::from_columns(&floats(weight)?, (k * k * c_in, c_out), |j| j, within);
        let held = match Winograd::suits(c_in, c_out, pixels, packing.large_tiles) {
            Some(outputs) if k == 3 => {
                Held::Winograd(Arc::new(Winograd::new(packed, outputs, packing.on_demand)))
            }
            _ => Held::Direct(Arc::new(packed)),
        };
        Self::new(held, bias, k, c_in, c_out)
    }

    /// Packs the weight of a linear layer, `[c_out, c_in]` in the checkpoint.
    ///
    /// # Errors
    /// If the weight is no matrix, or if the bias does not have `c_out` values.
    pub fn from_linear(weight: &Tensor, bias: Option<Tensor>) -> Result<Self> {
        let (c_out, c_in) = weight.dims2()?;
        let held = if packable(weight) {
            let floats = floats(weight)?;
            Held::Direct(Arc::new(Packed::from_columns(
                &floats,
                (c_in, c_out),
                |j| j,
                |i| i,
            )))
        } else {
            Held::Plain(weight.t()?.contiguous()?)
        };
        Self::new(held, bias, 1, c_in, c_out)
    }

    /// Packs the weight of a linear layer that is followed by GEGLU, `[2 f, c_in]` in the checkpoint. Only
    /// [`super::geglu_linear`] is fast with it.
    ///
    /// # Errors
    /// If the weight is no matrix, or if the bias does not have `2 f` values.
    pub fn from_geglu(weight: &Tensor, bias: Tensor) -> Result<Self> {
        let (c_out, c_in) = weight.dims2()?;
        let f = c_out / 2;
        if !packable(weight) || !packable(&bias) || !c_out.is_multiple_of(2 * LANES) {
            return Self::from_linear(weight, Some(bias));
        }
        // Panel 2p holds sixteen hidden columns. Panel 2p + 1 holds their gates.
        let order = |j: usize| j % LANES + j / (2 * LANES) * LANES + j / LANES % 2 * f;
        let packed = Packed::from_columns(&floats(weight)?, (c_in, c_out), order, |i| i);
        let plain = floats(&bias)?;
        let in_order = (0..c_out).map(|j| plain[order(j)]).collect();
        let held = Held::Geglu(Arc::new(packed), Arc::new(in_order));
        Self::new(held, Some(bias), 1, c_in, c_out)
    }

    fn new(
        held: Held,
        bias: Option<Tensor>,
        kernel: usize,
        c_in: usize,
        c_out: usize,
    ) -> Result<Self> {
        let width = bias.as_ref().map_or(c_out, Tensor::elem_count);
        require(
            width == c_out && c_in * c_out > 0,
            "the bias differs from the weight's width",
        )?;
        Ok(Self {
            held,
            bias,
            kernel,
            c_in,
            c_out,
        })
    }

    /// The weight as a matrix `[kh * kw * c_in, c_out]`. A transformed Winograd kernel is exact to within rounding.
    ///
    /// # Errors
    /// If candle cannot build the tensor.
    pub fn matrix(&self) -> Result<Tensor> {
        let (k, n) = (self.kernel * self.kernel * self.c_in, self.c_out);
        let whole = |all: Vec<f32>| Ok(Tensor::from_vec(all, (k, n), &Device::Cpu)?);
        match &self.held {
            Held::Plain(weight) if self.kernel == 1 => Ok(weight.clone()),
            Held::Plain(weight) => {
                let taps = weight.permute((2, 3, 1, 0))?.contiguous()?;
                Ok(taps.reshape((k, n))?)
            }
            Held::Direct(packed) => whole(packed.to_rows()),
            Held::Geglu(packed, _) => {
                let half = |j: usize| j / LANES * 2 * LANES + j % LANES;
                let place = |j: usize| {
                    if j < n / 2 {
                        half(j)
                    } else {
                        half(j - n / 2) + LANES
                    }
                };
                whole((0..k * n).map(|i| packed.at(i / n, place(i % n))).collect())
            }
            Held::Winograd(winograd) => whole(winograd.matrix()),
        }
    }

    /// The weight as the kernel of candle's convolution, `[c_out, c_in, kh, kw]`.
    ///
    /// # Errors
    /// If candle cannot build the tensor.
    pub fn taps(&self) -> Result<Tensor> {
        match &self.held {
            Held::Plain(weight) if self.kernel > 1 => Ok(weight.clone()),
            _ => {
                let side = self.kernel;
                let taps = self
                    .matrix()?
                    .reshape((side, side, self.c_in, self.c_out))?;
                Ok(taps.permute((3, 2, 0, 1))?.contiguous()?)
            }
        }
    }

    /// Whether the fast kernels can run this layer on `x`.
    pub(super) fn runs(&self, x: &Tensor) -> bool {
        let bias = self.bias.iter().all(|b| fast(&[b]));
        !matches!(self.held, Held::Plain(_)) && bias && fast(&[x])
    }

    /// Checks the channels of an input.
    pub(super) fn check(&self, x: &Tensor) -> Result<()> {
        let c = x.dims().last().copied().unwrap_or(0);
        require(c == self.c_in, "channels differ from the weight's")
    }
}

/// Whether a weight can be packed for the fast kernels.
fn packable(weight: &Tensor) -> bool {
    weight.dtype() == DType::F32 && fast(&[weight])
}
