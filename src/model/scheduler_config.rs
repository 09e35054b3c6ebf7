//! The noise schedule a model was trained with. Which solver samples it is the user's choice, and its
//! name says its order and form, so keys that would choose those are named and passed over (diffusers'
//! `from_config` follows them); all others are held to what is implemented.

use serde::Serialize;

use super::config::Config;
use crate::error::Result;

/// What solvers are told about themselves.
const OF_SOLVERS: &[&str] = &[
    "algorithm_type",
    "clip_sample_range",
    "disable_corrector",
    "dynamic_thresholding_ratio",
    "euler_at_final",
    "final_sigmas_type",
    "flow_shift",
    "interpolation_type",
    "lambda_min_clipped",
    "lower_order_final",
    "predict_x0",
    "sample_max_value",
    "sigma_max",
    "sigma_min",
    "skip_prk_steps",
    "solver_order",
    "solver_p",
    "solver_type",
    "timestep_type",
    "use_beta_sigmas",
    "use_exponential_sigmas",
    "use_flow_sigmas",
    "use_karras_sigmas",
    "use_lu_lambdas",
    "variance_type",
];

/// `scheduler/scheduler_config.json`; defaults are those of the reference's notebooks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SchedulerConfig {
    pub num_train_timesteps: usize,
    pub beta_start: f64,
    pub beta_end: f64,
    pub beta_schedule: BetaSchedule,
    pub steps_offset: usize,
    pub set_alpha_to_one: bool,
    pub prediction_type: Prediction,
    pub timestep_spacing: Spacing,
}

/// What the denoiser was trained to predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Prediction {
    /// The noise.
    #[serde(rename = "epsilon")]
    Epsilon,
    /// v = alpha noise - sigma x_0 (Salimans & Ho, 2022).
    #[serde(rename = "v_prediction")]
    Velocity,
}

impl Prediction {
    /// As diffusers' configs call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::Velocity => "v_prediction",
        }
    }

    /// The one that is called so.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Epsilon, Self::Velocity]
            .into_iter()
            .find(|of| of.name() == name)
    }
}

/// Which timesteps a run of n steps visits (Lin et al., 2024, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// Multiples of a stride, from 0.
    Leading,
    /// The same from the last, noisiest one.
    Trailing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BetaSchedule {
    Linear,
    /// Linear in the square root.
    ScaledLinear,
}

impl SchedulerConfig {
    pub fn parse(config: &Config) -> Result<Self> {
        config.off(&[
            "clip_sample",
            "thresholding",
            "rescale_betas_zero_snr",
            "trained_betas",
        ])?;
        let schedule = config.string("beta_schedule")?;
        let (predicts, spacing) = (
            config.string("prediction_type")?,
            config.string("timestep_spacing")?,
        );
        let unknown =
            |key: &str, value: &str| config.error(&format!("{key} {value} is not implemented"));
        config.ignore(OF_SOLVERS);
        let parsed = Self {
            num_train_timesteps: config.usize("num_train_timesteps")?.unwrap_or(1000),
            beta_start: config.f64("beta_start")?.unwrap_or(0.00085),
            beta_end: config.f64("beta_end")?.unwrap_or(0.012),
            beta_schedule: match schedule.as_deref().unwrap_or("scaled_linear") {
                "scaled_linear" => BetaSchedule::ScaledLinear,
                "linear" => BetaSchedule::Linear,
                other => return Err(unknown("beta_schedule", other)),
            },
            steps_offset: config.usize("steps_offset")?.unwrap_or(1),
            set_alpha_to_one: config.bool("set_alpha_to_one", false)?,
            prediction_type: match predicts.as_deref().unwrap_or("epsilon") {
                "epsilon" => Prediction::Epsilon,
                "v_prediction" => Prediction::Velocity,
                other => return Err(unknown("prediction_type", other)),
            },
            timestep_spacing: match spacing.as_deref().unwrap_or("leading") {
                "leading" => Spacing::Leading,
                "trailing" => Spacing::Trailing,
                other => return Err(unknown("timestep_spacing", other)),
            },
        };
        config.finish()?;
        parsed.check(config)?;
        Ok(parsed)
    }

    fn check(&self, config: &Config) -> Result<()> {
        let beta = |x: f64| x > 0.0 && x < 1.0;
        if !beta(self.beta_start) || !beta(self.beta_end) {
            return Err(config.error("beta_start and beta_end must lie between 0 and 1"));
        }
        if self.steps_offset >= self.num_train_timesteps {
            return Err(config.error("steps_offset must be below num_train_timesteps"));
        }
        Ok(())
    }

    /// Cumulative products of `1 - beta`, one per training timestep. Rounded to f32 where torch
    /// rounds, since trajectories are compared to 1e-5.
    pub fn alphas_cumprod(&self) -> Vec<f32> {
        let (n, scaled) = (
            self.num_train_timesteps,
            self.beta_schedule == BetaSchedule::ScaledLinear,
        );
        let root = |x: f64| if scaled { x.sqrt() } else { x };
        let betas = linspace(root(self.beta_start) as f32, root(self.beta_end) as f32, n);
        let mut product = 1f64; // torch accumulates a float cumprod in double
        let mut step = |beta: f32| {
            let beta = if scaled { beta * beta } else { beta };
            product *= f64::from(1.0 - beta);
            product as f32
        };
        betas.into_iter().map(&mut step).collect()
    }
}

/// torch.linspace in f32: from both ends towards the middle.
fn linspace(start: f32, end: f32, n: usize) -> Vec<f32> {
    let step = if n > 1 {
        (end - start) / (n - 1) as f32
    } else {
        0.0
    };
    let at = |i: usize| match i < n / 2 {
        true => start + step * i as f32,
        false => end - step * (n - 1 - i) as f32,
    };
    (0..n).map(at).collect()
}
