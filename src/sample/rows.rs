//! Edits outside of attention: the strength of a row's prediction, copied latents, local blend. Each one
//! mixes a row with its base. Owns the arithmetic; the controller decides when and where it applies.

use candle_core::Tensor;

use super::plan::{Controller, RowEdit};
use super::word_sums::WordSums;
use crate::edit::{Acts, Grid};
use crate::error::Result;

/// `eps_edit <- eps_base + s (eps_edit - eps_base)` in the guided prediction `[rows, channels, h, w]`.
pub fn scale_edits(eps: Tensor, controller: &Controller) -> Result<Tensor> {
    with_base(eps, controller, |_, edit, base, own| match edit.strength {
        1.0 => Ok(None),
        // A copy, because an edit of strength 0 is its base to the bit.
        0.0 => Ok(Some(base.clone())),
        s => Ok(Some((base + ((own - base)? * s)?)?)),
    })
}

/// Copies the base's latents into rows with a window for it (`SpatialReplace` in the reference's
/// null-text notebook).
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

/// Local blend (paper section 4): restores the base outside of an edit's region.
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

/// The region of row `row`'s edit by the attention summed so far, at the latents' `size` (height and
/// width); `None` if the region is not known.
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

/// The words of all regions: each with a row and its tokens in that row's prompt.
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

/// `own` where the mask is 1, `base` where it is 0, a mixture in between.
fn select(mask: &Grid, base: &Tensor, own: &Tensor) -> Result<Tensor> {
    let (h, w) = mask.size;
    let mask = Tensor::from_slice(&mask.values, (1, 1, h, w), own.device())?;
    let mask = mask.broadcast_as(own.shape())?;
    let mixed = (base + ((own - base)? * &mask)?)?;
    // Select where the mask is 0 or 1, because `x + 1 (y - x)` is not `y` in floats.
    let inside = mask.ge(1f32)?.where_cond(own, &mixed)?;
    Ok(mask.le(0f32)?.where_cond(base, &inside)?)
}

/// Lets `change` replace edited rows in order. It gets the row's number, its edit, the base (after its own
/// change) and the row.
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
    if changed {
        Ok(Tensor::cat(&parts, 0)?)
    } else {
        Ok(rows)
    }
}
