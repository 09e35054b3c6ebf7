//! The seam between a sampler and a model: predicted noise for rows of latents under their text states.
//! Owns the trait [`Denoiser`], the text states of a run, and the implementation with a UNet. It must
//! never know how latents move from one noise level to the next, nor what an edit is.

use std::borrow::Borrow;
use std::ops::Range;

use candle_core::{DType, Tensor};

use super::states::PromptStates;
use super::transformer::TextKeyValues;
use super::unet::UNet;
use crate::attention::AttentionHook;
use crate::error::{Error, Result};

/// Text states for each denoiser call of a run. Most runs have one set of states for all calls, which
/// is what [`From`] makes; [`then`](Self::then) adds others for later calls, as null-text inversion
/// (Mokady et al., 2023) and scheduled prompts need.
#[derive(Debug, Clone)]
pub struct TextSchedule {
    /// Every distinct set of states once.
    states: Vec<PromptStates>,
    /// The first call of each range and its index in `states`. The first range begins at call 0.
    ranges: Vec<(usize, usize)>,
}

impl<S: Into<PromptStates>> From<S> for TextSchedule {
    /// The same states at every call.
    fn from(states: S) -> Self {
        Self {
            states: vec![states.into()],
            ranges: vec![(0, 0)],
        }
    }
}

impl TextSchedule {
    /// The schedule with other states from denoiser call `first_call` on, counted from 0. A clone of
    /// states that the schedule already holds counts as the same states: a denoiser computes their keys
    /// and values once.
    ///
    /// # Errors
    /// If `first_call` does not come after the calls added before, or if the shapes differ.
    pub fn then(mut self, first_call: usize, states: PromptStates) -> Result<Self> {
        let (last, _) = *self.ranges.last().expect("a schedule has a first range");
        if first_call <= last {
            return Err(Error::usage(
                format!("text states for call {first_call} follow those for call {last}"),
                "add text states in the order of the calls, from call 1 on",
            ));
        }
        let (shape, known) = (states.context.dims(), self.states[0].context.dims());
        if shape != known {
            return Err(Error::usage(
                format!("text states of shape {shape:?} follow states of shape {known:?}"),
                "use as many rows, tokens and channels at every call",
            ));
        }
        let same = |known: &PromptStates| is_clone(known, &states);
        let index = self.states.iter().position(same);
        let index = index.unwrap_or_else(|| {
            self.states.push(states);
            self.states.len() - 1
        });
        self.ranges.push((first_call, index));
        Ok(self)
    }

    /// Every distinct set of states once, in the order in which they were added.
    pub fn states(&self) -> &[PromptStates] {
        &self.states
    }

    /// The states at denoiser call `call`, counted from 0.
    pub fn at(&self, call: usize) -> &PromptStates {
        &self.states[self.index_at(call)]
    }

    fn index_at(&self, call: usize) -> usize {
        let begun = self.ranges.partition_point(|(first, _)| *first <= call);
        self.ranges[begun - 1].1
    }

    /// Whether `call` or a later call uses the states at `index`.
    fn needs(&self, index: usize, call: usize) -> bool {
        let begun = self.ranges.partition_point(|(first, _)| *first <= call);
        self.ranges[begun - 1..].iter().any(|(_, i)| *i == index)
    }
}

/// Whether both are clones of the same states: a clone shares its tensors.
fn is_clone(one: &PromptStates, other: &PromptStates) -> bool {
    let pooled = |states: &PromptStates| states.added.as_ref().map(|added| added.pooled.id());
    one.context.id() == other.context.id() && pooled(one) == pooled(other)
}

/// The text states of a run, for both halves of classifier-free guidance.
#[derive(Debug, Clone)]
pub struct Conditioning {
    /// States of the prompts, one row each.
    pub cond: TextSchedule,
    /// States of the negative prompts, as many rows; `None` without guidance.
    pub uncond: Option<TextSchedule>,
}

/// Predicted noise (or v, for models trained to predict it) of both halves of classifier-free guidance.
#[derive(Debug, Clone)]
pub struct Eps {
    /// The conditional prediction, `[rows, channels, h, w]`.
    pub cond: Tensor,
    /// The unconditional prediction, of the same shape; `None` without guidance.
    pub uncond: Option<Tensor>,
}

impl Eps {
    /// Classifier-free guidance (Ho & Salimans, 2022): `uncond + guidance_scale (cond - uncond)`,
    /// `[rows, channels, h, w]`.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn guide(&self, guidance_scale: f64) -> Result<Tensor> {
        match &self.uncond {
            None => Ok(self.cond.clone()),
            Some(uncond) => Ok((uncond + ((&self.cond - uncond)? * guidance_scale)?)?),
        }
    }
}

/// What a denoiser is asked at one call.
#[derive(Debug, Clone)]
pub struct DenoiserCall<'a> {
    /// The call's place in the run, counted from 0: it chooses among scheduled text states.
    pub index: usize,
    /// The timestep of the training schedule.
    pub timestep: usize,
    /// The rows of the conditioning that are computed.
    pub rows: Range<usize>,
    /// Latents of these rows alone, `[rows.len(), channels, h, w]`, f32.
    pub latents: &'a Tensor,
}

/// A model that predicts noise for the rows of its conditioning. It is a trait so that tests and other
/// kinds of model can stand in for a UNet.
pub trait Denoiser: Send {
    /// Rows of the conditioning, and so of the latents.
    fn rows(&self) -> usize;

    /// The dtype of the computation. Latents and predictions are f32 whatever it is.
    fn dtype(&self) -> DType {
        DType::F32
    }

    /// Predicts the noise of the call's rows. The hook sees the conditional rows only, counted from 0 at
    /// the first row of the call: no edit reaches the unconditional half.
    ///
    /// # Errors
    /// If the model cannot compute the prediction, or if the hook fails.
    fn eps(&mut self, call: &DenoiserCall, hook: &mut dyn AttentionHook) -> Result<Eps>;
}

/// A UNet with the text states of a run. `U` is a UNet or a reference to one.
#[derive(Debug)]
pub struct UNetDenoiser<U> {
    unet: U,
    rows: usize,
    cond: ScheduledText,
    uncond: Option<ScheduledText>,
}

impl<U: Borrow<UNet>> UNetDenoiser<U> {
    /// A denoiser for the rows of `conditioning`. The keys and values of the first call's text states
    /// are computed here, those of later states at the first call that uses them.
    ///
    /// # Errors
    /// If the text states do not fit the UNet.
    pub fn new(unet: U, conditioning: &Conditioning) -> Result<Self> {
        let text = |schedule: &TextSchedule| ScheduledText::new(unet.borrow(), schedule);
        Ok(Self {
            rows: conditioning.cond.at(0).rows()?,
            cond: text(&conditioning.cond)?,
            uncond: conditioning.uncond.as_ref().map(text).transpose()?,
            unet,
        })
    }
}

impl<U: Borrow<UNet> + Send> Denoiser for UNetDenoiser<U> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn dtype(&self) -> DType {
        self.unet.borrow().dtype()
    }

    fn eps(&mut self, call: &DenoiserCall, hook: &mut dyn AttentionHook) -> Result<Eps> {
        let (unet, rows) = (self.unet.borrow(), &call.rows);
        let cond = self.cond.at(unet, call.index)?.narrow(rows.clone())?;
        let Some(uncond) = &mut self.uncond else {
            return Ok(Eps {
                cond: unet.forward(call.latents, call.timestep, &cond, hook)?,
                uncond: None,
            });
        };
        let uncond = uncond.at(unet, call.index)?.narrow(rows.clone())?;
        let (uncond, cond) =
            unet.forward_guided(call.latents, call.timestep, &uncond, &cond, hook)?;
        Ok(Eps {
            cond,
            uncond: Some(uncond),
        })
    }
}

/// Keys and values of scheduled text states. They are kept from the first call that uses them to the
/// last one: null-text inversion has other states at every call, too many to keep them all.
#[derive(Debug)]
struct ScheduledText {
    schedule: TextSchedule,
    /// Each with its index among the schedule's states.
    known: Vec<(usize, TextKeyValues)>,
}

impl ScheduledText {
    fn new(unet: &UNet, schedule: &TextSchedule) -> Result<Self> {
        let mut text = Self {
            schedule: schedule.clone(),
            known: vec![],
        };
        text.at(unet, 0)?;
        Ok(text)
    }

    fn at(&mut self, unet: &UNet, call: usize) -> Result<&TextKeyValues> {
        let index = self.schedule.index_at(call);
        self.known.retain(|(i, _)| self.schedule.needs(*i, call));
        let place = match self.known.iter().position(|(i, _)| *i == index) {
            Some(place) => place,
            None => {
                let text = unet.read(self.schedule.states[index].clone())?;
                self.known.push((index, text));
                self.known.len() - 1
            }
        };
        Ok(&self.known[place].1)
    }
}
