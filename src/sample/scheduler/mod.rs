//! Schedulers: which timesteps are visited, and how a predicted noise moves the latents.
//! Owns the trait and the arithmetic that all solvers share. They never know rows, prompts or edits;
//! randomness, where one needs it, is an argument.
//!
//! Each does what diffusers' scheduler of that name does, made by `from_config` of the model's DDIM
//! config, with that config's spacing, `leading`. (Where a config names no spacing, diffusers gives
//! `linspace` to all but DDIM and PNDM; ours stay with `leading`.) Scalars are f64 from f32 tables, which
//! is at least as exact as diffusers' f32 scalars.

mod ddim;
mod dpm;
mod euler;
mod pndm;
mod spacing;
mod unipc;

pub use ddim::Ddim;
pub use dpm::DpmPp2m;
pub use euler::{Euler, EulerA};
pub use pndm::Pndm;
pub use unipc::UniPc;

use candle_core::Tensor;

use crate::error::Result;
use spacing::Level;

/// A deterministic or stochastic solver of the denoising process. It serves one run, whose steps are
/// taken in order: most solvers remember earlier predictions.
pub trait Scheduler: Send {
    /// As the user names it: `ddim`.
    fn name(&self) -> &'static str;

    /// Training timesteps in the order they are visited, one per denoiser call.
    fn timesteps(&self) -> &[usize];

    /// What the start noise is multiplied by.
    fn init_noise_sigma(&self) -> f64 {
        1.0
    }

    /// The latents as the denoiser is shown them at a step.
    fn scale_input(&self, _step: usize, latents: &Tensor) -> Result<Tensor> {
        Ok(latents.clone())
    }

    /// From the latents at `timesteps()[step]` to the next ones; `eps` is the guided prediction.
    fn step(&mut self, step: usize, eps: &Tensor, latents: &Tensor) -> Result<Tensor>;
}

/// `sum factor * tensor`, in the order given. Element by element, so rows never meet.
fn weighted_sum(terms: &[(f64, &Tensor)]) -> Result<Tensor> {
    let ((factor, first), rest) = terms.split_first().expect("a sum has a term");
    let mut sum = (*first * *factor)?;
    for (factor, tensor) in rest {
        sum = (sum + (*tensor * *factor)?)?;
    }
    Ok(sum)
}

/// x_0 as a prediction at a noise level has it.
fn clean(level: Level, eps: &Tensor, latents: &Tensor) -> Result<Tensor> {
    let per_alpha = 1.0 / level.alpha;
    weighted_sum(&[(per_alpha, latents), (-level.sigma * per_alpha, eps)])
}
