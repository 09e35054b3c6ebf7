//! Self-attention as pictures: where one pixel looks, and in which directions the pixels' looks differ
//! most. Owns what these numbers mean.

use nalgebra::DMatrix;

use super::maps::Heat;
use crate::edit::Grid;
use crate::error::{Error, Result};
use crate::sample::Recorded;

/// Components of self-attention that are shown.
pub const COMPONENTS: usize = 8;
/// A decomposition takes the cube of this.
const MOST_DECOMPOSED: usize = 32 * 32;

/// Where the pixel at shares `(x, y)` of the picture looks.
pub fn looked_from(recorded: &Recorded, empty: Heat, (x, y): (f32, f32)) -> Result<Heat> {
    let (h, w) = recorded.grid;
    let cell = |share: f32, cells: usize| ((share * cells as f32) as usize).min(cells - 1);
    let (column, row) = (cell(x, w), cell(y, h));
    let map = recorded.mean()?.flatten(0, 1)?; // [queries, keys]
    let middle = |cell: usize, cells: usize| (cell as f32 + 0.5) / cells as f32;
    Ok(Heat {
        index: row * w + column,
        label: format!("from {x},{y}"),
        from: Some((middle(column, w), middle(row, h))),
        grid: Grid::new(recorded.grid, map.get(row * w + column)?.to_vec1()?),
        ..empty
    })
}

/// The directions in which the pixels' maps differ most: right singular vectors after each pixel's
/// mean is taken off (the reference's `show_self_attention_comp`), each from 0 to 1.
pub fn components(recorded: &Recorded, empty: &Heat) -> Result<Vec<Heat>> {
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
    let decomposed = matrix.svd(false, true);
    let right = decomposed.v_t.expect("asked for");
    let component = |i: usize| Heat {
        index: i + 1,
        label: format!("component {}", i + 1),
        singular_value: Some(decomposed.singular_values[i]),
        grid: Grid::new(
            recorded.grid,
            upright(right.row(i).iter().copied().collect()),
        ),
        ..empty.clone()
    };
    Ok((0..COMPONENTS.min(n)).map(component).collect())
}

/// From 0 to 1. A singular vector has no sign: the larger excursion is shown bright.
fn upright(mut vector: Vec<f32>) -> Vec<f32> {
    let largest = |a: f32, b: &f32| if b.abs() > a.abs() { *b } else { a };
    let sign = vector.iter().fold(0.0, largest).signum();
    vector.iter_mut().for_each(|v| *v *= sign);
    let (least, most) = vector
        .iter()
        .fold((f32::MAX, f32::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
    let spread = (most - least).max(f32::MIN_POSITIVE);
    vector.iter_mut().for_each(|v| *v = (*v - least) / spread);
    vector
}
