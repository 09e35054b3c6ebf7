//! Attention that builds no map, on NVIDIA GPUs (FlashAttention-2, Dao 2023). It serves sites whose maps nobody
//! observes. Edits that only change values need no map. The feature `flash-attn` enables this file. It never knows
//! which row reads the result.

use candle_core::{DType, Tensor};

use crate::error::Result;

/// The most channels per head that the kernels of FlashAttention support.
const MOST: usize = 256;

/// One attention output `[heads, n, d]` for each of `vs`. `q` is `[heads, n, d]`, `k` and each of `vs` are
/// `[heads, t, d]`. The result is `None` if FlashAttention does not support the device, the dtype or `d`.
///
/// # Errors
/// If the kernels fail.
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
