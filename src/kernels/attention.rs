//! Attention by blocks of queries: scores, softmax and values of a block while it is in cache. Reads
//! and writes tokens-major tensors in place through strides; no map larger than a block exists.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::math::softmax_rows;
use super::require;
use super::tile::{Shared, Strides, product, with_scratch};
use super::view::View;
use crate::error::Result;

/// Queries of a block.
const QUERIES: usize = 64;

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
    let (slots, n, width) = q.dims3()?;
    check(q, k, carried, rows, heads)?;
    let shape = Shape {
        n,
        t: k.dim(1)?,
        width,
        d: width / heads,
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
        let work = Work {
            shape,
            q: s[0],
            k: s[1],
            values: &s[2..],
            carried,
            heads,
        };
        let (out, means) = (Shared::new(&mut out), tap.then(|| Shared::new(&mut means)));
        // A block's mean runs over all heads, so with a tap one task takes them all.
        let split = if tap { 1 } else { heads };
        (0..n.div_ceil(QUERIES) * split)
            .into_par_iter()
            .for_each(|task| {
                let first = task / split * QUERIES;
                let queries = first..(first + QUERIES).min(n);
                let heads = if tap {
                    0..heads
                } else {
                    task % split..task % split + 1
                };
                work.block(queries, heads, out, means);
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
}

struct Work<'a> {
    shape: Shape,
    q: &'a [f32],
    k: &'a [f32],
    /// In the order of `carried`, flattened.
    values: &'a [&'a [f32]],
    carried: &'a [Vec<Carried>],
    heads: usize,
}

impl Work<'_> {
    /// All slots of some queries and heads.
    fn block(
        &self,
        queries: std::ops::Range<usize>,
        heads: std::ops::Range<usize>,
        out: Shared,
        means: Option<Shared>,
    ) {
        let Shape { n, t, .. } = self.shape;
        with_scratch(queries.len() * t, |probs| {
            for head in heads {
                let mut written = vec![];
                let mut values = self.values.iter();
                for (slot, carried) in self.carried.iter().enumerate() {
                    self.probabilities(slot, head, &queries, probs);
                    for carry in carried {
                        let values = values.next().expect("a view per carried tensor");
                        let keep = written.contains(&carry.reader);
                        self.carry(probs, values, head, carry.reader, &queries, keep, out);
                        written.push(carry.reader);
                    }
                    if let Some(means) = means {
                        // SAFETY: with a tap this task alone has these queries; the slice is theirs.
                        let mean = unsafe {
                            let first = means.at((slot * n + queries.start) * t);
                            std::slice::from_raw_parts_mut(first, probs.len())
                        };
                        let share = 1.0 / self.heads as f32;
                        mean.iter_mut()
                            .zip(&*probs)
                            .for_each(|(m, p)| *m += p * share);
                    }
                }
            }
        });
    }

    /// Softmax of the scaled scores of a block, `[queries, t]`.
    fn probabilities(
        &self,
        slot: usize,
        head: usize,
        queries: &std::ops::Range<usize>,
        probs: &mut [f32],
    ) {
        let Shape { n, t, width, d } = self.shape;
        let q = &self.q[(slot * n + queries.start) * width + head * d..];
        let k = &self.k[slot * t * width + head * d..];
        // SAFETY: q has queries.len() lines of `width` from its start, less the columns before the
        // head; k has t; the head's d columns lie inside both. `probs` is this thread's.
        unsafe {
            product(
                (queries.len(), t, d),
                probs.as_mut_ptr(),
                Strides::rows_of(t),
                false,
                q.as_ptr(),
                Strides::rows_of(width),
                k.as_ptr(),
                Strides { row: 1, col: width },
                1.0 / (d as f32).sqrt(),
            );
        }
        softmax_rows(probs, t);
    }

    /// `out[reader, queries, head] (+)= probs . values[.., head]`
    #[allow(clippy::too_many_arguments)]
    fn carry(
        &self,
        probs: &[f32],
        values: &[f32],
        head: usize,
        reader: usize,
        queries: &std::ops::Range<usize>,
        keep: bool,
        out: Shared,
    ) {
        let Shape { n, t, width, d } = self.shape;
        // SAFETY: the output block (reader, queries, head) belongs to this task alone, since tasks
        // differ in queries or head; values has t lines of `width`.
        unsafe {
            product(
                (queries.len(), d, t),
                out.at((reader * n + queries.start) * width + head * d),
                Strides::rows_of(width),
                keep,
                probs.as_ptr(),
                Strides::rows_of(t),
                values[head * d..].as_ptr(),
                Strides::rows_of(width),
                1.0,
            );
        }
    }
}
