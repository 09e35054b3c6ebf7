//! Matrix products in tasks: blocks of lines times ranges of columns, each summed in scratch that
//! stays in cache and then finished (bias, residual, activation) into the output.

use std::ops::Range;

use rayon::prelude::*;

use super::activation::geglu_halves;
use super::form::wide;
use super::lanes::LANES;
use super::micro::{Lhs, Sums, TERMS, accumulate};
use super::packed::Packed;
use super::scratch::{Shared, with_scratch};

/// Lines and panels of a task at most: a block of the left operand and its sums, some 200 KB each,
/// stay in a core's second cache.
const LINES: usize = 168;
const PANELS: usize = 20;
/// Lines of a task come in multiples of the tallest tile.
const TALL: usize = 14;
/// Tasks that each thread gets, so that one slow task doesn't leave the others waiting.
const TASKS: usize = 3;

/// What happens to the sums.
#[derive(Clone, Copy)]
pub enum Finish<'a> {
    /// Added to a bias and a residual of the output's size.
    Add {
        bias: Option<Bias<'a>>,
        residual: Option<&'a [f32]>,
    },
    /// Panels alternate between hidden and gate (each with its bias): `hidden * gelu(gate)`, half as
    /// many columns.
    Geglu { bias: &'a [f32] },
}

/// A bias `[n]` of all lines, or `[rows, n]` with one for the lines of each row.
#[derive(Clone, Copy)]
pub struct Bias<'a> {
    values: &'a [f32],
    n: usize,
    /// Lines that share one.
    lines: usize,
}

impl<'a> Bias<'a> {
    /// Of `rows` rows of `lines` lines; as many values as there are rows, or one.
    pub fn new(values: &'a [f32], n: usize, lines: usize) -> Self {
        Self { values, n, lines }
    }

    /// Of the columns from `column` on.
    pub fn at(&self, line: usize, column: usize) -> &'a [f32] {
        let row = match self.values.len() == self.n {
            true => 0,
            false => line / self.lines,
        };
        &self.values[row * self.n + column..]
    }
}

/// A grid of tasks over lines and panels. Bits don't depend on it, so it may follow the threads.
pub struct ProductTasks {
    lines: usize,
    panels: usize,
    pub down: usize,
    pub across: usize,
}

impl ProductTasks {
    /// `unit`: panels that stay together.
    fn new(m: usize, count: usize, unit: usize) -> Self {
        let wanted = rayon::current_num_threads() * TASKS;
        let split =
            |n: usize, parts: usize, unit: usize| n.div_ceil(parts.max(1)).next_multiple_of(unit);
        let down = m.div_ceil(LINES);
        let across = count.div_ceil(PANELS);
        // Columns are split further only where lines don't give enough tasks: each range of columns
        // gathers its lines again.
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

type Gather<'a> = dyn Fn(usize, Range<usize>, &mut [f32]) + Sync + 'a;

/// Where the lines `[m, k]` of the left operand come from.
pub enum Left<'a> {
    /// They stand one after another.
    Lines(&'a [f32]),
    /// `gather(first, terms, lhs)` writes the terms `terms` of the lines from `first` on,
    /// `[lines, terms.len()]`.
    Gather(&'a Gather<'a>),
}

/// Lines a multiple of this apart fall into the same few places of the first cache: they are copied.
const AWKWARD: usize = 1024;

impl Left<'_> {
    /// Some terms of some lines of `k`, through scratch where they have to be.
    fn lhs(&self, lines: Range<usize>, terms: Range<usize>, k: usize, scratch: &mut [f32]) -> Lhs {
        let (rows, stride) = (lines.len(), terms.len());
        let scratch = &mut scratch[..rows * stride];
        match self {
            Left::Lines(x) if !k.is_multiple_of(AWKWARD) => {
                let x = &x[lines.start * k..lines.end * k];
                return Lhs {
                    first: x[terms.start..].as_ptr(),
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
            first: scratch.as_ptr(),
            stride,
            rows,
        }
    }
}

/// `[m, k] . weight`. Returns `[m, n]`, or half the columns.
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
                    let mut right = weight.panels(panel, panels);
                    // SAFETY: `lhs` has `lines` lines of k, the panels k lines from `first` on, `sums` is
                    // this task's, `lines` lines of the panels' columns.
                    unsafe {
                        right.first = right.first.add(first * LANES);
                        let sums = Sums {
                            first: sums.as_mut_ptr(),
                            stride: span,
                        };
                        accumulate(k, lhs, right, sums, first > 0);
                    }
                }
                for (i, sums) in sums.chunks_exact(span).enumerate() {
                    let column = panel * LANES / if halves { 2 } else { 1 };
                    let columns = (span / if halves { 2 } else { 1 }).min(width - column);
                    let at = (line + i) * width + column;
                    // SAFETY: tasks differ in lines or columns.
                    let to = unsafe { to.slice(at, columns) };
                    finish.line(to, sums, (line + i, panel * LANES), at);
                }
            });
        });
    out
}

impl Finish<'_> {
    /// Line `line` of a task: its sums from column `column` on, its output at `at` of all.
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

/// The sums, then the bias, then the residual.
pub fn add(to: &mut [f32], sums: &[f32], bias: Option<&[f32]>, residual: Option<&[f32]>) {
    match (bias, residual) {
        (None, None) => to.copy_from_slice(sums),
        (Some(one), None) | (None, Some(one)) => add_one(to, sums, one),
        (Some(bias), Some(residual)) => add_two(to, sums, bias, residual),
    }
}

wide! {
    pub fn add_one(to: &mut [f32], a: &[f32], b: &[f32]) {
        for ((y, a), b) in to.iter_mut().zip(a).zip(b) {
            *y = a + b;
        }
    }
}

wide! {
    pub fn add_two(to: &mut [f32], a: &[f32], b: &[f32], c: &[f32]) {
        for (((y, a), b), c) in to.iter_mut().zip(a).zip(b).zip(c) {
            *y = a + b + c;
        }
    }
}
