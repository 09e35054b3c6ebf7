//! UniPC: a predictor, and a corrector that improves its step once the next prediction is known.
//! Order 2, B(h) = e^h - 1 ("bh2"), on predicted x_0, with sigma 0 at the end. Owns both halves and the
//! predictions that they remember.

use candle_core::Tensor;

use super::spacing::{NoiseLevel, falling};
use super::{Scheduler, clean, weighted_sum};
use crate::error::Result;
use crate::model::{Prediction, SchedulerConfig};

const ORDER: usize = 2;

/// UniPC-2 (Zhao et al., 2023, algorithms 5 to 8). The first and the last step are of order 1.
#[derive(Debug, Clone)]
pub struct UniPc {
    timesteps: Vec<usize>,
    levels: Vec<NoiseLevel>,
    sigmas: Vec<f64>,
    predicts: Prediction,
    /// Earlier predictions of x_0, newest first.
    clean: Vec<Tensor>,
    /// The corrected latents at which the step before began, and its order.
    before: Option<(Tensor, usize)>,
}

/// A step from one noise level to another along x_0: `x' = keep x + gain (x_0 + correction)`.
struct Leap {
    /// The step in log-SNR.
    h: f64,
    keep: f64,
    gain: f64,
}

impl Leap {
    fn new(from: NoiseLevel, to: NoiseLevel) -> Self {
        let h = to.lambda - from.lambda;
        Self {
            h,
            keep: to.sigma / from.sigma,
            gain: -to.alpha * (-h).exp_m1(),
        }
    }

    /// The corrector's weights of the older prediction, `r` steps back, and of the new one. They match
    /// the first two moments of the step.
    fn corrector(&self, r: f64) -> (f64, f64) {
        let (h, b) = (-self.h, (-self.h).exp_m1());
        let first = b / h - 1.0;
        let second = first / h - 0.5;
        let (first, second) = (first / b, 2.0 * second / b);
        let older = (first - second) / (1.0 - r);
        (older, first - older)
    }
}

impl UniPc {
    /// A solver for `steps` steps, 1 or more.
    ///
    /// # Errors
    /// If the model has fewer noise levels than the steps need.
    pub fn new(config: &SchedulerConfig, steps: usize) -> Result<Self> {
        let (timesteps, sigmas) = falling(config, steps)?;
        Ok(Self {
            timesteps,
            levels: sigmas.iter().copied().map(NoiseLevel::at).collect(),
            sigmas,
            predicts: config.prediction_type,
            clean: vec![],
            before: None,
        })
    }

    /// The noise level of each timestep, and the end's.
    pub fn sigmas(&self) -> &[f64] {
        &self.sigmas
    }

    /// The step from `step`, and the distance of the level before in units of it (negative).
    fn leap(&self, step: usize, order: usize) -> (Leap, f64) {
        let (from, to) = (self.levels[step], self.levels[step + 1]);
        let leap = Leap::new(from, to);
        let r = match order {
            1 => 0.0,
            _ => (self.levels[step - 1].lambda - from.lambda) / leap.h,
        };
        (leap, r)
    }

    /// Makes step `step` again, with the prediction `clean` at its end.
    fn correct(&self, step: usize, start: &Tensor, order: usize, clean: &Tensor) -> Result<Tensor> {
        let (leap, r) = self.leap(step, order);
        let (keep, gain, begin) = (leap.keep, leap.gain, &self.clean[0]);
        if order == 1 {
            return weighted_sum(&[(keep, start), (gain * 0.5, begin), (gain * 0.5, clean)]);
        }
        let (older, new) = leap.corrector(r);
        weighted_sum(&[
            (keep, start),
            (gain * (1.0 - older / r - new), begin),
            (gain * older / r, &self.clean[1]),
            (gain * new, clean),
        ])
    }

    /// Makes step `step` from the predictions so far.
    fn predict(&self, step: usize, order: usize, latents: &Tensor) -> Result<Tensor> {
        let (Leap { keep, gain, .. }, r) = self.leap(step, order);
        if order == 1 {
            return weighted_sum(&[(keep, latents), (gain, &self.clean[0])]);
        }
        weighted_sum(&[
            (keep, latents),
            (gain * (1.0 - 0.5 / r), &self.clean[0]),
            (gain * 0.5 / r, &self.clean[1]),
        ])
    }
}

impl Scheduler for UniPc {
    fn timesteps(&self) -> &[usize] {
        &self.timesteps
    }

    fn step(&mut self, step: usize, predicted: &Tensor, latents: &Tensor) -> Result<Tensor> {
        let clean = clean(self.predicts, self.levels[step], predicted, latents)?;
        // The prediction was made at the uncorrected latents. It is kept: a new one would cost a second
        // denoiser call.
        let latents = match self.before.take() {
            Some((start, order)) => self.correct(step - 1, &start, order, &clean)?,
            None => latents.clone(),
        };
        self.clean.insert(0, clean);
        self.clean.truncate(ORDER);
        let order = self.clean.len().min(self.timesteps.len() - step);
        let next = self.predict(step, order, &latents)?;
        self.before = Some((latents, order));
        Ok(next)
    }
}
