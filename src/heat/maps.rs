//! From recorded sums to one grid a word. Owns what a heatmap's numbers mean.

use nalgebra::DMatrix;

use super::select::{Selection, Word, columns};
use super::{MapSpec, Resolution, draw};
use crate::attention::Kind;
use crate::edit::Grid;
use crate::error::{Error, Result};
use crate::sample::{Recorded, Recorder};

/// Components of self-attention that are shown.
const COMPONENTS: usize = 8;
/// A decomposition takes the cube of this.
const MOST_DECOMPOSED: usize = 32 * 32;

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
    /// Of its first token; of the component in self-attention.
    pub index: usize,
    pub label: String,
    /// Tokens whose attention it is the sum of.
    pub tokens: Vec<usize>,
    /// Begin, end or pad.
    pub special: bool,
    pub grid: Grid,
}

/// The heatmaps of a run, by row, frame, group, head and token. On the grid `latents`, where all
/// resolutions are merged.
pub fn heats(
    spec: &MapSpec,
    selection: &Selection,
    recorder: &Recorder,
    latents: (usize, usize),
) -> Result<Vec<Heat>> {
    let mut heats = vec![];
    for recorded in recorder.recorded() {
        let empty = empty(recorded, selection);
        match (spec.kind, spec.pixel) {
            (Kind::Cross, _) => {
                heats.extend(words(recorded, selection, &selection.words[recorded.row])?);
            }
            (Kind::SelfAttn, Some(at)) => heats.push(looked_from(recorded, empty, at)?),
            (Kind::SelfAttn, None) => heats.extend(components(recorded, &empty)?),
        }
    }
    Ok(in_order(spec, heats, latents))
}

/// The heatmap of the word to locate, in each row that has it.
pub fn located(
    spec: &MapSpec,
    selection: &Selection,
    recorder: &Recorder,
    latents: (usize, usize),
) -> Result<Vec<Heat>> {
    let mut heats = vec![];
    for recorded in recorder.recorded() {
        let located = selection.located[recorded.row].as_slice();
        heats.extend(words(recorded, selection, located)?);
    }
    Ok(in_order(spec, heats, latents))
}

fn in_order(spec: &MapSpec, mut heats: Vec<Heat>, latents: (usize, usize)) -> Vec<Heat> {
    if spec.resolution == Resolution::Merged {
        heats = merged(heats, latents);
    }
    heats.sort_by_key(|heat| (heat.row, heat.frame, heat.group, heat.head, heat.index));
    heats
}

/// All layers on one grid, as DAAM has it: each counts alike, and what the enlarging pushed below
/// zero is cut.
fn merged(heats: Vec<Heat>, size: (usize, usize)) -> Vec<Heat> {
    let mut merged: Vec<Heat> = vec![];
    for heat in heats {
        let grid = draw::bicubic(&heat.grid, size).map(|v| v.max(0.0));
        let key = |heat: &Heat| (heat.row, heat.frame, heat.index, heat.tokens.clone());
        match merged.iter_mut().find(|known| key(known) == key(&heat)) {
            Some(known) => {
                known.grid = known.grid.clone().zip(&grid, |a, b| a + b);
                known.layers.extend(heat.layers);
            }
            None => merged.push(Heat {
                group: 0,
                grid,
                ..heat
            }),
        }
    }
    for heat in &mut merged {
        let layers = heat.layers.len() as f32;
        heat.grid.values.iter_mut().for_each(|v| *v /= layers);
    }
    merged
}

/// A word draws the attention of all its tokens.
fn words(recorded: &Recorded, selection: &Selection, words: &[Word]) -> Result<Vec<Heat>> {
    let row = recorded.row;
    let columns = columns(selection.words[row].iter().chain(&selection.located[row]));
    let mean = recorded.mean()?.flatten(0, 1)?.to_vec2::<f32>()?; // [n, columns]
    let heat = |word: &Word| {
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
        grid: Grid::full(recorded.grid, 0.0),
    }
}

/// Where the pixel at shares `(x, y)` of the picture looks.
fn looked_from(recorded: &Recorded, empty: Heat, (x, y): (f32, f32)) -> Result<Heat> {
    let (h, w) = recorded.grid;
    let cell = |share: f32, cells: usize| ((share * cells as f32) as usize).min(cells - 1);
    let query = cell(y, h) * w + cell(x, w);
    let map = recorded.mean()?.flatten(0, 1)?; // [queries, keys]
    Ok(Heat {
        index: query,
        label: format!("from {},{}", cell(x, w), cell(y, h)),
        grid: Grid::new(recorded.grid, map.get(query)?.to_vec1()?),
        ..empty
    })
}

/// The directions in which the pixels' maps differ most: right singular vectors after each pixel's
/// mean is taken off (the reference's `show_self_attention_comp`), each from 0 to 1.
fn components(recorded: &Recorded, empty: &Heat) -> Result<Vec<Heat>> {
    let (h, w) = recorded.grid;
    let n = h * w;
    if n > MOST_DECOMPOSED {
        return Err(Error::usage(
            format!("self-attention at {h}x{w} is too large to decompose"),
            "choose a coarser resolution, or one pixel with --at x,y",
        ));
    }
    let map = recorded.mean()?.flatten_all()?.to_vec1::<f32>()?;
    let mut matrix = DMatrix::from_row_slice(n, n, &map);
    for mut row in matrix.row_iter_mut() {
        let mean = row.mean();
        row.add_scalar_mut(-mean);
    }
    let right = matrix.svd(false, true).v_t.expect("asked for");
    let component = |i: usize| {
        let mut vector: Vec<f32> = right.row(i).iter().copied().collect();
        // A singular vector has no sign: the larger excursion is shown bright.
        let largest = |a: f32, b: &f32| if b.abs() > a.abs() { *b } else { a };
        let sign = vector.iter().fold(0.0, largest).signum();
        vector.iter_mut().for_each(|v| *v *= sign);
        let (least, most) = vector
            .iter()
            .fold((f32::MAX, f32::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
        let spread = (most - least).max(f32::MIN_POSITIVE);
        Heat {
            index: i,
            label: format!("component {}", i + 1),
            grid: Grid::new(
                recorded.grid,
                vector.iter().map(|v| (v - least) / spread).collect(),
            ),
            ..empty.clone()
        }
    };
    Ok((0..COMPONENTS.min(n)).map(component).collect())
}
