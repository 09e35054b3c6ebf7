//! From prepared edits to the controller's rows: source, edits in order, baselines.
//! Owns that translation and nothing else.

use super::{Job, PreparedEdit};
use crate::edit::{Clock, Rules, reference};
use crate::model::ModelFolder;
use crate::sample::{Controller, LateFactors, RowEdit};

pub(super) fn controller(
    job: &Job,
    edits: &[PreparedEdit],
    clock: Clock,
    model: &ModelFolder,
    latent_size: (usize, usize),
) -> Controller {
    let edited = |edit: &PreparedEdit| {
        let before = edit.base.checked_sub(1).map(|edit| &edits[edit]);
        job.control.then(|| row_edit(edit, before, job.rules))
    };
    let mut rows = vec![None];
    rows.extend(edits.iter().map(edited));
    if job.baseline {
        rows.extend(edits.iter().map(|_| None));
    }
    let layout = match job.rules {
        Rules::Ours => model.unet.layout_downscale(),
        Rules::Reference => reference::self_res(latent_size),
    };
    Controller {
        clock,
        tokens: model.tokenizer.max_tokens(),
        self_res: job.self_res.unwrap_or(layout),
        layout,
        rows,
        keep_source: job.draw_source,
    }
}

/// `before` is the edit that it is an edit of, in a chain.
fn row_edit(edit: &PreparedEdit, before: Option<&PreparedEdit>, rules: Rules) -> RowEdit {
    let (borrowed, own) = (weighed_once(edit, before), edit.factors.clone());
    let (map_edit, late_factors) = match edit.weight_steps {
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
    let cross = edit.cross.per_token(&edit.tokens, &edit.changed.1, rules);
    RowEdit {
        base: edit.base,
        late_factors,
        latents: edit.latents,
        strength: edit.strength,
        region: edit.region.clone(),
        blend: edit.blend,
        ..RowEdit::new(map_edit, cross, edit.self_window)
    }
}

/// Factors of borrowed attention: what the edit before has weighed by the same factor already is not
/// weighed again.
fn weighed_once(edit: &PreparedEdit, before: Option<&PreparedEdit>) -> Vec<f32> {
    let factor = |(j, factor): (usize, &f32)| {
        let read = edit.alignment.map.column(j);
        let weighed =
            |before: &PreparedEdit| read.iter().all(|(i, _)| before.factors[*i] == *factor);
        match before.is_some_and(|before| !read.is_empty() && weighed(before)) {
            true => 1.0,
            false => *factor,
        }
    };
    edit.factors.iter().enumerate().map(factor).collect()
}
