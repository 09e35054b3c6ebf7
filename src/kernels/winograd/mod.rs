//! 3x3 convolutions by Winograd's minimal filtering (Lavin & Gray, CVPR 2016).
//!
//! The output is cut into tiles of 2x2 or 4x4 pixels. The algorithm multiplies channels once per point of
//! the transformed tile, which takes 2.25 or 4 times fewer multiplications than the direct algorithm.
//! This module never knows a layer beyond its kernels.
#![allow(unsafe_code, reason = "tasks write disjoint parts of one output")]

mod points;
mod tile;

use rayon::prelude::*;

use self::points::Points;
use self::tile::{transform_input, transform_output};
use super::conv::Picture;
use super::lanes::LANES;
use super::micro::{Lhs, Sums, accumulate};
use super::packed::Packed;
use super::product::{Bias, add};
use super::scratch::{Shared, with_scratch};

/// Approximate size of the transformed inputs of a task, in floats. With more tiles per task, the weights are read
/// less often.
const INPUTS: usize = 1 << 19;
/// Panels whose sums a task computes at a time.
const PANELS: usize = 4;
/// Floats of kernels that are transformed at a time, if the transformed kernels are not kept.
const LATE: usize = 1 << 23;

/// The kernels of a 3x3 convolution with stride 1 and one pixel of padding on every side.
#[derive(Debug, Clone)]
pub struct Winograd {
    kernels: Kernels,
    /// Output pixels along a side of a tile: 2 or 4.
    outputs: usize,
}

#[derive(Debug, Clone)]
enum Kernels {
    /// Direct kernels, which are transformed at each call.
    Late(Packed),
    /// Kernels that were transformed when the model was loaded.
    Transformed(Points),
}

impl Winograd {
    /// Output pixels along a side of a tile, or `None` if the direct algorithm is faster or the channels are no
    /// multiples of 16. Tiles of 4x4 outputs have larger weights, so they need many pixels.
    pub fn suits(c_in: usize, c_out: usize, pixels: usize, large: bool) -> Option<usize> {
        let lanes = c_in.is_multiple_of(LANES) && c_out.is_multiple_of(LANES);
        match pixels {
            _ if !lanes => None,
            1024.. if large => Some(4),
            256.. => Some(2),
            _ => None,
        }
    }

    /// Prepares packed kernels `[9 * c_in, c_out]` for tiles of `outputs * outputs` outputs. If `late`, they are
    /// transformed at each call, which needs less memory.
    ///
    /// # Panics
    /// If `c_in` or `c_out` is no multiple of 16.
    pub fn new(direct: Packed, outputs: usize, late: bool) -> Self {
        let (k, n) = (direct.k, direct.n);
        assert!(
            k.is_multiple_of(9 * LANES) && n.is_multiple_of(LANES),
            "Winograd kernels need channels in multiples of 16: [{k}, {n}]"
        );
        let kernels = if late {
            Kernels::Late(direct)
        } else {
            Kernels::Transformed(Points::new(&direct, outputs))
        };
        Self { kernels, outputs }
    }

    /// The kernels `[9 * c_in, c_out]`. Transformed kernels are exact to within rounding.
    pub fn matrix(&self) -> Vec<f32> {
        match &self.kernels {
            Kernels::Late(direct) => direct.to_rows(),
            Kernels::Transformed(points) => points.back(self.outputs),
        }
    }

    /// The convolution of `x`, as `picture` describes it: `[rows, h, w, c_out]`.
    pub(super) fn conv(
        &self,
        x: &[f32],
        picture: &Picture,
        bias: Option<Bias>,
        residual: Option<&[f32]>,
    ) -> Vec<f32> {
        let (h, w) = picture.out();
        let n = self.c_out();
        let mut out = vec![0f32; picture.rows * h * w * n];
        let to = Shared::new(&mut out);
        let work = |points: &Points| {
            Work {
                points,
                n,
                grid: Grid {
                    picture,
                    h,
                    w,
                    outputs: self.outputs,
                    across: w.div_ceil(self.outputs),
                },
                x,
                bias,
                residual,
                out: to,
            }
            .run();
        };
        match &self.kernels {
            Kernels::Transformed(points) => work(points),
            Kernels::Late(direct) => {
                let (all, side) = (n / LANES, self.outputs + 2);
                let each = LATE / (side * side * picture.c * LANES);
                let each = (each / PANELS * PANELS).max(PANELS);
                for first in (0..all).step_by(each) {
                    let some = first..(first + each).min(all);
                    work(&Points::of_panels(direct, self.outputs, some));
                }
            }
        }
        out
    }

    fn c_out(&self) -> usize {
        match &self.kernels {
            Kernels::Late(direct) => direct.n,
            Kernels::Transformed(points) => points.c_out,
        }
    }
}

/// The tiles of the output, numbered row by row.
#[derive(Clone, Copy)]
struct Grid<'a> {
    picture: &'a Picture,
    /// Height of the output in pixels.
    h: usize,
    /// Width of the output in pixels.
    w: usize,
    /// Output pixels along a side of a tile.
    outputs: usize,
    /// Tiles per row of tiles.
    across: usize,
}

impl Grid<'_> {
    fn tiles(&self) -> usize {
        self.picture.rows * self.h.div_ceil(self.outputs) * self.across
    }

    /// The batch row of a tile, then `y` and `x` of its upper left output pixel.
    fn place(&self, tile: usize) -> (usize, usize, usize) {
        let per_row = self.h.div_ceil(self.outputs) * self.across;
        let (row, rest) = (tile / per_row, tile % per_row);
        (
            row,
            rest / self.across * self.outputs,
            rest % self.across * self.outputs,
        )
    }
}

/// One convolution, or the part of it that the columns of `points` give.
struct Work<'a> {
    points: &'a Points,
    /// Output channels of the whole layer.
    n: usize,
    grid: Grid<'a>,
    x: &'a [f32],
    bias: Option<Bias<'a>>,
    residual: Option<&'a [f32]>,
    out: Shared<'a>,
}

impl Work<'_> {
    /// Computes all tiles of the columns that `points` holds.
    fn run(&self) {
        let (points, tiles) = (self.points, self.grid.tiles());
        // Tasks of equal size, with as many tiles as fit. If there are fewer tasks than threads, the columns
        // are split too. The bits of the output do not depend on the split.
        let threads = rayon::current_num_threads();
        let fit = (INPUTS / (points.count * points.c_in))
            .next_multiple_of(14)
            .max(28);
        let down = tiles
            .div_ceil(fit)
            .next_multiple_of(threads)
            .min(tiles.div_ceil(8))
            .max(1);
        let each = tiles.div_ceil(down);
        let down = tiles.div_ceil(each);
        let split = threads
            .div_ceil(down)
            .min((points.c_out / LANES).div_ceil(PANELS));
        (0..down * split).into_par_iter().for_each(|task| {
            let first = task / split * each;
            let panels = points.c_out / LANES;
            let range = |part: usize| panels * part / split;
            self.tiles(
                first..(first + each).min(tiles),
                range(task % split)..range(task % split + 1),
            );
        });
    }

    /// Computes some tiles of some panels.
    fn tiles(&self, tiles: std::ops::Range<usize>, panels: std::ops::Range<usize>) {
        let (points, c) = (self.points, self.grid.picture.c);
        let (count, span) = (tiles.len(), PANELS * LANES);
        let lens = [
            points.count * count * c,
            points.count * count * span,
            16 * span,
        ];
        with_scratch(lens, |[inputs, sums, outputs]| {
            for (i, tile) in tiles.clone().enumerate() {
                self.input(tile, &mut inputs[i * c..], count * c);
            }
            for first in panels.clone().step_by(PANELS) {
                let panels = PANELS.min(panels.end - first);
                for p in 0..points.count {
                    let lhs = Lhs {
                        floats: &inputs[p * count * c..],
                        stride: c,
                        rows: count,
                    };
                    let to = Sums {
                        floats: &mut sums[p * count * span..],
                        stride: span,
                    };
                    accumulate(c, lhs, points.panels(p, first, panels), to, false);
                }
                for (i, tile) in tiles.clone().enumerate() {
                    self.output(
                        tile,
                        &sums[i * span..],
                        count * span,
                        outputs,
                        first,
                        panels,
                    );
                }
            }
        });
    }

    /// Transforms the input of a tile. Point `p` is written to `to[p * apart..]`.
    fn input(&self, tile: usize, to: &mut [f32], apart: usize) {
        let Grid {
            picture, outputs, ..
        } = self.grid;
        let (row, y, x) = self.grid.place(tile);
        let side = outputs + 2;
        let mut pixels = [None; 36];
        for (i, pixel) in pixels[..side * side].iter_mut().enumerate() {
            let at = picture.pixel(row, y + i / side, x + i % side);
            *pixel = at.map(|at| &self.x[at..at + picture.c]);
        }
        transform_input(outputs, &pixels, picture.c, to, apart);
    }

    /// Transforms the sums of a tile (point `p` at `sums[p * apart..]`) to output pixels, and writes those that lie
    /// inside the output.
    fn output(
        &self,
        tile: usize,
        sums: &[f32],
        apart: usize,
        scratch: &mut [f32],
        panel: usize,
        panels: usize,
    ) {
        let Grid { h, w, outputs, .. } = self.grid;
        let (row, y, x) = self.grid.place(tile);
        let (n, width) = (self.n, panels * LANES);
        transform_output(outputs, sums, apart, width, scratch);
        let first = (self.points.first + panel) * LANES;
        let columns = first..first + width;
        for (i, pixel) in scratch
            .chunks_exact(width)
            .take(outputs * outputs)
            .enumerate()
        {
            let (y, x) = (y + i / outputs, x + i % outputs);
            if y >= h || x >= w {
                continue;
            }
            let at = ((row * h + y) * w + x) * n + columns.start;
            // SAFETY: any two tasks differ in their pixels or in their columns.
            let to = unsafe { self.out.slice(at, width) };
            let bias = self
                .bias
                .map(|b| &b.at(row * h * w, columns.start)[..width]);
            add(to, pixel, bias, self.residual.map(|r| &r[at..at + width]));
        }
    }
}
