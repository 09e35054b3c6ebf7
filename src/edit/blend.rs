//! Local blend (paper 4, "local editing"; the ICLR version's alpha): where in the picture an edit may
//! act, from the attention of words, as arithmetic on grids of numbers.
//!
//! Owns the way from summed attention to a mask. It never knows how the attention was summed, nor
//! what is blended.

use super::Rules;
use crate::error::Result;

/// Numbers over a picture, row-major: a word's attention, or a mask from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// `(height, width)`
    pub size: (usize, usize),
    pub values: Vec<f32>,
}

impl Grid {
    pub fn new(size: (usize, usize), values: Vec<f32>) -> Self {
        assert_eq!(values.len(), size.0 * size.1, "a value per cell");
        Self { size, values }
    }

    pub fn full(size: (usize, usize), value: f32) -> Self {
        Self::new(size, vec![value; size.0 * size.1])
    }

    fn at(&self, y: usize, x: usize) -> f32 {
        self.values[y * self.size.1 + x]
    }

    pub fn map(mut self, f: impl Fn(f32) -> f32) -> Self {
        self.values.iter_mut().for_each(|v| *v = f(*v));
        self
    }

    pub fn zip(mut self, other: &Self, f: impl Fn(f32, f32) -> f32) -> Self {
        assert_eq!(self.size, other.size, "grids of one size");
        let pairs = self.values.iter_mut().zip(&other.values);
        pairs.for_each(|(a, b)| *a = f(*a, *b));
        self
    }

    /// A value per cell of `size`, from the cell's place.
    fn sample(size: (usize, usize), value: impl Fn(usize, usize) -> f32) -> Self {
        let (h, w) = size;
        let cells = (0..h * w).map(|i| value(i / w, i % w));
        Self::new(size, cells.collect())
    }

    /// The largest of each cell and its eight neighbours: attention is a little narrower than its object.
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

    /// Each cell of `size` from the one it lies in.
    pub fn nearest(&self, size: (usize, usize)) -> Self {
        let (h, w) = self.size;
        Self::sample(size, |y, x| self.at(y * h / size.0, x * w / size.1))
    }

    /// Linear between the centres of cells, constant beyond the outermost.
    pub fn bilinear(&self, size: (usize, usize)) -> Self {
        // Two neighbours and the share of the second.
        let place = |i: usize, from: usize, to: usize| {
            let at = ((i as f32 + 0.5) * from as f32 / to as f32 - 0.5).max(0.0);
            let first = (at as usize).min(from - 1);
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

    /// Divided by its peak, so that a threshold means the same for every word. Odd in the reference:
    /// it divides by the largest value, which turns the attention of a word of negative weight inside
    /// out; ours divides by the value of largest magnitude. Without any attention: zeros.
    fn normalised(self, rules: Rules) -> Self {
        let largest = |a: f32, b: f32| match rules {
            Rules::Ours if b.abs() > a.abs() => b,
            Rules::Ours => a,
            Rules::Reference => a.max(b),
        };
        let peak = self.values.iter().copied().reduce(largest).unwrap_or(0.0);
        match peak {
            0.0 => self.map(|_| 0.0),
            peak => self.map(|v| v / peak),
        }
    }
}

/// From attention to a mask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Of the peak; above it a cell belongs to the words.
    pub words: f32,
    /// The same for the words that are kept.
    pub keep: f32,
    /// Edges that fade, instead of the reference's hard ones.
    pub soft: bool,
}

impl Default for Thresholds {
    /// The reference's.
    fn default() -> Self {
        Self {
            words: 0.3,
            keep: 0.3,
            soft: false,
        }
    }
}

/// Where one edit may act: which words say so, of the prompt it edits and of its own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Region {
    /// Tokens of the words it may change, in the prompt that is edited and in the edited one.
    pub words: [Vec<usize>; 2],
    /// Tokens of the words it must leave alone.
    pub keep: [Vec<usize>; 2],
    pub thresholds: Thresholds,
    /// The user's own mask, of the latents' size: 1 where it may act. Intersected with the words'.
    pub mask: Option<Grid>,
}

impl Region {
    /// Whether anything says where.
    pub fn is_somewhere(&self) -> bool {
        self.has_words() || self.keep.iter().any(|t| !t.is_empty()) || self.mask.is_some()
    }

    fn has_words(&self) -> bool {
        self.words.iter().any(|tokens| !tokens.is_empty())
    }

    /// The mask at the latents' size: 1 where the edit acts, 0 where the edited picture stays.
    ///
    /// `attention(side, tokens)` is the summed attention of the tokens in the prompt that is edited
    /// (side 0) or in the edited one (side 1); `None` where there is none yet. Its errors are passed on.
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
            let grid = match self.thresholds.soft {
                true => grid.bilinear(size),
                false => grid.nearest(size),
            };
            grid.normalised(rules).map(|v| self.inside(v, threshold))
        };
        // The sign first: what a negative word's neighbours have is less, not more.
        let upright = |grid: Grid| match rules {
            Rules::Ours => grid.normalised(rules),
            Rules::Reference => grid,
        };
        let Thresholds { words, keep, .. } = self.thresholds;
        let mut mask = match self.has_words() {
            true => union(&self.words, &|grid| cut(upright(grid).dilated(), words))?,
            false => Some(Grid::full(size, 1.0)),
        }
        .unwrap_or_else(|| Grid::full(size, 0.0));
        // Odd in the reference, and kept: only the attention that includes is dilated.
        if let Some(kept) = union(&self.keep, &|grid| cut(grid, keep))? {
            mask = mask.zip(&kept, |m, k| m.min(1.0 - k));
        }
        Ok(match &self.mask {
            Some(own) => mask.zip(own, f32::min),
            None => mask,
        })
    }

    /// Above the threshold, or on the way over it: soft edges fade over half of it to either side.
    fn inside(&self, value: f32, threshold: f32) -> f32 {
        let fade = threshold / 2.0;
        match self.thresholds.soft && fade > 0.0 {
            true => ((value - threshold + fade) / (2.0 * fade)).clamp(0.0, 1.0),
            false => f32::from(u8::from(value > threshold)),
        }
    }
}
