//! What a user asks for, and carrying it out. Owns the one `Job` struct that every front end fills,
//! its check against a model ([`Prepared`]), the plan for people ([`Explanation`]), the run, and the
//! manifest. Never does tensor maths of its own: that is the sampler's and the model's.

mod change;
mod explain;
mod manifest;
mod mask;
mod prepare;
mod preset;
mod rows;
mod run;
mod settings;
mod shared_run;
mod words;

pub use crate::sample::SchedulerName;
pub use change::Change;
pub use explain::Explanation;
pub use manifest::{Manifest, ModelId, PictureEntry, Timings};
pub use mask::MaskSource;
pub use prepare::{Prepared, PreparedEdit};
pub use preset::Preset;
pub use run::{Outcome, Picture, conditioning, run, run_together, starting_noise};
pub use settings::{EditSettings, PictureRole, Settings};
pub use shared_run::{Member, may_share};

use std::fmt;

use crate::edit::{EditKind, Rules, Window};
use crate::report::slug::slug;

/// A source prompt and the edits made from it in one lockstep run. What is `None` is the model's to
/// recommend, else the reference's default.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub src: String,
    /// None draws the source alone.
    pub edits: Vec<EditSpec>,
    pub negative_prompt: String,
    /// As `torch.Generator("cpu")` takes it.
    pub seed: u64,
    pub steps: Option<usize>,
    pub guidance: Option<f64>,
    /// Pixels.
    pub width: Option<usize>,
    pub height: Option<usize>,
    pub scheduler: Option<SchedulerName>,
    /// The finest downscale at which self-attention is injected.
    pub self_res: Option<usize>,
    pub rules: Rules,
    /// `false` runs the edited prompts from the same noise without any injection.
    pub control: bool,
    /// Adds the edited prompts without injection as further rows.
    pub baseline: bool,
    /// `false` draws the edits alone: the source stops once no edit needs it any more, and what an edit
    /// of it did to its picture is not told. Not a byte of the edits depends on it.
    pub draw_source: bool,
    /// Larger tiles in the UNet's finest convolutions: faster, a few times further from exact.
    pub fast: bool,
}

impl Job {
    /// Edits as everything is by default.
    pub fn new(src: &str, edits: Vec<EditSpec>) -> Self {
        Self {
            src: src.to_owned(),
            edits,
            negative_prompt: String::new(),
            seed: 0,
            steps: None,
            guidance: None,
            width: None,
            height: None,
            scheduler: None,
            self_res: None,
            rules: Rules::Ours,
            control: true,
            baseline: false,
            draw_source: true,
            fast: false,
        }
    }
}

impl Job {
    /// What a folder of its results is called where nobody says: its prompts, or where no prompt
    /// differs its factors, and the seed.
    pub fn slug(&self) -> String {
        let named = |spec: &EditSpec| match &spec.dst {
            Some(dst) => dst.clone(),
            None => {
                let factors = spec.weights.iter().map(|(word, f)| format!("{word} {f}"));
                factors.collect::<Vec<_>>().join(" ")
            }
        };
        let mut edits: Vec<String> = self.edits.iter().map(named).collect();
        // A morph names its prompt once.
        edits.dedup();
        let edits: Vec<&str> = edits.iter().map(String::as_str).collect();
        format!("{}-{}", slug(&self.src, &edits), self.seed)
    }
}

/// One edit of a job's source.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EditSpec {
    /// The edited prompt; `None` re-weights the prompt it edits.
    pub dst: Option<String>,
    /// The edit it is an edit of, by its place in the job, in a chain; `None` is the source.
    pub of: Option<usize>,
    /// What stands below unless it is given.
    pub preset: Option<Preset>,
    /// `None` is the preset's, else chosen by the prompts.
    pub kind: Option<EditKind>,
    /// Chooses by the prompts whatever the preset says.
    pub auto_kind: bool,
    /// Its own; `None` is the job's.
    pub negative_prompt: Option<String>,
    /// Word or phrase, and its factor.
    pub weights: Vec<(String, f32)>,
    /// When the factors act; `None` is inside the cross-attention windows, as in the reference.
    pub weight_steps: Option<Window>,
    /// For all words without a window of their own.
    pub cross_steps: Option<Window>,
    pub cross_steps_of: Vec<(String, Window)>,
    pub self_steps: Option<Window>,
    /// When the latents are copied from what is edited; `None` is never.
    pub inject_latents: Option<Window>,
    /// How much of the edit is done; `None` is 1, all of it.
    pub strength: Option<f64>,
    pub blend: BlendSpec,
}

/// Where in the picture an edit may act. Nothing given is everywhere.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BlendSpec {
    pub words: Vec<BlendWords>,
    /// Words whose places are left alone.
    pub keep: Vec<String>,
    /// Of the peak attention: for the words, and for those that are kept.
    pub threshold: Option<(f32, f32)>,
    /// Part of the run from which on it acts.
    pub from: Option<f64>,
    pub soft: bool,
    /// The user's own mask: white may change.
    pub mask: Option<MaskSource>,
}

/// Words that say where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlendWords {
    /// Those in which the prompts differ.
    Changed,
    /// Words that stand in either prompt.
    Either(Vec<String>),
    /// Words of the prompt that is edited, and of the edited one.
    Pair(Vec<String>, Vec<String>),
}

impl EditSpec {
    /// The words that say where: those given, else the preset's.
    pub fn blend_words(&self) -> &[BlendWords] {
        let preset = self.preset.is_some_and(|preset| preset.settings().blend);
        match preset && self.blend.words.is_empty() {
            true => &[BlendWords::Changed],
            false => &self.blend.words,
        }
    }
}

impl fmt::Display for BlendWords {
    /// As it is typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => f.write_str("auto"),
            Self::Either(words) => f.write_str(&words.join(",")),
            Self::Pair(base, edited) => write!(f, "{}:{}", base.join(","), edited.join(",")),
        }
    }
}
