//! The settings of one edit.

use std::fmt;
use std::str::FromStr;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::BlendWords;
use crate::edit::{EditKind, Window};
use crate::job::{MaskSource, Preset};

/// The settings of one edit, as they are asked for and, with every choice made, as they are recorded.
///
/// In a request `None` and empty values mean: the preset's value, else the model's recommendation, else the
/// default. In resolved settings ([`PreparedEdit::settings`](crate::job::PreparedEdit)) every value that has an
/// effect is present, and words that stand in neither prompt of the edit are left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EditSettings {
    /// The edited prompt. `None` re-weights the prompt that is edited. Not serialized here:
    /// [`PictureSettings`](super::PictureSettings) and the manifest write it under `dst` or `then`.
    #[serde(skip)]
    pub dst: Option<String>,
    /// The edit that this one edits, by its index in the job, in a chain. `None` is the source.
    #[serde(skip)]
    pub of: Option<usize>,
    /// The edit's own negative prompt. `None` is the run's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_prompt: Option<String>,
    /// Named settings that hold unless the edit has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// How attention is borrowed.
    #[serde(alias = "kind", skip_serializing_if = "Option::is_none")]
    pub edit: Option<KindChoice>,
    /// Factors of words and phrases.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub weight: IndexMap<String, f32>,
    /// When the factors act. `None` is inside the cross-attention windows, as in the reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_steps: Option<Window>,
    /// When cross-attention is edited.
    #[serde(skip_serializing_if = "CrossSteps::is_empty")]
    pub cross_steps: CrossSteps,
    /// When the self-attention of the picture that is edited is injected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_steps: Option<Window>,
    /// When the latents are copied from the picture that is edited. `None` is never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inject_latents: Option<Window>,
    /// How much of the edit is done: 0 is none, 1 all of it. `None` is 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    /// Words that say where the edit may act. Without words and mask it may act everywhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blend: Vec<BlendWords>,
    /// Words whose places the edit leaves alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blend_keep: Vec<String>,
    /// Shares of the peak attention above which a place belongs to the words of `blend`, and to those of
    /// `blend_keep`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blend_threshold: Option<(f32, f32)>,
    /// The fraction of the run from which on the rest of the picture is restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blend_from: Option<f64>,
    /// Whether the edges of the blend mask fade.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub blend_soft: bool,
    /// The user's own mask: white may change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<MaskSource>,
}

impl EditSettings {
    /// An edit towards a prompt, with defaults for everything else.
    pub fn towards(dst: &str) -> Self {
        Self {
            dst: Some(dst.to_owned()),
            ..Self::default()
        }
    }

    /// The edited prompt; empty where the settings have none.
    pub fn prompt(&self) -> &str {
        self.dst.as_deref().unwrap_or_default()
    }

    /// How much of the edit is done.
    pub fn strength(&self) -> f64 {
        self.strength.unwrap_or(1.0)
    }

    /// The words that say where: the edit's own, else the preset's.
    pub fn blend_words(&self) -> &[BlendWords] {
        let by_preset = self.preset.is_some_and(|preset| preset.settings().blend);
        if by_preset && self.blend.is_empty() {
            &[BlendWords::Changed]
        } else {
            &self.blend
        }
    }
}

/// How attention is borrowed, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KindChoice {
    /// The two prompts decide, whatever the preset says.
    Auto,
    /// This kind.
    Kind(EditKind),
}

impl KindChoice {
    /// All choices.
    pub const ALL: [Self; 4] = [
        Self::Auto,
        Self::Kind(EditKind::Replace),
        Self::Kind(EditKind::Refine),
        Self::Kind(EditKind::Mixed),
    ];

    /// The name that is typed: `auto`, `replace`, `refine` or `mixed`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Kind(kind) => kind.name(),
        }
    }
}

impl From<EditKind> for KindChoice {
    fn from(kind: EditKind) -> Self {
        Self::Kind(kind)
    }
}

impl fmt::Display for KindChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for KindChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|choice| choice.name() == text);
        found.ok_or_else(|| format!("use one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// The windows of cross-attention: one for all words, and words that have their own.
///
/// Serialized as a map from words to windows, with the key `default` for all other words.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "IndexMap<String, Window>", into = "IndexMap<String, Window>")]
pub struct CrossSteps {
    /// The window of all words without their own.
    pub default: Option<Window>,
    /// Words and their own windows. Later entries win where words overlap.
    pub words: IndexMap<String, Window>,
}

/// The key of [`CrossSteps::default`].
const DEFAULT: &str = "default";

impl CrossSteps {
    /// One window for all words.
    pub fn all(window: Window) -> Self {
        Self {
            default: Some(window),
            words: IndexMap::new(),
        }
    }

    /// Whether no window is given.
    pub fn is_empty(&self) -> bool {
        self.default.is_none() && self.words.is_empty()
    }
}

impl From<Window> for CrossSteps {
    fn from(window: Window) -> Self {
        Self::all(window)
    }
}

impl From<CrossSteps> for IndexMap<String, Window> {
    fn from(steps: CrossSteps) -> Self {
        // A prompt may hold the word "default". Word lookup ignores case, so a capital tells the two apart.
        let key = |word: String| match &*word {
            DEFAULT => "Default".to_owned(),
            _ => word,
        };
        let default = steps.default.map(|window| (DEFAULT.to_owned(), window));
        let words = steps.words.into_iter();
        default
            .into_iter()
            .chain(words.map(|(word, window)| (key(word), window)))
            .collect()
    }
}

impl From<IndexMap<String, Window>> for CrossSteps {
    fn from(mut words: IndexMap<String, Window>) -> Self {
        Self {
            default: words.shift_remove(DEFAULT),
            words,
        }
    }
}
