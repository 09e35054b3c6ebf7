//! What the sampler needs of a model: predicted noise for rows of latents under their conditioning.
//! A trait, so that tests sample with a fake of a few lines.

use candle_core::Tensor;

use crate::attention::{AttentionHook, NoHook};
use crate::error::Result;
use crate::model::UNet;

/// The text states of a run.
#[derive(Debug, Clone)]
pub struct Conditioning {
    /// `[rows, tokens, channels]`, a prompt per row.
    pub cond: Tensor,
    /// The same shape from the negative prompt; absent where guidance is 1 and it would cancel.
    pub uncond: Option<Tensor>,
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

/// Predicts noise. Only conditional rows meet the hook: an edit never reaches the other half.
pub trait Denoiser {
    fn eps(
        &self,
        latents: &Tensor,
        timestep: usize,
        conditioning: &Conditioning,
        hook: &mut dyn AttentionHook,
    ) -> Result<Eps>;
}

impl Denoiser for UNet {
    fn eps(
        &self,
        latents: &Tensor,
        timestep: usize,
        conditioning: &Conditioning,
        hook: &mut dyn AttentionHook,
    ) -> Result<Eps> {
        let uncond = match &conditioning.uncond {
            Some(context) => Some(self.forward(latents, timestep, context, &mut NoHook)?),
            None => None,
        };
        Ok(Eps {
            cond: self.forward(latents, timestep, &conditioning.cond, hook)?,
            uncond,
        })
    }
}
