//! Schedulers: which timesteps are visited, and how a predicted noise moves the latents.
//! Owns the trait, the table of names and the arithmetic that all solvers share. A solver must never know
//! rows, prompts or edits; if it needs noise, it is given a generator.
//!
//! Each solver does what diffusers' scheduler of that name does, built by `from_config` from the model's
//! config, with that config's spacing, `leading` or `trailing`. Without a spacing in the config, diffusers
//! takes `linspace` for all but DDIM and PNDM; our solvers take `leading`. A config also says whether the
//! denoiser predicts the noise or v; solvers convert v to what they integrate. Scalars are f64 from f32
//! tables, which is at least as exact as diffusers' f32 scalars.

mod ddim;
mod dpm;
mod euler;
mod pndm;
mod spacing;
mod table;
mod unipc;

pub use ddim::Ddim;
pub use dpm::DpmPp2m;
pub use euler::{Euler, EulerA};
pub use pndm::Pndm;
pub use table::SchedulerName;
pub use unipc::UniPc;

use candle_core::Tensor;

use crate::error::Result;
use crate::model::Prediction;
use spacing::NoiseLevel;

/// A deterministic or stochastic solver of the denoising process. It serves one run, whose steps are
/// taken in order, because most solvers remember earlier predictions. The run may begin at any step: a
/// solver without a history takes its first step at first order.
pub trait Scheduler: Send {
    /// Training timesteps in the order in which they are visited, one for each denoiser call.
    fn timesteps(&self) -> &[usize];

    /// The factor of the start noise.
    fn init_noise_sigma(&self) -> f64 {
        1.0
    }

    /// The latents as the denoiser takes them at a step, `[rows, channels, h, w]`.
    ///
    /// # Errors
    /// If a tensor operation fails.
    fn scale_input(&self, _step: usize, latents: &Tensor) -> Result<Tensor> {
        Ok(latents.clone())
    }

    /// Moves latents `[rows, channels, h, w]` from the noise level of `timesteps()[step]` to the next
    /// one. `predicted` is the guided prediction of the noise or of v, as the model was trained.
    ///
    /// # Errors
    /// If a tensor operation fails.
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

/// The x_0 that a prediction at a noise level implies.
fn clean(
    kind: Prediction,
    level: NoiseLevel,
    predicted: &Tensor,
    latents: &Tensor,
) -> Result<Tensor> {
    let (of_latents, of_predicted) = match kind {
        Prediction::Epsilon => (1.0 / level.alpha, -level.sigma * (1.0 / level.alpha)),
        Prediction::Velocity => (level.alpha, -level.sigma),
    };
    weighted_sum(&[(of_latents, latents), (of_predicted, predicted)])
}

/// The noise that a prediction at a noise level implies.
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
