//! The kernels of a convolution, transformed to the points of a tile. This file never knows a picture.
#![allow(unsafe_code, reason = "tasks write disjoint panels of one output")]

use std::ops::Range;

use rayon::prelude::*;

use crate::kernels::form::wide;
use crate::kernels::lanes::LANES;
use crate::kernels::micro::Panels;
use crate::kernels::packed::Packed;
use crate::kernels::scratch::Shared;

/// The transformed kernels: a matrix `[c_in, c_out]` per point of a tile, in panels of sixteen columns. It holds all
/// columns of a layer or a range of them.
#[derive(Debug, Clone)]
pub struct Points {
    /// `[points, c_out / 16, c_in, 16]`
    all: Vec<f32>,
    /// Points of a tile: 16 or 36.
    pub count: usize,
    /// Input channels.
    pub c_in: usize,
    /// Output channels held.
    pub c_out: usize,
    /// Index in the layer of the first panel held.
    pub first: usize,
}

impl Points {
    /// Transforms all kernels `[9 * c_in, c_out]` of a layer for tiles of `outputs * outputs` outputs.
    pub fn new(direct: &Packed, outputs: usize) -> Self {
        Self::of_panels(direct, outputs, 0..direct.n / LANES)
    }

    /// Transforms the kernels of some panels.
    pub fn of_panels(direct: &Packed, outputs: usize, panels: Range<usize>) -> Self {
        let g = transform(outputs);
        let (c_in, c_out, count) = (direct.k / 9, panels.len() * LANES, g.len() * g.len());
        let mut all = vec![0f32; count * c_in * c_out];
        let to = Shared::new(&mut all);
        let (plane, panel) = (c_in * c_out, c_in * LANES);
        (0..c_out / LANES).into_par_iter().for_each(|j| {
            // SAFETY: each task writes its own panel of each point.
            let places = (0..count).map(|p| unsafe { to.slice(p * plane + j * panel, panel) });
            transform_panel(
                direct.panel(panels.start + j),
                &g,
                &mut places.collect::<Vec<_>>(),
            );
        });
        Self {
            all,
            count,
            c_in,
            c_out,
            first: panels.start,
        }
    }

    /// Panels `first..first + count` of a point.
    pub fn panels(&self, point: usize, first: usize, count: usize) -> Panels<'_> {
        let stride = self.c_in * LANES;
        let panels = &self.all[point * self.c_in * self.c_out..];
        Panels {
            floats: &panels[first * stride..(first + count) * stride],
            count,
            stride,
        }
    }

    /// Transforms the kernels back, exact to within rounding: `[9 * c_in, c_out]`.
    pub fn back(&self, outputs: usize) -> Vec<f32> {
        let (c_in, c_out) = (self.c_in, self.c_out);
        let (back, side) = (back(outputs), outputs + 2);
        let value = |i: usize| {
            let (tap, c, n) = (i / (c_in * c_out), i / c_out % c_in, i % c_out);
            let (rows, columns) = (&back[tap / 3], &back[tap % 3]);
            let inside = (n / LANES * c_in + c) * LANES + n % LANES;
            let at = |p: usize| f64::from(self.all[p * c_in * c_out + inside]);
            let terms = (0..self.count).map(|p| rows[p / side] * columns[p % side] * at(p));
            terms.sum::<f64>() as f32
        };
        (0..9 * c_in * c_out).map(value).collect()
    }
}

wide! {
    /// `G g G^T` of sixteen output channels: `[9, c_in, 16]` to `[c_in, 16]` per point. The sums are f64, so
    /// that each transformed kernel is rounded to f32 only once.
    pub fn transform_panel(kernels: &[f32], g: &[[f64; 3]], points: &mut [&mut [f32]]) {
        let plane = kernels.len() / 9;
        for at in (0..plane).step_by(LANES) {
            let mut kernel = [[0f64; LANES]; 9];
            for (tap, lanes) in kernel.iter_mut().enumerate() {
                for (k, x) in lanes.iter_mut().zip(&kernels[tap * plane + at..][..LANES]) {
                    *k = f64::from(*x);
                }
            }
            for (y, row) in g.iter().enumerate() {
                let mut line = [[0f64; LANES]; 3];
                for (x, line) in line.iter_mut().enumerate() {
                    for (i, l) in line.iter_mut().enumerate() {
                        *l = row[0] * kernel[x][i] + row[1] * kernel[3 + x][i] + row[2] * kernel[6 + x][i];
                    }
                }
                for (x, column) in g.iter().enumerate() {
                    let to = &mut points[y * g.len() + x][at..at + LANES];
                    for (i, to) in to.iter_mut().enumerate() {
                        *to = (column[0] * line[0][i] + column[1] * line[1][i] + column[2] * line[2][i]) as f32;
                    }
                }
            }
        }
    }
}

/// The matrix `G`, which transforms a line of 3 kernel values to a line of a tile.
fn transform(outputs: usize) -> Vec<[f64; 3]> {
    let (a, b) = (1.0 / 6.0, 1.0 / 12.0);
    match outputs {
        2 => vec![
            [1.0, 0.0, 0.0],
            [0.5, 0.5, 0.5],
            [0.5, -0.5, 0.5],
            [0.0, 0.0, 1.0],
        ],
        _ => vec![
            [0.25, 0.0, 0.0],
            [-a, -a, -a],
            [-a, a, -a],
            [b / 2.0, b, a],
            [b / 2.0, -b, a],
            [0.0, 0.0, 1.0],
        ],
    }
}

/// A left inverse of `G`: `back . G` is the identity.
fn back(outputs: usize) -> [Vec<f64>; 3] {
    match outputs {
        2 => [
            vec![1.0, 0.0, 0.0, 0.0],
            vec![0.0, 1.0, -1.0, 0.0],
            vec![0.0, 0.0, 0.0, 1.0],
        ],
        _ => [
            vec![4.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            vec![0.0, -3.0, 3.0, 0.0, 0.0, 0.0],
            vec![0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        ],
    }
}
