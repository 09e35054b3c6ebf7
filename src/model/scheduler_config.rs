//! The noise schedule that a model was trained with. The user chooses the solver, so keys about solvers are
//! ignored (diffusers' `from_config` follows them); all other keys are held to what is supported. Never knows
//! a solver.

use serde::Serialize;

use super::config::Config;
use crate::error::Result;

/// Keys that choose a solver's order and form.
const SOLVER_KEYS: &[&str] = &[
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

/// `scheduler/scheduler_config.json`. Defaults are those of google/prompt-to-prompt's notebooks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SchedulerConfig {
    /// Timesteps of training.
    pub num_train_timesteps: usize,
    /// The noise variance of the first training step.
    pub beta_start: f64,
    /// The noise variance of the last training step.
    pub beta_end: f64,
    /// How the noise variance grows in between.
    pub beta_schedule: BetaSchedule,
    /// What is added to timesteps of `leading` spacing.
    pub steps_offset: usize,
    /// Whether the last step of a run ends at a picture without noise, instead of at the first training step.
    pub set_alpha_to_one: bool,
    /// What the UNet predicts.
    pub prediction_type: Prediction,
    /// Which timesteps a run visits.
    pub timestep_spacing: Spacing,
}

/// What the UNet was trained to predict.
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
    /// The name in diffusers' configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::Velocity => "v_prediction",
        }
    }

    /// The prediction with a name of diffusers' configs.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Epsilon, Self::Velocity]
            .into_iter()
            .find(|prediction| prediction.name() == name)
    }
}

/// Which timesteps a run visits (Lin et al., 2024, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// Multiples of a stride, from 0 up.
    Leading,
    /// Multiples of a stride, from the last and noisiest timestep down.
    Trailing,
}

/// How the noise variance grows between its first and its last value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BetaSchedule {
    /// Linearly.
    Linear,
    /// Linearly in its square root.
    ScaledLinear,
}

impl SchedulerConfig {
    /// Reads the config.
    ///
    /// # Errors
    /// [`Error::Model`](crate::error::Error::Model) for values that are not supported.
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
            |key: &str, value: &str| config.error(&format!("{key} {value} is not supported"));
        config.ignore(SOLVER_KEYS);
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

    /// Cumulative products of `1 - beta`, one per training timestep (Ho et al., 2020). They are rounded to f32
    /// where torch rounds, because trajectories are compared to 1e-5.
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

/// `torch.linspace` in f32, which counts from both ends towards the middle.
fn linspace(start: f32, end: f32, n: usize) -> Vec<f32> {
    let step = if n > 1 {
        (end - start) / (n - 1) as f32
    } else {
        0.0
    };
    let at = |i: usize| {
        if i < n / 2 {
            start + step * i as f32
        } else {
            end - step * (n - 1 - i) as f32
        }
    };
    (0..n).map(at).collect()
}
