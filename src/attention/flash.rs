//! Attention that never has a map, on NVIDIA's cards (Dao et al., FlashAttention-2): for whoever doesn't
//! look at maps. Edits of values need none. Behind the feature `flash-attn`.

use candle_core::{DType, Tensor};

use crate::error::Result;

/// Channels of a head that its kernels are made for.
const MOST: usize = 256;

/// `q [heads, n, d]`, `k` and each of `vs` `[heads, t, d]` to `[heads, n, d]` each; `None` where its kernels
/// don't serve.
pub fn attention(q: &Tensor, k: &Tensor, vs: &[Tensor]) -> Result<Option<Vec<Tensor>>> {
    let d = q.dim(2)?;
    let half = matches!(q.dtype(), DType::F16 | DType::BF16);
    if !q.device().is_cuda() || !half || !d.is_multiple_of(8) || d > MOST {
        return Ok(None);
    }
    let scale = 1.0 / (d as f32).sqrt();
    let turned = |x: &Tensor| x.transpose(0, 1)?.unsqueeze(0); // [1, n, heads, d]
    let (q, k) = (turned(q)?, turned(k)?);
    let carry = |v: &Tensor| -> Result<Tensor> {
        let out = candle_flash_attn::flash_attn(&q, &k, &turned(v)?, scale, false)?;
        Ok(out.squeeze(0)?.transpose(0, 1)?.contiguous()?)
    };
    vs.iter().map(carry).collect::<Result<_>>().map(Some)
}
