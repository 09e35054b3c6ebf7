//! The table of solvers: names, spellings, a phrase about each, and how to build it. A new solver is its
//! file and its row here. Owns the names; it must never know how a solver works.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Ddim, DpmPp2m, Euler, EulerA, Pndm, Scheduler, UniPc, pndm};
use crate::error::{Error, Result};
use crate::format::nearest;
use crate::message;
use crate::model::SchedulerConfig;
use crate::sample::noise::TorchRng;
use crate::setting::Setting;

/// One solver.
struct Row {
    /// The name in settings and messages.
    name: &'static str,
    /// Other tools' names for it. Case, spaces, `-`, `_` and a final "Scheduler" make no difference.
    aliases: &'static [&'static str],
    /// A phrase for help texts.
    about: &'static str,
    /// A1111's name, as pictures' metadata spell it.
    metadata_name: &'static str,
    /// Denoiser calls for a number of steps.
    calls: fn(usize) -> usize,
    build: fn(&SchedulerConfig, usize, TorchRng) -> Result<Box<dyn Scheduler>>,
}

/// Declares [`SchedulerName`] and its rows.
macro_rules! schedulers {
    ($($variant:ident { $($field:ident: $value:expr,)* })*) => {
        /// The name of a solver. Its text is also its form in serde.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum SchedulerName {
            $(#[doc = concat!("[`", stringify!($variant), "`](crate::sample::", stringify!($variant), ")")]
            $variant,)*
        }

        impl SchedulerName {
            /// All solvers, in the order in which help texts list them.
            pub const ALL: [Self; [$(stringify!($variant)),*].len()] = [$(Self::$variant),*];

            fn row(self) -> &'static Row {
                match self {
                    $(Self::$variant => {
                        static ROW: Row = Row { $($field: $value,)* };
                        &ROW
                    })*
                }
            }
        }
    };
}

schedulers! {
    Ddim {
        name: "ddim",
        aliases: &[],
        about: "deterministic, first order",
        metadata_name: "DDIM",
        calls: |steps| steps,
        build: |config, steps, _| Ok(Box::new(Ddim::new(config, steps))),
    }
    Pndm {
        name: "pndm",
        aliases: &[],
        about: "PLMS, fourth order, Stable Diffusion 1.x's default",
        metadata_name: "PLMS",
        calls: pndm::calls,
        build: |config, steps, _| Ok(Box::new(Pndm::new(config, steps))),
    }
    DpmPp2m {
        name: "dpm++2m",
        aliases: &["dpm++", "dpmpp_2m", "dpmpp", "DPMSolver++", "DPMSolverMultistep"],
        about: "DPM-Solver++, second order, for few steps",
        metadata_name: "DPM++ 2M",
        calls: |steps| steps,
        build: |config, steps, _| Ok(Box::new(DpmPp2m::new(config, steps)?)),
    }
    UniPc {
        name: "unipc",
        aliases: &["UniPCMultistep"],
        about: "predictor and corrector, for few steps",
        metadata_name: "UniPC",
        calls: |steps| steps,
        build: |config, steps, _| Ok(Box::new(UniPc::new(config, steps)?)),
    }
    Euler {
        name: "euler",
        aliases: &["EulerDiscrete"],
        about: "first order, in sigmas",
        metadata_name: "Euler",
        calls: |steps| steps,
        build: |config, steps, _| Ok(Box::new(Euler::new(config, steps))),
    }
    EulerA {
        name: "euler-a",
        aliases: &["euler ancestral", "EulerAncestralDiscrete"],
        about: "Euler with fresh noise at each step, from the same seed",
        metadata_name: "Euler a",
        calls: |steps| steps,
        build: |config, steps, rng| Ok(Box::new(EulerA::new(config, steps, rng))),
    }
}

impl SchedulerName {
    /// The name: `dpm++2m`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// A phrase about the solver, for help texts.
    pub fn about(self) -> &'static str {
        self.row().about
    }

    /// A1111's name for the solver, as pictures' metadata spell it: `DPM++ 2M`.
    pub fn metadata_name(self) -> &'static str {
        self.row().metadata_name
    }

    /// Denoiser calls that `steps` steps take.
    pub fn calls(self, steps: usize) -> usize {
        (self.row().calls)(steps)
    }

    /// A solver for one run of `steps` steps, 1 to `num_train_timesteps`. Solvers that need noise draw it
    /// from `rng`: pass the generator as the start noise left it.
    ///
    /// # Errors
    /// If the solver cannot take so many steps.
    pub fn build(
        self,
        config: &SchedulerConfig,
        steps: usize,
        rng: TorchRng,
    ) -> Result<Box<dyn Scheduler>> {
        (self.row().build)(config, steps, rng).map_err(|error| {
            let (steps, name) = (Setting::Steps.to(steps), Setting::Scheduler.to(self));
            error
                .context(message![steps, " ", name])
                .about(Setting::Steps)
        })
    }

    /// The name and all other spellings.
    fn spellings(self) -> impl Iterator<Item = &'static str> {
        let row = self.row();
        let own = [row.name, row.metadata_name];
        own.into_iter().chain(row.aliases.iter().copied())
    }
}

impl Default for SchedulerName {
    /// DDIM, the solver of the reference's notebooks.
    fn default() -> Self {
        Self::Ddim
    }
}

impl fmt::Display for SchedulerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SchedulerName {
    type Err = Error;

    /// Reads the solver's name or another tool's name for it.
    ///
    /// # Errors
    /// If no solver has the name. The cure lists all solvers, and the nearest one first.
    fn from_str(text: &str) -> Result<Self> {
        let plain_text = plain(text);
        let is_named = |s: &Self| s.spellings().any(|known| plain(known) == plain_text);
        let found = Self::ALL.into_iter().find(is_named);
        found.ok_or_else(|| unknown(text))
    }
}

impl Serialize for SchedulerName {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for SchedulerName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(de::Error::custom)
    }
}

/// A spelling without what makes no difference.
fn plain(name: &str) -> String {
    let mut plain = name.to_lowercase();
    plain.retain(|c| !matches!(c, ' ' | '-' | '_'));
    plain.strip_suffix("scheduler").unwrap_or(&plain).to_owned()
}

fn unknown(text: &str) -> Error {
    let all = SchedulerName::ALL;
    let plain_spellings = |s: SchedulerName| s.spellings().map(move |known| (plain(known), s));
    let spellings: Vec<(String, SchedulerName)> =
        all.into_iter().flat_map(plain_spellings).collect();
    let known = spellings.iter().map(|(known, _)| &**known);
    let near = nearest(&plain(text), known).and_then(|near| {
        let (_, name) = spellings.iter().find(|(known, _)| known == near)?;
        Some(format!("did you mean {name}? "))
    });
    let names = all.map(SchedulerName::name).join(", ");
    Error::usage(
        format!("\"{text}\" is not a scheduler"),
        format!("{}use one of {names}", near.unwrap_or_default()),
    )
    .about(Setting::Scheduler)
    .word(text)
}
