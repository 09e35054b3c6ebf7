//! Euler's method in sigmas, deterministic and ancestral. Their latents grow with the noise, so the
//! start is scaled up and the denoiser's input down.

use candle_core::Tensor;

use super::spacing::{sigmas, spaced};
use super::{Scheduler, weighted_sum};
use crate::error::Result;
use crate::model::{Prediction, SchedulerConfig, Spacing};
use crate::sample::noise::TorchRng;

/// Euler (Karras et al., 2022, algorithm 2 without churn).
#[derive(Debug, Clone)]
pub struct Euler {
    timesteps: Vec<usize>,
    sigmas: Vec<f64>,
    predicts: Prediction,
    spacing: Spacing,
}

impl Euler {
    /// `steps` in 1..=`num_train_timesteps`.
    pub fn new(config: &SchedulerConfig, steps: usize) -> Self {
        let timesteps = spaced(config, steps);
        Self {
            sigmas: sigmas(config, &timesteps),
            timesteps,
            predicts: config.prediction_type,
            spacing: config.timestep_spacing,
        }
    }

    /// One per timestep, and the end's.
    pub fn sigmas(&self) -> &[f64] {
        &self.sigmas
    }

    /// From the noise level at `step` to `to`.
    fn walk(&self, step: usize, to: f64, predicted: &Tensor, latents: &Tensor) -> Result<Tensor> {
        let sigma = self.sigmas[step];
        // These latents are 1 / alpha of those that v is defined by.
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
    fn name(&self) -> &'static str {
        "euler"
    }

    fn timesteps(&self) -> &[usize] {
        &self.timesteps
    }

    fn init_noise_sigma(&self) -> f64 {
        match self.spacing {
            Spacing::Leading => self.sigmas[0].hypot(1.0),
            // From the very end of the noise: what is left of x_0 there is left out, as in diffusers.
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

/// Euler ancestral: each step walks too far down and comes back up with fresh noise.
#[derive(Debug, Clone)]
pub struct EulerA {
    euler: Euler,
    rng: TorchRng,
}

impl EulerA {
    /// `steps` in 1..=`num_train_timesteps`. `rng` goes on where the start noise left it, as one
    /// `torch.Generator` given to a whole pipeline does.
    pub fn new(config: &SchedulerConfig, steps: usize, rng: TorchRng) -> Self {
        let euler = Euler::new(config, steps);
        Self { euler, rng }
    }

    /// One per timestep, and the end's.
    pub fn sigmas(&self) -> &[f64] {
        &self.euler.sigmas
    }
}

impl Scheduler for EulerA {
    fn name(&self) -> &'static str {
        "euler-a"
    }

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
        // One noise for all rows, or edits would part from their source by chance.
        let (_, c, h, w) = latents.dims4()?;
        let noise = self.rng.randn(c * h * w);
        let noise = Tensor::from_vec(noise, (1, c, h, w), latents.device())?;
        let up = to * (1.0 - ratio * ratio).sqrt();
        Ok(walked.broadcast_add(&(noise * up)?)?)
    }
}
