//! 3x3 convolutions by Winograd's minimal filtering (Lavin & Gray, CVPR 2016): tiles of 2x2 or 4x4
//! outputs, each channel product taken once per point of the transformed tile, 2.25 or 4 times fewer
//! multiplications than the plain way.

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

/// Floats of a task's transformed inputs, about. More tiles read the weights less often.
const INPUTS: usize = 1 << 19;
/// Panels of a task's sums at a time.
const PANELS: usize = 4;
/// Floats of kernels that are transformed at a time where they are not kept.
const LATE: usize = 1 << 23;

/// The kernels of a convolution of stride 1.
#[derive(Debug, Clone)]
pub struct Winograd {
    kernels: Kernels,
    /// Outputs of a tile's side, 2 or 4.
    outputs: usize,
}

#[derive(Debug, Clone)]
enum Kernels {
    /// For being transformed at each call.
    Late(Packed),
    Transformed(Points),
}

impl Winograd {
    /// Outputs of a tile's side, where the algorithm pays: the larger tile needs many pixels for its
    /// larger weights.
    pub fn suits(c_in: usize, c_out: usize, pixels: usize, large: bool) -> Option<usize> {
        let lanes = c_in.is_multiple_of(LANES) && c_out.is_multiple_of(LANES);
        match pixels {
            _ if !lanes => None,
            1024.. if large => Some(4),
            256.. => Some(2),
            _ => None,
        }
    }

    /// From packed `[9 * c_in, c_out]`.
    pub fn new(direct: Packed, outputs: usize, late: bool) -> Self {
        let kernels = match late {
            true => Kernels::Late(direct),
            false => Kernels::Transformed(Points::new(&direct, outputs)),
        };
        Self { kernels, outputs }
    }

    /// The kernels, after a transform to within rounding: `[9 * c_in, c_out]`.
    pub fn matrix(&self) -> Vec<f32> {
        match &self.kernels {
            Kernels::Late(direct) => direct.to_rows(),
            Kernels::Transformed(points) => points.back(self.outputs),
        }
    }

    /// Stride 1. `[rows, h, w, c_out]`, from `x` as `picture` sees it.
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

/// Tiles over the output, row by row.
#[derive(Clone, Copy)]
struct Grid<'a> {
    picture: &'a Picture,
    h: usize,
    w: usize,
    outputs: usize,
    across: usize,
}

impl Grid<'_> {
    fn tiles(&self) -> usize {
        self.picture.rows * self.h.div_ceil(self.outputs) * self.across
    }

    /// Row of the batch, and the upper left output pixel.
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

struct Work<'a> {
    points: &'a Points,
    /// Columns of the layer.
    n: usize,
    grid: Grid<'a>,
    x: &'a [f32],
    bias: Option<Bias<'a>>,
    residual: Option<&'a [f32]>,
    out: Shared,
}

impl Work<'_> {
    /// All tiles, and the columns that the points are of.
    fn run(&self) {
        let (points, tiles) = (self.points, self.grid.tiles());
        // As many tiles as fit, in an even number of equal tasks; where that leaves threads without
        // one, the columns are split too. Bits don't depend on it.
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

    /// Some tiles and panels.
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
                        first: inputs[p * count * c..].as_ptr(),
                        stride: c,
                        rows: count,
                    };
                    let to = Sums {
                        first: sums[p * count * span..].as_mut_ptr(),
                        stride: span,
                    };
                    // SAFETY: inputs and sums have `count` lines per point, of c and of `span` floats.
                    unsafe { accumulate(c, lhs, points.panels(p, first, panels), to, false) };
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

    /// A tile's transformed input: point `p` at `to[p * apart..]`.
    fn input(&self, tile: usize, to: &mut [f32], apart: usize) {
        let Grid {
            picture, outputs, ..
        } = self.grid;
        let (row, y, x) = self.grid.place(tile);
        let side = outputs + 2;
        let mut pixels = [std::ptr::null(); 36];
        for (i, pixel) in pixels[..side * side].iter_mut().enumerate() {
            if let Some(at) = picture.pixel(row, y + i / side, x + i % side) {
                *pixel = self.x[at..at + picture.c].as_ptr();
            }
        }
        let last = (side * side - 1) * apart;
        assert!(to.len() >= last + picture.c);
        // SAFETY: a pixel is null or has c floats; `to` has room for every point's.
        unsafe { transform_input(outputs, &pixels, picture.c, to.as_mut_ptr(), apart) };
    }

    /// A tile's sums (point `p` at `sums[p * apart..]`) to output pixels.
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
        let side = outputs + 2;
        assert!(sums.len() >= (side * side - 1) * apart + width);
        assert!(scratch.len() >= outputs * outputs * width);
        // SAFETY: checked just above.
        unsafe { transform_output(outputs, sums.as_ptr(), apart, width, scratch.as_mut_ptr()) };
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
            // SAFETY: tasks differ in pixels or columns.
            let to = unsafe { self.out.slice(at, width) };
            let bias = self
                .bias
                .map(|b| &b.at(row * h * w, columns.start)[..width]);
            add(to, pixel, bias, self.residual.map(|r| &r[at..at + width]));
        }
    }
}
