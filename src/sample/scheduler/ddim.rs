//! DDIM: the deterministic first-order solver, the default.

use candle_core::Tensor;

use super::Scheduler;
use super::spacing::Walk;
use crate::error::Result;
use crate::model::SchedulerConfig;

/// DDIM (Song et al., 2021), eta 0, leading spacing: what the reference's notebooks sample with.
#[derive(Debug, Clone)]
pub struct Ddim {
    timesteps: Vec<usize>,
    walk: Walk,
}

impl Ddim {
    /// `steps` in 1..=`num_train_timesteps`.
    pub fn new(config: &SchedulerConfig, steps: usize) -> Self {
        let walk = Walk::new(config, steps);
        Self {
            timesteps: walk.timesteps(),
            walk,
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

    fn step(&mut self, step: usize, eps: &Tensor, latents: &Tensor) -> Result<Tensor> {
        let (alpha, alpha_after) = self.walk.alphas(step);
        let noise = (eps * (1.0 - alpha).sqrt())?;
        let predicted = ((latents - noise)? / alpha.sqrt())?; // x_0, eq. 12 of the DDIM paper
        let direction = (eps * (1.0 - alpha_after).sqrt())?;
        Ok(((predicted * alpha_after.sqrt())? + direction)?)
    }
}
