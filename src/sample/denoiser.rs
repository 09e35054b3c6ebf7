//! What the sampler needs of a model: predicted noise for rows of latents under their conditioning.
//! A trait, so that tests sample with a fake of a few lines.

use std::ops::Range;

use candle_core::{DType, Tensor};

use crate::attention::AttentionHook;
use crate::error::Result;
use crate::model::{PromptStates, TextKeyValues, UNet};

/// The text states of a run.
#[derive(Debug, Clone)]
pub struct Conditioning {
    /// A prompt per row.
    pub cond: PromptStates,
    /// The same of the negative prompts; absent where there is no guidance.
    pub uncond: Option<PromptStates>,
}

/// Predicted noise of both halves of classifier-free guidance, `[rows, 4, h, w]` each.
#[derive(Debug, Clone)]
pub struct Eps {
    pub cond: Tensor,
    pub uncond: Option<Tensor>,
}

impl Eps {
    /// Classifier-free guidance (Ho & Salimans): `uncond + scale (cond - uncond)`.
    pub fn guide(&self, guidance_scale: f64) -> Result<Tensor> {
        match &self.uncond {
            None => Ok(self.cond.clone()),
            Some(uncond) => Ok((uncond + ((&self.cond - uncond)? * guidance_scale)?)?),
        }
    }
}

/// Predicts noise for the rows of its conditioning. Only conditional rows meet the hook: an edit
/// never reaches the other half.
pub trait Denoiser: Sync {
    /// Prompts, and so rows of latents.
    fn rows(&self) -> usize;

    /// The numbers that it computes in; latents and predictions are f32.
    fn dtype(&self) -> DType {
        DType::F32
    }

    /// Of the rows `rows`, whose latents are `[rows.len(), 4, h, w]`; the hook counts them from 0.
    fn eps(
        &self,
        rows: Range<usize>,
        latents: &Tensor,
        timestep: usize,
        hook: &mut dyn AttentionHook,
    ) -> Result<Eps>;
}

/// A UNet that has read its prompts: text is looked at once, not at every step.
pub struct Prompted<'a> {
    unet: &'a UNet,
    rows: usize,
    cond: TextKeyValues,
    uncond: Option<TextKeyValues>,
}

impl<'a> Prompted<'a> {
    pub fn new(unet: &'a UNet, conditioning: &Conditioning) -> Result<Self> {
        let uncond = conditioning.uncond.clone();
        Ok(Self {
            unet,
            rows: conditioning.cond.rows()?,
            cond: unet.read(conditioning.cond.clone())?,
            uncond: uncond.map(|uncond| unet.read(uncond)).transpose()?,
        })
    }
}

impl Denoiser for Prompted<'_> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn dtype(&self) -> DType {
        self.unet.dtype()
    }

    fn eps(
        &self,
        rows: Range<usize>,
        latents: &Tensor,
        timestep: usize,
        hook: &mut dyn AttentionHook,
    ) -> Result<Eps> {
        let (unet, cond) = (self.unet, self.cond.narrow(rows.clone())?);
        Ok(match &self.uncond {
            None => Eps {
                cond: unet.forward(latents, timestep, &cond, hook)?,
                uncond: None,
            },
            Some(uncond) => {
                let uncond = uncond.narrow(rows)?;
                let (uncond, cond) =
                    unet.forward_guided(latents, timestep, &uncond, &cond, hook)?;
                Eps {
                    cond,
                    uncond: Some(uncond),
                }
            }
        })
    }
}
