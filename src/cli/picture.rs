//! The flags that say how a picture is drawn, whatever is edited in it.

use std::num::NonZeroUsize;

use clap::{Args, ValueHint};

use prompt_to_prompt::job::{Job, SchedulerName};
use prompt_to_prompt::model::ModelSource;

use super::model::ModelArgs;
use super::values::{ModelName, PromptText, clip_skip, guidance, pixels, scheduler, seed, whole};

/// Model, noise, steps and size.
#[derive(Debug, Args)]
pub struct PictureArgs {
    /// Seed of the noise; the same noise as in a Python notebook [default: random; 0 in job files and sweeps]
    #[arg(help_heading = "Picture", short, long, value_name = "N", allow_hyphen_values = true, value_parser = seed)]
    pub seed: Option<u64>,

    /// Denoising steps, 1 to 1000 [default: the model's, else 4 for models distilled to few steps, else 50]
    #[arg(help_heading = "Picture", long, value_name = "N", allow_hyphen_values = true, value_parser = whole::<1, 1000>)]
    pub steps: Option<usize>,

    /// Classifier-free guidance scale; 0 and 1 turn guidance off [default: the model's, else 1 for models
    /// distilled to few steps, else 7.5]
    #[arg(help_heading = "Picture", long, value_name = "SCALE", allow_hyphen_values = true, value_parser = guidance)]
    #[arg(aliases = ["cfg-scale", "guidance-scale"])]
    pub guidance: Option<f64>,

    /// Width in pixels, a multiple of 8 [default: the model's native size]
    #[arg(help_heading = "Picture", short = 'W', long, value_name = "PX", allow_hyphen_values = true, value_parser = pixels)]
    pub width: Option<usize>,

    /// Height in pixels, a multiple of 8 [default: the model's native size]
    #[arg(help_heading = "Picture", short = 'H', long, value_name = "PX", allow_hyphen_values = true, value_parser = pixels)]
    pub height: Option<usize>,

    /// What the pictures should not show
    #[arg(
        help_heading = "Picture",
        short,
        long,
        value_name = "PROMPT",
        value_hint = ValueHint::Other,
        default_value = "",
        hide_default_value = true
    )]
    pub negative_prompt: PromptText,

    /// Solver, by one of these names or by its name in diffusers [default: ddim; for models distilled to few
    /// steps the model's own]
    #[arg(help_heading = "Picture", long, value_name = "NAME", value_parser = scheduler())]
    pub scheduler: Option<SchedulerName>,

    /// Layer of the text encoder that is read, counted from the end as in A1111 and ComfyUI: 1 is the last layer, 2 the
    /// one before it [default: 1; for Stable Diffusion XL 2]
    #[arg(help_heading = "Picture", long, value_name = "N", allow_hyphen_values = true, value_parser = clip_skip)]
    pub clip_skip: Option<NonZeroUsize>,

    /// Draw large pictures faster and a few times less exactly: within about 1e-5 of the plain computation
    #[arg(help_heading = "Picture", long)]
    pub fast: bool,

    /// The model: a diffusers folder (model_index.json, unet/, vae/, text_encoder/, tokenizer/, scheduler/), a
    /// single-file checkpoint (.safetensors), `storybook` for the embedded model, or a model of the Hugging
    /// Face hub, which is downloaded once: OWNER/NAME, OWNER/NAME/FILE.safetensors, or an alias (sd14, sd15,
    /// sd21, sd21-base, sd-turbo, sdxl, sdxl-turbo)
    #[arg(
        help_heading = "Model",
        short,
        long,
        value_name = "MODEL",
        value_hint = ValueHint::AnyPath,
        default_value = "storybook"
    )]
    pub model: ModelName,

    #[command(flatten)]
    pub parts: ModelArgs,
}

impl PictureArgs {
    /// The model to draw with.
    pub fn source(&self) -> ModelSource {
        self.parts.source(&self.model.0)
    }

    /// A picture of `src` without edits. `seed` is used where no seed was given.
    pub fn job(&self, src: &str, seed: u64) -> Job {
        // The pattern is complete on purpose: a new flag that is not handed on does not compile.
        let Self {
            seed: own_seed,
            steps,
            guidance,
            width,
            height,
            negative_prompt,
            scheduler,
            clip_skip,
            fast,
            model: _,
            parts: _,
        } = self;
        Job {
            negative_prompt: negative_prompt.0.clone(),
            seed: own_seed.unwrap_or(seed),
            steps: *steps,
            guidance: *guidance,
            width: *width,
            height: *height,
            scheduler: *scheduler,
            clip_skip: *clip_skip,
            fast: *fast,
            ..Job::new(src, vec![])
        }
    }
}
