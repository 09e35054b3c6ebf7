//! The edits of the method as pure data and arithmetic over token maps, readable and testable on paper.
//! Uses the lowest layer only (errors, messages, prompts): no tensor library, no model, no file.
//!
//! **Where do I change what an edit means?** [`MapEdit`] holds the whole family (paper section 3.2):
//! every edit of the method is `P' = P_src . B + P_own . diag(o)`, and [`align()`] computes `B` and `o` from
//! two prompts. [`windows`] owns when an edit acts, [`blend`] where in the picture. [`mod@reference`] owns the
//! rules of the reference implementation, quirks included.

pub mod align;
pub mod blend;
pub mod diff;
mod kind;
mod map_edit;
pub mod reference;
mod token_map;
pub mod windows;

pub use align::{Alignment, align};
pub use blend::{Grid, Region};
pub use kind::{EditKind, Rules};
pub use map_edit::MapEdit;
pub use token_map::TokenMap;
pub use windows::{Acts, Clock, CrossWindows, Window};
