//! A prompt as the model sees it: token ids, where each token stands in the text, and its words.
//! Owns `Tokens` and the lookup of words; never knows tensors or models.

use std::ops::Range;

/// A tokenised prompt, padded to the model's length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The prompt as typed.
    pub text: String,
    /// `max_len` ids: BOS, the prompt, EOS, pads.
    pub ids: Vec<u32>,
    /// How many of `ids` are BOS, prompt or EOS; the rest are pads.
    pub len: usize,
    /// Byte range in `text` of each token between BOS and EOS (`len - 2` of them).
    pub spans: Vec<Range<usize>>,
    /// The text of each of these tokens, as the tokenizer decodes it.
    pub pieces: Vec<String>,
}
