//! The algebra of edits. Every edit of the method is linear in the attention maps (paper 3.2),
//! `P' = P_src . B + P_own . diag(o)`. The pair `(B, o)` is a `MapEdit`.
//!
//! The family is closed under diagonal factors on the right and under mixing with the row's own map. So
//! replace or refine, then re-weight, then a step gate, is again one `MapEdit`. The algebra must never know
//! at which steps or on which layers an edit acts.

use super::TokenMap;

/// An edit of the cross-attention maps of one row. Consuming methods chain in the order in which they act:
/// `MapEdit::replace(m).reweight(&w).gate(&a)`.
#[derive(Debug, Clone, PartialEq)]
pub struct MapEdit {
    /// `B`: the part that is read from the source's map, `[source token, edited token]`.
    pub borrow: TokenMap,
    /// `o`: for each edited token the factor of the row's own map.
    pub own: Vec<f32>,
}

impl MapEdit {
    /// No edit of `n` tokens: the row keeps its own attention.
    pub fn none(n: usize) -> Self {
        Self {
            borrow: TokenMap::zero(n),
            own: vec![1.0; n],
        }
    }

    /// Word swap (paper 3.2): all attention is the source's, through `mapper`.
    pub fn replace(mapper: TokenMap) -> Self {
        let own = vec![0.0; mapper.n()];
        Self {
            borrow: mapper,
            own,
        }
    }

    /// Prompt refinement (paper 3.2): tokens with `aligned` 1 read the source's map, tokens with `aligned` 0
    /// keep their own.
    ///
    /// # Panics
    ///
    /// `aligned` does not have one value per token.
    pub fn refine(mapper: TokenMap, aligned: &[f32]) -> Self {
        let own = aligned.iter().map(|a| 1.0 - a).collect();
        Self {
            borrow: mapper.scale_columns(aligned),
            own,
        }
    }

    /// Attention re-weighting (paper 3.2): multiplies each token's column by its factor. Rows of the result do
    /// not sum to 1 and are not normalised, because normalising would undo the factor.
    ///
    /// # Panics
    ///
    /// `factors` does not have one value per token.
    pub fn reweight(self, factors: &[f32]) -> Self {
        self.reweight_apart(factors, factors)
    }

    /// [`MapEdit::reweight`] with different factors for borrowed and own attention. An edit of an edit needs
    /// it, because the attention that it borrows may be re-weighted already.
    ///
    /// # Panics
    ///
    /// `borrowed` does not have one value per token.
    pub fn reweight_apart(self, borrowed: &[f32], own: &[f32]) -> Self {
        Self {
            borrow: self.borrow.scale_columns(borrowed),
            own: self.own.iter().zip(own).map(|(o, f)| o * f).collect(),
        }
    }

    /// The step gate: for each token the share `a` of the edit and `1 - a` of the row's own map.
    ///
    /// # Panics
    ///
    /// `open` does not have one value per token.
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

    /// Whether the edit equals [`MapEdit::none`].
    pub fn is_none(&self) -> bool {
        self.borrow.is_zero() && self.own.iter().all(|o| *o == 1.0)
    }
}
