//! What a user asks for, and carrying it out. Owns the one `Job` struct that every front end fills,
//! its check against a model ([`Prepared`]), the run, and the manifest. Never does tensor maths of
//! its own: that is the sampler's and the model's.

mod manifest;
mod prepare;
mod run;
mod scheduler;

pub use manifest::{Manifest, Timings};
pub use prepare::{Prepared, PreparedEdit};
pub use run::{Outcome, Picture, conditioning, run, starting_noise};
pub use scheduler::SchedulerName;

use crate::edit::{EditKind, Rules, Window};

/// A source prompt and the edits made from it in one lockstep run. What is `None` is the model's to
/// recommend, else the reference's default.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub src: String,
    /// At least one.
    pub edits: Vec<EditSpec>,
    pub negative_prompt: String,
    /// As `torch.Generator("cpu")` takes it.
    pub seed: u64,
    pub steps: Option<usize>,
    pub guidance: Option<f64>,
    /// Pixels.
    pub width: Option<usize>,
    pub height: Option<usize>,
    pub scheduler: SchedulerName,
    /// The finest downscale at which self-attention is injected.
    pub self_res: Option<usize>,
    pub rules: Rules,
    /// `false` runs the edited prompts from the same noise without any injection.
    pub control: bool,
    /// Adds the edited prompts without injection as further rows.
    pub baseline: bool,
}

/// One edit of a job's source.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EditSpec {
    /// The edited prompt; `None` re-weights the source prompt itself.
    pub dst: Option<String>,
    /// `None` chooses by the word counts.
    pub kind: Option<EditKind>,
    /// Word or phrase, and its factor.
    pub weights: Vec<(String, f32)>,
    /// For all words without a window of their own.
    pub cross_steps: Option<Window>,
    pub cross_steps_of: Vec<(String, Window)>,
    pub self_steps: Option<Window>,
}
