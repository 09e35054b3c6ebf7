//! PNDM without its Runge-Kutta start, known as PLMS: what Stable Diffusion 1.x is shipped with.
//! Owns the mixing of up to four predictions.

use candle_core::Tensor;

use super::spacing::Walk;
use super::{Scheduler, noise, weighted_sum};
use crate::error::Result;
use crate::model::{Prediction, SchedulerConfig};

/// Adams-Bashforth weights of the predictions so far, newest first (Liu et al., 2022, eq. 12).
const WEIGHTS: [&[f64]; 4] = [
    &[1.0],
    &[3.0 / 2.0, -1.0 / 2.0],
    &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
    &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
];

/// PLMS. The first stride is walked twice, the second time with the mean of the predictions at both of
/// its ends: n steps are n + 1 calls. A single step has no second timestep to look from, and is one call.
#[derive(Debug, Clone)]
pub struct Pndm {
    timesteps: Vec<usize>,
    walk: Walk,
    predicts: Prediction,
    /// Newest first.
    predictions: Vec<Tensor>,
    /// The latents before the first stride.
    start: Option<Tensor>,
}

impl Pndm {
    /// `steps` in 1..=`num_train_timesteps`.
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

    /// From one `alphas_cumprod` to another along what was predicted (eq. 9).
    fn advance(&self, (a, b): (f64, f64), predicted: &Tensor, latents: &Tensor) -> Result<Tensor> {
        let eps = &noise(self.predicts, a, predicted, latents)?;
        let scale = a * (1.0 - b).sqrt() + (a * (1.0 - a) * b).sqrt();
        weighted_sum(&[((b / a).sqrt(), latents), ((a - b) / scale, eps)])
    }
}

impl Scheduler for Pndm {
    fn name(&self) -> &'static str {
        "pndm"
    }

    fn timesteps(&self) -> &[usize] {
        &self.timesteps
    }

    fn step(&mut self, step: usize, predicted: &Tensor, latents: &Tensor) -> Result<Tensor> {
        if step == 1 {
            let mean = weighted_sum(&[(0.5, predicted), (0.5, &self.predictions[0])])?;
            let start = self.start.take().expect("call 0 came before call 1");
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
