//! Attention as a sum of terms over rows, without a map larger than a block.
//!
//! This file owns which values go through which map, and the plain candle form. The fast CPU form is in
//! `kernels`. This file never knows why one row's map carries another row's values.

use candle_core::{D, DType, Device, Tensor};

use super::{Carry, SitePlan, Term};
use crate::error::Result;
use crate::kernels::plain::widened;
use crate::kernels::{self, Carried};

/// Floats of one block of scores on the CPU: 4 MiB. A block stays in the cache, and is far smaller than a map of 4,096
/// queries.
const BLOCK: usize = 1 << 20;
/// Floats of one block of scores on a GPU: 64 MiB. Small blocks would leave a GPU idle.
const LARGE_BLOCK: usize = 1 << 24;

/// The attention map of a row, averaged over heads.
#[derive(Debug, Clone)]
pub struct HeadMean {
    /// The row of the batch.
    pub row: usize,
    /// The map, `[n, t]`, in f32 on the CPU.
    pub map: Tensor,
}

/// Multi-head attention of tokens-major tensors, under a plan.
///
/// `q` `[read, n, heads * d]` and `k` `[read, t, heads * d]` hold the rows of [`SitePlan::rows_read`], in that order,
/// or all rows, if maps are observed that the plan does not use. `v` `[rows, t, heads * d]` holds all rows. Scores are
/// scaled by `1 / sqrt(d)`. `taps` receives the map of each row of `q`, averaged over heads. The result is
/// `[rows, n, heads * d]`.
///
/// Each row whose map is used has one softmax. The values of its readers go through it one after another,
/// so the bits of an output do not depend on the number of readers.
///
/// # Errors
/// If the shapes do not fit together, or if the plan has another number of rows or uses the map of a missing row.
pub fn attend(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    plan: &SitePlan,
    mut taps: Option<&mut Vec<HeadMean>>,
) -> Result<Tensor> {
    let rows = v.dim(0)?;
    let own: Vec<Vec<Term>>;
    let mix: &[Vec<Term>] = match plan {
        SitePlan::Mix(mix) => mix,
        _ => {
            own = (0..rows).map(|r| vec![Term::own(r)]).collect();
            &own
        }
    };
    let known = mix.len() == rows && mix.iter().flatten().all(|term| term.map_of < rows);
    if !known {
        let message = format!(
            "the plan has {} rows for a batch of {rows}, or uses the map of a missing row",
            mix.len()
        );
        return Err(candle_core::Error::Msg(message).into());
    }
    let read = if q.dim(0)? == rows {
        (0..rows).collect()
    } else {
        plan.rows_read(rows)
    };
    let carried = read
        .iter()
        .map(|&row| carried_values(mix, row, v))
        .collect::<Result<Vec<_>>>()?;
    let tap = taps.is_some();
    let operands = carried.iter().flatten().map(|c| &c.values).chain([q, k]);
    let (out, means) = if kernels::fast(&operands.collect::<Vec<_>>()) {
        kernels::attention(q, k, &carried, rows, heads, tap)?
    } else {
        plain(q, k, &carried, rows, heads, tap)?
    };
    if let (Some(taps), Some(means)) = (&mut taps, means) {
        for (slot, &row) in read.iter().enumerate() {
            let map = shown(&means.get(slot)?)?;
            taps.push(HeadMean { row, map });
        }
    }
    Ok(out)
}

/// A map as a hook receives it: in f32 on the CPU.
pub(super) fn shown(map: &Tensor) -> Result<Tensor> {
    Ok(map.to_dtype(DType::F32)?.to_device(&Device::Cpu)?)
}

/// Full softmax maps, `[rows, heads, n, t]`, for hooks that rewrite maps and for tests. `q` is `[rows, n, heads * d]`,
/// `k` is `[rows, t, heads * d]`. The maps of f16 and bf16 tensors are f32.
///
/// # Errors
/// If the shapes do not fit together.
pub fn probabilities(q: &Tensor, k: &Tensor, heads: usize) -> Result<Tensor> {
    let (q, k) = (by_head(q, heads)?, by_head(k, heads)?);
    let scale = 1.0 / (q.dim(D::Minus1)? as f64).sqrt();
    softmax(&(q * scale)?.matmul(&k.t()?)?)
}

/// The softmax over the last dimension. It is f32 for f16 and bf16 scores.
fn softmax(scores: &Tensor) -> Result<Tensor> {
    Ok(candle_nn::ops::softmax_last_dim(&widened(scores)?)?)
}

/// `[.., tokens, heads*d]` to contiguous `[.., heads, tokens, d]`.
pub(super) fn by_head(x: &Tensor, heads: usize) -> Result<Tensor> {
    let mut shape = x.dims().to_vec();
    let width = shape.pop().unwrap_or(0);
    shape.extend([heads, width / heads]);
    Ok(x.reshape(shape)?
        .transpose(D::Minus2, D::Minus(3))?
        .contiguous()?)
}

/// The values that go through the map of `row`, one entry per term.
fn carried_values(mix: &[Vec<Term>], row: usize, v: &Tensor) -> Result<Vec<Carried>> {
    let mut carried = vec![];
    for (reader, terms) in mix.iter().enumerate() {
        for term in terms.iter().filter(|t| t.map_of == row) {
            let v = v.get(reader)?; // [t, heads*d]
            let values = match &term.carry {
                Carry::Same => v,
                Carry::Share(share) => (v * f64::from(*share))?,
                Carry::Scale(w) => v.broadcast_mul(&like(w, &v)?.unsqueeze(1)?)?,
                Carry::Remap(s) => kernels::matmul(&like(s, &v)?, &v)?,
            };
            carried.push(Carried { reader, values });
        }
    }
    Ok(carried)
}

/// `x` with the dtype and on the device of `other`.
fn like(x: &Tensor, other: &Tensor) -> Result<Tensor> {
    Ok(x.to_dtype(other.dtype())?.to_device(other.device())?)
}

/// The plain form of [`kernels::attention`].
pub(crate) fn plain(
    q: &Tensor,
    k: &Tensor,
    carried: &[Vec<Carried>],
    rows: usize,
    heads: usize,
    tap: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    let (_, n, width) = q.dims3()?;
    let mut out: Vec<Option<Tensor>> = vec![None; rows];
    let mut means = vec![];
    for (slot, carried) in carried.iter().enumerate() {
        let vs = carried
            .iter()
            .map(|c| by_head(&c.values, heads))
            .collect::<Result<Vec<_>>>()?;
        let (q, k) = (
            by_head(&q.get(slot)?, heads)?,
            by_head(&k.get(slot)?, heads)?,
        );
        let (parts, mean) = through_one_map(&q, &k, &vs, tap)?;
        for (carry, part) in carried.iter().zip(parts) {
            let (sum, part) = (&mut out[carry.reader], widened(&part)?);
            *sum = Some(match sum.take() {
                None => part,
                Some(sum) => (sum + part)?,
            });
        }
        means.extend(mean);
    }
    let join = |heads: Option<Tensor>| -> Result<Tensor> {
        let joined = match heads {
            Some(x) => x.transpose(0, 1)?.contiguous()?.flatten_from(1)?, // [n, heads*d]
            None => Tensor::zeros((n, width), q.dtype(), q.device())?,
        };
        Ok(joined.to_dtype(q.dtype())?)
    };
    let out = out.into_iter().map(join).collect::<Result<Vec<_>>>()?;
    let means = if tap {
        Some(Tensor::stack(&means, 0)?)
    } else {
        None
    };
    Ok((Tensor::stack(&out, 0)?, means))
}

/// One softmax over `q` `[heads, n, d]` and `k` `[heads, t, d]`, through which each of `vs` `[heads, t, d]` goes. The size
/// of the blocks of heads and queries depends only on the shape.
///
/// Returns one output `[heads, n, d]` for each of `vs` and, if `tap`, the map averaged over heads, `[n, t]`.
fn through_one_map(
    q: &Tensor,
    k: &Tensor,
    vs: &[Tensor],
    tap: bool,
) -> Result<(Vec<Tensor>, Option<Tensor>)> {
    #[cfg(feature = "flash-attn")]
    if !tap && let Some(parts) = super::flash::attention(q, k, vs)? {
        return Ok((parts, None));
    }
    let (heads, n, d) = q.dims3()?;
    let t = k.dim(1)?;
    let scale = 1.0 / (d as f64).sqrt();
    let block = match q.device() {
        Device::Cpu => BLOCK,
        _ => LARGE_BLOCK,
    };
    let group = (block / (n * t)).clamp(1, heads);
    let chunk = (block / (group * t)).clamp(1, n);
    let mut outs: Vec<Vec<Tensor>> = vec![vec![]; vs.len()]; // per reader, per head group
    let mut mean: Option<Tensor> = None;
    for h in (0..heads).step_by(group) {
        let group = group.min(heads - h);
        let q = (q.narrow(0, h, group)? * scale)?;
        let kt = k.narrow(0, h, group)?.t()?;
        let values = vs
            .iter()
            .map(|v| v.narrow(0, h, group))
            .collect::<candle_core::Result<Vec<_>>>()?;
        let mut blocks: Vec<Vec<Tensor>> = vec![vec![]; vs.len()];
        let mut maps = vec![];
        for j in (0..n).step_by(chunk) {
            let scores = q.narrow(1, j, chunk.min(n - j))?.matmul(&kt)?; // [group, chunk, t]
            let probs = softmax(&scores)?;
            let narrow = probs.to_dtype(q.dtype())?;
            for (blocks, v) in blocks.iter_mut().zip(&values) {
                blocks.push(narrow.matmul(v)?);
            }
            if tap {
                maps.push((probs.sum(0)? / heads as f64)?);
            }
        }
        for (out, blocks) in outs.iter_mut().zip(blocks) {
            out.push(Tensor::cat(&blocks, 1)?);
        }
        if tap {
            let map = Tensor::cat(&maps, 0)?;
            mean = Some(match mean {
                None => map,
                Some(sum) => (sum + map)?,
            });
        }
    }
    let parts = outs
        .iter()
        .map(|o| Tensor::cat(o, 0))
        .collect::<candle_core::Result<Vec<_>>>()?;
    Ok((parts, mean))
}
