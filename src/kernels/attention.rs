//! Attention by blocks of queries: the scores, the softmax and the weighted values of a block are computed
//! while the block is in the cache. Tokens-major tensors are read and written in place through strides. No map
//! larger than a block is built. This file never knows why one row's map carries another row's values.
#![allow(unsafe_code, reason = "tasks write disjoint parts of one output")]

use std::ops::Range;

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::lanes::LANES;
use super::math::{scale_into, softmax_lines};
use super::micro::{Lhs, Panels, Sums, accumulate};
use super::scratch::{Shared, with_scratch};
use super::view::View;
use super::{fast, plain, require};
use crate::error::Result;

/// Approximate size of a block of scores in floats: half of an L2 cache.
const SCORES: usize = 1 << 17;

/// Values that go through the map of a slot, and the output row they are added to.
#[derive(Debug, Clone)]
pub struct Carried {
    /// The output row.
    pub reader: usize,
    /// The values, `[t, heads * d]`.
    pub values: Tensor,
}

/// Multi-head attention, where one map can carry the values of several rows.
///
/// For each slot `s`, one softmax over `q[s]` `[n, heads * d]` and `k[s]` `[t, heads * d]` carries all
/// values of `carried[s]` into the rows of their readers. A row that several slots carry values into gets the
/// sum, in the order of the slots. The tensors must be [`fast`].
///
/// Returns `[rows, n, heads * d]` and, if `tap`, the map of each slot averaged over heads, `[slots, n, t]`.
///
/// # Errors
/// If the shapes do not fit together, if a reader is no row, or if a tensor is not an f32 tensor on the CPU.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    carried: &[Vec<Carried>],
    rows: usize,
    heads: usize,
    tap: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    run(
        q,
        k,
        carried,
        rows,
        How {
            heads,
            tap,
            causal: false,
        },
    )
}

/// Causal multi-head attention: each token attends to itself and the tokens before it. `q`, `k`, `v` and the
/// result are `[rows, t, heads * d]`.
///
/// # Errors
/// If the shapes do not fit together.
pub fn causal_attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize) -> Result<Tensor> {
    if !fast(&[q, k, v]) {
        return plain::causal_attention(q, k, v, heads);
    }
    let rows = v.dim(0)?;
    let own = |reader| {
        Ok(vec![Carried {
            reader,
            values: v.get(reader)?,
        }])
    };
    let carried = (0..rows).map(own).collect::<Result<Vec<_>>>()?;
    let how = How {
        heads,
        tap: false,
        causal: true,
    };
    Ok(run(q, k, &carried, rows, how)?.0)
}

/// The kind of attention.
#[derive(Clone, Copy)]
struct How {
    heads: usize,
    /// Whether the maps are averaged over heads and returned.
    tap: bool,
    /// Whether a token attends to no later token.
    causal: bool,
}

fn run(
    q: &Tensor,
    k: &Tensor,
    carried: &[Vec<Carried>],
    rows: usize,
    How { heads, tap, causal }: How,
) -> Result<(Tensor, Option<Tensor>)> {
    let (slots, n, width) = q.dims3()?;
    check(q, k, carried, rows, heads)?;
    let shape = Shape {
        n,
        t: k.dim(1)?,
        width,
        d: width / heads,
        heads,
        causal,
    };
    let (q, k) = (View::new(q)?, View::new(k)?);
    let values = carried
        .iter()
        .flatten()
        .map(|c| View::new(&c.values))
        .collect::<Result<Vec<_>>>()?;
    let views: Vec<&View> = [&q, &k].into_iter().chain(&values).collect();
    let mut out = vec![0f32; rows * n * width];
    let mut means = vec![0f32; if tap { slots * n * shape.t } else { 0 }];
    View::with(&views, |s| {
        let (keys, values) = (shape.pack_keys(s[1], slots), shape.pack_values(&s[2..]));
        let (out, means) = (Shared::new(&mut out), tap.then(|| Shared::new(&mut means)));
        let work = Work {
            shape,
            q: s[0],
            keys: &keys,
            values: &values,
            carried,
            out,
            means,
        };
        let queries = (SCORES / shape.t).next_multiple_of(14).clamp(14, 112);
        // The mean of a block needs all heads, so with a tap one task takes them all.
        let split = if tap { 1 } else { heads };
        (0..n.div_ceil(queries) * split)
            .into_par_iter()
            .for_each(|task| {
                let first = task / split * queries;
                let queries = first..(first + queries).min(n);
                let heads = if tap {
                    0..heads
                } else {
                    task % split..task % split + 1
                };
                work.block(queries, heads);
            });
    })?;
    let out = Tensor::from_vec(out, (rows, n, width), &Device::Cpu)?;
    let means = tap.then(|| Tensor::from_vec(means, (slots, n, shape.t), &Device::Cpu));
    Ok((out, means.transpose()?))
}

/// Checks that all shapes fit together.
fn check(
    q: &Tensor,
    k: &Tensor,
    carried: &[Vec<Carried>],
    rows: usize,
    heads: usize,
) -> Result<()> {
    let (slots, _, width) = q.dims3()?;
    let (k_slots, t, k_width) = k.dims3()?;
    require(
        (k_slots, k_width) == (slots, width),
        "q and k differ in rows or width",
    )?;
    require(
        heads > 0 && width.is_multiple_of(heads),
        "the width doesn't divide into heads",
    )?;
    require(
        t > 0 && carried.len() == slots,
        "values for another number of maps",
    )?;
    let fits = |c: &Carried| c.reader < rows && c.values.dims() == [t, width];
    require(
        carried.iter().flatten().all(fits),
        "values of another shape, or for a missing row",
    )
}

#[derive(Clone, Copy)]
struct Shape {
    /// Queries.
    n: usize,
    /// Keys.
    t: usize,
    /// Channels of all heads.
    width: usize,
    /// Channels of a head.
    d: usize,
    heads: usize,
    causal: bool,
}

impl Shape {
    /// Floats from the scores of one query to those of the next: whole panels. The distance is no multiple
    /// of 256 floats, because the lines of a tile would then compete for the same few sets of the L1 cache.
    fn stride(self) -> usize {
        let whole = self.t.next_multiple_of(LANES);
        whole + if whole.is_multiple_of(256) { LANES } else { 0 }
    }

    /// Floats of the packed keys of a head.
    fn keys(self) -> usize {
        self.t.next_multiple_of(LANES) * self.d
    }

    /// Floats of the packed values of a head.
    fn values(self) -> usize {
        self.t * self.d.next_multiple_of(LANES)
    }

    /// The keys of each slot and head as panels of sixteen tokens, `[d, 16]` each, times the scale of the scores.
    fn pack_keys(self, k: &[f32], slots: usize) -> Vec<f32> {
        let Shape {
            t, width, d, heads, ..
        } = self;
        let scale = 1.0 / (d as f32).sqrt();
        let mut packed = vec![0f32; slots * heads * self.keys()];
        let each = packed.par_chunks_mut(self.keys()).enumerate();
        each.for_each(|(i, to)| {
            let (slot, head) = (i / heads, i % heads);
            for token in 0..t {
                let from = &k[(slot * t + token) * width + head * d..][..d];
                let to = &mut to[token / LANES * d * LANES + token % LANES..];
                for (i, x) in from.iter().enumerate() {
                    to[i * LANES] = x * scale;
                }
            }
        });
        packed
    }

    /// The heads of each carried value as panels of sixteen channels, `[t, 16]` each.
    fn pack_values(self, values: &[&[f32]]) -> Vec<f32> {
        let Shape {
            t, width, d, heads, ..
        } = self;
        let mut packed = vec![0f32; values.len() * heads * self.values()];
        let each = packed.par_chunks_mut(self.values()).enumerate();
        each.for_each(|(i, to)| {
            let (values, head) = (values[i / heads], i % heads);
            for (panel, to) in to.chunks_exact_mut(t * LANES).enumerate() {
                let channels = LANES.min(d - panel * LANES);
                for (token, to) in to.chunks_exact_mut(LANES).enumerate() {
                    let from = &values[token * width + head * d + panel * LANES..][..channels];
                    to[..channels].copy_from_slice(from);
                }
            }
        });
        packed
    }
}

struct Work<'a> {
    shape: Shape,
    q: &'a [f32],
    /// The packed keys of each slot and head.
    keys: &'a [f32],
    /// The packed values of each carried value (in the order of `carried`, flattened) and head.
    values: &'a [f32],
    carried: &'a [Vec<Carried>],
    out: Shared<'a>,
    means: Option<Shared<'a>>,
}

impl Work<'_> {
    /// Computes all slots of some queries and heads.
    fn block(&self, queries: Range<usize>, heads: Range<usize>) {
        let Shape { t, d, .. } = self.shape;
        let (stride, wide) = (self.shape.stride(), d.next_multiple_of(LANES));
        let lens = [queries.len() * stride, queries.len() * wide, queries.len()];
        with_scratch(lens, |[probs, sums, inverse]| {
            for head in heads {
                let mut written = vec![];
                let mut value = 0;
                for (slot, carried) in self.carried.iter().enumerate() {
                    self.scores(slot, head, &queries, probs);
                    let first = if self.shape.causal {
                        queries.start + 1
                    } else {
                        t
                    };
                    softmax_lines(probs, stride, first..t, inverse);
                    for carry in carried {
                        self.weigh(value, head, probs, sums);
                        let keep = written.contains(&carry.reader);
                        self.put(carry.reader, head, &queries, sums, inverse, keep);
                        written.push(carry.reader);
                        value += 1;
                    }
                    if let Some(means) = self.means {
                        self.add_mean(means, slot, &queries, probs, inverse);
                    }
                }
            }
        });
    }

    /// Adds the share of one head to the mean of the maps of a slot.
    fn add_mean(
        &self,
        means: Shared,
        slot: usize,
        queries: &Range<usize>,
        probs: &[f32],
        inverse: &[f32],
    ) {
        let (Shape { n, t, heads, .. }, stride) = (self.shape, self.shape.stride());
        // SAFETY: with a tap, one task takes all heads, so no other task has these queries.
        let mean = unsafe { means.slice((slot * n + queries.start) * t, queries.len() * t) };
        let share = 1.0 / heads as f32;
        let lines = mean.chunks_exact_mut(t).zip(probs.chunks_exact(stride));
        for ((mean, probs), inverse) in lines.zip(inverse) {
            scale_into(mean, &probs[..t], inverse * share, true);
        }
    }

    /// Computes the scaled scores of a block, `[queries, t]`. The rest of the last panel is written too.
    fn scores(&self, slot: usize, head: usize, queries: &Range<usize>, scores: &mut [f32]) {
        let Shape {
            n,
            t,
            width,
            d,
            heads,
            ..
        } = self.shape;
        let q = &self.q[(slot * n + queries.start) * width + head * d..];
        let keys = &self.keys[(slot * heads + head) * self.shape.keys()..][..self.shape.keys()];
        let lhs = Lhs {
            floats: q,
            stride: width,
            rows: queries.len(),
        };
        let right = Panels {
            floats: keys,
            count: t.div_ceil(LANES),
            stride: d * LANES,
        };
        let sums = Sums {
            floats: scores,
            stride: self.shape.stride(),
        };
        accumulate(d, lhs, right, sums, false);
    }

    /// Computes the weighted values of a block and head, `[queries, d]`. The rest of the last panel is written too.
    fn weigh(&self, value: usize, head: usize, probs: &[f32], sums: &mut [f32]) {
        let Shape { t, d, heads, .. } = self.shape;
        let (stride, wide) = (self.shape.stride(), d.next_multiple_of(LANES));
        let len = self.shape.values();
        let values = &self.values[(value * heads + head) * len..][..len];
        let lhs = Lhs {
            floats: probs,
            stride,
            rows: probs.len() / stride,
        };
        let right = Panels {
            floats: values,
            count: wide / LANES,
            stride: t * LANES,
        };
        let sums = Sums {
            floats: sums,
            stride: wide,
        };
        accumulate(t, lhs, right, sums, false);
    }

    /// Writes `out[reader, queries, head] = sums * inverse`, or adds to the output if `keep`.
    fn put(
        &self,
        reader: usize,
        head: usize,
        queries: &Range<usize>,
        sums: &[f32],
        inverse: &[f32],
        keep: bool,
    ) {
        let Shape { n, width, d, .. } = self.shape;
        let lines = sums.chunks_exact(d.next_multiple_of(LANES)).zip(inverse);
        for (query, (line, inverse)) in queries.clone().zip(lines) {
            // SAFETY: any two tasks differ in their queries or in their heads, so no other task has this
            // part of the output.
            let to = unsafe { self.out.slice((reader * n + query) * width + head * d, d) };
            scale_into(to, &line[..d], *inverse, keep);
        }
    }
}
