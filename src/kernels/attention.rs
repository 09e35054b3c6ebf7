//! Attention by blocks of queries: scores, softmax and values of a block while it is in cache. Reads
//! and writes tokens-major tensors in place through strides; no map larger than a block exists.

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

/// Floats of a block of scores, about: half of a second cache.
const SCORES: usize = 1 << 17;

/// Values that go through one row's map, and the output row they are added to.
#[derive(Debug, Clone)]
pub struct Carried {
    pub reader: usize,
    /// `[t, heads * d]`
    pub values: Tensor,
}

/// For each slot `s`, one softmax over `q[s] [n, heads * d]` and `k[s] [t, heads * d]` carries every
/// `carried[s]` into its reader's row; a row that several slots carry into gets their sum, in the
/// order of slots. Returns `[rows, n, heads * d]` and, if `tap`, each slot's map averaged over heads,
/// `[slots, n, t]`. Needs [`super::fast`] tensors.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    carried: &[Vec<Carried>],
    rows: usize,
    heads: usize,
    tap: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    run(q, k, carried, rows, heads, tap, false)
}

/// Attention of each row to its own tokens up to itself: `q`, `k`, `v` `[rows, t, heads * d]`.
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
    Ok(run(q, k, &carried, rows, heads, false, true)?.0)
}

fn run(
    q: &Tensor,
    k: &Tensor,
    carried: &[Vec<Carried>],
    rows: usize,
    heads: usize,
    tap: bool,
    causal: bool,
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
        // A block's mean runs over all heads, so with a tap one task takes them all.
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

/// Everything that the pointers below rely on.
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
    n: usize,
    t: usize,
    width: usize,
    d: usize,
    heads: usize,
    /// Whether a token looks at no later one.
    causal: bool,
}

impl Shape {
    /// Floats of a query's scores: whole panels, and not a power of two apart, or the lines of a tile
    /// would all fall into the same few places of the first cache.
    fn stride(self) -> usize {
        let whole = self.t.next_multiple_of(LANES);
        whole + if whole.is_multiple_of(256) { LANES } else { 0 }
    }

    /// Floats of one head's packed keys, and of its packed values.
    fn keys(self) -> usize {
        self.t.next_multiple_of(LANES) * self.d
    }

    fn values(self) -> usize {
        self.t * self.d.next_multiple_of(LANES)
    }

    /// Each slot's and head's keys as panels of sixteen tokens, `[d, 16]` each, times the scale of the
    /// scores.
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

    /// Each carried value's heads as panels of sixteen channels, `[t, 16]` each.
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
    /// Per slot and head.
    keys: &'a [f32],
    /// Per carried value, in the order of `carried` flattened, and head.
    values: &'a [f32],
    carried: &'a [Vec<Carried>],
    out: Shared,
    means: Option<Shared>,
}

impl Work<'_> {
    /// All slots of some queries and heads.
    fn block(&self, queries: Range<usize>, heads: Range<usize>) {
        let Shape { n, t, d, .. } = self.shape;
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
                    // SAFETY: the stride is whole panels of all t scores.
                    unsafe { softmax_lines(probs, stride, first..t, inverse) };
                    for carry in carried {
                        self.weigh(value, head, probs, sums);
                        let keep = written.contains(&carry.reader);
                        self.put(carry.reader, head, &queries, sums, inverse, keep);
                        written.push(carry.reader);
                        value += 1;
                    }
                    if let Some(means) = self.means {
                        // SAFETY: with a tap this task alone has these queries.
                        let mean = unsafe {
                            means.slice((slot * n + queries.start) * t, queries.len() * t)
                        };
                        let share = 1.0 / self.shape.heads as f32;
                        for ((mean, probs), inverse) in mean
                            .chunks_exact_mut(t)
                            .zip(probs.chunks_exact(stride))
                            .zip(&*inverse)
                        {
                            scale_into(mean, &probs[..t], inverse * share, true);
                        }
                    }
                }
            }
        });
    }

    /// Scaled scores of a block, `[queries, t]` and the rest of the last panel.
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
            first: q.as_ptr(),
            stride: width,
            rows: queries.len(),
        };
        let right = Panels {
            first: keys.as_ptr(),
            count: t.div_ceil(LANES),
            stride: d * LANES,
        };
        let sums = Sums {
            first: scores.as_mut_ptr(),
            stride: self.shape.stride(),
        };
        // SAFETY: q has queries.len() lines of `width` from its start, less the columns before the
        // head; the scores are this task's, a line of all panels per query.
        unsafe { accumulate(d, lhs, right, sums, false) };
    }

    /// The block's values of a head, `[queries, d]` and the rest of the last panel.
    fn weigh(&self, value: usize, head: usize, probs: &[f32], sums: &mut [f32]) {
        let Shape { t, d, heads, .. } = self.shape;
        let (stride, wide) = (self.shape.stride(), d.next_multiple_of(LANES));
        let len = self.shape.values();
        let values = &self.values[(value * heads + head) * len..][..len];
        let lhs = Lhs {
            first: probs.as_ptr(),
            stride,
            rows: probs.len() / stride,
        };
        let right = Panels {
            first: values.as_ptr(),
            count: wide / LANES,
            stride: t * LANES,
        };
        let sums = Sums {
            first: sums.as_mut_ptr(),
            stride: wide,
        };
        // SAFETY: a line of t probabilities and one of all panels of sums per query.
        unsafe { accumulate(t, lhs, right, sums, false) };
    }

    /// `out[reader, queries, head] (+)= sums * inverse`
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
            // SAFETY: the output block (reader, queries, head) is this task's alone, since tasks
            // differ in queries or head.
            let to = unsafe { self.out.slice((reader * n + query) * width + head * d, d) };
            scale_into(to, &line[..d], *inverse, keep);
        }
    }
}
