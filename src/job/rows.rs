//! Translates prepared edits into the controller's rows: source, edits in order, baselines.
//! Owns that translation and nothing else.

use super::prepare::Request;
use super::{CrossSteps, PreparedEdit, RunSettings};
use crate::edit::{Clock, CrossWindows, Rules, Window, reference};
use crate::sample::{Controller, LateFactors, RowEdit};

pub(super) fn controller(
    request: &Request,
    run: &RunSettings,
    edits: &[PreparedEdit],
    clock: Clock,
) -> Controller {
    let edited = |edit: &PreparedEdit| {
        let before = edit.base.checked_sub(1).map(|edit| &edits[edit]);
        let controlled = request.job.control;
        controlled.then(|| row_edit(edit, before, run.rules))
    };
    let mut rows = vec![None];
    rows.extend(edits.iter().map(edited));
    if request.job.baseline {
        rows.extend(edits.iter().map(|_| None));
    }
    let layout = match run.rules {
        Rules::Ours => request.model.unet.layout_downscale(),
        Rules::Reference => reference::self_res(request.latent_size),
    };
    Controller {
        clock,
        tokens: request.model.tokenizer.max_tokens(),
        self_res: run.self_res.unwrap_or(layout),
        layout,
        rows,
        keep_source: request.job.draw_source,
    }
}

/// `before` is the edit that this one edits, in a chain.
fn row_edit(edit: &PreparedEdit, before: Option<&PreparedEdit>, rules: Rules) -> RowEdit {
    let (borrowed, own) = (weighed_once(edit, before), edit.factors.clone());
    let settings = &edit.settings;
    let (map_edit, late_factors) = match settings.weight_steps {
        None => (edit.alignment.edit().reweight_apart(&borrowed, &own), None),
        Some(window) => (
            edit.alignment.edit(),
            Some(LateFactors {
                borrowed,
                own,
                window,
            }),
        ),
    };
    let cross = cross_windows(edit).per_token(&edit.tokens, &edit.changed.1, rules);
    RowEdit {
        base: edit.base,
        late_factors,
        latents: settings.inject_latents,
        strength: settings.strength(),
        region: edit.region.clone(),
        blend: settings.blend_from,
        ..RowEdit::new(map_edit, cross, edit.self_steps())
    }
}

/// The windows of an edit's cross-attention.
pub(super) fn cross_windows(edit: &PreparedEdit) -> CrossWindows {
    let CrossSteps { default, words } = &edit.settings.cross_steps;
    let preset = edit.settings.preset.map(|preset| preset.settings());
    let changed = preset.and_then(|preset| preset.cross_steps_changed);
    CrossWindows {
        default: default.unwrap_or(Window::ALL),
        changed: changed.map(Window::until),
        words: words.iter().map(|(w, at)| (w.clone(), *at)).collect(),
    }
}

/// The factors of borrowed attention. A factor that the edit before has applied already is not applied
/// again.
fn weighed_once(edit: &PreparedEdit, before: Option<&PreparedEdit>) -> Vec<f32> {
    let factor = |(j, factor): (usize, &f32)| {
        let read = edit.alignment.map.column(j);
        let weighed =
            |before: &PreparedEdit| read.iter().all(|(i, _)| before.factors[*i] == *factor);
        if before.is_some_and(|before| !read.is_empty() && weighed(before)) {
            1.0
        } else {
            *factor
        }
    };
    edit.factors.iter().enumerate().map(factor).collect()
}
