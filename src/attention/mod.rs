//! The seam between a model and whoever wants to look at or change its attention.
//! Owns `Site`, `Term`, `SitePlan`, `AttentionHook` and [`attend`]. It must never know the words
//! "edit", "source" or "prompt": a row is a row, and a plan says which row's map carries whose values.
//!
//! The contract of a hook: *asking for a map is never wrong, only slow; answer `Plain` and no tap,
//! and you are not called again for that site.*

mod attend;
#[cfg(feature = "flash-attn")]
mod flash;
mod hook;
mod site;

pub use attend::{HeadMean, attend, probabilities};
pub use hook::{AttentionHook, NoHook, Tap, hooked, untouched};
pub use site::{AttentionKind, Place, Site};

use candle_core::Tensor;

/// How a row's values travel through somebody's attention map.
#[derive(Debug, Clone)]
pub enum Carry {
    /// As they are.
    Same,
    /// All values times one number: a map that is mixed with another.
    Share(f32),
    /// Each token's values times a factor, `[t]`: `P . diag(w) . V`.
    Scale(Tensor),
    /// Through a token map, `[t_map, t_values]`: `P . (S V)`.
    Remap(Tensor),
}

/// One summand of a row's output: *row `map_of`'s attention carries my values through `carry`*.
#[derive(Debug, Clone)]
pub struct Term {
    pub map_of: usize,
    pub carry: Carry,
}

impl Term {
    /// The term of a plain row: my own map carries my own values.
    pub fn own(row: usize) -> Self {
        Self {
            map_of: row,
            carry: Carry::Same,
        }
    }
}

/// What a hook wants done at a site. `Plain` and `Mix` never materialise a map.
#[derive(Debug, Clone, Copy)]
pub enum SitePlan<'a> {
    /// Every row attends to its own tokens.
    Plain,
    /// One sum of terms per row; an empty sum gives zeros.
    Mix(&'a [Vec<Term>]),
    /// The full maps are built and handed to [`AttentionHook::rewrite`]: for what is not linear.
    Rewrite,
}

impl SitePlan<'_> {
    /// The rows, ascending, whose own map somebody reads. The others need no Q, K or softmax.
    pub fn rows_read(&self, rows: usize) -> Vec<usize> {
        match self {
            SitePlan::Mix(mix) => (0..rows)
                .filter(|&r| mix.iter().flatten().any(|t| t.map_of == r))
                .collect(),
            SitePlan::Plain | SitePlan::Rewrite => (0..rows).collect(),
        }
    }
}
