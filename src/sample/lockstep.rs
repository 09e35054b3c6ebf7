//! An `EditPlan` with its maps as tensors, and the hook that carries it out in the UNet.
//! Owns nothing but the translation: what to do is decided in `plan.rs`, how in `attention`.

use candle_core::{Device, Tensor};

use super::plan::EditPlan;
use super::recorder::Recorder;
use crate::attention::{AttentionHook, Carry, Kind, Site, SitePlan, Term};
use crate::edit::TokenMap;
use crate::error::Result;

/// A schedule segment's plan, lowered once. `None` where every row attends by itself.
#[derive(Debug, Clone)]
pub struct StepPlan {
    cross: Option<Vec<Vec<Term>>>,
    self_attention: Option<Vec<Vec<Term>>>,
    self_res: usize,
}

impl StepPlan {
    pub fn lower(plan: &EditPlan, device: &Device) -> Result<Self> {
        let mut cross = vec![];
        for terms in &plan.cross {
            let lowered = terms.iter().map(|(map_of, map)| {
                Ok(Term {
                    map_of: *map_of,
                    carry: carry(map, device)?,
                })
            });
            cross.push(lowered.collect::<Result<Vec<_>>>()?);
        }
        let borrowed = plan
            .self_map_of
            .iter()
            .map(|&map_of| vec![Term::own(map_of)])
            .collect::<Vec<_>>();
        Ok(Self {
            cross: Some(cross).filter(|c| !all_own(c)),
            self_attention: Some(borrowed).filter(|s| !all_own(s)),
            self_res: plan.self_res,
        })
    }
}

/// The cheapest form of a token map.
fn carry(map: &TokenMap, device: &Device) -> Result<Carry> {
    let n = map.n();
    Ok(match map.as_diagonal() {
        Some(diagonal) if diagonal.iter().all(|f| *f == 1.0) => Carry::Same,
        Some(diagonal) => Carry::Scale(Tensor::from_vec(diagonal, n, device)?),
        None => Carry::Remap(Tensor::from_slice(map.weights(), (n, n), device)?),
    })
}

fn all_own(rows: &[Vec<Term>]) -> bool {
    let own = |row: usize, terms: &Vec<Term>| matches!(terms.as_slice(), [Term { map_of, carry: Carry::Same }] if *map_of == row);
    rows.iter().enumerate().all(|(row, terms)| own(row, terms))
}

/// The one hook that edits: source and edited rows walk through the UNet in lockstep.
pub struct Lockstep<'a> {
    plan: &'a StepPlan,
    recorder: Option<&'a mut Recorder>,
}

impl<'a> Lockstep<'a> {
    pub fn new(plan: &'a StepPlan, recorder: Option<&'a mut Recorder>) -> Self {
        Self { plan, recorder }
    }
}

impl AttentionHook for Lockstep<'_> {
    fn plan(&self, site: &Site) -> SitePlan<'_> {
        let mix = match site.kind {
            Kind::Cross => &self.plan.cross,
            Kind::SelfAttn if site.downscale >= self.plan.self_res => &self.plan.self_attention,
            Kind::SelfAttn => &None,
        };
        mix.as_deref().map_or(SitePlan::Plain, SitePlan::Mix)
    }

    fn taps(&self, site: &Site) -> bool {
        self.recorder.as_ref().is_some_and(|r| r.wants(site))
    }

    fn observe(&mut self, site: &Site, row: usize, head_mean: &Tensor) -> Result<()> {
        match &mut self.recorder {
            Some(recorder) => recorder.observe(site, row, head_mean),
            None => Ok(()),
        }
    }
}
