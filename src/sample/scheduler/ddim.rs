//! DDIM: the deterministic first-order solver, and the default. Owns its step; the timesteps and noise
//! levels come from `spacing`.

use candle_core::Tensor;

use super::spacing::Walk;
use super::{Scheduler, noise};
use crate::error::Result;
use crate::model::{Prediction, SchedulerConfig};

/// DDIM (Song et al., 2021) with eta 0, the solver of the reference's notebooks.
#[derive(Debug, Clone)]
pub struct Ddim {
    timesteps: Vec<usize>,
    walk: Walk,
    predicts: Prediction,
}

impl Ddim {
    /// A solver for `steps` steps, 1 to `num_train_timesteps`.
    ///
    /// # Panics
    /// If `steps` is 0.
    pub fn new(config: &SchedulerConfig, steps: usize) -> Self {
        let walk = Walk::new(config, steps);
        Self {
            timesteps: walk.timesteps(),
            walk,
            predicts: config.prediction_type,
        }
    }
}

impl Scheduler for Ddim {
    fn timesteps(&self) -> &[usize] {
        &self.timesteps
    }

    fn step(&mut self, step: usize, predicted: &Tensor, latents: &Tensor) -> Result<Tensor> {
        let (alpha, alpha_after) = self.walk.alphas(step);
        let eps = noise(self.predicts, alpha, predicted, latents)?;
        let noise = (&eps * (1.0 - alpha).sqrt())?;
        let clean = ((latents - noise)? / alpha.sqrt())?; // x_0, eq. 12 of the DDIM paper
        let direction = (eps * (1.0 - alpha_after).sqrt())?;
        Ok(((clean * alpha_after.sqrt())? + direction)?)
    }
}
