//! The places in a model where attention happens. A [`Site`] is plain data, numbered when the UNet is built. This file
//! never knows a tensor.

/// The part of the UNet that a site is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The down blocks.
    Down,
    /// The middle block.
    Mid,
    /// The up blocks.
    Up,
}

/// The kind of attention at a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttentionKind {
    /// Self-attention: pixels attend to pixels.
    SelfAttn,
    /// Cross-attention: pixels attend to text tokens.
    Cross,
}

/// One attention layer in a forward pass at a given picture size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Site {
    /// Position of the site in the order of execution, from 0.
    pub index: usize,
    /// The part of the UNet that the site is in.
    pub place: Place,
    /// Self-attention or cross-attention.
    pub kind: AttentionKind,
    /// Number of attention heads.
    pub heads: usize,
    /// Height and width of the grid of queries. They are given, not computed from a square root, so pictures need
    /// not be square.
    pub grid: (usize, usize),
    /// Latent pixels per query, along a side: 1, 2, 4 or 8.
    pub downscale: usize,
}

impl Site {
    /// Number of queries in the grid.
    pub fn queries(&self) -> usize {
        self.grid.0 * self.grid.1
    }
}
