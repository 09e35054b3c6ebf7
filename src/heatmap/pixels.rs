//! Self-attention as heatmaps: where one pixel looks, and the principal components of all pixels' maps.
//! Owns the arithmetic of both. It must never know colours or files.

use nalgebra::DMatrix;

use super::maps::Heatmap;
use crate::edit::Grid;
use crate::error::{Error, Result};
use crate::message;
use crate::sample::Recorded;
use crate::setting::Setting;

/// Number of principal components that are shown.
pub const COMPONENTS: usize = 8;
/// Largest number of pixels that are decomposed. The time grows with its cube.
const MOST_DECOMPOSED: usize = 32 * 32;

/// The self-attention map of the pixel at `(x, y)`, given as shares of the picture's width and height.
/// `empty` gives the row, the frame and the layers.
///
/// # Errors
///
/// A tensor error if the recorded sums cannot be read.
pub fn looked_from(recorded: &Recorded, empty: Heatmap, (x, y): (f32, f32)) -> Result<Heatmap> {
    let (h, w) = recorded.grid;
    let cell = |share: f32, cells: usize| ((share * cells as f32) as usize).min(cells - 1);
    let (column, row) = (cell(x, w), cell(y, h));
    let map = recorded.mean()?.flatten(0, 1)?; // [queries, keys]
    let middle = |cell: usize, cells: usize| (cell as f32 + 0.5) / cells as f32;
    Ok(Heatmap {
        index: row * w + column,
        label: format!("from {x},{y}"),
        from: Some((middle(column, w), middle(row, h))),
        grid: Grid::new(recorded.grid, map.get(row * w + column)?.to_vec1()?),
        ..empty
    })
}

/// The first principal components of the self-attention maps, each scaled to 0..1: right singular vectors
/// of the matrix `[queries, keys]` after the mean of each row is subtracted (the reference's
/// `show_self_attention_comp`). `empty` gives the row, the frame and the layers.
///
/// # Errors
///
/// A usage error if the grid is too large to decompose.
pub fn components(recorded: &Recorded, empty: &Heatmap) -> Result<Vec<Heatmap>> {
    let (h, w) = recorded.grid;
    let n = h * w;
    if n > MOST_DECOMPOSED {
        return Err(Error::usage(
            format!("self-attention at {h}x{w} is too large to decompose"),
            message![
                "choose a coarser resolution with ",
                Setting::MapRes,
                ", or one pixel with ",
                Setting::MapAt.to("X,Y"),
            ],
        )
        .about(Setting::MapRes));
    }
    let map = recorded.mean()?.flatten_all()?.to_vec1::<f32>()?;
    let mut matrix = DMatrix::from_row_slice(n, n, &map);
    for mut row in matrix.row_iter_mut() {
        let mean = row.mean();
        row.add_scalar_mut(-mean);
    }
    let decomposed = matrix.svd(false, true);
    let right = decomposed.v_t.expect("asked for");
    let component = |i: usize| Heatmap {
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

/// Scales a singular vector to 0..1. Its sign is arbitrary: the value of largest magnitude is shown bright.
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
