//! The denoising loop: one step at a time, or a whole lockstep run.
//! Generic over `Denoiser` and `Scheduler`; never knows files or prompts.

use candle_core::Tensor;

use super::denoiser::{Conditioning, Denoiser};
use super::lockstep::{Lockstep, StepPlan};
use super::plan::Controller;
use super::recorder::Recorder;
use super::scheduler::Scheduler;
use crate::attention::AttentionHook;
use crate::error::{Error, Result};

/// A run in progress. Each step may have a hook of its own.
pub struct Sampler<'a> {
    denoiser: &'a dyn Denoiser,
    scheduler: &'a mut dyn Scheduler,
    conditioning: &'a Conditioning,
    guidance_scale: f64,
    latents: Tensor,
    step: usize,
}

impl<'a> Sampler<'a> {
    /// `noise` `[1, 4, h, w]` is the start of every row: one noise per source, expanded.
    pub fn new(
        denoiser: &'a dyn Denoiser,
        scheduler: &'a mut dyn Scheduler,
        conditioning: &'a Conditioning,
        guidance_scale: f64,
        noise: &Tensor,
    ) -> Result<Self> {
        let rows = conditioning.cond.dim(0)?;
        let (_, c, h, w) = noise.dims4()?;
        let noise = (noise * scheduler.init_noise_sigma())?;
        let latents = noise.broadcast_as((rows, c, h, w))?.contiguous()?;
        Ok(Self {
            denoiser,
            scheduler,
            conditioning,
            guidance_scale,
            latents,
            step: 0,
        })
    }

    /// Steps in the run.
    pub fn steps(&self) -> usize {
        self.scheduler.timesteps().len()
    }

    pub fn done(&self) -> bool {
        self.step == self.steps()
    }

    /// `[rows, 4, h, w]`
    pub fn latents(&self) -> &Tensor {
        &self.latents
    }

    /// One denoiser call with its scheduler step. `hook` sees the conditional rows only.
    ///
    /// Errors: a latent that is not finite, with the step named.
    pub fn step(&mut self, hook: &mut dyn AttentionHook) -> Result<()> {
        let timestep = self.scheduler.timesteps()[self.step];
        let input = self.scheduler.scale_input(self.step, &self.latents)?;
        let eps = self
            .denoiser
            .eps(&input, timestep, self.conditioning, hook)?;
        let eps = eps.guide(self.guidance_scale)?;
        self.latents = self.scheduler.step(self.step, &eps, &self.latents)?;
        self.step += 1;
        let sum = self.latents.abs()?.sum_all()?.to_scalar::<f32>()?;
        if !sum.is_finite() {
            return Err(Error::run(
                format!(
                    "the latents are not finite after step {} of {}",
                    self.step,
                    self.steps()
                ),
                "lower --guidance or the factors of --weight",
            ));
        }
        Ok(())
    }
}

/// Runs source and edited rows together under a controller. `after_step` sees the latents
/// `[rows, 4, h, w]` after each step, counted from 1. Returns the final latents.
pub fn lockstep(
    mut sampler: Sampler,
    controller: &Controller,
    mut recorder: Option<&mut Recorder>,
    after_step: &mut dyn FnMut(usize, &Tensor) -> Result<()>,
) -> Result<Tensor> {
    let mut plan = controller.plan(0);
    let mut lowered = StepPlan::lower(&plan, sampler.latents.device())?;
    for step in 0..sampler.steps() {
        let next = controller.plan(step);
        if next != plan {
            if let Some(recorder) = recorder.as_deref_mut() {
                recorder.fold(&plan)?;
            }
            lowered = StepPlan::lower(&next, sampler.latents.device())?;
            plan = next;
        }
        sampler.step(&mut Lockstep::new(&lowered, recorder.as_deref_mut()))?;
        after_step(step + 1, &sampler.latents)?;
    }
    if let Some(recorder) = recorder {
        recorder.fold(&plan)?;
    }
    Ok(sampler.latents)
}
