//! The settings that a model's makers recommend. Owns `p2p.json`, and how a model that was distilled to few
//! steps is told from others. Never knows what a job asks for instead.

use super::config::Config;
use super::files::ModelFiles;
use super::scheduler_config::{Prediction, SchedulerConfig, Spacing};
use crate::error::Result;

/// Recommended settings: from an optional `p2p.json` beside `model_index.json`, or those of a model that was
/// distilled to few steps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recommended {
    /// Denoising steps.
    pub steps: Option<usize>,
    /// Guidance scale.
    pub guidance: Option<f64>,
    /// The class of the scheduler in diffusers.
    pub scheduler: Option<String>,
    /// End of the cross-attention window, as a fraction of the run.
    pub cross_steps: Option<f64>,
    /// End of the self-attention window, as a fraction of the run.
    pub self_steps: Option<f64>,
    /// The words that the model was trained on, in lower case. Empty for a model that does not list them.
    pub words: Vec<String>,
}

/// Steps of a model that was distilled to few: the most that such models are made for, because windows are
/// fractions of a run and mean nothing with one step.
const FEW_STEPS: usize = 4;

impl Recommended {
    /// Collects the recommendations. `file` is the scheduler's config.
    pub(super) fn new(
        files: &ModelFiles,
        file: &Config,
        scheduler: &SchedulerConfig,
    ) -> Result<Self> {
        let few = few_steps(file, scheduler)?;
        let written = p2p_json(files)?;
        Ok(Self {
            steps: written.steps.or(few.steps),
            guidance: written.guidance.or(few.guidance),
            scheduler: few.scheduler,
            ..written
        })
    }
}

/// The recommendation for a distilled model. Only such models (SD Turbo and SDXL Turbo among them) are shipped
/// with Euler's method, ancestral or not, with `trailing` timesteps and predicted noise. Guidance is built into
/// their weights.
fn few_steps(file: &Config, scheduler: &SchedulerConfig) -> Result<Recommended> {
    let class = file.string("_class_name")?.unwrap_or_default();
    let euler = ["EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler"];
    let distilled = euler.contains(&class.as_str())
        && scheduler.timestep_spacing == Spacing::Trailing
        && scheduler.prediction_type == Prediction::Epsilon;
    if !distilled {
        return Ok(Recommended::default());
    }
    Ok(Recommended {
        steps: Some(FEW_STEPS),
        guidance: Some(1.0),
        scheduler: Some(class),
        ..Recommended::default()
    })
}

fn p2p_json(files: &ModelFiles) -> Result<Recommended> {
    const PATH: &str = "p2p.json";
    if !files.has(PATH) {
        return Ok(Recommended::default());
    }
    let config = Config::parse(&files.name(PATH), &files.read(PATH)?)?
        .with_cure("correct the file, or remove it: it only recommends settings");
    let recommended = Recommended {
        steps: config.usize("steps")?,
        guidance: config.f64("guidance")?,
        scheduler: None,
        cross_steps: config.f64("cross_steps")?,
        self_steps: config.f64("self_steps")?,
        words: match config.value("words") {
            Some(_) => config.strings("words")?,
            None => vec![],
        },
    };
    config.finish()?;
    let fraction = |x: Option<f64>| x.is_none_or(|x| (0.0..=1.0).contains(&x));
    if !fraction(recommended.cross_steps) || !fraction(recommended.self_steps) {
        return Err(config.error("cross_steps and self_steps are fractions from 0 to 1"));
    }
    if recommended.steps.is_some_and(|n| !(1..=1000).contains(&n)) {
        return Err(config.error("steps must be a whole number from 1 to 1000"));
    }
    let guidance = recommended.guidance;
    if guidance.is_some_and(|g| !(0.0..=100.0).contains(&g)) {
        return Err(config.error("guidance must be a number from 0 to 100"));
    }
    Ok(recommended)
}
