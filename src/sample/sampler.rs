//! The denoising loop: one step at a time, or a whole lockstep run of a source and its edits.
//! Owns the order of the work within a step. It takes any `Denoiser` and any `Scheduler`, and must never
//! know files or prompts.

use candle_core::{DType, Tensor};

use super::lockstep::{AttentionObserver, Lockstep, StepPlan};
use super::plan::{Controller, EditPlan};
use super::rows;
use super::scheduler::Scheduler;
use super::word_sums::WordSums;
use crate::attention::AttentionHook;
use crate::edit::Grid;
use crate::error::{Error, Result};
use crate::message;
use crate::model::{Denoiser, DenoiserCall};
use crate::setting::Setting;

/// The latents that a run begins with. A tensor of one row is the start of all rows.
#[derive(Debug, Clone)]
pub enum Start {
    /// Gaussian noise of variance 1, `[1 or rows, channels, h, w]`. The sampler scales it by
    /// [`Scheduler::init_noise_sigma`].
    Noise(Tensor),
    /// Latents that are taken as they are, such as those of an inverted photograph.
    Latents {
        /// `[1 or rows, channels, h, w]`, at the noise level of `first_call`, as the scheduler scales
        /// latents.
        latents: Tensor,
        /// The first denoiser call of the run, counted from 0. Earlier calls are left out.
        first_call: usize,
    },
}

/// A run in progress. Each step may have a hook of its own.
pub struct Sampler<'a> {
    denoiser: &'a mut dyn Denoiser,
    scheduler: &'a mut dyn Scheduler,
    guidance_scale: f64,
    latents: Tensor,
    /// The next denoiser call.
    call: usize,
}

impl<'a> Sampler<'a> {
    /// A run from `start`.
    ///
    /// # Errors
    /// If the run has no call `first_call`, or if the start has neither one row nor as many rows as the
    /// denoiser.
    pub fn new(
        denoiser: &'a mut dyn Denoiser,
        scheduler: &'a mut dyn Scheduler,
        guidance_scale: f64,
        start: Start,
    ) -> Result<Self> {
        let (latents, call) = match start {
            Start::Noise(noise) => ((noise * scheduler.init_noise_sigma())?, 0),
            Start::Latents {
                latents,
                first_call,
            } => (latents, first_call),
        };
        let calls = scheduler.timesteps().len();
        if call >= calls {
            return Err(Error::usage(
                format!("a run of {calls} denoiser calls has no call {call}"),
                message!["begin the run earlier, or raise ", Setting::Steps],
            ));
        }
        let (_, c, h, w) = latents.dims4()?;
        let latents = latents.broadcast_as((denoiser.rows(), c, h, w))?;
        Ok(Self {
            latents: latents.contiguous()?,
            denoiser,
            scheduler,
            guidance_scale,
            call,
        })
    }

    /// Denoiser calls of a whole run, those before the start included.
    pub fn steps(&self) -> usize {
        self.scheduler.timesteps().len()
    }

    /// Whether the last call is behind.
    pub fn done(&self) -> bool {
        self.call == self.steps()
    }

    /// The latents before the next call, `[rows, channels, h, w]`.
    pub fn latents(&self) -> &Tensor {
        &self.latents
    }

    /// Makes one denoiser call and moves the latents. `hook` sees the conditional rows only.
    ///
    /// # Errors
    /// If a latent is not finite (the error names the step), or if the denoiser or the hook fails.
    ///
    /// # Panics
    /// If the run is done.
    pub fn step(&mut self, hook: &mut dyn AttentionHook) -> Result<()> {
        let eps = self.predict(0, hook)?;
        self.advance(&eps)
    }

    /// The guided prediction, `[rows, channels, h, w]`. The rows before `first` have stopped and get
    /// zeros: rows never meet in a scheduler, so it need not know which ones run.
    fn predict(&mut self, first: usize, hook: &mut dyn AttentionHook) -> Result<Tensor> {
        let input = self.scheduler.scale_input(self.call, &self.latents)?;
        let rows = first..self.denoiser.rows();
        let call = DenoiserCall {
            index: self.call,
            timestep: self.scheduler.timesteps()[self.call],
            rows: rows.clone(),
            latents: &input.narrow(0, first, rows.len())?,
        };
        let eps = self.denoiser.eps(&call, hook)?;
        Ok(eps
            .guide(self.guidance_scale)?
            .pad_with_zeros(0, first, 0)?)
    }

    fn advance(&mut self, eps: &Tensor) -> Result<()> {
        self.latents = self.scheduler.step(self.call, eps, &self.latents)?;
        self.call += 1;
        let sum = self.latents.abs()?.sum_all()?.to_scalar::<f32>()?;
        if !sum.is_finite() {
            return Err(self.not_finite());
        }
        Ok(())
    }

    fn not_finite(&self) -> Error {
        let (step, steps, dtype) = (self.call, self.steps(), self.denoiser.dtype());
        let cause = format!(
            "the latents are not finite after step {step} of {steps}, computed in {}",
            dtype.as_str()
        );
        if dtype == DType::F16 {
            let (bf16, f32) = (Setting::Dtype.to("bf16"), Setting::Dtype.to("f32"));
            let cure = message![
                "f16 ends at 65504: use ",
                bf16,
                ", which has the range of f32, or ",
                f32,
            ];
            return Error::run(cause, cure).about(Setting::Dtype);
        }
        let cure = message![
            "lower ",
            Setting::Guidance,
            ", the factors of ",
            Setting::Weight,
            ", or the scale of ",
            Setting::Lora,
        ];
        Error::run(cause, cure)
    }
}

/// The end of a lockstep run.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Final latents, `[rows, channels, h, w]`. Those of a source that stopped early have no meaning.
    pub latents: Tensor,
    /// For each row the region where it was edited, at the size of the latents; `None` if the edit has
    /// no region.
    pub regions: Vec<Option<Grid>>,
}

/// Runs the source and its edited rows together under a controller; the source runs for
/// [`Controller::source_calls`] calls. `observers` see the attention maps of the rows. `after_step` gets
/// the number of each finished call, counted from 1, and the latents `[rows, channels, h, w]` after it.
///
/// # Errors
/// If a latent is not finite, or if the denoiser, an observer or `after_step` fails.
pub fn lockstep(
    sampler: Sampler,
    controller: &Controller,
    observers: &mut [&mut dyn AttentionObserver],
    after_step: &mut (dyn FnMut(usize, &Tensor) -> Result<()> + Send),
) -> Result<Finished> {
    // On a thread of rayon's pool: a thread outside of it waits for a worker at each small operation.
    rayon::scope(|_| steps(sampler, controller, observers, after_step))
}

/// A plan as tensors, for as long as it stays the same.
struct Segment {
    plan: EditPlan,
    /// The first row that still runs.
    first: usize,
    lowered: StepPlan,
}

fn steps(
    mut sampler: Sampler,
    controller: &Controller,
    observers: &mut [&mut dyn AttentionObserver],
    after_step: &mut (dyn FnMut(usize, &Tensor) -> Result<()> + Send),
) -> Result<Finished> {
    let mut words = WordSums::new(controller.layout, rows::words_of(controller));
    let source_calls = controller.source_calls();
    let mut segment: Option<Segment> = None;
    for call in sampler.call..sampler.steps() {
        let plan = controller.plan(call);
        let first = usize::from(call >= source_calls);
        let mut all: Vec<&mut dyn AttentionObserver> = vec![&mut words];
        for observer in observers.iter_mut() {
            all.push(&mut **observer);
        }
        all.iter_mut().for_each(|observer| observer.at(call));
        let now = match segment.take() {
            Some(segment) if segment.plan == plan && segment.first == first => segment,
            _ => begin(plan, first, &sampler, &mut all)?,
        };
        let eps = sampler.predict(first, &mut Lockstep::new(&now.lowered, &mut all))?;
        segment = Some(now);
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

/// Begins a segment and tells the observers of its plan.
fn begin(
    plan: EditPlan,
    first: usize,
    sampler: &Sampler,
    observers: &mut [&mut dyn AttentionObserver],
) -> Result<Segment> {
    for observer in observers.iter_mut() {
        observer.begin(&plan)?;
    }
    let lowered = StepPlan::lower(&plan, first, sampler.latents.device())?;
    Ok(Segment {
        plan,
        first,
        lowered,
    })
}
