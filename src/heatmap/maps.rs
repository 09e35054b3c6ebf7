//! From recorded sums to one grid a word. Owns what a heatmap's numbers mean.

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
pub struct Heat {
    pub row: usize,
    /// Index into [`Selection::frames`] and [`Selection::groups`].
    pub frame: usize,
    pub group: usize,
    /// The sites that it is the mean of.
    pub layers: Vec<usize>,
    pub head: Option<usize>,
    /// Of its first token; in self-attention of the component, from 1, or of the pixel.
    pub index: usize,
    pub label: String,
    /// Tokens whose attention it is the sum of.
    pub tokens: Vec<usize>,
    /// Begin, end or pads.
    pub special: bool,
    /// Of a component.
    pub singular_value: Option<f32>,
    /// The middle of the cell that looks, in shares `(x, y)` of the picture.
    pub from: Option<(f32, f32)>,
    pub grid: Grid,
}

/// What was recorded, on one grid a row where all layers are merged. `latents` is the latents' size.
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

/// The heatmaps of a run, by row, frame, group, head and token.
pub fn heats(spec: &MapSpec, selection: &Selection, recorded: &[Recorded]) -> Result<Vec<Heat>> {
    let mut heats = vec![];
    for recorded in recorded {
        let empty = empty(recorded, selection);
        match (spec.kind, spec.pixel) {
            (AttentionKind::Cross, _) => {
                let shown = &selection.words.shown[recorded.row];
                heats.extend(words(recorded, selection, shown)?);
            }
            (AttentionKind::SelfAttn, Some(at)) => heats.push(looked_from(recorded, empty, at)?),
            (AttentionKind::SelfAttn, None) => heats.extend(components(recorded, &empty)?),
        }
    }
    Ok(in_order(heats))
}

/// The heatmaps of the words to locate, in each row that has them.
pub fn located(selection: &Selection, recorded: &[Recorded]) -> Result<Vec<Heat>> {
    let mut heats = vec![];
    for recorded in recorded {
        let located = &selection.words.located[recorded.row];
        heats.extend(words(recorded, selection, located)?);
    }
    Ok(in_order(heats))
}

fn in_order(mut heats: Vec<Heat>) -> Vec<Heat> {
    heats.sort_by_key(|heat| (heat.row, heat.frame, heat.group, heat.head, heat.index));
    heats
}

/// A word draws the attention of all its tokens.
fn words(recorded: &Recorded, selection: &Selection, words: &[HeatmapWord]) -> Result<Vec<Heat>> {
    let both = selection.words.rows().nth(recorded.row);
    let columns = columns(both.into_iter().flatten());
    let mean = recorded.mean()?.flatten(0, 1)?.to_vec2::<f32>()?; // [n, columns]
    let heat = |word: &HeatmapWord| {
        let of_word = |column: &usize| word.tokens.contains(&columns[*column]);
        let picked: Vec<usize> = (0..columns.len()).filter(of_word).collect();
        let sum = |pixel: &Vec<f32>| picked.iter().map(|&column| pixel[column]).sum();
        Heat {
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

fn empty(recorded: &Recorded, selection: &Selection) -> Heat {
    Heat {
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
