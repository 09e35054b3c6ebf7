//! Pictures as pixels and as files: decoded latents as RGB, and PNG files with their text chunks. Owns no meaning
//! of the text: what a picture says of itself is `metadata`'s.

pub mod png;
pub mod rgb;
