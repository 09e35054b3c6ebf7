//! The settings that all rows of a run share, and how they are resolved.

use std::num::NonZeroUsize;

use candle_core::DType;
use serde::{Deserialize, Serialize};

use crate::edit::Rules;
use crate::job::{Job, SchedulerName};
use crate::model::ModelFolder;

/// Denoising steps where neither the job nor the model says: the reference's notebooks.
const STEPS: usize = 50;
/// Guidance scale where neither the job nor the model says: the reference's notebooks.
const GUIDANCE: f64 = 7.5;

/// The settings that all rows of a run share, with every choice made.
///
/// Two jobs of one model can be rows of one run when these are equal ([`may_share`](crate::job::may_share)).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSettings {
    /// The source prompt.
    pub src: String,
    /// The negative prompt of all rows whose edit has none of its own.
    #[serde(default)]
    pub negative_prompt: String,
    /// The seed of the noise, as `torch.Generator("cpu")` takes it.
    pub seed: u64,
    /// Denoising steps.
    pub steps: usize,
    /// The scale of classifier-free guidance.
    pub guidance: f64,
    /// Width of the pictures in pixels.
    pub width: usize,
    /// Height of the pictures in pixels.
    pub height: usize,
    /// The solver.
    pub scheduler: SchedulerName,
    /// The layer of the text encoder that is read, counted from the end as in A1111: 1 is the last. `None` is the
    /// model's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_skip: Option<NonZeroUsize>,
    /// The finest downscale at which self-attention is injected. `None` where no edit injects it, and
    /// where the reference's own rule chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_res: Option<usize>,
    /// Whose rules edits follow: ours, or the reference implementation's.
    #[serde(default, rename = "compat", skip_serializing_if = "is_default")]
    pub rules: Rules,
    /// Whether the UNet's finest convolutions use larger tiles: faster and a few times less exact.
    #[serde(default)]
    pub fast: bool,
    /// The dtype that the UNet computes in.
    #[serde(default = "f32", skip_serializing_if = "is_f32", with = "dtype")]
    pub dtype: DType,
    /// Whether pictures are decoded in bands of rows.
    #[serde(default, skip_serializing_if = "is_default")]
    pub vae_tiling: bool,
}

impl RunSettings {
    /// The job's settings, else the model's recommendations, else the reference's defaults.
    ///
    /// # Errors
    /// Usage, where the model recommends a scheduler that does not exist.
    pub fn resolve(job: &Job, model: &ModelFolder) -> crate::error::Result<Self> {
        let recommended = &model.recommended;
        let scheduler = recommended.scheduler.as_deref().map(str::parse);
        Ok(Self {
            src: job.src.clone(),
            negative_prompt: job.negative_prompt.clone(),
            seed: job.seed,
            steps: job.steps.or(recommended.steps).unwrap_or(STEPS),
            guidance: job.guidance.or(recommended.guidance).unwrap_or(GUIDANCE),
            width: job.width.unwrap_or(model.native_size()),
            height: job.height.unwrap_or(model.native_size()),
            scheduler: job.scheduler.or(scheduler.transpose()?).unwrap_or_default(),
            clip_skip: job.clip_skip,
            self_res: match job.rules {
                Rules::Ours => Some(job.self_res.unwrap_or(model.unet.layout_downscale())),
                Rules::Reference => job.self_res,
            },
            rules: job.rules,
            fast: job.fast,
            dtype: model.compute.dtype,
            vae_tiling: model.compute.vae_tiling,
        })
    }

    /// Whether there is classifier-free guidance, and so an unconditional half. At scale 1 it cancels
    /// out; scale 0 is how users of diffusers turn it off.
    pub fn guided(&self) -> bool {
        ![0.0, 1.0].contains(&self.guidance)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn f32() -> DType {
    DType::F32
}

fn is_f32(dtype: &DType) -> bool {
    *dtype == DType::F32
}

/// A dtype as its name: `f16`.
mod dtype {
    use candle_core::DType;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(dtype: &DType, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(dtype.as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<DType, D::Error> {
        let name = String::deserialize(from)?;
        name.parse()
            .map_err(|_| serde::de::Error::custom(format!("{name} is not a dtype")))
    }
}
