//! Access to the floats of a CPU tensor, without a copy. This file never knows what the tensor is for.

use candle_core::{CpuStorage, Storage, Tensor};

use crate::error::Result;

/// A contiguous f32 tensor on the CPU. A tensor that is not contiguous is copied.
pub struct View(Tensor);

impl View {
    /// A view of `x`, which must be f32 on the CPU (see [`super::fast`]).
    pub fn new(x: &Tensor) -> Result<Self> {
        Ok(Self(x.contiguous()?))
    }

    /// Runs `f` on the floats of all views.
    ///
    /// # Errors
    /// If a tensor is not f32 on the CPU.
    pub fn with<R>(views: &[&View], f: impl FnOnce(&[&[f32]]) -> R) -> Result<R> {
        let held: Vec<_> = views.iter().map(|v| v.0.storage_and_layout()).collect();
        let mut slices = vec![];
        for ((storage, layout), view) in held.iter().zip(views) {
            let Storage::Cpu(CpuStorage::F32(floats)) = &**storage else {
                return Err(
                    candle_core::Error::Msg(format!("not f32 on a CPU: {:?}", view.0)).into(),
                );
            };
            let start = layout.start_offset();
            slices.push(&floats[start..start + layout.shape().elem_count()]);
        }
        Ok(f(&slices))
    }
}

/// Runs `f` on the floats of a tensor and of several optional tensors.
pub fn with_optional<const N: usize, R>(
    needed: &Tensor,
    optional: [Option<&Tensor>; N],
    f: impl FnOnce(&[f32], [Option<&[f32]>; N]) -> R,
) -> Result<R> {
    let needed = View::new(needed)?;
    let held = optional
        .iter()
        .flatten()
        .map(|x| View::new(x))
        .collect::<Result<Vec<_>>>()?;
    let views: Vec<&View> = std::iter::once(&needed).chain(&held).collect();
    View::with(&views, |slices| {
        let mut rest = slices[1..].iter();
        let optional = optional.map(|x| x.and_then(|_| rest.next().copied()));
        f(slices[0], optional)
    })
}

/// A copy of the floats of a tensor.
pub fn floats(x: &Tensor) -> Result<Vec<f32>> {
    View::with(&[&View::new(x)?], |s| s[0].to_vec())
}
