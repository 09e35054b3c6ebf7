//! Fast CPU operations, each with a plain candle form. This module never knows what a model is.
//!
//! Activations are tokens-major f32 tensors: `[rows, tokens, channels]` or `[rows, h, w, channels]`.
//! [`fast`] decides whether an operation runs its fast form. The [`plain`] form serves other devices, other dtypes
//! and gradients. Tests compare the fast forms with it.
//!
//! One law holds in every file of this module: an output element is computed by the same operations in the
//! same order for any number of rows and threads. A sum of products is one chain of fused
//! multiply-adds over ascending `k` (`micro.rs`), so tiles and tasks can be cut to suit the machine. The algorithm
//! affects the bits too, but it depends only on the shape of the layer (`weight.rs`).
//!
//! | file | owns |
//! |---|---|
//! | `form`, `lanes` | the instruction set in use; vectors of sixteen floats |
//! | `micro`, `packed`, `product` | the inner loops of products; packed right operands; tasks, bias and activation |
//! | `math`, `scratch`, `view` | `exp`, the error function and softmax; memory of tasks; the floats of a tensor |
//! | `conv`, `winograd`, `attention`, `norm`, `activation`, `rows` | the operations |
//! | `weight` | the form in which a layer keeps its weight |
//! | `peak` | the peak rate of the machine |

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

/// Whether the fast kernels can take these tensors: all of them are f32, on the CPU, and not tracked for gradients.
pub fn fast(tensors: &[&Tensor]) -> bool {
    let ours = |x: &&Tensor| x.device().is_cpu() && x.dtype() == DType::F32 && !x.track_op();
    tensors.iter().all(ours)
}

/// The name of the group of machines that compute the same bits: the family of the current [`Form`] for f32 on the
/// CPU, `plain` for other dtypes on the CPU, otherwise the kind of device.
pub fn family(compute: &Compute) -> &'static str {
    match compute.kind() {
        "cpu" if compute.is_plain() => Form::current().family(),
        "cpu" => "plain",
        kind => kind,
    }
}

/// Checks a precondition of a kernel.
fn require(holds: bool, what: &str) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(candle_core::Error::Msg(format!("kernel: {what}")).into())
    }
}
