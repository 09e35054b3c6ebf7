//! The names of settings, for messages that are about one. A front end turns a name into what its user
//! types: a flag of the command line, a key of a job file. Owns names only: it must never know what a
//! setting does, nor which values it takes.

use std::fmt;

use crate::message::Piece;

/// Declares [`Setting`] and its table of names.
macro_rules! settings {
    ($($variant:ident = $name:literal,)*) => {
        /// A setting that messages name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Setting {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Setting {
            /// All of them, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name with underscores, as job files and metadata spell it: `cross_steps`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

settings! {
    Src = "src",
    Dst = "dst",
    Then = "then",
    NegativePrompt = "negative_prompt",
    Seed = "seed",
    Steps = "steps",
    Guidance = "guidance",
    Width = "width",
    Height = "height",
    Scheduler = "scheduler",
    ClipSkip = "clip_skip",
    Fast = "fast",
    Preset = "preset",
    Edit = "edit",
    Weight = "weight",
    WeightSteps = "weight_steps",
    CrossSteps = "cross_steps",
    SelfSteps = "self_steps",
    SelfRes = "self_res",
    InjectLatents = "inject_latents",
    Strength = "strength",
    Blend = "blend",
    BlendKeep = "blend_keep",
    BlendThreshold = "blend_threshold",
    BlendFrom = "blend_from",
    BlendSoft = "blend_soft",
    Mask = "mask",
    EditControl = "edit_control",
    Baseline = "baseline",
    Source = "source",
    Compat = "compat",
    Model = "model",
    Revision = "revision",
    Variant = "variant",
    Offline = "offline",
    Vae = "vae",
    TextEncoder = "text_encoder",
    Tokenizer = "tokenizer",
    Config = "config",
    PredictionType = "prediction_type",
    Lora = "lora",
    Device = "device",
    Dtype = "dtype",
    VaeTiling = "vae_tiling",
    LowMemory = "low_memory",
    Heatmaps = "heatmaps",
    MapWords = "map_words",
    MapRows = "map_rows",
    MapRes = "map_res",
    MapPlace = "map_place",
    MapLayer = "map_layer",
    MapHead = "map_head",
    MapAtSteps = "map_at_steps",
    MapKind = "map_kind",
    MapAt = "map_at",
    MapEditedAs = "map_edited_as",
    MapScale = "map_scale",
    MapColormap = "map_colormap",
    MapEnlarge = "map_enlarge",
    MapLike = "map_like",
    MapLocate = "map_locate",
    MapThreshold = "map_threshold",
    MapSpecial = "map_special",
    MapRaw = "map_raw",
    MapShow = "map_show",
    SaveMask = "save_mask",
    SaveLatents = "save_latents",
    Metadata = "metadata",
    Output = "output",
    Force = "force",
    Embed = "embed",
}

impl Setting {
    /// The setting of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|setting| setting.name() == name)
    }

    /// The setting with a value, as a user would type it: `--steps 20`, `steps = 20`.
    pub fn to(self, value: impl fmt::Display) -> Piece {
        Piece::Assignment {
            setting: self,
            word: None,
            value: value.to_string(),
        }
    }

    /// The setting with a value for one word: `--weight red=2`, `weight.red = 2`.
    pub fn of(self, word: impl Into<String>, value: impl fmt::Display) -> Piece {
        Piece::Assignment {
            setting: self,
            word: Some(word.into()),
            value: value.to_string(),
        }
    }
}
