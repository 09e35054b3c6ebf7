//! Schedulers: which timesteps are visited, and how a predicted noise moves the latents.
//! They never know rows, prompts or edits. Randomness, where one needs it, is an argument.

use candle_core::Tensor;

use crate::error::Result;
use crate::model::SchedulerConfig;

/// A deterministic or stochastic solver of the denoising process.
pub trait Scheduler {
    /// As the user names it: `ddim`.
    fn name(&self) -> &'static str;

    /// Training timesteps in the order they are visited, one per denoiser call.
    fn timesteps(&self) -> &[usize];

    /// From the latents at `timesteps()[step]` to the next ones; `eps` is the guided prediction.
    fn step(&mut self, step: usize, eps: &Tensor, latents: &Tensor) -> Result<Tensor>;
}

/// DDIM (Song et al., 2021), eta 0, leading spacing: what the reference's notebooks sample with.
#[derive(Debug, Clone)]
pub struct Ddim {
    timesteps: Vec<usize>,
    stride: usize,
    alphas_cumprod: Vec<f32>,
    /// Beyond the last timestep: `alphas_cumprod[0]`, or 1 where the model's config says so.
    final_alpha: f32,
}

impl Ddim {
    /// `steps` in 1..=`num_train_timesteps`.
    pub fn new(config: &SchedulerConfig, steps: usize) -> Self {
        let alphas_cumprod = config.alphas_cumprod();
        let stride = config.num_train_timesteps / steps;
        let last = config.num_train_timesteps - 1;
        // With as many steps as training timesteps the offset would step past the table.
        let timesteps = (0..steps)
            .rev()
            .map(|i| (i * stride + config.steps_offset).min(last))
            .collect();
        let final_alpha = if config.set_alpha_to_one {
            1.0
        } else {
            alphas_cumprod[0]
        };
        Self {
            timesteps,
            stride,
            alphas_cumprod,
            final_alpha,
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
        let t = self.timesteps[step];
        let alpha = f64::from(self.alphas_cumprod[t]);
        let before = t.checked_sub(self.stride);
        let alpha_before = f64::from(before.map_or(self.final_alpha, |t| self.alphas_cumprod[t]));
        let noise = (eps * (1.0 - alpha).sqrt())?;
        let predicted = ((latents - noise)? / alpha.sqrt())?; // x_0, eq. 12 of the DDIM paper
        let direction = (eps * (1.0 - alpha_before).sqrt())?;
        Ok(((predicted * alpha_before.sqrt())? + direction)?)
    }
}
