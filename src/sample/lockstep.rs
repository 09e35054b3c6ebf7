//! An `EditPlan` with its maps as tensors, and the hook that carries it out in the UNet.
//! Owns nothing but the translation: what to do is decided in `plan.rs`, how in `attention`.

use candle_core::{Device, Tensor};

use super::plan::{EditPlan, Sum};
use crate::attention::{AttentionHook, AttentionKind, Carry, Site, SitePlan, Tap, Term};
use crate::edit::TokenMap;
use crate::error::Result;

/// Who looks at the maps of a lockstep run.
pub trait AttentionObserver: Send {
    /// Whether, and how, to be shown this site's maps.
    fn wants(&self, site: &Site) -> Option<Tap>;

    /// Denoiser call `call`, from 0, begins.
    fn at(&mut self, _call: usize) {}

    /// From here on the rows' maps are used as `plan` says.
    fn begin(&mut self, plan: &EditPlan) -> Result<()>;

    /// A row's map before the edit: `[n, t]`, the mean of its heads, or `[heads, n, t]` where some
    /// observer of this site wants each head.
    fn observe(&mut self, site: &Site, row: usize, map: &Tensor) -> Result<()>;
}

/// A schedule segment's plan, lowered once. `None` where every row attends by itself.
#[derive(Debug, Clone)]
pub struct StepPlan {
    /// The rows before it have stopped.
    first: usize,
    cross: Option<Vec<Vec<Term>>>,
    self_attention: Option<Vec<Vec<Term>>>,
    self_res: usize,
}

impl StepPlan {
    /// `first`: rows before it have stopped, and no other reads them.
    pub fn lower(plan: &EditPlan, first: usize, device: &Device) -> Result<Self> {
        let weigh = |share: &f32| match *share {
            1.0 => Ok(Carry::Same),
            share => Ok(Carry::Share(share)),
        };
        let cross = terms(&plan.cross, first, |map| carry(map, device))?;
        let self_attention = terms(&plan.self_attention, first, weigh)?;
        Ok(Self {
            first,
            cross: Some(cross).filter(|c| !all_own(c)),
            self_attention: Some(self_attention).filter(|s| !all_own(s)),
            self_res: plan.self_res,
        })
    }
}

/// Of the rows from `first` on, counted from there.
fn terms<T>(
    rows: &[Sum<T>],
    first: usize,
    carry: impl Fn(&T) -> Result<Carry>,
) -> Result<Vec<Vec<Term>>> {
    let term = |(map_of, how): &(usize, T)| {
        Ok(Term {
            map_of: *map_of - first,
            carry: carry(how)?,
        })
    };
    rows[first..]
        .iter()
        .map(|sum| sum.iter().map(term).collect())
        .collect()
}

/// The cheapest form of a token map.
fn carry(map: &TokenMap, device: &Device) -> Result<Carry> {
    let n = map.n();
    Ok(match map.as_diagonal() {
        _ if map.is_identity() => Carry::Same,
        Some(diagonal) => Carry::Scale(Tensor::from_vec(diagonal, n, device)?),
        None => Carry::Remap(Tensor::from_slice(map.weights(), (n, n), device)?),
    })
}

fn all_own(rows: &[Vec<Term>]) -> bool {
    let own = |row: usize, terms: &Vec<Term>| matches!(terms.as_slice(), [Term { map_of, carry: Carry::Same }] if *map_of == row);
    rows.iter().enumerate().all(|(row, terms)| own(row, terms))
}

/// The one hook that edits: source and edited rows walk through the UNet in lockstep.
pub struct Lockstep<'a, 'w> {
    plan: &'a StepPlan,
    observers: &'a mut [&'w mut dyn AttentionObserver],
}

impl<'a, 'w> Lockstep<'a, 'w> {
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

/// `[n, t]` of either form that a observer is shown.
pub(super) fn head_mean(map: &Tensor) -> Result<Tensor> {
    Ok(match map.rank() {
        3 => map.mean(0)?,
        _ => map.clone(),
    })
}
