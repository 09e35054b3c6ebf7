//! What a model's makers recommend. Owns where that is found: `p2p.json`, and how a model that was
//! distilled to few steps is told from others. Never knows what a job asks for instead.

use super::config::Config;
use super::files::Files;
use super::scheduler_config::{Prediction, SchedulerConfig, Spacing};
use crate::error::Result;

/// From an optional `p2p.json` beside `model_index.json`, else by the scheduler of a model that was
/// distilled to few steps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recommended {
    pub steps: Option<usize>,
    pub guidance: Option<f64>,
    /// As diffusers' class is named.
    pub scheduler: Option<String>,
    /// Part of the run, from its beginning.
    pub cross_steps: Option<f64>,
    pub self_steps: Option<f64>,
    /// The words the model was trained on, in lower case; empty where it isn't so small as to list them.
    pub words: Vec<String>,
}

/// Where few are enough, the most that such models are said to be made for: in fractions of a single
/// step windows would mean nothing.
const FEW_STEPS: usize = 4;

impl Recommended {
    /// `file` is the scheduler's config, as it is written.
    pub(super) fn new(files: &Files, file: &Config, scheduler: &SchedulerConfig) -> Result<Self> {
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

/// Turbo models and their like are shipped with Euler's method, ancestral or not, from the very last
/// timestep down (`trailing`), on predicted noise; no other model is. They have guidance built in.
fn few_steps(file: &Config, scheduler: &SchedulerConfig) -> Result<Recommended> {
    let class = file.string("_class_name")?.unwrap_or_default();
    let euler = ["EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler"];
    let distilled = euler.contains(&class.as_str())
        && scheduler.timestep_spacing == Spacing::Trailing
        && scheduler.prediction_type == Prediction::Epsilon;
    Ok(match distilled {
        false => Recommended::default(),
        true => Recommended {
            steps: Some(FEW_STEPS),
            guidance: Some(1.0),
            scheduler: Some(class),
            ..Recommended::default()
        },
    })
}

fn p2p_json(files: &Files) -> Result<Recommended> {
    const PATH: &str = "p2p.json";
    if !files.has(PATH) {
        return Ok(Recommended::default());
    }
    let config = Config::parse(&files.name(PATH), &files.read(PATH)?)?
        .or_else("mend the file, or remove it: it only recommends");
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
    if recommended
        .guidance
        .is_some_and(|g| !(0.0..=100.0).contains(&g))
    {
        return Err(config.error("guidance must be a number from 0 to 100"));
    }
    Ok(recommended)
}
