//! DDIM: the deterministic first-order solver, the default.

use candle_core::Tensor;

use super::spacing::Walk;
use super::{Scheduler, noise};
use crate::error::Result;
use crate::model::{Prediction, SchedulerConfig};

/// DDIM (Song et al., 2021), eta 0: what the reference's notebooks sample with.
#[derive(Debug, Clone)]
pub struct Ddim {
    timesteps: Vec<usize>,
    walk: Walk,
    predicts: Prediction,
}

impl Ddim {
    /// `steps` in 1..=`num_train_timesteps`.
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
    fn name(&self) -> &'static str {
        "ddim"
    }

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
