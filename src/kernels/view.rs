//! Reading a CPU tensor's floats in place.

use candle_core::{CpuStorage, Storage, Tensor};

use crate::error::Result;

/// A contiguous f32 CPU tensor, copied only where its layout has holes.
pub struct View(Tensor);

impl View {
    /// `x` must be f32 on the CPU (see [`super::fast`]).
    pub fn new(x: &Tensor) -> Result<Self> {
        Ok(Self(x.contiguous()?))
    }

    /// Runs `f` on the floats of all views.
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
