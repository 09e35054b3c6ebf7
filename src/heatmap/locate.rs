//! Locates words in a picture: the mask that local blend would use, and boxes around it. Owns this geometry.
//! It must never know files.

use super::Heatmap;
use crate::edit::{Grid, Region, Rules};
use crate::error::Result;

/// The mask that local blend would compute from a heatmap, at the latents' size `(h, w)`.
///
/// # Errors
///
/// A usage error if the word draws no attention anywhere.
pub fn mask(heat: &Heatmap, threshold: f32, rules: Rules, latents: (usize, usize)) -> Result<Grid> {
    let mut region = Region {
        words: [vec![], heat.tokens.clone()],
        ..Region::default()
    };
    region.thresholds.words = threshold;
    region.mask(latents, rules, |_, _| Ok(Some(heat.grid.clone())))
}

/// The middle of the cell with the largest value, `[x, y]` in pixels of a picture of `size` `(w, h)`.
pub fn peak(grid: &Grid, size: (u32, u32)) -> [u32; 2] {
    middle(grid, size, |v| v)
}

/// The middle of the cell with the largest magnitude, `[x, y]` in pixels of a picture of `size` `(w, h)`.
/// A word of negative weight acts where its value is least.
pub fn strongest(grid: &Grid, size: (u32, u32)) -> [u32; 2] {
    middle(grid, size, f32::abs)
}

fn middle(grid: &Grid, (width, height): (u32, u32), value: impl Fn(f32) -> f32) -> [u32; 2] {
    let (h, w) = grid.size;
    let largest = |best: usize, i: usize| {
        if value(grid.values[i]) > value(grid.values[best]) {
            i
        } else {
            best
        }
    };
    let at = (0..grid.values.len()).fold(0, largest);
    let middle = |cell: usize, cells: usize, pixels: u32| {
        ((2 * cell + 1) * pixels as usize / (2 * cells)) as u32
    };
    [middle(at % w, w, width), middle(at / w, h, height)]
}

/// The box around a mask's cells above 0: left, top, right and bottom, right and bottom exclusive. `None` if
/// there is no such cell.
pub fn bounds(mask: &Grid) -> Option<[u32; 4]> {
    let (_, w) = mask.size;
    let inside: Vec<(u32, u32)> = (0..mask.values.len())
        .filter(|&i| mask.values[i] > 0.0)
        .map(|i| ((i % w) as u32, (i / w) as u32))
        .collect();
    Some([
        inside.iter().map(|p| p.0).min()?,
        inside.iter().map(|p| p.1).min()?,
        inside.iter().map(|p| p.0).max()? + 1,
        inside.iter().map(|p| p.1).max()? + 1,
    ])
}

/// The part of a mask that is connected with the cell at `[x, y]` over common edges of cells.
pub fn part_at(mask: &Grid, [x, y]: [u32; 2]) -> Grid {
    let (h, w) = mask.size;
    let mut part = Grid::full(mask.size, 0.0);
    let mut open = vec![(x as usize, y as usize)];
    while let Some((x, y)) = open.pop() {
        let i = y * w + x;
        if mask.values[i] == 0.0 || part.values[i] > 0.0 {
            continue;
        }
        part.values[i] = mask.values[i];
        open.extend((x > 0).then(|| (x - 1, y)));
        open.extend((y > 0).then(|| (x, y - 1)));
        open.extend((x + 1 < w).then_some((x + 1, y)));
        open.extend((y + 1 < h).then_some((x, y + 1)));
    }
    part
}
