//! Schedulers: which timesteps are visited, and how a predicted noise moves the latents.
//! Owns the trait and the arithmetic that all solvers share. They never know rows, prompts or edits;
//! randomness, where one needs it, is an argument.
//!
//! Each does what diffusers' scheduler of that name does, made by `from_config` of the model's config,
//! with that config's spacing, `leading` or `trailing`. (Where a config names no spacing, diffusers gives
//! `linspace` to all but DDIM and PNDM; ours stay with `leading`.) A config also says what the denoiser
//! predicts, the noise or v; solvers turn v into what they go by. Scalars are f64 from f32 tables, which
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
use crate::model::Prediction;
use spacing::NoiseLevel;

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

    /// From the latents at `timesteps()[step]` to the next ones; `predicted` is the guided prediction of
    /// what the model predicts.
    fn step(&mut self, step: usize, predicted: &Tensor, latents: &Tensor) -> Result<Tensor>;
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
fn clean(
    kind: Prediction,
    level: NoiseLevel,
    predicted: &Tensor,
    latents: &Tensor,
) -> Result<Tensor> {
    let of_latents = match kind {
        Prediction::Epsilon => 1.0 / level.alpha,
        Prediction::Velocity => level.alpha,
    };
    let of_predicted = match kind {
        Prediction::Epsilon => -level.sigma * of_latents,
        Prediction::Velocity => -level.sigma,
    };
    weighted_sum(&[(of_latents, latents), (of_predicted, predicted)])
}

/// The noise as a prediction at a noise level, `alpha^2` of which is `alpha_cumprod`, has it.
fn noise(
    kind: Prediction,
    alpha_cumprod: f64,
    predicted: &Tensor,
    latents: &Tensor,
) -> Result<Tensor> {
    match kind {
        Prediction::Epsilon => Ok(predicted.clone()),
        Prediction::Velocity => weighted_sum(&[
            (alpha_cumprod.sqrt(), predicted),
            ((1.0 - alpha_cumprod).sqrt(), latents),
        ]),
    }
}
