//! Linear layers and convolutions as matrix products over tiles of tokens. A 3x3 convolution gathers
//! its neighbourhoods tile by tile into scratch, so no picture-sized copy is ever made.

use candle_core::{Device, Tensor};

use super::tile::product_by_tiles;
use super::view::View;
use super::{fast, plain, require};
use crate::error::Result;

/// A layer's weight in the form its product wants, `[kh * kw * c_in, c_out]`, with its bias.
#[derive(Debug, Clone)]
pub struct ConvWeight {
    pub weight: Tensor,
    /// `[c_out]`
    pub bias: Option<Tensor>,
    /// 1 or 3.
    pub kernel: usize,
}

impl ConvWeight {
    /// From a checkpoint's `[c_out, c_in, k, k]`.
    pub fn from_conv(weight: &Tensor, bias: Option<Tensor>) -> Result<Self> {
        let (c_out, c_in, k, _) = weight.dims4()?;
        let weight = weight.permute((2, 3, 1, 0))?.contiguous()?;
        Ok(Self {
            weight: weight.reshape((k * k * c_in, c_out))?,
            bias,
            kernel: k,
        })
    }

    /// From a checkpoint's `[c_out, c_in]`.
    pub fn from_linear(weight: &Tensor, bias: Option<Tensor>) -> Result<Self> {
        Ok(Self {
            weight: weight.t()?.contiguous()?,
            bias,
            kernel: 1,
        })
    }

    fn operands<'a>(&'a self, x: &'a Tensor) -> Vec<&'a Tensor> {
        [x, &self.weight].into_iter().chain(&self.bias).collect()
    }

    fn check(&self, x: &Tensor) -> Result<()> {
        let (k, n) = self.weight.dims2()?;
        let c_in = x.dims().last().copied().unwrap_or(0);
        require(
            self.kernel * self.kernel * c_in == k,
            "channels differ from the weight's",
        )?;
        let bias = self.bias.as_ref().map_or(n, Tensor::elem_count);
        require(
            bias == n && n > 0,
            "the bias differs from the weight's width",
        )
    }

    fn views(&self) -> Result<(View, Option<View>)> {
        Ok((
            View::new(&self.weight)?,
            self.bias.as_ref().map(View::new).transpose()?,
        ))
    }
}

/// `[rows, .., c_in]` to `[rows, .., c_out]`, each row by itself.
pub fn linear(x: &Tensor, layer: &ConvWeight) -> Result<Tensor> {
    if !fast(&layer.operands(x)) {
        return plain::linear(x, layer);
    }
    layer.check(x)?;
    let (k, n) = layer.weight.dims2()?;
    let rows = x.dim(0)?;
    let m = x.elem_count() / (rows * k).max(1);
    let (weight, bias) = layer.views()?;
    let x_view = View::new(x)?;
    let mut views = vec![&x_view, &weight];
    views.extend(&bias);
    let out = View::with(&views, |s| {
        product_by_tiles(
            (rows, m, n, k),
            s[1],
            s.get(2).copied(),
            |row, first, lhs| {
                let from = (row * m + first) * k;
                lhs.copy_from_slice(&s[0][from..from + lhs.len()]);
            },
        )
    })?;
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.push(n);
    Ok(Tensor::from_vec(out, shape, &Device::Cpu)?)
}

/// `[rows, h, w, c_in]` to `[rows, h', w', c_out]`; a 3x3 kernel is padded by one on every side.
pub fn conv2d(x: &Tensor, layer: &ConvWeight, stride: usize) -> Result<Tensor> {
    if layer.kernel == 1 && stride == 1 {
        return linear(x, layer);
    }
    if !fast(&layer.operands(x)) {
        return plain::conv2d(x, layer, stride);
    }
    layer.check(x)?;
    let (rows, h, w, c) = x.dims4()?;
    let shape = Patches {
        h,
        w,
        c,
        stride,
        kernel: layer.kernel,
    };
    let (k, n) = layer.weight.dims2()?;
    let (weight, bias) = layer.views()?;
    let x_view = View::new(x)?;
    let mut views = vec![&x_view, &weight];
    views.extend(&bias);
    let (out_h, out_w) = shape.out();
    let out = View::with(&views, |s| {
        let dims = (rows, out_h * out_w, n, k);
        product_by_tiles(dims, s[1], s.get(2).copied(), |row, first, lhs| {
            let picture = &s[0][row * h * w * c..][..h * w * c];
            for (i, patch) in lhs.chunks_exact_mut(k).enumerate() {
                shape.gather(picture, first + i, patch);
            }
        })
    })?;
    Ok(Tensor::from_vec(
        out,
        (rows, out_h, out_w, n),
        &Device::Cpu,
    )?)
}

/// The neighbourhoods that a convolution looks at.
struct Patches {
    h: usize,
    w: usize,
    c: usize,
    stride: usize,
    kernel: usize,
}

impl Patches {
    fn out(&self) -> (usize, usize) {
        let side = |n: usize| (n + 2 * self.padding() - self.kernel) / self.stride + 1;
        (side(self.h), side(self.w))
    }

    fn padding(&self) -> usize {
        self.kernel / 2
    }

    /// The patch of output pixel `at`, zeros outside the picture.
    fn gather(&self, picture: &[f32], at: usize, patch: &mut [f32]) {
        let (_, out_w) = self.out();
        let (y, x) = (at / out_w * self.stride, at % out_w * self.stride);
        for (i, pixel) in patch.chunks_exact_mut(self.c).enumerate() {
            let (y, x) = (y + i / self.kernel, x + i % self.kernel);
            let inside =
                |v: usize, side: usize| (self.padding()..side + self.padding()).contains(&v);
            if inside(y, self.h) && inside(x, self.w) {
                let from = ((y - self.padding()) * self.w + x - self.padding()) * self.c;
                pixel.copy_from_slice(&picture[from..from + self.c]);
            } else {
                pixel.fill(0.0);
            }
        }
    }
}

/// Nearest-neighbour upsampling of `[rows, h, w, c]` to a given size, as PyTorch rounds it.
pub fn upsample_nearest(x: &Tensor, (to_h, to_w): (usize, usize)) -> Result<Tensor> {
    let (_, h, w, _) = x.dims4()?;
    let pick = |from: usize, to: usize| -> Result<Tensor> {
        let index = (0..to).map(|i| (i * from / to) as u32).collect::<Vec<_>>();
        Ok(Tensor::from_vec(index, to, x.device())?)
    };
    let tall = x.contiguous()?.index_select(&pick(h, to_h)?, 1)?;
    Ok(tall.index_select(&pick(w, to_w)?, 2)?)
}
