//! The solvers a job may name: their names, the spellings people bring along, and making one.
//! Owns the list; how a solver works is floor 5's.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::format::nearest;
use crate::model::SchedulerConfig;
use crate::sample::noise::TorchRng;
use crate::sample::{Ddim, DpmPp2m, Euler, EulerA, Pndm, Scheduler, UniPc};

/// The solvers a job may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SchedulerName {
    #[default]
    Ddim,
    Pndm,
    DpmPp2m,
    UniPc,
    Euler,
    EulerA,
}

impl SchedulerName {
    pub const ALL: [Self; 6] = [
        Self::Ddim,
        Self::Pndm,
        Self::DpmPp2m,
        Self::UniPc,
        Self::Euler,
        Self::EulerA,
    ];

    pub fn name(self) -> &'static str {
        self.spellings()[0]
    }

    /// The name, then other tools' names. Case, spaces, `-`, `_` and a final "Scheduler" don't count.
    fn spellings(self) -> &'static [&'static str] {
        match self {
            Self::Ddim => &["ddim"],
            Self::Pndm => &["pndm", "plms"],
            Self::DpmPp2m => &[
                "dpm++2m",
                "dpm++",
                "dpmpp_2m",
                "dpmpp",
                "DPMSolver++",
                "DPMSolverMultistep",
            ],
            Self::UniPc => &["unipc", "UniPCMultistep"],
            Self::Euler => &["euler", "EulerDiscrete"],
            Self::EulerA => &["euler-a", "euler ancestral", "EulerAncestralDiscrete"],
        }
    }

    /// What it is, in a phrase.
    pub fn about(self) -> &'static str {
        match self {
            Self::Ddim => "deterministic, first order",
            Self::Pndm => "PLMS, fourth order, Stable Diffusion 1.x's default",
            Self::DpmPp2m => "DPM-Solver++, second order, for few steps",
            Self::UniPc => "predictor and corrector, for few steps",
            Self::Euler => "first order, in sigmas",
            Self::EulerA => "Euler with fresh noise at each step, from the same seed",
        }
    }

    /// Denoiser calls that so many steps take. PLMS looks at its second timestep twice.
    pub fn calls(self, steps: usize) -> usize {
        match self {
            Self::Pndm if steps > 1 => steps + 1,
            _ => steps,
        }
    }

    /// A solver for one run. `rng` stands where the start noise left it.
    ///
    /// Errors: a number of steps that this solver cannot take.
    pub fn build(
        self,
        config: &SchedulerConfig,
        steps: usize,
        rng: TorchRng,
    ) -> Result<Box<dyn Scheduler>> {
        Ok(match self {
            Self::Ddim => Box::new(Ddim::new(config, steps)),
            Self::Pndm => Box::new(Pndm::new(config, steps)),
            Self::DpmPp2m => Box::new(DpmPp2m::new(config, steps)?),
            Self::UniPc => Box::new(UniPc::new(config, steps)?),
            Self::Euler => Box::new(Euler::new(config, steps)),
            Self::EulerA => Box::new(EulerA::new(config, steps, rng)),
        })
    }
}

impl fmt::Display for SchedulerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SchedulerName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let spelled = |s: &Self| {
            s.spellings()
                .iter()
                .any(|known| plain(known) == plain(text))
        };
        let found = Self::ALL.into_iter().find(spelled);
        found.ok_or_else(|| unknown(text))
    }
}

fn plain(name: &str) -> String {
    let mut plain = name.to_lowercase();
    plain.retain(|c| !matches!(c, ' ' | '-' | '_'));
    plain.strip_suffix("scheduler").unwrap_or(&plain).to_owned()
}

fn unknown(text: &str) -> Error {
    let spellings = SchedulerName::ALL.into_iter().flat_map(|s| {
        let plain = s.spellings().iter().map(|known| plain(known));
        plain.map(move |known| (known, s))
    });
    let spellings: Vec<(String, SchedulerName)> = spellings.collect();
    let known = spellings.iter().map(|(known, _)| &**known);
    let near = nearest(&plain(text), known).and_then(|near| {
        let (_, name) = spellings.iter().find(|(known, _)| known == near)?;
        Some(format!("did you mean {name}? "))
    });
    let (near, names) = (near.unwrap_or_default(), SchedulerName::ALL);
    Error::usage(
        format!("\"{text}\" is not a scheduler"),
        format!(
            "{near}use one of {}",
            names.map(SchedulerName::name).join(", ")
        ),
    )
}
