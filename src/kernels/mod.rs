//! Fast CPU operations, each beside its plain candle form. Never knows what a model is.
//!
//! Activations are tokens-major, `[rows, tokens, channels]` or `[rows, h, w, channels]`, f32. The
//! plain forms (`plain.rs`) serve other devices, gradients, and the tests as oracle; [`fast`] decides.
//!
//! One law holds in every file here: an output element is computed by the same operations in the
//! same order whatever the number of rows and threads. A sum of products is one chain of fused
//! multiply-adds over ascending `k` (`micro.rs`), so tiles and tasks may be cut as suits the machine;
//! only the choice of algorithm matters, and it follows from the layer's shape alone (`weight.rs`).
//!
//! | file | owns |
//! |---|---|
//! | `form`, `lanes` | which instructions; sixteen floats at once |
//! | `micro`, `packed`, `product` | the inner loops; weights in their order; tasks and what follows a sum |
//! | `conv`, `winograd`, `attention`, `norm`, `activation`, `rows` | the operations |
//! | `weight` | which form a layer keeps its weight in |
//! | `peak` | what the machine could do at best |

mod activation;
mod attention;
mod conv;
mod form;
mod lanes;
mod math;
mod micro;
mod norm;
mod packed;
mod peak;
pub mod plain;
mod product;
mod rows;
mod scratch;
mod view;
mod weight;
mod winograd;

pub use activation::{geglu, quick_gelu, silu};
pub use attention::{Carried, attention, causal_attention};
pub use conv::{Conv, Padding, conv2d, geglu_linear, linear};
pub use form::Form;
pub use norm::{Moments, group_norm, group_norm_of_part, layer_norm};
pub use peak::fma_peak;
pub use rows::{concat_channels, matmul};
pub use weight::{ConvWeight, Packing};

use candle_core::{DType, Tensor};

use crate::device::Compute;
use crate::error::Result;

/// Whether our own kernels may take these tensors: CPU, f32, and no gradient asked for.
pub fn fast(tensors: &[&Tensor]) -> bool {
    let ours = |x: &&Tensor| x.device().is_cpu() && x.dtype() == DType::F32 && !x.track_op();
    tensors.iter().all(ours)
}

/// Within what bits agree: the family of forms that compute f32 on the CPU, `plain` for its other numbers,
/// else the kind of device.
pub fn family(compute: &Compute) -> &'static str {
    match compute.kind() {
        "cpu" if compute.is_plain() => Form::current().family(),
        "cpu" => "plain",
        kind => kind,
    }
}

/// Kernels go through raw pointers: what their safety stands on is checked, not assumed.
fn require(holds: bool, what: &str) -> Result<()> {
    match holds {
        true => Ok(()),
        false => Err(candle_core::Error::Msg(format!("kernel: {what}")).into()),
    }
}
