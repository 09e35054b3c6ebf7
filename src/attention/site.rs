//! Where in a model attention happens. A `Site` is plain data, numbered when the UNet is built.

/// Which half of the UNet a site stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    Down,
    Mid,
    Up,
}

/// What the queries of a site look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttentionKind {
    /// Pixels look at pixels.
    SelfAttn,
    /// Pixels look at text tokens.
    Cross,
}

/// One attention layer, as it stands in a forward pass of a given picture size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Site {
    /// Position in order of execution, from 0.
    pub index: usize,
    pub place: Place,
    pub kind: AttentionKind,
    pub heads: usize,
    /// Queries as `(height, width)`: never recovered from a square root, so any aspect works.
    pub grid: (usize, usize),
    /// How much coarser than the latents this level is: 1, 2, 4, 8.
    pub downscale: usize,
}

impl Site {
    /// Queries in the grid.
    pub fn queries(&self) -> usize {
        self.grid.0 * self.grid.1
    }
}
