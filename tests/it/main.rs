//! The one integration binary. Each module tests one room of the house, or one law of it.

mod common;

/// Every edit of the method is `P_src . B + P_own . diag(o)`.
mod algebra;
/// Which token reads which, ours and the reference's, against golden mappers.
mod align;
/// A file imports only from floors below it, and opens with what it owns.
mod layers;
/// Word lookup: case, punctuation, phrases, occurrences, unknown words.
mod prompt;
/// Fractions to steps, ours and the reference's, against golden windows.
mod windows;
