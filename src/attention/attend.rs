//! Attention as a sum of terms over rows, without building a map larger than a block.
//! Owns which values go through which map, and the plain candle form; the blocked CPU form is a
//! kernel. It never knows why one row's map carries another row's values.

use candle_core::{D, DType, Device, Tensor};

use super::{Carry, SitePlan, Term};
use crate::error::Result;
use crate::kernels::plain::widened;
use crate::kernels::{self, Carried};

/// Floats of one block of scores: 4 MiB, hot in cache, far below one map at 4,096 queries.
const BLOCK: usize = 1 << 20;
/// Of a graphics card, which is idle over small ones: 64 MiB.
const LARGE_BLOCK: usize = 1 << 24;

/// A row's map averaged over heads, `[n, t]`.
#[derive(Debug, Clone)]
pub struct HeadMean {
    pub row: usize,
    /// In f32, on the CPU.
    pub map: Tensor,
}

/// Multi-head attention, tokens-major.
///
/// `q` `[read, n, heads*d]` and `k` `[read, t, heads*d]` hold the rows of `plan.rows_read(rows)`, in
/// that order, or all rows, for a look at maps that nobody reads; `v` `[rows, t, heads*d]` holds all.
/// Scores are scaled by `1/sqrt(d)`. `taps` receives the head-mean map of every row of `q`. Returns
/// `[rows, n, heads*d]`.
///
/// For each row that somebody reads there is one softmax; its readers' carried values go through it
/// one after another, so an output's bits do not depend on how many readers there are.
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
            "a plan of {} rows for {rows}, or a map of a missing row",
            mix.len()
        );
        return Err(candle_core::Error::Msg(message).into());
    }
    let read = match q.dim(0)? == rows {
        true => (0..rows).collect(),
        false => plan.rows_read(rows),
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

/// A map as whoever looks at it gets it: in f32, on the CPU.
pub(super) fn shown(map: &Tensor) -> Result<Tensor> {
    Ok(map.to_dtype(DType::F32)?.to_device(&Device::Cpu)?)
}

/// Full softmax maps `[rows, heads, n, t]`: for hooks that rewrite, and for specifications. Of numbers
/// of 16 bits they are f32.
pub fn probabilities(q: &Tensor, k: &Tensor, heads: usize) -> Result<Tensor> {
    let (q, k) = (by_head(q, heads)?, by_head(k, heads)?);
    let scale = 1.0 / (q.dim(D::Minus1)? as f64).sqrt();
    softmax(&(q * scale)?.matmul(&k.t()?)?)
}

/// In f32 at least.
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

/// What each reader of `row`'s map sends through it.
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

/// On the other's device, as its numbers.
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

/// One softmax over `q [heads, n, d]` and `k [heads, t, d]`, carrying each of `vs [heads, t, d]`.
/// Works on blocks of heads and queries whose size depends on the shape alone.
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
