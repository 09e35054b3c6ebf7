//! The attention of each pixel to some words, summed over a run (paper section 4, local editing). Owns
//! the sums, one number per pixel; it must never know what they are used for.
//!
//! The attention to words `W` in an edited row's map is `P' 1_W = sum P_r (S 1_W)`. It is linear in the
//! maps like every edit, so each row's own map is multiplied by a vector, and no edited map is built.

use candle_core::Tensor;

use super::lockstep::{AttentionObserver, head_mean};
use super::plan::EditPlan;
use crate::attention::{AttentionKind, Site, Tap};
use crate::edit::Grid;
use crate::error::Result;

/// Sums of attention to words at one downscale.
#[derive(Debug)]
pub struct WordSums {
    downscale: usize,
    grid: Option<(usize, usize)>,
    sums: Vec<WordSum>,
}

#[derive(Debug)]
struct WordSum {
    row: usize,
    tokens: Vec<usize>,
    /// The rows whose maps make up this row's map, each with `S 1_W` `[t]`.
    reads: Vec<(usize, Vec<f32>)>,
    /// The sum so far, `[n]`.
    seen: Option<Tensor>,
}

impl WordSums {
    /// Sums at the sites of `downscale`. `words` are pairs of a row and tokens of its prompt; equal pairs are
    /// summed once.
    pub fn new(downscale: usize, words: impl IntoIterator<Item = (usize, Vec<usize>)>) -> Self {
        let mut sums: Vec<WordSum> = vec![];
        for (row, tokens) in words {
            if tokens.is_empty() || sums.iter().any(|s| s.row == row && s.tokens == tokens) {
                continue;
            }
            sums.push(WordSum {
                row,
                tokens,
                reads: vec![],
                seen: None,
            });
        }
        Self {
            downscale,
            grid: None,
            sums,
        }
    }

    /// The attention to `tokens` of row `row`'s maps after the edit, summed over the steps and sites so far;
    /// `None` before the first map, or if the pair was not asked for.
    ///
    /// # Errors
    /// If the sum cannot be read from its device.
    pub fn of(&self, row: usize, tokens: &[usize]) -> Result<Option<Grid>> {
        let sum = self
            .sums
            .iter()
            .find(|s| s.row == row && s.tokens == tokens);
        let (Some(seen), Some(size)) = (sum.and_then(|s| s.seen.as_ref()), self.grid) else {
            return Ok(None);
        };
        Ok(Some(Grid::new(size, seen.to_vec1()?)))
    }
}

impl AttentionObserver for WordSums {
    fn wants(&self, site: &Site) -> Option<Tap> {
        let here = site.kind == AttentionKind::Cross && site.downscale == self.downscale;
        (here && !self.sums.is_empty()).then_some(Tap::default())
    }

    fn begin(&mut self, plan: &EditPlan) -> Result<()> {
        for sum in &mut self.sums {
            let reads = plan.cross[sum.row].iter().map(|(map_of, map)| {
                let column = |i| sum.tokens.iter().map(|&j| map.get(i, j)).sum();
                (*map_of, (0..map.n()).map(column).collect())
            });
            sum.reads = reads.collect();
        }
        Ok(())
    }

    fn observe(&mut self, site: &Site, row: usize, map: &Tensor) -> Result<()> {
        let map = head_mean(map)?;
        self.grid = Some(site.grid);
        for sum in &mut self.sums {
            for (_, vector) in sum.reads.iter().filter(|(map_of, _)| *map_of == row) {
                let vector = Tensor::from_slice(vector, vector.len(), map.device())?;
                // Not a matmul, whose order of summation may depend on the number of rows.
                let seen = map.broadcast_mul(&vector)?.sum(1)?;
                sum.seen = Some(match sum.seen.take() {
                    None => seen,
                    Some(sum) => (sum + seen)?,
                });
            }
        }
        Ok(())
    }
}
