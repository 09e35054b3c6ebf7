//! Timesteps and noise levels. Owns diffusers' spacings, `leading` in its two forms, and the two ways to
//! write a noise level: alphas for solvers that keep the variance, sigmas for those that let it grow.
//! Plain numbers; never a tensor.

use crate::error::{Error, Result};
use crate::model::{SchedulerConfig, Spacing};

/// The leading spacing of DDIM, PNDM and Euler: multiples of `trained / steps` from the noisiest down,
/// moved up by the model's offset. With a stride of 1 the offset may lead past the last timestep.
fn leading(config: &SchedulerConfig, steps: usize) -> Vec<usize> {
    let stride = config.num_train_timesteps / steps;
    let timestep = |i| i * stride + config.steps_offset;
    (0..steps).rev().map(timestep).collect()
}

/// The trailing spacing, of all solvers: down from the last timestep by `trained / steps`, rounded as
/// NumPy does, halves to even.
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

/// Those of solvers that go by log-SNR: where they lead, one more, and the last left out.
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

/// `sigma = sqrt((1 - a) / a)` of each timestep, and 0 for the end. A timestep past the table counts as
/// the table's last, as in diffusers' interpolation.
pub fn sigmas(config: &SchedulerConfig, timesteps: &[usize]) -> Vec<f64> {
    let table = config.alphas_cumprod();
    let sigma = |t: &usize| {
        let a = table[*t.min(&(table.len() - 1))];
        f64::from(((1.0 - a) / a).sqrt())
    };
    timesteps.iter().map(sigma).chain([0.0]).collect()
}

/// Timesteps and sigmas of the solver `name`, which divides by the differences of log-SNR.
///
/// Errors: so many steps that two of them share a level, where diffusers walks into infinities.
pub fn falling(
    name: &str,
    config: &SchedulerConfig,
    steps: usize,
) -> Result<(Vec<usize>, Vec<f64>)> {
    let fall = |steps| {
        let timesteps = spaced_inner(config, steps);
        let sigmas = sigmas(config, &timesteps);
        let falls = sigmas.windows(2).all(|pair| pair[0] > pair[1]);
        falls.then_some((timesteps, sigmas))
    };
    fall(steps).ok_or_else(|| {
        let fewer = (1..steps).rev().find(|fewer| fall(*fewer).is_some());
        let fewer = fewer.map_or(String::new(), |n| format!("--steps {n} or "));
        Error::usage(
            format!(
                "--steps {steps} --scheduler {name}: too many to keep the model's {} noise levels apart",
                config.num_train_timesteps
            ),
            format!("use {fewer}--scheduler ddim"),
        )
    })
}

/// A noise level as solvers in log-SNR read it: `x = alpha x_0 + sigma noise`.
#[derive(Debug, Clone, Copy)]
pub struct NoiseLevel {
    pub alpha: f64,
    pub sigma: f64,
    /// `ln(alpha / sigma)`; infinite where no noise is left.
    pub lambda: f64,
}

impl NoiseLevel {
    pub fn at(sigma: f64) -> Self {
        let alpha = 1.0 / (sigma * sigma + 1.0).sqrt();
        Self {
            alpha,
            sigma: sigma * alpha,
            lambda: -sigma.ln(),
        }
    }
}

/// The walk of DDIM and PNDM: from each of the spaced timesteps to one a stride below.
#[derive(Debug, Clone)]
pub struct Walk {
    /// Not yet held to the table: from one past its end the step down to its end is no step at all.
    spaced: Vec<usize>,
    stride: usize,
    alphas_cumprod: Vec<f32>,
    /// Beyond the last timestep: `alphas_cumprod[0]`, or 1 where the model's config says so.
    final_alpha: f32,
}

impl Walk {
    /// `steps` in 1..=`num_train_timesteps`.
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

    pub fn timesteps(&self) -> Vec<usize> {
        let last = self.alphas_cumprod.len() - 1;
        self.spaced.iter().map(|t| *t.min(&last)).collect()
    }

    /// `alphas_cumprod` where a step begins and where it ends.
    pub fn alphas(&self, step: usize) -> (f64, f64) {
        self.alphas_from(self.spaced[step])
    }

    /// The same of the stride that ends where a step begins: not the step before, where timesteps are
    /// rounded.
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
