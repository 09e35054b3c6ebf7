//! PNDM without its Runge-Kutta start, known as PLMS: the scheduler that Stable Diffusion 1.x ships with.
//! Owns the mixing of up to four predictions and the second call of the first step.

use candle_core::Tensor;

use super::spacing::Walk;
use super::{Scheduler, noise, weighted_sum};
use crate::error::Result;
use crate::model::{Prediction, SchedulerConfig};

/// Adams-Bashforth weights of the known predictions, newest first (Liu et al., 2022, eq. 12).
const WEIGHTS: [&[f64]; 4] = [
    &[1.0],
    &[3.0 / 2.0, -1.0 / 2.0],
    &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
    &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
];

/// Denoiser calls of `steps` steps.
pub(super) fn calls(steps: usize) -> usize {
    if steps > 1 { steps + 1 } else { steps }
}

/// PLMS. The first step is made twice, the second time with the mean of the predictions at both of its
/// ends, so n steps take n + 1 denoiser calls. A single step has no second timestep and takes one call.
#[derive(Debug, Clone)]
pub struct Pndm {
    timesteps: Vec<usize>,
    walk: Walk,
    predicts: Prediction,
    /// Earlier predictions, newest first.
    predictions: Vec<Tensor>,
    /// The latents before the first step, until it is made again.
    start: Option<Tensor>,
}

impl Pndm {
    /// A solver for `steps` steps, 1 to `num_train_timesteps`.
    ///
    /// # Panics
    /// If `steps` is 0.
    pub fn new(config: &SchedulerConfig, steps: usize) -> Self {
        let walk = Walk::new(config, steps);
        let mut timesteps = walk.timesteps();
        if let Some(second) = timesteps.get(1).copied() {
            timesteps.insert(1, second);
        }
        Self {
            timesteps,
            walk,
            predicts: config.prediction_type,
            predictions: vec![],
            start: None,
        }
    }

    /// Moves latents from one `alphas_cumprod` to another along a prediction (eq. 9).
    fn advance(&self, (a, b): (f64, f64), predicted: &Tensor, latents: &Tensor) -> Result<Tensor> {
        let eps = &noise(self.predicts, a, predicted, latents)?;
        let scale = a * (1.0 - b).sqrt() + (a * (1.0 - a) * b).sqrt();
        weighted_sum(&[((b / a).sqrt(), latents), ((a - b) / scale, eps)])
    }
}

impl Scheduler for Pndm {
    fn timesteps(&self) -> &[usize] {
        &self.timesteps
    }

    fn step(&mut self, step: usize, predicted: &Tensor, latents: &Tensor) -> Result<Tensor> {
        if step == 1 {
            // A run that begins here has no first step to make again, and call 2 is at the same timestep.
            let Some(start) = self.start.take() else {
                return Ok(latents.clone());
            };
            let mean = weighted_sum(&[(0.5, predicted), (0.5, &self.predictions[0])])?;
            return self.advance(self.walk.alphas_up_to(1), &mean, &start);
        }
        if step == 0 {
            self.start = Some(latents.clone());
        }
        self.predictions.insert(0, predicted.clone());
        self.predictions.truncate(WEIGHTS.len());
        let weights = WEIGHTS[self.predictions.len() - 1];
        let terms: Vec<(f64, &Tensor)> = weights.iter().copied().zip(&self.predictions).collect();
        let alphas = self.walk.alphas(step.saturating_sub(1));
        self.advance(alphas, &weighted_sum(&terms)?, latents)
    }
}
