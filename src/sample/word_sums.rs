//! How much each place of the picture attends to some words, summed over a run as it goes (paper 4,
//! local editing): a number a pixel, never a map.
//!
//! The attention of words `W` in an edited row's map is `P' 1_W = sum P_r (S 1_W)`: linear like every
//! edit, so the rows' own maps go through one vector each, and no edited map is built. It never knows
//! what the sums are for.

use candle_core::Tensor;

use super::lockstep::{AttentionObserver, head_mean};
use super::plan::EditPlan;
use crate::attention::{AttentionKind, Site, Tap};
use crate::edit::Grid;
use crate::error::Result;

/// The sums at one downscale.
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
    /// Rows whose maps make up this row's, each with `S 1_W` `[t]`.
    reads: Vec<(usize, Vec<f32>)>,
    /// `[n]`
    seen: Option<Tensor>,
}

impl WordSums {
    /// `words` are pairs of a row and tokens of its prompt; equal ones are summed once.
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

    /// The sum over steps, sites and tokens so far, of the maps as used (after the edit).
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
                // Not a matmul: its order of sums may depend on how many there are.
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
