//! DPM-Solver++ of second order, multistep ("2M"), in the midpoint form, with sigma 0 at the end.
//! Owns its step and the prediction that it remembers.

use candle_core::Tensor;

use super::spacing::{NoiseLevel, falling};
use super::{Scheduler, clean, weighted_sum};
use crate::error::Result;
use crate::model::{Prediction, SchedulerConfig};

/// DPM-Solver++ (2M) (Lu et al., 2022, algorithm 2): extrapolates from the predicted x_0 and its slope
/// since the step before. Two steps are of first order: the first one, which knows no slope yet, and the
/// last one, which ends without noise.
#[derive(Debug, Clone)]
pub struct DpmPp2m {
    timesteps: Vec<usize>,
    sigmas: Vec<f64>,
    predicts: Prediction,
    /// The x_0 that the step before predicted.
    before: Option<Tensor>,
}

impl DpmPp2m {
    /// A solver for `steps` steps, 1 or more.
    ///
    /// # Errors
    /// If the model has fewer noise levels than the steps need.
    pub fn new(config: &SchedulerConfig, steps: usize) -> Result<Self> {
        let (timesteps, sigmas) = falling(config, steps)?;
        Ok(Self {
            timesteps,
            sigmas,
            predicts: config.prediction_type,
            before: None,
        })
    }

    /// The noise level of each timestep, and the end's.
    pub fn sigmas(&self) -> &[f64] {
        &self.sigmas
    }
}

impl Scheduler for DpmPp2m {
    fn timesteps(&self) -> &[usize] {
        &self.timesteps
    }

    fn step(&mut self, step: usize, predicted: &Tensor, latents: &Tensor) -> Result<Tensor> {
        let (from, to) = (
            NoiseLevel::at(self.sigmas[step]),
            NoiseLevel::at(self.sigmas[step + 1]),
        );
        let clean = clean(self.predicts, from, predicted, latents)?;
        let h = to.lambda - from.lambda;
        let gain = -to.alpha * (-h).exp_m1();
        let keep = to.sigma / from.sigma;
        let last = step + 1 == self.timesteps.len();
        match self.before.replace(clean.clone()) {
            Some(before) if !last => {
                let h_before = from.lambda - NoiseLevel::at(self.sigmas[step - 1]).lambda;
                let slope = 0.5 * h / h_before;
                weighted_sum(&[
                    (keep, latents),
                    (gain * (1.0 + slope), &clean),
                    (-gain * slope, &before),
                ])
            }
            _ => weighted_sum(&[(keep, latents), (gain, &clean)]),
        }
    }
}
