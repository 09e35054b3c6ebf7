//! The flags that say how a picture is drawn, whatever is done to it.

use clap::{Args, ValueHint};

use prompt_to_prompt::job::{Job, SchedulerName};
use prompt_to_prompt::model::ModelSource;

use super::model::ModelArgs;
use super::values::{SchedulerParser, guidance, pixels, seed, whole};

/// Model, noise, steps and size.
#[derive(Debug, Args)]
pub struct PictureArgs {
    /// Seed of the noise, the same picture as in a Python notebook [default: random; 0 in job files and sweeps]
    #[arg(help_heading = "Picture", short, long, value_name = "N", allow_hyphen_values = true, value_parser = seed)]
    pub seed: Option<u64>,

    /// Denoising steps, 1 to 1000 [default: the model's, else 4 where it was distilled to few steps, else 50]
    #[arg(help_heading = "Picture", long, value_name = "N", allow_hyphen_values = true, value_parser = whole::<1, 1000>)]
    pub steps: Option<usize>,

    /// Classifier-free guidance scale; 1 and 0 are none [default: the model's, else 1 where it was distilled
    /// to few steps, else 7.5]
    #[arg(help_heading = "Picture", long, value_name = "SCALE", allow_hyphen_values = true, value_parser = guidance)]
    #[arg(aliases = ["cfg-scale", "guidance-scale"])]
    pub guidance: Option<f64>,

    /// Pixels, a multiple of 8 [default: the model's native size]
    #[arg(help_heading = "Picture", short = 'W', long, value_name = "PX", allow_hyphen_values = true, value_parser = pixels)]
    pub width: Option<usize>,

    /// Pixels, a multiple of 8 [default: the model's native size]
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
    pub negative_prompt: String,

    /// The solver, under one of these names or diffusers' [default: ddim; of a model distilled to few
    /// steps its own]
    #[arg(help_heading = "Picture", long, value_name = "NAME", value_parser = SchedulerParser)]
    pub scheduler: Option<SchedulerName>,

    /// Faster on large pictures, a few times less exact: as far from the plain way of computing as 1e-5
    #[arg(help_heading = "Picture", long)]
    pub fast: bool,

    /// A diffusers folder (model_index.json, unet/, vae/, text_encoder/, tokenizer/, scheduler/), a
    /// single-file checkpoint (.safetensors), or `storybook`, the embedded model; else one of the Hugging
    /// Face hub, which is fetched once: OWNER/NAME, OWNER/NAME/FILE.safetensors, or an alias (sd14, sd15,
    /// sd21, sd21-base, sd-turbo, sdxl, sdxl-turbo)
    #[arg(
        help_heading = "Model",
        short,
        long,
        value_name = "MODEL",
        value_hint = ValueHint::AnyPath,
        default_value = "storybook"
    )]
    pub model: String,

    #[command(flatten)]
    pub parts: ModelArgs,
}

impl PictureArgs {
    /// The model to draw with.
    pub fn source(&self) -> ModelSource {
        self.parts.source(&self.model)
    }

    /// A picture of `src` and no edit of it; `seed` is used where no --seed was given.
    pub fn job(&self, src: &str, seed: u64) -> Job {
        Job {
            negative_prompt: self.negative_prompt.clone(),
            seed: self.seed.unwrap_or(seed),
            steps: self.steps,
            guidance: self.guidance,
            width: self.width,
            height: self.height,
            scheduler: self.scheduler,
            fast: self.fast,
            ..Job::new(src, vec![])
        }
    }
}
