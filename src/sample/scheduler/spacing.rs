//! Timesteps and noise levels. Owns diffusers' spacings (`leading` in its two forms) and both ways to
//! write a noise level: alphas for solvers that keep the variance, sigmas for those whose latents grow.
//! It computes with plain numbers and must never know a tensor.

use crate::error::{Error, Result};
use crate::message;
use crate::model::{SchedulerConfig, Spacing};
use crate::setting::Setting;

/// The leading spacing of DDIM, PNDM and Euler: multiples of `trained / steps`, from the noisiest down,
/// plus the model's offset. With a stride of 1 the offset may lead past the last timestep.
fn leading(config: &SchedulerConfig, steps: usize) -> Vec<usize> {
    let stride = config.num_train_timesteps / steps;
    let timestep = |i| i * stride + config.steps_offset;
    (0..steps).rev().map(timestep).collect()
}

/// The trailing spacing of all solvers: from the last timestep down by `trained / steps`. Halves are
/// rounded to even, as NumPy does.
fn trailing(config: &SchedulerConfig, steps: usize) -> Vec<usize> {
    let trained = config.num_train_timesteps as f64;
    let stride = trained / steps as f64;
    let timestep = |i: usize| (trained - i as f64 * stride).round_ties_even() as usize - 1;
    (0..steps).map(timestep).collect()
}

/// The timesteps of DDIM, PNDM and Euler.
pub fn spaced(config: &SchedulerConfig, steps: usize) -> Vec<usize> {
    match config.timestep_spacing {
        Spacing::Leading => leading(config, steps),
        Spacing::Trailing => trailing(config, steps),
    }
}

/// The timesteps of solvers in log-SNR. Their leading spacing is that of one more step without its last
/// timestep.
fn spaced_inner(config: &SchedulerConfig, steps: usize) -> Vec<usize> {
    match config.timestep_spacing {
        Spacing::Leading => {
            let mut timesteps = leading(config, steps + 1);
            timesteps.pop();
            timesteps
        }
        Spacing::Trailing => trailing(config, steps),
    }
}

/// `sigma = sqrt((1 - a) / a)` of each timestep, then 0 for the end. A timestep past the table counts as
/// its last one, as in diffusers' interpolation.
pub fn sigmas(config: &SchedulerConfig, timesteps: &[usize]) -> Vec<f64> {
    let table = config.alphas_cumprod();
    let sigma = |t: &usize| {
        let a = table[*t.min(&(table.len() - 1))];
        f64::from(((1.0 - a) / a).sqrt())
    };
    timesteps.iter().map(sigma).chain([0.0]).collect()
}

/// Timesteps and sigmas for a solver that divides by differences of log-SNR.
///
/// # Errors
/// If two steps share a noise level; diffusers computes infinities there.
pub fn falling(config: &SchedulerConfig, steps: usize) -> Result<(Vec<usize>, Vec<f64>)> {
    let fall = |steps| {
        let timesteps = spaced_inner(config, steps);
        let sigmas = sigmas(config, &timesteps);
        let falls = sigmas.windows(2).all(|pair| pair[0] > pair[1]);
        falls.then_some((timesteps, sigmas))
    };
    fall(steps).ok_or_else(|| {
        let fewer = (1..steps).rev().find(|fewer| fall(*fewer).is_some());
        let ddim = Setting::Scheduler.to("ddim");
        let cause = format!(
            "too many steps to keep the model's {} noise levels apart",
            config.num_train_timesteps
        );
        match fewer {
            Some(n) => Error::usage(cause, message!["use ", Setting::Steps.to(n), " or ", ddim]),
            None => Error::usage(cause, message!["use ", ddim]),
        }
    })
}

/// A noise level for solvers in log-SNR: `x = alpha x_0 + sigma noise`.
#[derive(Debug, Clone, Copy)]
pub struct NoiseLevel {
    /// The share of x_0.
    pub alpha: f64,
    /// The share of the noise.
    pub sigma: f64,
    /// Half the log-SNR, `ln(alpha / sigma)`: infinite without noise.
    pub lambda: f64,
}

impl NoiseLevel {
    /// The level at `sigma`, the ratio of noise to x_0.
    pub fn at(sigma: f64) -> Self {
        let alpha = 1.0 / (sigma * sigma + 1.0).sqrt();
        Self {
            alpha,
            sigma: sigma * alpha,
            lambda: -sigma.ln(),
        }
    }
}

/// The steps of DDIM and PNDM: from each spaced timestep to the one a stride below.
#[derive(Debug, Clone)]
pub struct Walk {
    /// Timesteps, not limited to the table: the step from one past its end to its end changes nothing.
    spaced: Vec<usize>,
    stride: usize,
    alphas_cumprod: Vec<f32>,
    /// `alphas_cumprod` after the last step: `alphas_cumprod[0]`, or 1 if the model's config says so.
    final_alpha: f32,
}

impl Walk {
    /// The steps of a run of `steps`, 1 to `num_train_timesteps`.
    pub fn new(config: &SchedulerConfig, steps: usize) -> Self {
        let alphas_cumprod = config.alphas_cumprod();
        Self {
            spaced: spaced(config, steps),
            stride: config.num_train_timesteps / steps,
            final_alpha: if config.set_alpha_to_one {
                1.0
            } else {
                alphas_cumprod[0]
            },
            alphas_cumprod,
        }
    }

    /// The timesteps at which steps begin, limited to the table.
    pub fn timesteps(&self) -> Vec<usize> {
        let last = self.alphas_cumprod.len() - 1;
        self.spaced.iter().map(|t| *t.min(&last)).collect()
    }

    /// `alphas_cumprod` at the beginning and at the end of a step.
    pub fn alphas(&self, step: usize) -> (f64, f64) {
        self.alphas_from(self.spaced[step])
    }

    /// `alphas_cumprod` at both ends of the stride that ends where `step` begins. With rounded timesteps
    /// this is not the step before.
    pub fn alphas_up_to(&self, step: usize) -> (f64, f64) {
        self.alphas_from(self.spaced[step] + self.stride)
    }

    fn alphas_from(&self, t: usize) -> (f64, f64) {
        let table = &self.alphas_cumprod;
        let at = |t: usize| f64::from(table[t.min(table.len() - 1)]);
        let after = t.checked_sub(self.stride).map(at);
        (at(t), after.unwrap_or(f64::from(self.final_alpha)))
    }
}
