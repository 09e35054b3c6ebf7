//! A user's request, and carrying it out. Owns the [`Job`] that every front end fills, the [settings](RunSettings)
//! it resolves to, its check against a model ([`Prepared`]), the plan for people ([`Explanation`]), the run, and
//! the manifest. It must never do tensor maths of its own: that is the sampler's and the model's.

mod change;
mod explain;
mod manifest;
mod mask;
mod prepare;
mod prepare_edit;
mod preset;
mod rows;
mod run;
mod settings;
mod shared_run;
mod words;

pub use crate::sample::SchedulerName;
pub use change::{Change, Difference};
pub use explain::Explanation;
pub use manifest::{Manifest, ModelId, PictureEntry, Timings};
pub use mask::MaskSource;
pub use prepare::Prepared;
pub use prepare_edit::{ChosenBy, PreparedEdit};
pub use preset::Preset;
pub use run::{Outcome, Picture, conditioning, run, run_together, starting_noise};
pub use settings::{
    BlendWords, CrossSteps, EditSettings, KindChoice, PictureRole, PictureSettings, RunSettings,
};
pub use shared_run::{Member, may_share};

use std::num::NonZeroUsize;

use crate::edit::Rules;
use crate::slug::slug;

/// A request: a source prompt and the edits of it that one lockstep run draws.
///
/// `None` means the model's recommendation, else the reference's default. [`RunSettings`] and
/// [`EditSettings`] hold the resolved values.
///
/// ```
/// # fn main() -> prompt_to_prompt::error::Result<()> {
/// use prompt_to_prompt::job::{EditSettings, Job, Prepared, run};
/// use prompt_to_prompt::model::{ModelFolder, STORYBOOK};
///
/// let folder = ModelFolder::open(STORYBOOK)?;
/// let edit = EditSettings::towards("a dog on the beach");
/// let job = Job {
///     steps: Some(2),
///     ..Job::new("a cat on the beach", vec![edit])
/// };
/// let prepared = Prepared::new(&job, &folder)?;
/// let outcome = run(&prepared, &folder.load()?, &mut [], &mut |_| Ok(()))?;
/// assert_eq!(outcome.pictures.len(), 2); // the source and the edit
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The source prompt.
    pub src: String,
    /// The edits. Without any, only the source is drawn.
    pub edits: Vec<EditSettings>,
    /// The negative prompt of all rows whose edit has none of its own.
    pub negative_prompt: String,
    /// The seed of the noise, as `torch.Generator("cpu")` takes it.
    pub seed: u64,
    /// Denoising steps.
    pub steps: Option<usize>,
    /// The scale of classifier-free guidance.
    pub guidance: Option<f64>,
    /// Width of the pictures in pixels.
    pub width: Option<usize>,
    /// Height of the pictures in pixels.
    pub height: Option<usize>,
    /// The solver.
    pub scheduler: Option<SchedulerName>,
    /// The layer of the text encoder that is read, counted from the end: 1 is the last.
    pub clip_skip: Option<NonZeroUsize>,
    /// The finest downscale at which self-attention is injected.
    pub self_res: Option<usize>,
    /// Whose rules edits follow: ours, or the reference implementation's.
    pub rules: Rules,
    /// `false` draws the edited prompts from the same noise without attention control.
    pub control: bool,
    /// `true` adds the edited prompts without attention control as further rows.
    pub baseline: bool,
    /// `false` draws the edits alone. The source stops once no edit needs it any more, and the change that
    /// an edit made to it is not measured. No byte of the edits depends on it.
    pub draw_source: bool,
    /// Larger tiles in the UNet's finest convolutions: faster and a few times less exact.
    pub fast: bool,
}

impl Job {
    /// A job with default settings.
    pub fn new(src: &str, edits: Vec<EditSettings>) -> Self {
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
            clip_skip: None,
            self_res: None,
            rules: Rules::Ours,
            control: true,
            baseline: false,
            draw_source: true,
            fast: false,
        }
    }

    /// The default name of the folder of the job's results: its prompts, or its factors where no prompt
    /// differs, and the seed.
    pub fn slug(&self) -> String {
        let named = |edit: &EditSettings| match &edit.dst {
            Some(dst) => dst.clone(),
            None => {
                let factors = edit.weight.iter().map(|(word, f)| format!("{word} {f}"));
                factors.collect::<Vec<_>>().join(" ")
            }
        };
        let mut edits: Vec<String> = self.edits.iter().map(named).collect();
        // The edits of a morph differ in their strength alone: their prompt is named once.
        edits.dedup();
        let edits: Vec<&str> = edits.iter().map(String::as_str).collect();
        format!("{}-{}", slug(&self.src, &edits), self.seed)
    }
}
