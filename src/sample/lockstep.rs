//! An `EditPlan` as tensors, and the hook that applies it in the UNet. Owns the translation only: the
//! edit is decided in `plan.rs` and computed in `attention`.

use candle_core::{Device, Tensor};

use super::plan::{EditPlan, Sum};
use crate::attention::{AttentionHook, AttentionKind, Carry, Site, SitePlan, Tap, Term};
use crate::edit::TokenMap;
use crate::error::Result;

/// An observer of the attention maps of a lockstep run.
pub trait AttentionObserver: Send {
    /// Which maps of a site the observer needs; `None` for no maps.
    fn wants(&self, site: &Site) -> Option<Tap>;

    /// Called before denoiser call `call`, counted from 0.
    fn at(&mut self, _call: usize) {}

    /// Called when the plan changes: later maps are used as `plan` says.
    ///
    /// # Errors
    /// Any error ends the run.
    fn begin(&mut self, plan: &EditPlan) -> Result<()>;

    /// Takes a row's map before the edit: `[n, t]`, the mean over heads, or `[heads, n, t]` if any observer
    /// of this site needs each head.
    ///
    /// # Errors
    /// Any error ends the run.
    fn observe(&mut self, site: &Site, row: usize, map: &Tensor) -> Result<()>;
}

/// A plan as tensors, made once and used until the plan changes.
#[derive(Debug, Clone)]
pub struct StepPlan {
    /// The first row that still runs.
    first: usize,
    /// Terms of each row; `None` if every row attends by itself.
    cross: Option<Vec<Vec<Term>>>,
    /// Terms of each row; `None` if every row attends by itself.
    self_attention: Option<Vec<Vec<Term>>>,
    /// The finest downscale at which `self_attention` applies.
    self_res: usize,
}

impl StepPlan {
    /// Makes a plan's tensors on `device`. Rows before `first` have stopped.
    ///
    /// # Errors
    /// If a tensor cannot be made.
    ///
    /// # Panics
    /// If a row from `first` on reads a row before it.
    pub fn lower(plan: &EditPlan, first: usize, device: &Device) -> Result<Self> {
        let share = |share: &f32| match *share {
            1.0 => Ok(Carry::Same),
            share => Ok(Carry::Share(share)),
        };
        let cross = terms(&plan.cross, first, |map| carry(map, device))?;
        let self_attention = terms(&plan.self_attention, first, share)?;
        Ok(Self {
            first,
            cross: Some(cross).filter(|c| !all_own(c)),
            self_attention: Some(self_attention).filter(|s| !all_own(s)),
            self_res: plan.self_res,
        })
    }
}

/// The terms of the rows from `first` on, with `first` as row 0.
fn terms<T>(
    rows: &[Sum<T>],
    first: usize,
    carry: impl Fn(&T) -> Result<Carry>,
) -> Result<Vec<Vec<Term>>> {
    let term = |(map_of, how): &(usize, T)| {
        Ok(Term {
            map_of: map_of
                .checked_sub(first)
                .expect("a stopped row is not read"),
            carry: carry(how)?,
        })
    };
    rows[first..]
        .iter()
        .map(|sum| sum.iter().map(term).collect())
        .collect()
}

/// A token map in its cheapest form.
fn carry(map: &TokenMap, device: &Device) -> Result<Carry> {
    let n = map.n();
    Ok(match map.as_diagonal() {
        _ if map.is_identity() => Carry::Same,
        Some(diagonal) => Carry::Scale(Tensor::from_vec(diagonal, n, device)?),
        None => Carry::Remap(Tensor::from_slice(map.weights(), (n, n), device)?),
    })
}

/// Whether every row attends by itself.
fn all_own(rows: &[Vec<Term>]) -> bool {
    let own = |row: usize, terms: &Vec<Term>| matches!(terms.as_slice(), [Term { map_of, carry: Carry::Same }] if *map_of == row);
    rows.iter().enumerate().all(|(row, terms)| own(row, terms))
}

/// The hook that edits: source and edited rows pass through the UNet together.
pub struct Lockstep<'a, 'w> {
    plan: &'a StepPlan,
    observers: &'a mut [&'w mut dyn AttentionObserver],
}

impl<'a, 'w> Lockstep<'a, 'w> {
    /// A hook for one denoiser call.
    pub fn new(plan: &'a StepPlan, observers: &'a mut [&'w mut dyn AttentionObserver]) -> Self {
        Self { plan, observers }
    }
}

impl AttentionHook for Lockstep<'_, '_> {
    fn plan(&self, site: &Site) -> SitePlan<'_> {
        let mix = match site.kind {
            AttentionKind::Cross => &self.plan.cross,
            AttentionKind::SelfAttn if site.downscale >= self.plan.self_res => {
                &self.plan.self_attention
            }
            AttentionKind::SelfAttn => &None,
        };
        mix.as_deref().map_or(SitePlan::Plain, SitePlan::Mix)
    }

    fn taps(&self, site: &Site) -> Option<Tap> {
        let wanted = self.observers.iter().filter_map(|w| w.wants(site));
        wanted.reduce(|a, b| Tap {
            each_head: a.each_head || b.each_head,
            unread: a.unread || b.unread,
        })
    }

    fn observe(&mut self, site: &Site, row: usize, map: &Tensor) -> Result<()> {
        let observers = self.observers.iter_mut();
        let mut watching = observers.filter(|w| w.wants(site).is_some());
        watching.try_for_each(|w| w.observe(site, self.plan.first + row, map))
    }
}

/// The mean over heads, `[n, t]`, of either form of map that an observer gets.
pub(super) fn head_mean(map: &Tensor) -> Result<Tensor> {
    if map.rank() == 3 {
        Ok(map.mean(0)?)
    } else {
        Ok(map.clone())
    }
}
