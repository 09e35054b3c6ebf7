//! Euler's method in sigmas, deterministic and ancestral. Owns both solvers.
//!
//! The latents of these solvers grow with the noise level. The start noise is scaled up, and the
//! denoiser's input is scaled back to variance 1.

use candle_core::Tensor;

use super::spacing::{sigmas, spaced};
use super::{Scheduler, weighted_sum};
use crate::error::Result;
use crate::model::{Prediction, SchedulerConfig, Spacing};
use crate::sample::noise::TorchRng;

/// Euler's method (Karras et al., 2022, algorithm 2 without churn).
#[derive(Debug, Clone)]
pub struct Euler {
    timesteps: Vec<usize>,
    sigmas: Vec<f64>,
    predicts: Prediction,
    spacing: Spacing,
}

impl Euler {
    /// A solver for `steps` steps, 1 to `num_train_timesteps`.
    ///
    /// # Panics
    /// If `steps` is 0.
    pub fn new(config: &SchedulerConfig, steps: usize) -> Self {
        let timesteps = spaced(config, steps);
        Self {
            sigmas: sigmas(config, &timesteps),
            timesteps,
            predicts: config.prediction_type,
            spacing: config.timestep_spacing,
        }
    }

    /// The noise level of each timestep, and the end's.
    pub fn sigmas(&self) -> &[f64] {
        &self.sigmas
    }

    /// Moves latents from the noise level of `step` to the level `to`.
    fn walk(&self, step: usize, to: f64, predicted: &Tensor, latents: &Tensor) -> Result<Tensor> {
        let sigma = self.sigmas[step];
        // v is defined for latents of constant variance: alpha times the latents of this solver.
        let (kept, gained) = match self.predicts {
            Prediction::Epsilon => (1.0, to - sigma),
            Prediction::Velocity => {
                let alpha = 1.0 / sigma.hypot(1.0);
                let slope = sigma * alpha * alpha;
                (1.0 + (to - sigma) * slope, (to - sigma) * alpha)
            }
        };
        weighted_sum(&[(kept, latents), (gained, predicted)])
    }
}

impl Scheduler for Euler {
    fn timesteps(&self) -> &[usize] {
        &self.timesteps
    }

    fn init_noise_sigma(&self) -> f64 {
        match self.spacing {
            Spacing::Leading => self.sigmas[0].hypot(1.0),
            // The start is the noisiest level. The little of x_0 that is left there is neglected, as in
            // diffusers.
            Spacing::Trailing => self.sigmas[0],
        }
    }

    fn scale_input(&self, step: usize, latents: &Tensor) -> Result<Tensor> {
        Ok((latents / self.sigmas[step].hypot(1.0))?)
    }

    fn step(&mut self, step: usize, predicted: &Tensor, latents: &Tensor) -> Result<Tensor> {
        self.walk(step, self.sigmas[step + 1], predicted, latents)
    }
}

/// Euler ancestral: each step removes more noise than the next level asks for, and adds the difference
/// as fresh noise (k-diffusion's `sample_euler_ancestral`).
#[derive(Debug, Clone)]
pub struct EulerA {
    euler: Euler,
    rng: TorchRng,
}

impl EulerA {
    /// A solver for `steps` steps, 1 to `num_train_timesteps`. Pass `rng` as the start noise left it: in
    /// diffusers one `torch.Generator` serves the whole pipeline.
    ///
    /// # Panics
    /// If `steps` is 0.
    pub fn new(config: &SchedulerConfig, steps: usize, rng: TorchRng) -> Self {
        let euler = Euler::new(config, steps);
        Self { euler, rng }
    }

    /// The noise level of each timestep, and the end's.
    pub fn sigmas(&self) -> &[f64] {
        &self.euler.sigmas
    }
}

impl Scheduler for EulerA {
    fn timesteps(&self) -> &[usize] {
        &self.euler.timesteps
    }

    fn init_noise_sigma(&self) -> f64 {
        self.euler.init_noise_sigma()
    }

    fn scale_input(&self, step: usize, latents: &Tensor) -> Result<Tensor> {
        self.euler.scale_input(step, latents)
    }

    fn step(&mut self, step: usize, predicted: &Tensor, latents: &Tensor) -> Result<Tensor> {
        let (from, to) = (self.euler.sigmas[step], self.euler.sigmas[step + 1]);
        let ratio = to / from;
        let walked = self.euler.walk(step, to * ratio, predicted, latents)?;
        // One noise for all rows: with a noise of its own, an edit would differ from its source by chance.
        let (_, c, h, w) = latents.dims4()?;
        let noise = self.rng.randn(c * h * w);
        let noise = Tensor::from_vec(noise, (1, c, h, w), latents.device())?;
        let up = to * (1.0 - ratio * ratio).sqrt();
        Ok(walked.broadcast_add(&(noise * up)?)?)
    }
}
