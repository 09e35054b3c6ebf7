//! The attention layers that an edit touches, and the work that it is.

use super::{LayerLevel, WorkEstimate};
use crate::attention::{AttentionKind, Site};
use crate::edit::Acts;
use crate::job::Prepared;
use crate::model::{SiteWork, Work};
use crate::sample::{EditPlan, RowEdit};

/// The levels of attention layers, from the finest to the coarsest.
pub(super) fn levels(work: &Work, prepared: &Prepared) -> Vec<LayerLevel> {
    let controller = &prepared.controller;
    let open =
        |(_, edit): (usize, &RowEdit)| edit.self_window.calls(&controller.clock, Acts::SelfAttn);
    let located = controller.edits().any(|(row, _)| controller.locates(row));
    let injects = controller.edits().filter_map(open).next().is_some();
    let mut levels: Vec<LayerLevel> = vec![];
    for Site {
        kind,
        grid,
        downscale,
        ..
    } in work.sites.iter().map(|s| s.site)
    {
        let known = levels.iter().position(|level| level.downscale == downscale);
        let at = known.unwrap_or_else(|| {
            levels.push(LayerLevel {
                downscale,
                grid: [grid.0, grid.1],
                cross_layers: 0,
                self_layers: 0,
                injects_self: injects && downscale >= controller.self_res,
                locates: located && downscale == controller.layout,
            });
            levels.len() - 1
        });
        match kind {
            AttentionKind::Cross => levels[at].cross_layers += 1,
            AttentionKind::SelfAttn => levels[at].self_layers += 1,
        }
    }
    levels.sort_by_key(|level| level.downscale);
    levels
}

pub(super) fn estimate(prepared: &Prepared, work: &Work) -> WorkEstimate {
    let controller = &prepared.controller;
    let (rows, calls) = (controller.rows.len(), controller.clock.calls);
    let unconditional = if prepared.run.guided() { rows } else { 0 };
    let both = (rows + unconditional) as f64;
    let plain = both * calls as f64 * work.unet_row;
    let halves = both / rows as f64;
    let stopped = (calls - controller.source_calls()) as f64 * halves * work.unet_row;
    let drawn = rows - usize::from(!controller.keep_source);
    let mixed = |call| {
        let plan = controller.plan(call);
        let sites = work.sites.iter().map(|site| mix_difference(&plan, site));
        sites.sum::<f64>()
    };
    WorkEstimate {
        conditional_rows: rows,
        unconditional_rows: unconditional,
        denoise_gflop: (plain - stopped + (0..calls).map(mixed).sum::<f64>()) / 1e9,
        plain_gflop: plain / 1e9,
        decode_gflop: drawn as f64 * work.vae_decode / 1e9,
    }
}

/// FLOP that a plan takes at a site beyond those of plain rows.
fn mix_difference(plan: &EditPlan, work: &SiteWork) -> f64 {
    let rows: Vec<Vec<usize>> = match work.site.kind {
        AttentionKind::Cross => plan
            .cross
            .iter()
            .map(|sum| sum.iter().map(|(r, _)| *r).collect())
            .collect(),
        AttentionKind::SelfAttn if work.site.downscale >= plan.self_res => {
            let sums = plan.self_attention.iter();
            sums.map(|sum| sum.iter().map(|(r, _)| *r).collect())
                .collect()
        }
        AttentionKind::SelfAttn => return 0.0,
    };
    let unread = (0..rows.len())
        .filter(|row| !rows.iter().flatten().any(|r| r == row))
        .count();
    let terms: f64 = rows.iter().map(|terms| terms.len() as f64 - 1.0).sum();
    terms * work.term - unread as f64 * work.map
}
