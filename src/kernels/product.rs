//! Matrix products, cut into tasks. A task computes a block of lines times a range of columns: it sums in
//! scratch memory that stays in the cache, then finishes the sums (bias, residual, activation) into the output.
//! This file never knows where the left operand comes from.
#![allow(unsafe_code, reason = "tasks write disjoint parts of one output")]

use std::ops::Range;

use rayon::prelude::*;

use super::activation::geglu_halves;
use super::form::wide;
use super::lanes::LANES;
use super::micro::{Lhs, Sums, TERMS, accumulate};
use super::packed::Packed;
use super::scratch::{Shared, with_scratch};

/// The most lines of a task. A block of the left operand and its sums, about 200 KB each, stay in the L2 cache of
/// a core.
const LINES: usize = 168;
/// The most panels of a task.
const PANELS: usize = 20;
/// The lines of a task are a multiple of the rows of the tallest tile.
const TALL: usize = 14;
/// Tasks per thread, so that the other threads do not wait long for one slow task.
const TASKS: usize = 3;

/// The operations that follow the sums of a product.
#[derive(Clone, Copy)]
pub enum Finish<'a> {
    /// A bias and a residual are added.
    Add {
        /// The bias, if there is one.
        bias: Option<Bias<'a>>,
        /// A residual of the size of the output, if there is one.
        residual: Option<&'a [f32]>,
    },
    /// Panels of hidden channels alternate with panels of gates. The output is `hidden * gelu(gate)`, which has
    /// half as many columns.
    Geglu {
        /// The bias of each column, in the order of the panels.
        bias: &'a [f32],
    },
}

/// A bias `[n]` for all lines, or `[rows, n]` with one bias for the lines of each batch row.
#[derive(Clone, Copy)]
pub struct Bias<'a> {
    values: &'a [f32],
    n: usize,
    /// Lines per batch row.
    lines: usize,
}

impl<'a> Bias<'a> {
    /// A bias for lines of `n` columns, where each batch row has `lines` lines. `values` is `[n]` or `[rows, n]`.
    pub fn new(values: &'a [f32], n: usize, lines: usize) -> Self {
        Self { values, n, lines }
    }

    /// The bias of a line, from `column` on.
    pub fn at(&self, line: usize, column: usize) -> &'a [f32] {
        let row = if self.values.len() == self.n {
            0
        } else {
            line / self.lines
        };
        &self.values[row * self.n + column..]
    }
}

/// A grid of tasks over lines and panels. The bits of the output do not depend on the grid, so the grid can depend on
/// the number of threads.
struct ProductTasks {
    /// Lines per task.
    lines: usize,
    /// Panels per task.
    panels: usize,
    /// Tasks along the lines.
    down: usize,
    /// Tasks along the panels.
    across: usize,
}

impl ProductTasks {
    /// The tasks of `m` lines and `count` panels. `unit` panels stay together in one task.
    fn new(m: usize, count: usize, unit: usize) -> Self {
        let wanted = rayon::current_num_threads() * TASKS;
        let split =
            |n: usize, parts: usize, unit: usize| n.div_ceil(parts.max(1)).next_multiple_of(unit);
        let down = m.div_ceil(LINES);
        let across = count.div_ceil(PANELS);
        // Columns are split further only if the lines give too few tasks: each range of columns gathers
        // its lines again.
        let across = across
            .max(wanted.div_ceil(down))
            .min(count.div_ceil(2 * unit))
            .max(1);
        let (lines, panels) = (split(m, down, TALL), split(count, across, unit));
        Self {
            lines,
            panels,
            down: m.div_ceil(lines.max(1)),
            across: count.div_ceil(panels),
        }
    }
}

/// Writes some terms of some lines of a left operand, see [`Left::Gather`].
type Gather<'a> = dyn Fn(usize, Range<usize>, &mut [f32]) + Sync + 'a;

/// The source of the lines `[m, k]` of the left operand.
pub enum Left<'a> {
    /// The lines one after another.
    Lines(&'a [f32]),
    /// `gather(first, terms, lhs)` writes the given terms of the lines from `first` on to `lhs`
    /// `[lines, terms.len()]`.
    Gather(&'a Gather<'a>),
}

/// Lines whose length is a multiple of this compete for the same few sets of the L1 cache, so they are copied.
const AWKWARD: usize = 1024;

impl Left<'_> {
    /// Some terms of some lines of length `k`, copied into the scratch where necessary.
    fn lhs<'s>(
        &'s self,
        lines: Range<usize>,
        terms: Range<usize>,
        k: usize,
        scratch: &'s mut [f32],
    ) -> Lhs<'s> {
        let (rows, stride) = (lines.len(), terms.len());
        let scratch = &mut scratch[..rows * stride];
        match self {
            Left::Lines(x) if !k.is_multiple_of(AWKWARD) => {
                let x = &x[lines.start * k..lines.end * k];
                return Lhs {
                    floats: &x[terms.start..],
                    stride: k,
                    rows,
                };
            }
            Left::Lines(x) => {
                for (line, to) in lines.zip(scratch.chunks_exact_mut(stride)) {
                    to.copy_from_slice(&x[line * k..][terms.clone()]);
                }
            }
            Left::Gather(gather) => gather(lines.start, terms, scratch),
        }
        Lhs {
            floats: scratch,
            stride,
            rows,
        }
    }
}

/// The product of `[m, k]` and the weight `[k, n]`, finished: `[m, n]`, or `[m, n / 2]` for [`Finish::Geglu`].
pub fn product(m: usize, weight: &Packed, finish: Finish, left: Left) -> Vec<f32> {
    let (count, halves) = (weight.count(), matches!(finish, Finish::Geglu { .. }));
    let width = if halves { weight.n / 2 } else { weight.n };
    let mut out = vec![0f32; m * width];
    if out.is_empty() {
        return out;
    }
    let to = Shared::new(&mut out);
    let tasks = ProductTasks::new(m, count, if halves { 2 } else { 1 });
    (0..tasks.down * tasks.across)
        .into_par_iter()
        .for_each(|task| {
            let (line, panel) = (
                task / tasks.across * tasks.lines,
                task % tasks.across * tasks.panels,
            );
            let (lines, panels) = (tasks.lines.min(m - line), tasks.panels.min(count - panel));
            let span = panels * LANES;
            let terms = TERMS.min(weight.k);
            with_scratch([lines * terms, lines * span], |[scratch, sums]| {
                for first in (0..weight.k).step_by(TERMS) {
                    let k = TERMS.min(weight.k - first);
                    let lhs = left.lhs(line..line + lines, first..first + k, weight.k, scratch);
                    let right = weight.panels(panel, panels, first);
                    let sums = Sums {
                        floats: &mut *sums,
                        stride: span,
                    };
                    accumulate(k, lhs, right, sums, first > 0);
                }
                for (i, sums) in sums.chunks_exact(span).enumerate() {
                    let column = panel * LANES / if halves { 2 } else { 1 };
                    let columns = (span / if halves { 2 } else { 1 }).min(width - column);
                    let at = (line + i) * width + column;
                    // SAFETY: any two tasks differ in their lines or in their columns.
                    let to = unsafe { to.slice(at, columns) };
                    finish.line(to, sums, (line + i, panel * LANES), at);
                }
            });
        });
    out
}

impl Finish<'_> {
    /// Finishes a part of line `line`: the sums from column `column` on. `to` starts at float `at` of the output.
    fn line(&self, to: &mut [f32], sums: &[f32], (line, column): (usize, usize), at: usize) {
        match *self {
            Finish::Geglu { bias } => geglu_halves(to, sums, &bias[column..][..sums.len()]),
            Finish::Add { bias, residual } => {
                let bias = bias.map(|b| &b.at(line, column)[..to.len()]);
                let residual = residual.map(|r| &r[at..][..to.len()]);
                add(to, &sums[..to.len()], bias, residual);
            }
        }
    }
}

/// Writes `sums + bias + residual`, added in this order.
pub fn add(to: &mut [f32], sums: &[f32], bias: Option<&[f32]>, residual: Option<&[f32]>) {
    match (bias, residual) {
        (None, None) => to.copy_from_slice(sums),
        (Some(one), None) | (None, Some(one)) => add_one(to, sums, one),
        (Some(bias), Some(residual)) => add_two(to, sums, bias, residual),
    }
}

wide! {
    /// Writes `a + b`.
    pub fn add_one(to: &mut [f32], a: &[f32], b: &[f32]) {
        for ((y, a), b) in to.iter_mut().zip(a).zip(b) {
            *y = a + b;
        }
    }
}

wide! {
    /// Writes `a + b + c`, added in this order.
    pub fn add_two(to: &mut [f32], a: &[f32], b: &[f32], c: &[f32]) {
        for (((y, a), b), c) in to.iter_mut().zip(a).zip(b).zip(c) {
            *y = a + b + c;
        }
    }
}
