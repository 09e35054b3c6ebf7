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
    let edited = |edit| job.control.then(|| row_edit(edit, job.rules));
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
    }
}

fn row_edit(edit: &PreparedEdit, rules: Rules) -> RowEdit {
    let (borrowed, own) = (edit.borrowed_factors.clone(), edit.factors.clone());
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
