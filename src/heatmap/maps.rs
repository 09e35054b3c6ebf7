//! Turns recorded sums into one grid per word. Owns the meaning of a heatmap's values. It must never know
//! colours or files.

use std::borrow::Cow;

use super::pixels::{components, looked_from};
use super::select::Selection;
use super::words::{HeatmapWord, columns};
use super::{MapSpec, Resolution, daam};
use crate::attention::AttentionKind;
use crate::edit::Grid;
use crate::error::Result;
use crate::sample::{Recorded, Recorder};

/// One heatmap.
#[derive(Debug, Clone, PartialEq)]
pub struct Heatmap {
    /// Row of the run: 0 is the source, 1 the first edit.
    pub row: usize,
    /// Index into [`Selection::frames`].
    pub frame: usize,
    /// Index into [`Selection::groups`].
    pub group: usize,
    /// Indices of the layers whose mean it is.
    pub layers: Vec<usize>,
    /// The attention head, or `None` for the mean of all heads.
    pub head: Option<usize>,
    /// Cross-attention: index of the word's first token. Self-attention: index of the pixel, or number of
    /// the principal component, counted from 1.
    pub index: usize,
    /// The word, or a name for the pixel or the component.
    pub label: String,
    /// The tokens whose attention is summed.
    pub tokens: Vec<usize>,
    /// Whether it shows the begin token, the end token or the pads.
    pub special: bool,
    /// The singular value of a principal component.
    pub singular_value: Option<f32>,
    /// The middle of the cell whose self-attention is shown, as shares `(x, y)` of width and height.
    pub from: Option<(f32, f32)>,
    /// The attention of each cell.
    pub grid: Grid,
}

/// The recorded sums. If `spec` merges all layers, they are merged into one sum per row. `latents` is the
/// latents' size `(h, w)`.
///
/// # Errors
///
/// A tensor error if the sums cannot be read.
pub fn recorded<'a>(
    spec: &MapSpec,
    recorder: &'a Recorder,
    latents: (usize, usize),
) -> Result<Cow<'a, [Recorded]>> {
    Ok(match spec.resolution {
        Resolution::Merged => daam::merged(recorder.recorded(), latents)?.into(),
        _ => recorder.recorded().into(),
    })
}

/// The heatmaps of a run, ordered by row, frame, group, head and token.
///
/// # Errors
///
/// A usage error if self-attention is too large to decompose.
pub fn heatmaps(
    spec: &MapSpec,
    selection: &Selection,
    recorded: &[Recorded],
) -> Result<Vec<Heatmap>> {
    let mut heatmaps = vec![];
    for recorded in recorded {
        let empty = empty(recorded, selection);
        match (spec.kind, spec.pixel) {
            (AttentionKind::Cross, _) => {
                let shown = &selection.words.shown[recorded.row];
                heatmaps.extend(words(recorded, selection, shown)?);
            }
            (AttentionKind::SelfAttn, Some(at)) => heatmaps.push(looked_from(recorded, empty, at)?),
            (AttentionKind::SelfAttn, None) => heatmaps.extend(components(recorded, &empty)?),
        }
    }
    Ok(in_order(heatmaps))
}

/// The heatmaps of the words to locate, for each row that has them.
///
/// # Errors
///
/// A tensor error if the sums cannot be read.
pub fn located(selection: &Selection, recorded: &[Recorded]) -> Result<Vec<Heatmap>> {
    let mut heatmaps = vec![];
    for recorded in recorded {
        let located = &selection.words.located[recorded.row];
        heatmaps.extend(words(recorded, selection, located)?);
    }
    Ok(in_order(heatmaps))
}

fn in_order(mut heatmaps: Vec<Heatmap>) -> Vec<Heatmap> {
    heatmaps.sort_by_key(|heat| (heat.row, heat.frame, heat.group, heat.head, heat.index));
    heatmaps
}

/// The maps of some words. The map of a word is the sum over its tokens.
fn words(
    recorded: &Recorded,
    selection: &Selection,
    words: &[HeatmapWord],
) -> Result<Vec<Heatmap>> {
    let both = selection.words.rows().nth(recorded.row);
    let columns = columns(both.into_iter().flatten());
    let mean = recorded.mean()?.flatten(0, 1)?.to_vec2::<f32>()?; // [n, columns]
    let heat = |word: &HeatmapWord| {
        let of_word = |column: &usize| word.tokens.contains(&columns[*column]);
        let picked: Vec<usize> = (0..columns.len()).filter(of_word).collect();
        let sum = |pixel: &Vec<f32>| picked.iter().map(|&column| pixel[column]).sum();
        Heatmap {
            index: word.index,
            label: word.text.clone(),
            tokens: word.tokens.clone(),
            special: word.special,
            grid: Grid::new(recorded.grid, mean.iter().map(sum).collect()),
            ..empty(recorded, selection)
        }
    };
    Ok(words.iter().map(heat).collect())
}

/// A heatmap without values for what was recorded.
/// A heatmap without values for what was recorded.
fn empty(recorded: &Recorded, selection: &Selection) -> Heatmap {
    Heatmap {
        row: recorded.row,
        frame: recorded.frame,
        group: recorded.group,
        layers: selection.groups[recorded.group].sites.clone(),
        head: recorded.head,
        index: 0,
        label: String::new(),
        tokens: vec![],
        special: false,
        singular_value: None,
        from: None,
        grid: Grid::full(recorded.grid, 0.0),
    }
}
