//! What happens to an edited row beside attention: the strength of its prediction, injected latents,
//! local blend. Each mixes a row with the row it is an edit of. Owns these sums; when and where they
//! act is the controller's to say.

use candle_core::Tensor;

use super::plan::{Controller, RowEdit};
use super::word_sums::WordSums;
use crate::edit::{Acts, Grid};
use crate::error::Result;

/// `eps_edit <- eps_base + s (eps_edit - eps_base)` in the guided prediction `[rows, 4, h, w]`.
pub fn scale_edits(eps: Tensor, controller: &Controller) -> Result<Tensor> {
    with_base(eps, controller, |_, edit, base, own| match edit.strength {
        1.0 => Ok(None),
        // Not by arithmetic: an edit of no strength is its base, to the bit.
        0.0 => Ok(Some(base.clone())),
        s => Ok(Some((base + ((own - base)? * s)?)?)),
    })
}

/// Copies the base's latents into the rows that have it so (SpatialReplace of the null-text notebook).
pub fn inject_latents(latents: Tensor, controller: &Controller, call: usize) -> Result<Tensor> {
    with_base(latents, controller, |_, edit, base, own| {
        let open = edit
            .latents
            .map_or(0.0, |w| w.gate(call, &controller.clock, Acts::Latents));
        match open {
            0.0 => Ok(None),
            1.0 => Ok(Some(base.clone())),
            open => Ok(Some((own + ((base - own)? * f64::from(open))?)?)),
        }
    })
}

/// Local blend: outside of its region an edited row is its base.
pub fn blend(
    latents: Tensor,
    controller: &Controller,
    words: &WordSums,
    call: usize,
) -> Result<Tensor> {
    let (_, _, h, w) = latents.dims4()?;
    with_base(latents, controller, |row, edit, base, own| {
        let acts = |from| controller.clock.reached(from, call);
        if !edit.blend.is_some_and(acts) {
            return Ok(None);
        }
        let mask = region(controller, row, (h, w), words)?;
        mask.map(|mask| select(&mask, base, own)).transpose()
    })
}

/// Where row `row` is edited, by the attention summed so far; `None` where nothing says so.
pub fn region(
    controller: &Controller,
    row: usize,
    size: (usize, usize),
    words: &WordSums,
) -> Result<Option<Grid>> {
    let edit = controller.rows[row].as_ref();
    let Some(edit) = edit.filter(|_| controller.locates(row)) else {
        return Ok(None);
    };
    let rows = [edit.base, row];
    let region = &edit.region;
    let sum = |side: usize, tokens: &[usize]| words.of(rows[side], tokens);
    region.mask(size, controller.rules(), sum).map(Some)
}

/// The words whose attention the regions of all edits are made of.
pub fn words_of(controller: &Controller) -> impl Iterator<Item = (usize, Vec<usize>)> {
    let located = controller
        .edits()
        .filter(|(row, _)| controller.locates(*row));
    located.flat_map(|(row, edit)| {
        let rows = [edit.base, row].into_iter().cycle();
        let words = edit.region.words.iter().chain(&edit.region.keep);
        rows.zip(words.cloned())
    })
}

/// `own` where the mask is 1, `base` where it is 0, a mixture between.
fn select(mask: &Grid, base: &Tensor, own: &Tensor) -> Result<Tensor> {
    let (h, w) = mask.size;
    let mask = Tensor::from_slice(&mask.values, (1, 1, h, w), own.device())?;
    let mask = mask.broadcast_as(own.shape())?;
    let mixed = (base + ((own - base)? * &mask)?)?;
    // `x + 1 (y - x)` is not `y` in floats: where the mask is whole, select.
    let inside = mask.ge(1f32)?.where_cond(own, &mixed)?;
    Ok(mask.le(0f32)?.where_cond(base, &inside)?)
}

/// Lets `change` replace edited rows, told the row, its edit, its base as it is by then, and itself.
fn with_base(
    rows: Tensor,
    controller: &Controller,
    mut change: impl FnMut(usize, &RowEdit, &Tensor, &Tensor) -> Result<Option<Tensor>>,
) -> Result<Tensor> {
    let count = rows.dim(0)?;
    let mut parts = (0..count)
        .map(|r| rows.narrow(0, r, 1))
        .collect::<candle_core::Result<Vec<_>>>()?;
    let mut changed = false;
    for (row, edit) in controller.edits() {
        if let Some(new) = change(row, edit, &parts[edit.base], &parts[row])? {
            (parts[row], changed) = (new, true);
        }
    }
    match changed {
        true => Ok(Tensor::cat(&parts, 0)?),
        false => Ok(rows),
    }
}
