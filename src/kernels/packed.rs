//! A right operand of matrix products, cut into panels of sixteen columns: the order in which products
//! read it. This file never knows what the matrix is for.

use rayon::prelude::*;

use super::lanes::LANES;
use super::micro::Panels;

/// A matrix `[k, n]` as `n / 16` panels of `[k, 16]`. The last panel is padded with zeros.
#[derive(Debug, Clone)]
pub struct Packed {
    panels: Vec<f32>,
    /// Rows of the matrix.
    pub k: usize,
    /// Columns of the matrix, without padding.
    pub n: usize,
}

impl Packed {
    /// Packs a matrix `[k, n]` from its columns one after another (the `[n, k]` of a checkpoint). Element
    /// `[i, j]` is `columns[order(j) * k + within(i)]`.
    pub fn from_columns(
        columns: &[f32],
        (k, n): (usize, usize),
        order: impl Fn(usize) -> usize + Sync,
        within: impl Fn(usize) -> usize + Sync,
    ) -> Self {
        let mut panels = vec![0f32; n.div_ceil(LANES) * k * LANES];
        panels
            .par_chunks_mut(k.max(1) * LANES)
            .enumerate()
            .for_each(|(panel, to)| {
                for lane in 0..LANES.min(n - panel * LANES) {
                    let column = &columns[order(panel * LANES + lane) * k..][..k];
                    for i in 0..k {
                        to[i * LANES + lane] = column[within(i)];
                    }
                }
            });
        Self { panels, k, n }
    }

    /// Packs a matrix `[k, n]` from its rows.
    pub fn from_rows(rows: &[f32], (k, n): (usize, usize)) -> Self {
        let mut panels = vec![0f32; n.div_ceil(LANES) * k * LANES];
        for (panel, to) in panels.chunks_exact_mut(k.max(1) * LANES).enumerate() {
            let lanes = LANES.min(n - panel * LANES);
            for (to, row) in to.chunks_exact_mut(LANES).zip(rows.chunks_exact(n)) {
                to[..lanes].copy_from_slice(&row[panel * LANES..][..lanes]);
            }
        }
        Self { panels, k, n }
    }

    /// Element `[i, j]` of the matrix.
    pub fn at(&self, i: usize, j: usize) -> f32 {
        self.panels[(j / LANES * self.k + i) * LANES + j % LANES]
    }

    /// The matrix by rows, `[k, n]`.
    pub fn to_rows(&self) -> Vec<f32> {
        let at = |i: usize| self.at(i / self.n, i % self.n);
        (0..self.k * self.n).map(at).collect()
    }

    /// Panel `j`, `[k, 16]`.
    pub fn panel(&self, j: usize) -> &[f32] {
        &self.panels[j * self.k * LANES..][..self.k * LANES]
    }

    /// Panels `first..first + count`, each from line `term` on.
    pub fn panels(&self, first: usize, count: usize, term: usize) -> Panels<'_> {
        let stride = self.k * LANES;
        Panels {
            floats: &self.panels[first * stride + term * LANES..(first + count) * stride],
            count,
            stride,
        }
    }

    /// Number of panels.
    pub fn count(&self) -> usize {
        self.n.div_ceil(LANES)
    }
}
