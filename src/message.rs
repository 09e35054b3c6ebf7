//! Text for people that names settings without knowing how they are typed. Owns the pieces of a message
//! and how they become text; a front end supplies the names.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::setting::Setting;

/// One part of a [`Message`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text that every front end shows as it is. It may be the user's own.
    Text(String),
    /// The name of a setting.
    Setting(Setting),
    /// A setting with a value to type.
    Assignment {
        /// The setting.
        setting: Setting,
        /// The word of a prompt that the value is for.
        word: Option<String>,
        /// The value as a flag takes it.
        value: String,
    },
}

impl From<&str> for Piece {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Piece {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Piece {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<Setting> for Piece {
    fn from(setting: Setting) -> Self {
        Self::Setting(setting)
    }
}

/// Text in which settings are named. Build one from a string, or with [`message!`](crate::message!).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message(Vec<Piece>);

/// Builds a [`Message`] from strings and [settings](Setting):
///
/// ```
/// use prompt_to_prompt::{message, setting::Setting};
///
/// let cure = message!["use ", Setting::Steps.to(20), ", or leave ", Setting::Steps, " out"];
/// assert_eq!(cure.to_string(), "use `steps = 20`, or leave `steps` out");
/// ```
#[macro_export]
macro_rules! message {
    ($($piece:expr),* $(,)?) => {
        $crate::message::Message::from_iter([$($crate::message::Piece::from($piece)),*])
    };
}

impl<P: Into<Piece>> From<P> for Message {
    fn from(piece: P) -> Self {
        Self(vec![piece.into()])
    }
}

impl FromIterator<Piece> for Message {
    fn from_iter<I: IntoIterator<Item = Piece>>(pieces: I) -> Self {
        Self(pieces.into_iter().collect())
    }
}

impl Message {
    /// The pieces in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.0
            .iter()
            .all(|piece| matches!(piece, Piece::Text(text) if text.is_empty()))
    }

    /// The settings that the message names, in order.
    pub fn settings(&self) -> impl Iterator<Item = Setting> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Setting(setting) | Piece::Assignment { setting, .. } => Some(*setting),
        })
    }

    /// The message with another one before it.
    pub fn after(self, before: impl Into<Message>) -> Self {
        let Self(mut pieces) = before.into();
        pieces.extend(self.0);
        Self(pieces)
    }

    /// The message with another one behind it.
    pub fn then(self, behind: impl Into<Message>) -> Self {
        behind.into().after(self)
    }

    /// The text for users of a front end.
    pub fn render(&self, names: &dyn Names) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Setting(setting) => names.name(*setting),
            Piece::Assignment {
                setting,
                word,
                value,
            } => names.assignment(*setting, word.as_deref(), value),
        };
        self.0.iter().map(text).collect()
    }
}

impl Serialize for Message {
    /// As its text.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl fmt::Display for Message {
    /// With the settings' own names in backticks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Keys))
    }
}

/// How a front end spells settings.
pub trait Names: Sync {
    /// The setting's name.
    fn name(&self, setting: Setting) -> String;

    /// The setting with a value for all words, or for one.
    fn assignment(&self, setting: Setting, word: Option<&str>, value: &str) -> String;
}

/// Names as job files spell them, in backticks: `` `cross_steps.car = 0.4` ``.
#[derive(Debug, Clone, Copy)]
pub struct Keys;

impl Names for Keys {
    fn name(&self, setting: Setting) -> String {
        let name = setting.name();
        if ON_BY_DEFAULT.contains(&setting) {
            format!("`{name} = false`")
        } else {
            format!("`{name}`")
        }
    }

    fn assignment(&self, setting: Setting, word: Option<&str>, value: &str) -> String {
        let name = setting.name();
        let value = toml_value(value);
        match word {
            Some(word) if is_bare_key(word) => format!("`{name}.{word} = {value}`"),
            Some(word) => format!("`{name}.{word:?} = {value}`"),
            None => format!("`{name} = {value}`"),
        }
    }
}

/// Numbers and switches stand bare in TOML, text stands in quotes.
fn toml_value(value: &str) -> String {
    let bare = value.parse::<f64>().is_ok_and(f64::is_finite) || value.parse::<bool>().is_ok();
    if bare {
        value.to_owned()
    } else {
        format!("{value:?}")
    }
}

fn is_bare_key(word: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    !word.is_empty() && word.chars().all(allowed)
}

/// Names as the command line spells them: `--cross-steps car=0.4`.
#[derive(Debug, Clone, Copy)]
pub struct Flags;

impl Names for Flags {
    fn name(&self, setting: Setting) -> String {
        flag(setting)
    }

    fn assignment(&self, setting: Setting, word: Option<&str>, value: &str) -> String {
        assigned(flag(setting), word, value)
    }
}

/// Names as `p2p heatmap` spells them. Its flags of heatmaps have no prefix, `--words car` instead of
/// `--map-words car`, and its one prompt is `--prompt`.
#[derive(Debug, Clone, Copy)]
pub struct HeatmapFlags;

impl Names for HeatmapFlags {
    fn name(&self, setting: Setting) -> String {
        if setting == Setting::Src {
            return "--prompt".to_owned();
        }
        let flag = flag(setting);
        match flag.strip_prefix("--map-") {
            Some(name) => format!("--{name}"),
            None => flag,
        }
    }

    fn assignment(&self, setting: Setting, word: Option<&str>, value: &str) -> String {
        assigned(self.name(setting), word, value)
    }
}

/// A flag with its value, quoted for a shell.
fn assigned(flag: String, word: Option<&str>, value: &str) -> String {
    let value = match word {
        Some(word) => format!("{word}={value}"),
        None => value.to_owned(),
    };
    if value == "true" || value == "false" {
        return flag;
    }
    let quoted = quoted(&value);
    if value.starts_with('-') {
        format!("{flag}={quoted}")
    } else {
        format!("{flag} {quoted}")
    }
}

/// A value as a shell takes it: bare, in double quotes, or with everything escaped.
fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:=,+%@~".contains(c);
    if !value.is_empty() && value.chars().all(is_plain) {
        return value.to_owned();
    }
    let escaped = shlex::try_quote(value).map_or_else(|_| value.into(), |text| text.into_owned());
    let means_something = |c: char| "\"\\$`!".contains(c);
    if value.contains(means_something) {
        escaped
    } else {
        format!("\"{value}\"")
    }
}

/// Switches that are on by default: their flag turns them off.
pub const ON_BY_DEFAULT: [Setting; 3] = [Setting::EditControl, Setting::Metadata, Setting::Source];

fn flag(setting: Setting) -> String {
    let name = setting.name().replace('_', "-");
    if ON_BY_DEFAULT.contains(&setting) {
        format!("--no-{name}")
    } else {
        format!("--{name}")
    }
}
