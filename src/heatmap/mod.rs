//! Attention heatmaps: which maps of a run to keep, and what pictures and numbers become of them.
//!
//! [`MapSpec`] is what a user asks for, [`select`] turns it into a recording and [`words`] into columns of
//! it, [`maps`] turns what was recorded into one grid a word ([`daam`] as that tool has it, [`pixels`]
//! where pixels look at pixels), [`draw`] colours grids, [`figure`] lays them out, [`locate`] finds a
//! word's place, [`mod@write`] names the files and [`index`] says what they are. What a run does is not
//! its business.

pub mod cost;
pub mod daam;
pub mod draw;
pub mod figure;
pub mod index;
pub mod locate;
pub mod maps;
pub mod pixels;
pub mod select;
pub mod words;
pub mod write;

pub use maps::{Heat, heats};
pub use select::Selection;

use crate::attention::{AttentionKind, Place};
use crate::edit::Window;
use crate::sample::{Heads, Shown};

/// Which maps to keep and how to show them.
#[derive(Debug, Clone, PartialEq)]
pub struct MapSpec {
    pub kind: AttentionKind,
    /// Words or phrases; all tokens where empty.
    pub words: Vec<String>,
    pub rows: Rows,
    pub resolution: Resolution,
    /// Halves of the UNet; all where empty.
    pub places: Vec<Place>,
    /// One layer, by its index in `p2p sites`.
    pub layer: Option<usize>,
    pub heads: Heads,
    pub steps: Steps,
    pub shown: Shown,
    /// Words to find the places of.
    pub locate: Vec<String>,
    /// Of self-attention, where this place looks: shares `(x, y)` of width and height.
    pub pixel: Option<(f32, f32)>,
    /// Begin, end and the pads too.
    pub special: bool,
}

/// Whose maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rows {
    Source,
    Edited,
    #[default]
    Both,
}

/// At which resolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resolution {
    /// Where words are located.
    #[default]
    Layout,
    /// One downscale of the latents: 1, 2, 4, 8.
    Downscale(usize),
    /// Every one, each apart.
    All,
    /// All layers on one grid, as [`daam`] has it.
    Merged,
}

/// At which steps.
#[derive(Debug, Clone, PartialEq)]
pub enum Steps {
    /// The mean of those in a window.
    In(Window),
    /// Those at these fractions of the run, each apart.
    At(Vec<f64>),
    /// Each apart.
    Each,
}

impl MapSpec {
    /// Whether the source has to run to its end for it.
    pub fn shows_source(&self) -> bool {
        self.rows != Rows::Edited
    }

    /// What DAAM looks at: every step and head of the layers that [`daam`] merges.
    pub fn like_daam(self) -> Self {
        Self {
            kind: AttentionKind::Cross,
            resolution: Resolution::Merged,
            places: vec![],
            layer: None,
            heads: Heads::Each,
            steps: Steps::In(Window::ALL),
            ..self
        }
    }
}

/// How grids become pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    pub scale: ScaleBy,
    pub colormap: draw::Colormap,
    pub enlarge: draw::Enlarge,
    /// Of the peak, for `locate`.
    pub threshold: f32,
    /// Write the numbers too.
    pub raw: bool,
}

impl Look {
    pub fn like_daam(self) -> Self {
        Self {
            scale: ScaleBy::Token,
            ..self
        }
    }
}

impl Default for Look {
    fn default() -> Self {
        Self {
            scale: ScaleBy::Shared,
            colormap: draw::Colormap::default(),
            enlarge: draw::Enlarge::default(),
            threshold: 0.3,
            raw: false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ScaleBy {
    /// One for all words, so that bright means much.
    #[default]
    Shared,
    /// From its own least to its own peak for each, as DAAM has it.
    Token,
}

impl Default for MapSpec {
    /// The mean cross-attention of every token at the layout grid, over the whole run.
    fn default() -> Self {
        Self {
            kind: AttentionKind::Cross,
            words: vec![],
            rows: Rows::Both,
            resolution: Resolution::Layout,
            places: vec![],
            layer: None,
            heads: Heads::Mean,
            steps: Steps::In(Window::ALL),
            shown: Shown::Used,
            locate: vec![],
            pixel: None,
            special: false,
        }
    }
}
