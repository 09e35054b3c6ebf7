//! Heatmaps as DAAM (Tang et al., ACL 2023; castorini/daam) computes them, for comparison. The map of each
//! head of each layer is summed over the steps and enlarged bicubically to 64x64. Negative values are set
//! to 0, and the result is the mean over heads and layers. Owns this arithmetic and PyTorch's bicubic
//! kernel. It must never know colours or files.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};

use crate::attention::{Place, Site};
use crate::edit::Grid;
use crate::error::Result;
use crate::sample::Recorded;

/// Cells of the longer side. DAAM was made for pictures of 512 pixels, whose latents are 64 wide.
const SIDE: usize = 64;

/// Whether DAAM uses a layer. It leaves out the middle block and maps at an eighth of the latents.
pub fn looks_at(site: &Site) -> bool {
    site.downscale < 8 && site.place != Place::Mid
}

/// Size `(h, w)` of DAAM's maps, with the aspect ratio of latents of size `(h, w)`.
pub fn size(latents: (usize, usize)) -> (usize, usize) {
    let longer = latents.0.max(latents.1);
    let side = |cells: usize| ((cells * SIDE + longer / 2) / longer).max(1);
    (side(latents.0), side(latents.1))
}

/// Merges what was recorded of every layer and head into one sum per row, `[h * w, columns]` on the grid
/// of [`size`].
///
/// # Errors
///
/// A tensor error if the recorded sums cannot be read.
pub fn merged(recorded: &[Recorded], latents: (usize, usize)) -> Result<Vec<Recorded>> {
    let size = size(latents);
    let mut rows: BTreeMap<usize, Vec<&Recorded>> = BTreeMap::new();
    for recorded in recorded {
        rows.entry(recorded.row).or_default().push(recorded);
    }
    let row = |(row, maps): (usize, Vec<&Recorded>)| {
        let mut sums = vec![Grid::full(size, 0.0); maps[0].sum.dim(1)?];
        for map in &maps {
            for (sum, column) in sums.iter_mut().zip(map.sum.t()?.to_vec2::<f32>()?) {
                let enlarged = bicubic(&Grid::new(map.grid, column), size);
                *sum = sum.clone().zip(&enlarged, |a, b| a + b.max(0.0));
            }
        }
        let columns = sums.len();
        let values: Vec<f32> = sums.into_iter().flat_map(|grid| grid.values).collect();
        let sum = Tensor::from_vec(values, (columns, size.0 * size.1), &Device::Cpu)?;
        Ok(Recorded {
            frame: 0,
            group: 0,
            row,
            head: None,
            grid: size,
            count: maps.len(),
            sum: sum.t()?.contiguous()?,
        })
    };
    rows.into_iter().map(row).collect()
}

/// Resizes a grid to `(h, w)` like `torch.nn.functional.interpolate(mode="bicubic")`: Keys' kernel with
/// a = -0.75 between the centres of cells. Beyond the edge the outermost cells are repeated.
pub fn bicubic(grid: &Grid, size: (usize, usize)) -> Grid {
    let (h, w) = grid.size;
    let (down, across) = (taps(h, size.0), taps(w, size.1));
    let along = |y: usize, (cells, weights): &Taps| -> f32 {
        let four = cells.iter().zip(weights);
        four.map(|(x, weight)| weight * grid.values[y * w + x])
            .sum()
    };
    let value = |i: usize| -> f32 {
        let (cells, weights) = &down[i / size.1];
        let four = cells.iter().zip(weights);
        four.map(|(y, weight)| weight * along(*y, &across[i % size.1]))
            .sum()
    };
    Grid::new(size, (0..size.0 * size.1).map(value).collect())
}

/// Four neighbouring cells and their weights.
type Taps = ([usize; 4], [f32; 4]);

fn taps(from: usize, to: usize) -> Vec<Taps> {
    const A: f32 = -0.75;
    let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let tap = |i: usize| {
        let at = (i as f32 + 0.5) * from as f32 / to as f32 - 0.5;
        let (first, t) = (at.floor(), at - at.floor());
        let cell = |k: isize| (first as isize + k).clamp(0, from as isize - 1) as usize;
        (
            [-1, 0, 1, 2].map(cell),
            [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)],
        )
    };
    (0..to).map(tap).collect()
}
