//! Prompt-to-Prompt (Hertz et al., ICLR 2023): edit generated images by changing words.

pub mod attention;
pub mod edit;
pub mod error;
pub mod kernels;
pub mod model;
pub mod prompt;
