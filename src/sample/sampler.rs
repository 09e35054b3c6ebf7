//! The denoising loop: one step at a time, or a whole lockstep run.
//! Generic over `Denoiser` and `Scheduler`; never knows files or prompts.

use candle_core::{DType, Tensor};

use super::denoiser::Denoiser;
use super::lockstep::{AttentionObserver, Lockstep, StepPlan};
use super::plan::{Controller, EditPlan};
use super::rows;
use super::scheduler::Scheduler;
use super::word_sums::WordSums;
use crate::attention::AttentionHook;
use crate::edit::Grid;
use crate::error::{Error, Result};

/// A run in progress. Each step may have a hook of its own.
pub struct Sampler<'a> {
    denoiser: &'a dyn Denoiser,
    scheduler: &'a mut dyn Scheduler,
    guidance_scale: f64,
    latents: Tensor,
    step: usize,
}

impl<'a> Sampler<'a> {
    /// `noise` `[1, 4, h, w]` is the start of every row: one noise per source, expanded.
    pub fn new(
        denoiser: &'a dyn Denoiser,
        scheduler: &'a mut dyn Scheduler,
        guidance_scale: f64,
        noise: &Tensor,
    ) -> Result<Self> {
        let rows = denoiser.rows();
        let (_, c, h, w) = noise.dims4()?;
        let noise = (noise * scheduler.init_noise_sigma())?;
        let latents = noise.broadcast_as((rows, c, h, w))?.contiguous()?;
        Ok(Self {
            denoiser,
            scheduler,
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
        let eps = self.predict(0, hook)?;
        self.advance(&eps)
    }

    /// The guided prediction, `[rows, 4, h, w]`; zeros for the rows before `first`, which have stopped:
    /// schedulers need not know, since rows never meet in them.
    fn predict(&mut self, first: usize, hook: &mut dyn AttentionHook) -> Result<Tensor> {
        let timestep = self.scheduler.timesteps()[self.step];
        let input = self.scheduler.scale_input(self.step, &self.latents)?;
        let rows = first..self.denoiser.rows();
        let input = input.narrow(0, first, rows.len())?;
        let eps = self.denoiser.eps(rows, &input, timestep, hook)?;
        Ok(eps
            .guide(self.guidance_scale)?
            .pad_with_zeros(0, first, 0)?)
    }

    fn advance(&mut self, eps: &Tensor) -> Result<()> {
        self.latents = self.scheduler.step(self.step, eps, &self.latents)?;
        self.step += 1;
        let sum = self.latents.abs()?.sum_all()?.to_scalar::<f32>()?;
        if !sum.is_finite() {
            return Err(self.not_finite());
        }
        Ok(())
    }

    fn not_finite(&self) -> Error {
        let (step, steps, dtype) = (self.step, self.steps(), self.denoiser.dtype());
        let cure = match dtype {
            DType::F16 => {
                "f16 ends at 65504: use --dtype bf16, which reaches as far as f32, or --dtype f32"
            }
            _ => "lower --guidance, the factors of --weight, or what --lora adds",
        };
        Error::run(
            format!(
                "the latents are not finite after step {step} of {steps}, computed in {}",
                dtype.as_str()
            ),
            cure,
        )
    }
}

/// What a lockstep run ends with.
#[derive(Debug, Clone)]
pub struct Finished {
    /// `[rows, 4, h, w]`; of a source that has stopped they mean nothing.
    pub latents: Tensor,
    /// Per row, where it was edited, at the latents' size; `None` where nothing says so.
    pub regions: Vec<Option<Grid>>,
}

/// Runs source and edited rows together under a controller, the source as long as
/// [`Controller::source_calls`] says. `observers` see the rows' maps; `after_step` sees the latents
/// `[rows, 4, h, w]` after each step, counted from 1.
pub fn lockstep(
    sampler: Sampler,
    controller: &Controller,
    observers: &mut [&mut dyn AttentionObserver],
    after_step: &mut (dyn FnMut(usize, &Tensor) -> Result<()> + Send),
) -> Result<Finished> {
    // On a thread of the pool: from outside, every small operation would wait to be let in.
    rayon::scope(|_| steps(sampler, controller, observers, after_step))
}

fn steps(
    mut sampler: Sampler,
    controller: &Controller,
    observers: &mut [&mut dyn AttentionObserver],
    after_step: &mut (dyn FnMut(usize, &Tensor) -> Result<()> + Send),
) -> Result<Finished> {
    let mut words = WordSums::new(controller.layout, rows::words_of(controller));
    let source_calls = controller.source_calls();
    let mut segment: Option<(EditPlan, usize, StepPlan)> = None;
    for call in 0..sampler.steps() {
        let plan = controller.plan(call);
        let first = usize::from(call >= source_calls);
        let mut all: Vec<&mut dyn AttentionObserver> = vec![&mut words];
        for observer in observers.iter_mut() {
            all.push(&mut **observer);
        }
        all.iter_mut().for_each(|observer| observer.at(call));
        let same = |(last, from, _): &(EditPlan, usize, StepPlan)| *last == plan && *from == first;
        if !segment.as_ref().is_some_and(same) {
            all.iter_mut()
                .try_for_each(|observer| observer.begin(&plan))?;
            let lowered = StepPlan::lower(&plan, first, sampler.latents.device())?;
            segment = Some((plan, first, lowered));
        }
        let (_, _, lowered) = segment.as_ref().expect("set above");
        let eps = sampler.predict(first, &mut Lockstep::new(lowered, &mut all))?;
        sampler.advance(&rows::scale_edits(eps, controller)?)?;
        let latents = rows::inject_latents(sampler.latents, controller, call)?;
        sampler.latents = rows::blend(latents, controller, &words, call)?;
        after_step(call + 1, &sampler.latents)?;
    }
    let (_, _, h, w) = sampler.latents.dims4()?;
    let region = |row| rows::region(controller, row, (h, w), &words);
    Ok(Finished {
        regions: (0..controller.rows.len())
            .map(region)
            .collect::<Result<_>>()?,
        latents: sampler.latents,
    })
}
