//! The interface between a model and code that observes or changes its attention.
//!
//! This module owns [`Site`], [`Term`], [`SitePlan`], [`AttentionHook`] and [`attend`]. It never knows what an edit,
//! a source or a prompt is. A batch has rows, and a plan says which row's map carries the values of which row.
//!
//! The contract of a hook: a request for a map is always allowed, but costs time. A hook that answers
//! [`SitePlan::Plain`] and no [`Tap`] for a site gets no map of that site.

mod attend;
#[cfg(feature = "flash-attn")]
mod flash;
mod hook;
mod site;

pub use attend::{HeadMean, attend, probabilities};
pub use hook::{AttentionHook, NoHook, Tap, hooked, untouched};
pub use site::{AttentionKind, Place, Site};

use candle_core::Tensor;

/// How the values of a row are changed before they go through an attention map.
#[derive(Debug, Clone)]
pub enum Carry {
    /// The values are not changed.
    Same,
    /// All values are multiplied by one number: the share of a map in a mix of maps.
    Share(f32),
    /// The values of each token are multiplied by the token's factor, `w` `[t]`: `P . diag(w) . V`.
    Scale(Tensor),
    /// The values are mixed by a token map first, `S` `[t_map, t_values]`: `P . (S V)`.
    Remap(Tensor),
}

/// One summand of the output of a row: the attention map of row `map_of` times the row's own values, changed by
/// `carry`.
#[derive(Debug, Clone)]
pub struct Term {
    /// The row whose attention map is used.
    pub map_of: usize,
    /// The change of the values.
    pub carry: Carry,
}

impl Term {
    /// The term of a plain row: the row's own map times its own values.
    pub fn own(row: usize) -> Self {
        Self {
            map_of: row,
            carry: Carry::Same,
        }
    }
}

/// The computation at a site. `Plain` and `Mix` never build a full map.
#[derive(Debug, Clone, Copy)]
pub enum SitePlan<'a> {
    /// Every row attends to its own tokens.
    Plain,
    /// The output of each row is a sum of terms. An empty sum gives zeros.
    Mix(&'a [Vec<Term>]),
    /// The full maps are built and passed to [`AttentionHook::rewrite`], for changes that are not linear.
    Rewrite,
}

impl SitePlan<'_> {
    /// The rows, in ascending order, whose map is used by any row. The other rows need no queries, keys or softmax.
    pub fn rows_read(&self, rows: usize) -> Vec<usize> {
        match self {
            SitePlan::Mix(mix) => (0..rows)
                .filter(|&r| mix.iter().flatten().any(|t| t.map_of == r))
                .collect(),
            SitePlan::Plain | SitePlan::Rewrite => (0..rows).collect(),
        }
    }
}
