//! The one integration binary. Each module tests one room of the house, or one law of it.

mod common;

/// Every edit of the method is `P_src . B + P_own . diag(o)`.
mod algebra;
/// Which token reads which, ours and the reference's, against golden mappers.
mod align;
/// Folders that are no usable model, and what is said of them.
mod broken_models;
/// Fast kernels against plain candle, and the law of rows and threads.
mod kernels;
/// A file imports only from floors below it, and opens with what it owns.
mod layers;
/// UNet, VAE and text encoder against diffusers; names and types of weights.
mod model;
/// Word lookup: case, punctuation, phrases, occurrences, unknown words.
mod prompt;
/// Ids and places of tokens against transformers.
mod tokenizer;
/// Fractions to steps, ours and the reference's, against golden windows.
mod windows;
