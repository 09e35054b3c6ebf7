//! 3x3 convolutions by Winograd's minimal filtering (Lavin & Gray, CVPR 2016): tiles of 2x2 or 4x4
//! outputs, each channel product taken once per point of the transformed tile, 2.25 or 4 times fewer
//! multiplications than the plain way.

use rayon::prelude::*;

use super::conv::Picture;
use super::form::by_form;
use super::lanes::{LANES, Lanes};
use super::micro::{Lhs, Sums, accumulate};
use super::packed::Packed;
use super::product::add;
use super::scratch::{Shared, with_scratch};

/// Floats of a task's transformed inputs, about: half of a second cache.
const INPUTS: usize = 1 << 17;
/// Panels of a task's sums at a time.
const PANELS: usize = 4;

/// Transformed kernels: a matrix `[c_in, c_out]` per point of a tile.
#[derive(Debug, Clone)]
pub struct Winograd {
    points: Vec<Packed>,
    /// Outputs of a tile's side, 2 or 4.
    outputs: usize,
}

impl Winograd {
    /// Outputs of a tile's side, where the algorithm pays: the larger tile needs many pixels for its
    /// larger weights.
    pub fn suits(c_in: usize, c_out: usize, pixels: usize) -> Option<usize> {
        let lanes = c_in.is_multiple_of(LANES) && c_out.is_multiple_of(LANES);
        match pixels {
            _ if !lanes => None,
            1024.. => Some(4),
            256.. => Some(2),
            _ => None,
        }
    }

    /// From `[c_out, c_in, 3, 3]`.
    pub fn new(weight: &[f32], (c_in, c_out): (usize, usize), outputs: usize) -> Self {
        let g = kernel_transform(outputs);
        let side = g.len();
        // [points][c_out][c_in], so that each point packs like a linear layer.
        let mut all = vec![0f32; side * side * c_out * c_in];
        let to = Shared::new(&mut all);
        weight
            .par_chunks_exact(9)
            .enumerate()
            .with_min_len(1024)
            .for_each(|(i, kernel)| {
                for (y, row) in g.iter().enumerate() {
                    let line: [f64; 3] = std::array::from_fn(|j| {
                        (0..3).map(|i| row[i] * f64::from(kernel[i * 3 + j])).sum()
                    });
                    for (x, column) in g.iter().enumerate() {
                        let value: f64 = (0..3).map(|j| line[j] * column[j]).sum();
                        // SAFETY: each kernel has its own place at each point.
                        unsafe { to.slice((y * side + x) * c_out * c_in + i, 1)[0] = value as f32 };
                    }
                }
            });
        let point = |columns| Packed::from_columns(columns, (c_in, c_out), |j| j, |i| i);
        Self {
            points: all.chunks_exact(c_out * c_in).map(point).collect(),
            outputs,
        }
    }

    /// The kernels back, to within rounding: `[9, c_in, c_out]`.
    pub fn kernels(&self) -> Vec<f32> {
        let (c_in, c_out) = (self.points[0].k, self.points[0].n);
        let (back, side) = (kernel_back(self.outputs), self.outputs + 2);
        let mut out = vec![0f32; 9 * c_in * c_out];
        for (i, value) in out.iter_mut().enumerate() {
            let (tap, c, n) = (i / (c_in * c_out), i / c_out % c_in, i % c_out);
            let (rows, columns) = (&back[tap / 3], &back[tap % 3]);
            let at = |p: usize| f64::from(self.points[p].at(c, n));
            let sum: f64 = (0..side * side)
                .map(|p| rows[p / side] * columns[p % side] * at(p))
                .sum();
            *value = sum as f32;
        }
        out
    }

    /// Stride 1. `[rows, h, w, c_out]`, from `x` as `picture` sees it.
    pub(super) fn conv(
        &self,
        x: &[f32],
        picture: &Picture,
        bias: Option<&[f32]>,
        residual: Option<&[f32]>,
    ) -> Vec<f32> {
        let (h, w) = picture.out();
        let n = self.points[0].n;
        let mut out = vec![0f32; picture.rows * h * w * n];
        let grid = Grid {
            picture,
            h,
            w,
            outputs: self.outputs,
            across: w.div_ceil(self.outputs),
        };
        let work = Work {
            winograd: self,
            grid,
            x,
            bias,
            residual,
            out: Shared::new(&mut out),
        };
        let tiles = picture.rows * h.div_ceil(self.outputs) * grid.across;
        // As many tiles as fit, in an even number of equal tasks; where that leaves threads without
        // one, the columns are split too. Bits don't depend on it.
        let threads = rayon::current_num_threads();
        let fit = (INPUTS / (self.points.len() * picture.c))
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
            .min(self.points[0].count().div_ceil(PANELS));
        (0..down * split).into_par_iter().for_each(|task| {
            let first = task / split * each;
            let panels = self.points[0].count();
            let range = |part: usize| panels * part / split;
            work.tiles(
                first..(first + each).min(tiles),
                range(task % split)..range(task % split + 1),
            );
        });
        out
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
    winograd: &'a Winograd,
    grid: Grid<'a>,
    x: &'a [f32],
    bias: Option<&'a [f32]>,
    residual: Option<&'a [f32]>,
    out: Shared,
}

impl Work<'_> {
    /// Some tiles and panels.
    fn tiles(&self, tiles: std::ops::Range<usize>, panels: std::ops::Range<usize>) {
        let (points, c) = (&self.winograd.points, self.grid.picture.c);
        let (count, span) = (tiles.len(), PANELS * LANES);
        let lens = [
            points.len() * count * c,
            points.len() * count * span,
            16 * span,
        ];
        with_scratch(lens, |[inputs, sums, outputs]| {
            for (i, tile) in tiles.clone().enumerate() {
                self.input(tile, &mut inputs[i * c..], count * c);
            }
            for first in panels.clone().step_by(PANELS) {
                let panels = PANELS.min(panels.end - first);
                for (p, point) in points.iter().enumerate() {
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
                    unsafe { accumulate(c, lhs, point.panels(first, panels), to, false) };
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
        let (n, width) = (self.winograd.points[0].n, panels * LANES);
        let side = outputs + 2;
        assert!(sums.len() >= (side * side - 1) * apart + width);
        assert!(scratch.len() >= outputs * outputs * width);
        // SAFETY: checked just above.
        unsafe { transform_output(outputs, sums.as_ptr(), apart, width, scratch.as_mut_ptr()) };
        let columns = panel * LANES..panel * LANES + width;
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
            let bias = self.bias.map(|b| &b[columns.clone()]);
            add(to, pixel, bias, self.residual.map(|r| &r[at..at + width]));
        }
    }
}

by_form! {
    /// `B^T d B` of a tile of pixels, `c` channels each, a null pixel being zero.
    ///
    /// # Safety
    /// Pixels that aren't null have `c` floats, a multiple of 16; `to` has as many for every point,
    /// `apart` floats from one to the next.
    pub unsafe fn transform_input = input_in(outputs: usize, pixels: &[*const f32; 36], c: usize, to: *mut f32, apart: usize)
}

by_form! {
    /// `A^T m A` of a tile's sums to `[outputs * outputs, width]`.
    ///
    /// # Safety
    /// Every point has `width` floats, a multiple of 16, `apart` floats from one to the next; `to` has
    /// room.
    pub unsafe fn transform_output = output_in(outputs: usize, sums: *const f32, apart: usize, width: usize, to: *mut f32)
}

#[inline(always)]
unsafe fn input_in<L: Lanes>(
    outputs: usize,
    pixels: &[*const f32; 36],
    c: usize,
    to: *mut f32,
    apart: usize,
) {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        match outputs {
            2 => input_tile::<L, 4>(pixels, c, to, apart),
            _ => input_tile::<L, 6>(pixels, c, to, apart),
        }
    }
}

#[inline(always)]
unsafe fn output_in<L: Lanes>(
    outputs: usize,
    sums: *const f32,
    apart: usize,
    width: usize,
    to: *mut f32,
) {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        match outputs {
            2 => output_tile::<L, 4, 2>(sums, apart, width, to),
            _ => output_tile::<L, 6, 4>(sums, apart, width, to),
        }
    }
}

#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn input_tile<L: Lanes, const S: usize>(
    pixels: &[*const f32; 36],
    c: usize,
    to: *mut f32,
    apart: usize,
) {
    let zero = L::splat(0.0);
    for channel in (0..c).step_by(LANES) {
        let mut half = [[zero; S]; S]; // B^T d
        for x in 0..S {
            let mut line = [zero; S];
            for y in 0..S {
                let pixel = pixels[y * S + x];
                if !pixel.is_null() {
                    // SAFETY: the caller's promise.
                    line[y] = unsafe { L::load(pixel.add(channel)) };
                }
            }
            let line = forward::<L, S>(line);
            for y in 0..S {
                half[y][x] = line[y];
            }
        }
        for y in 0..S {
            let line = forward::<L, S>(half[y]);
            for x in 0..S {
                // SAFETY: the caller's promise.
                unsafe { L::store(to.add((y * S + x) * apart + channel), line[x]) };
            }
        }
    }
}

#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn output_tile<L: Lanes, const S: usize, const O: usize>(
    sums: *const f32,
    apart: usize,
    width: usize,
    to: *mut f32,
) {
    let zero = L::splat(0.0);
    for channel in (0..width).step_by(LANES) {
        let mut half = [[zero; S]; O]; // A^T m
        for x in 0..S {
            let mut line = [zero; S];
            for y in 0..S {
                // SAFETY: the caller's promise.
                line[y] = unsafe { L::load(sums.add((y * S + x) * apart + channel)) };
            }
            let line = backward::<L, S, O>(line);
            for y in 0..O {
                half[y][x] = line[y];
            }
        }
        for y in 0..O {
            let line = backward::<L, S, O>(half[y]);
            for x in 0..O {
                // SAFETY: the caller's promise.
                unsafe { L::store(to.add((y * O + x) * width + channel), line[x]) };
            }
        }
    }
}

/// `B^T` times a line: of 4 for the smaller tile, of 6 for the larger.
#[inline(always)]
fn forward<L: Lanes, const S: usize>(d: [L::V; S]) -> [L::V; S] {
    let mut out = d;
    if S == 4 {
        out[0] = L::sub(d[0], d[2]);
        out[1] = L::add(d[1], d[2]);
        out[2] = L::sub(d[2], d[1]);
        out[3] = L::sub(d[1], d[3]);
        return out;
    }
    let (even, odd) = (times::<L>(-4.0, d[2], d[4]), times::<L>(-4.0, d[1], d[3]));
    let (near, far) = (L::sub(d[4], d[2]), L::sub(d[3], d[1]));
    out[0] = times::<L>(4.0, d[0], times::<L>(-5.0, d[2], d[4]));
    out[1] = L::add(even, odd);
    out[2] = L::sub(even, odd);
    out[3] = times::<L>(2.0, far, near);
    out[4] = times::<L>(-2.0, far, near);
    out[5] = times::<L>(4.0, d[1], times::<L>(-5.0, d[3], d[5]));
    out
}

/// `k x + plus`
#[inline(always)]
fn times<L: Lanes>(k: f32, x: L::V, plus: L::V) -> L::V {
    L::fma(L::splat(k), x, plus)
}

/// `A^T` times a line.
#[inline(always)]
fn backward<L: Lanes, const S: usize, const O: usize>(m: [L::V; S]) -> [L::V; O] {
    let mut out = [m[0]; O];
    if S == 4 {
        out[0] = L::add(L::add(m[0], m[1]), m[2]);
        out[1] = L::sub(L::sub(m[1], m[2]), m[3]);
        return out;
    }
    let (sum, difference) = (L::add(m[1], m[2]), L::sub(m[1], m[2]));
    let (sum2, difference2) = (L::add(m[3], m[4]), L::sub(m[3], m[4]));
    out[0] = L::add(L::add(m[0], sum), sum2);
    out[1] = times::<L>(2.0, difference2, difference);
    out[2] = times::<L>(4.0, sum2, sum);
    out[3] = L::add(times::<L>(8.0, difference2, difference), m[5]);
    out
}

/// `G`: from a kernel's line of 3 to a tile's.
fn kernel_transform(outputs: usize) -> Vec<[f64; 3]> {
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

/// A left inverse of `G`: `kernel_back . G = 1`.
fn kernel_back(outputs: usize) -> [Vec<f64>; 3] {
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
