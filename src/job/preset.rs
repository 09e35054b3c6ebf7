//! Presets: named settings for kinds of edits, from the notebooks of the reference. Owns the table. It must never know
//! how settings are resolved: explicit settings win over those of a preset, and a preset's over the model's.

use std::fmt;
use std::str::FromStr;

use crate::edit::{EditKind, Window};
use crate::message::Piece;
use crate::setting::Setting;

/// The name of settings for a kind of edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// Replaces one object by another in the same place.
    Swap,
    /// Draws the whole picture in another style.
    Style,
    /// Changes season, weather or time of day.
    Season,
    /// Turns a word up or down.
    Attribute,
    /// Changes an object and keeps the rest of the picture.
    Local,
    /// Replaces an object by one of another shape and keeps the rest of the picture.
    FreeShape,
}

/// The settings of a preset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PresetSettings {
    /// The kind of edit. `None` lets the prompts decide.
    pub kind: Option<EditKind>,
    /// The fraction of the run in which cross-attention is edited.
    pub cross_steps: f64,
    /// The fraction for words that the source prompt does not contain, if it is a different one.
    pub cross_steps_changed: Option<f64>,
    /// The fraction of the run in which self-attention is injected.
    pub self_steps: f64,
    /// Whether to blend at the words in which the prompts differ.
    pub blend: bool,
}

impl Preset {
    /// All presets, in the order of their table.
    pub const ALL: [Self; 6] = [
        Self::Swap,
        Self::Style,
        Self::Season,
        Self::Attribute,
        Self::Local,
        Self::FreeShape,
    ];

    /// The name as users type it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Swap => "swap",
            Self::Style => "style",
            Self::Season => "season",
            Self::Attribute => "attribute",
            Self::Local => "local",
            Self::FreeShape => "free-shape",
        }
    }

    /// The purpose of the preset in one line.
    pub fn purpose(self) -> &'static str {
        match self {
            Self::Swap => "one thing for another in the same place: squirrel -> lion",
            Self::Style => "the whole picture in another manner: -> a watercolor painting of ...",
            Self::Season => "season, weather or time of day: -> ... in winter",
            Self::Attribute => "a word turned up or down, with a weight such as fluffy=2",
            Self::Local => "a change that stays inside its object: soup -> pea soup with croutons",
            Self::FreeShape => "a thing that needs another shape: squirrel -> lion, rest kept",
        }
    }

    /// The settings, from the examples in the notebooks of the reference.
    pub fn settings(self) -> PresetSettings {
        let plain = PresetSettings {
            kind: None,
            cross_steps: 0.8,
            cross_steps_changed: None,
            self_steps: 0.4,
            blend: false,
        };
        match self {
            Self::Swap | Self::Attribute => plain,
            Self::Style => PresetSettings {
                kind: Some(EditKind::Refine),
                cross_steps: 0.5,
                self_steps: 0.2,
                ..plain
            },
            Self::Season => PresetSettings {
                kind: Some(EditKind::Refine),
                ..plain
            },
            Self::Local => PresetSettings {
                blend: true,
                ..plain
            },
            Self::FreeShape => PresetSettings {
                cross_steps: 1.0,
                cross_steps_changed: Some(0.4),
                blend: true,
                ..plain
            },
        }
    }

    /// The settings as a user would type them.
    pub fn assignments(self) -> Vec<Piece> {
        let set = self.settings();
        let kind = set.kind.map(|kind| Setting::Edit.to(kind.name()));
        let changed = set.cross_steps_changed;
        let changed = changed.map(|window| Setting::CrossSteps.of("NEW-WORD", window));
        let blend = set.blend.then(|| Setting::Blend.to("auto"));
        kind.into_iter()
            .chain([Setting::CrossSteps.to(set.cross_steps)])
            .chain(changed)
            .chain([Setting::SelfSteps.to(set.self_steps)])
            .chain(blend)
            .collect()
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|preset| preset.name() == text);
        found.ok_or_else(|| format!("use one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

impl PresetSettings {
    /// The window of cross-attention.
    pub fn cross(&self) -> Window {
        Window::until(self.cross_steps)
    }

    /// The window of self-attention.
    pub fn self_window(&self) -> Window {
        Window::until(self.self_steps)
    }
}
