//! What an edit *is*: pure data and arithmetic over token maps, readable and testable on paper.
//! Uses floor 0 only: no tensor library, no model, no file.
//!
//! **Where do I change what an edit means?** [`MapEdit`] holds the whole family (paper section 3.2):
//! every edit of the method is `P' = P_src . B + P_own . diag(o)`, and [`align()`] makes the `B` and
//! the `o` from two prompts. When it acts is [`windows`], where in the picture [`blend`]. The reference
//! implementation's rules, quirks included, are in [`mod@reference`].

pub mod align;
pub mod blend;
mod map_edit;
pub mod reference;
mod token_map;
pub mod windows;

pub use align::{Alignment, EditKind, Rules, align};
pub use blend::{Grid, Region};
pub use map_edit::MapEdit;
pub use token_map::TokenMap;
pub use windows::{Acts, Clock, CrossWindows, Window};
