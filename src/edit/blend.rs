//! Local blend (paper 4, "local editing"; alpha in the ICLR version): the attention of words decides where in
//! the picture an edit may act.
//!
//! Owns the arithmetic from summed attention to a mask, on grids of numbers. It must never know how the
//! attention was summed, nor what is blended.

use super::Rules;
use crate::error::Result;

/// A grid of numbers over a picture: a word's attention, or a mask from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// `(height, width)` in cells.
    pub size: (usize, usize),
    /// The values, row-major `[height, width]`.
    pub values: Vec<f32>,
}

impl Grid {
    /// A grid of `size` with the given values.
    ///
    /// # Panics
    ///
    /// The number of values is not `height * width`.
    pub fn new(size: (usize, usize), values: Vec<f32>) -> Self {
        assert_eq!(values.len(), size.0 * size.1, "one value per cell");
        Self { size, values }
    }

    /// A grid of `size` with the same value in all cells.
    pub fn full(size: (usize, usize), value: f32) -> Self {
        Self::new(size, vec![value; size.0 * size.1])
    }

    fn at(&self, y: usize, x: usize) -> f32 {
        self.values[y * self.size.1 + x]
    }

    /// The grid with `f` applied to each value.
    pub fn map(mut self, f: impl Fn(f32) -> f32) -> Self {
        self.values.iter_mut().for_each(|v| *v = f(*v));
        self
    }

    /// The grid with `f` applied to each value and the value of `other` in the same cell.
    ///
    /// # Panics
    ///
    /// The grids have different sizes.
    pub fn zip(mut self, other: &Self, f: impl Fn(f32, f32) -> f32) -> Self {
        assert_eq!(self.size, other.size, "grids of the same size");
        let pairs = self.values.iter_mut().zip(&other.values);
        pairs.for_each(|(a, b)| *a = f(*a, *b));
        self
    }

    /// A grid of `size` with `value(row, column)` in each cell.
    fn sample(size: (usize, usize), value: impl Fn(usize, usize) -> f32) -> Self {
        let (h, w) = size;
        let cells = (0..h * w).map(|i| value(i / w, i % w));
        Self::new(size, cells.collect())
    }

    /// The largest value of each cell and its eight neighbours. A word's attention is narrower than its object.
    fn dilated(&self) -> Self {
        let (h, w) = self.size;
        Self::sample(self.size, |y, x| {
            let rows = y.saturating_sub(1)..(y + 2).min(h);
            let columns = x.saturating_sub(1)..(x + 2).min(w);
            rows.flat_map(|y| columns.clone().map(move |x| (y, x)))
                .map(|(y, x)| self.at(y, x))
                .fold(f32::NEG_INFINITY, f32::max)
        })
    }

    /// The grid resized to `size` by nearest neighbour, as torch's `interpolate` in mode "nearest".
    pub fn nearest(&self, size: (usize, usize)) -> Self {
        let (h, w) = self.size;
        Self::sample(size, |y, x| self.at(y * h / size.0, x * w / size.1))
    }

    /// The grid resized to `size` by linear interpolation between the centres of cells, constant outside of the
    /// outermost centres, as torch's `interpolate` in mode "bilinear".
    pub fn bilinear(&self, size: (usize, usize)) -> Self {
        // Indices of the two neighbours, and the share of the second one.
        let place = |i: usize, from: usize, to: usize| {
            let at = ((i as f32 + 0.5) * from as f32 / to as f32 - 0.5).max(0.0);
            let first = at as usize;
            (first, (first + 1).min(from - 1), at - first as f32)
        };
        Self::sample(size, |y, x| {
            let (top, bottom, down) = place(y, self.size.0, size.0);
            let (left, right, along) = place(x, self.size.1, size.1);
            let mix = |a: f32, b: f32, share: f32| a + share * (b - a);
            let upper = mix(self.at(top, left), self.at(top, right), along);
            let lower = mix(self.at(bottom, left), self.at(bottom, right), along);
            mix(upper, lower, down)
        })
    }

    /// The grid divided by its peak, so that a threshold means the same for every word. A grid without
    /// attention stays zero.
    ///
    /// Our peak is the value of largest magnitude. Quirk: the reference's peak is the largest value. For a
    /// word of negative weight that is the value nearest to zero, and its attention turns inside out.
    fn normalised(self, rules: Rules) -> Self {
        let largest = |a: f32, b: f32| match rules {
            Rules::Ours if b.abs() > a.abs() => b,
            Rules::Ours => a,
            Rules::Reference => a.max(b),
        };
        let peak = self.values.iter().copied().reduce(largest).unwrap_or(0.0);
        if peak == 0.0 {
            self.map(|_| 0.0)
        } else {
            self.map(|v| v / peak)
        }
    }
}

/// How attention becomes a mask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Share of the peak attention above which a cell belongs to the words that may change.
    pub words: f32,
    /// Share of the peak attention above which a cell belongs to the words that are kept.
    pub keep: f32,
    /// Whether the mask fades at its edges. The reference's edges are hard.
    pub soft: bool,
}

impl Default for Thresholds {
    /// The thresholds of the reference.
    fn default() -> Self {
        Self {
            words: 0.3,
            keep: 0.3,
            soft: false,
        }
    }
}

/// Where one edit may act. Words belong to the prompt that is edited (side 0) or to the edited prompt (side
/// 1).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Region {
    /// Token indices of the words that the edit may change, by side.
    pub words: [Vec<usize>; 2],
    /// Token indices of the words that the edit must keep, by side.
    pub keep: [Vec<usize>; 2],
    /// How the attention of the words becomes a mask.
    pub thresholds: Thresholds,
    /// The user's own mask at the latents' size: 1 where the edit may act. The region is the intersection of
    /// this mask and the words' mask.
    pub mask: Option<Grid>,
}

impl Region {
    /// Whether words or a mask limit where the edit acts.
    pub fn is_somewhere(&self) -> bool {
        self.has_words() || self.keep.iter().any(|t| !t.is_empty()) || self.mask.is_some()
    }

    fn has_words(&self) -> bool {
        self.words.iter().any(|tokens| !tokens.is_empty())
    }

    /// The mask at the latents' `size`: 1 where the edit acts, 0 where the picture that is edited stays.
    ///
    /// `attention(side, tokens)` is the summed attention of the tokens on a side, or `None` if no attention
    /// has been summed yet.
    ///
    /// # Errors
    ///
    /// `attention` fails.
    ///
    /// # Panics
    ///
    /// The user's own mask does not have the size `size`.
    pub fn mask(
        &self,
        size: (usize, usize),
        rules: Rules,
        attention: impl Fn(usize, &[usize]) -> Result<Option<Grid>>,
    ) -> Result<Grid> {
        let union = |words: &[Vec<usize>; 2], shape: &dyn Fn(Grid) -> Grid| -> Result<_> {
            let mut all: Option<Grid> = None;
            for (side, tokens) in words.iter().enumerate().filter(|(_, t)| !t.is_empty()) {
                if let Some(grid) = attention(side, tokens)?.map(shape) {
                    all = Some(match all {
                        Some(all) => all.zip(&grid, f32::max),
                        None => grid,
                    });
                }
            }
            Ok(all)
        };
        let cut = |grid: Grid, threshold: f32| {
            let grid = if self.thresholds.soft {
                grid.bilinear(size)
            } else {
                grid.nearest(size)
            };
            grid.normalised(rules).map(|v| self.inside(v, threshold))
        };
        // Normalising makes the peak of a negative word positive. The dilation takes the largest neighbour and
        // would shrink the word otherwise.
        let upright = |grid: Grid| match rules {
            Rules::Ours => grid.normalised(rules),
            Rules::Reference => grid,
        };
        let Thresholds { words, keep, .. } = self.thresholds;
        let mut mask = if self.has_words() {
            union(&self.words, &|grid| cut(upright(grid).dilated(), words))?
                .unwrap_or_else(|| Grid::full(size, 0.0))
        } else {
            Grid::full(size, 1.0)
        };
        // Both rules follow the reference here: the attention of kept words is not dilated.
        if let Some(kept) = union(&self.keep, &|grid| cut(grid, keep))? {
            mask = mask.zip(&kept, |m, k| m.min(1.0 - k));
        }
        Ok(match &self.mask {
            Some(own) => mask.zip(own, f32::min),
            None => mask,
        })
    }

    /// How far a normalised value is above the threshold, 0 to 1. A soft edge fades from half of the threshold
    /// to one and a half times the threshold.
    fn inside(&self, value: f32, threshold: f32) -> f32 {
        let fade = threshold / 2.0;
        if self.thresholds.soft && fade > 0.0 {
            ((value - threshold + fade) / (2.0 * fade)).clamp(0.0, 1.0)
        } else {
            f32::from(u8::from(value > threshold))
        }
    }
}
