//! The algebra of edits: every edit of the method is linear in the attention maps (paper 3.2),
//! `P' = P_src . B + P_own . diag(o)`. This pair `(B, o)` is a `MapEdit`.
//!
//! The family is closed under diagonal factors on the right and under mixing with the own map, so
//! replace or refine, then re-weight, then a step gate, is again one `MapEdit`. It never knows when
//! it acts, nor on which layers.

use super::TokenMap;

/// Consuming methods, read in the order they act: `MapEdit::replace(m).reweight(&w).gate(&a)`.
#[derive(Debug, Clone, PartialEq)]
pub struct MapEdit {
    /// `B`: what is borrowed from the source's map.
    pub borrow: TokenMap,
    /// `o`: how much each edited token keeps of the row's own map.
    pub own: Vec<f32>,
}

impl MapEdit {
    /// The row attends as it would by itself.
    pub fn none(n: usize) -> Self {
        Self {
            borrow: TokenMap::zero(n),
            own: vec![1.0; n],
        }
    }

    /// Word swap (paper 3.2): all attention is the source's, through the mapper.
    pub fn replace(mapper: TokenMap) -> Self {
        let own = vec![0.0; mapper.n()];
        Self {
            borrow: mapper,
            own,
        }
    }

    /// Prompt refinement (paper 3.2): aligned tokens (`aligned` 1) read the source's map, new ones
    /// (0) keep their own.
    pub fn refine(mapper: TokenMap, aligned: &[f32]) -> Self {
        let own = aligned.iter().map(|a| 1.0 - a).collect();
        Self {
            borrow: mapper.scale_columns(aligned),
            own,
        }
    }

    /// Attention re-weighting (paper 3.2): each token's column times its factor. Rows then don't
    /// sum to one, and are not normalised: the factor is the point.
    pub fn reweight(self, factors: &[f32]) -> Self {
        self.reweight_apart(factors, factors)
    }

    /// The same with factors of their own for what is borrowed: what an edit of an edit borrows may be
    /// weighed already.
    pub fn reweight_apart(self, borrowed: &[f32], own: &[f32]) -> Self {
        Self {
            borrow: self.borrow.scale_columns(borrowed),
            own: self.own.iter().zip(own).map(|(o, f)| o * f).collect(),
        }
    }

    /// The step gate: `a` of the edit and `1 - a` of the own map, per token.
    pub fn gate(self, open: &[f32]) -> Self {
        let own = self
            .own
            .iter()
            .zip(open)
            .map(|(o, a)| o * a + (1.0 - a))
            .collect();
        Self {
            borrow: self.borrow.scale_columns(open),
            own,
        }
    }

    /// Whether this is [`MapEdit::none`].
    pub fn is_none(&self) -> bool {
        self.borrow.is_zero() && self.own.iter().all(|o| *o == 1.0)
    }
}
