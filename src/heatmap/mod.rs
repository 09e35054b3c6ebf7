//! Attention heatmaps: selects the maps of a run that are recorded, and draws them as pictures.
//!
//! [`MapSpec`] is the user's request. [`select`] turns it into a recording and [`words`] turns its words into
//! columns. [`maps`] turns recorded sums into one grid per word ([`daam`] merges them as DAAM does, [`pixels`]
//! handles self-attention). [`draw`] colours grids, [`figure`] lays them out, [`locate`] finds words in the
//! picture, [`mod@write`] writes the files and [`index`] lists them. This module must never know how a run
//! works.

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

pub use maps::{Heatmap, heatmaps};
pub use select::Selection;

use crate::attention::{AttentionKind, Place};
use crate::edit::Window;
use crate::sample::{Heads, Shown};

/// Which maps of a run are recorded and shown.
#[derive(Debug, Clone, PartialEq)]
pub struct MapSpec {
    /// Cross-attention or self-attention.
    pub kind: AttentionKind,
    /// Words or phrases to show. An empty list means all words of the prompt.
    pub words: Vec<String>,
    /// The rows of the run to show.
    pub rows: Rows,
    /// The resolutions of the layers to show.
    pub resolution: Resolution,
    /// The places in the UNet to show. An empty list means all.
    pub places: Vec<Place>,
    /// The one layer to show, by its index in `p2p sites`.
    pub layer: Option<usize>,
    /// The attention heads to show.
    pub heads: Heads,
    /// The steps to show.
    pub steps: Steps,
    /// Whether maps of edited rows are shown after or before the edit.
    pub shown: Shown,
    /// Words or phrases to locate in the picture.
    pub locate: Vec<String>,
    /// The pixel whose self-attention is shown, as shares `(x, y)` of width and height. `None` shows principal
    /// components.
    pub pixel: Option<(f32, f32)>,
    /// Whether the begin token, the end token and the pads are shown too.
    pub special: bool,
}

/// The rows of a run whose maps are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rows {
    /// Only the source.
    Source,
    /// Only the edits.
    Edited,
    /// The source and the edits.
    #[default]
    Both,
}

/// The resolutions of the layers whose maps are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resolution {
    /// The model's layout grid, at which words are located best.
    #[default]
    Layout,
    /// The layers that are coarser than the latents by this factor: 1, 2, 4 or 8.
    Downscale(usize),
    /// Every resolution, each with maps of its own.
    All,
    /// All layers merged on one grid, as [`daam`] does.
    Merged,
}

/// The steps whose maps are shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Steps {
    /// The mean over the steps of a window.
    In(Window),
    /// The steps at these fractions of the run, each with maps of its own.
    At(Vec<f64>),
    /// All steps, each with maps of its own.
    Each,
}

impl MapSpec {
    /// Whether maps of the source are shown, so that the source has to run to its end.
    pub fn shows_source(&self) -> bool {
        self.rows != Rows::Edited
    }

    /// The same words with the layers, heads and steps that DAAM uses.
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

/// How heatmaps are drawn and written.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// Whether words share a colour scale.
    pub scale: ScaleBy,
    /// The colours.
    pub colormap: draw::Colormap,
    /// How grids are enlarged.
    pub enlarge: draw::Enlarge,
    /// Share of the peak above which a cell counts as the place of a located word.
    pub threshold: f32,
    /// Whether the raw tensors are written too.
    pub raw: bool,
}

impl Look {
    /// The same look with a scale for each word, as DAAM has it.
    /// The same look with a scale for each word, as DAAM has it.
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

/// The colour scale of a heatmap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ScaleBy {
    /// One scale for all words, so that they can be compared.
    #[default]
    Shared,
    /// For each word a scale from its least to its largest value, as in DAAM.
    Token,
}

impl Default for MapSpec {
    /// The cross-attention of every word at the layout grid, averaged over heads and all steps.
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
