//! The types of flags' values. Each parser's error says what to write. A flag's type is also what job files go
//! by: see `job_file::vocabulary::Shape`.

use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command};

use prompt_to_prompt::edit::Window;
use prompt_to_prompt::error::Error;
use prompt_to_prompt::job::{KindChoice, Preset, SchedulerName};

/// What a parser of values returns.
pub type Parsed<P> = Result<<P as TypedValueParser>::Value, clap::Error>;
/// What a parser of values offers for completion.
pub type PossibleValues<'a> = Box<dyn Iterator<Item = PossibleValue> + 'a>;

/// Declares a type of value that is text with a meaning of its own.
macro_rules! text_value {
    ($(#[$about:meta] $name:ident($inner:ty), may_be_empty: $may_be_empty:literal;)*) => {$(
        #[$about]
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(pub $inner);

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                if text.is_empty() && !$may_be_empty {
                    return Err("write a path or a name".to_owned());
                }
                Ok(Self(text.into()))
            }
        }
    )*};
}

text_value! {
    /// A prompt.
    PromptText(String), may_be_empty: true;
    /// A model: a folder, a file, or a name.
    ModelName(String), may_be_empty: false;
    /// A file or folder, or the name of one on the hub.
    PathOrName(PathBuf), may_be_empty: false;
    /// A file to write.
    OutputFile(PathBuf), may_be_empty: false;
}

/// One of several words, which commas have divided already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordArg(pub String);

impl FromStr for WordArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("name at least one word".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

/// A word and the factor of its attention: `red=2`.
#[derive(Debug, Clone)]
pub struct WeightArg(pub String, pub f32);

impl FromStr for WeightArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, factor) = split_word(text).ok_or("write WORD=FACTOR, such as red=2")?;
        let factor: f32 = factor
            .trim()
            .parse()
            .map_err(|_| format!("\"{factor}\" is not a number; write one such as 2 or -0.5"))?;
        if !factor.is_finite() {
            return Err("the factor must be finite; write one from -2 to 2".to_owned());
        }
        Ok(Self(word.to_owned(), factor))
    }
}

/// A window of cross-attention, for all words or for one: `0.8`, `car=0.4`.
#[derive(Debug, Clone)]
pub enum CrossArg {
    /// The window of all words without their own.
    Default(Window),
    /// The window of one word.
    Of(String, Window),
}

impl FromStr for CrossArg {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Ok(match split_word(text) {
            Some((word, window)) => Self::Of(word.to_owned(), window.parse()?),
            None => Self::Default(text.parse()?),
        })
    }
}

/// Splits `WORD=VALUE`. The word may contain a `=` itself.
pub fn split_word(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once('=')
        .filter(|(word, _)| !word.trim().is_empty())
}

/// A whole number from `MIN` to `MAX`. The error says what to write; the standard parser would say where it
/// failed.
pub fn whole<const MIN: usize, const MAX: usize>(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (MIN..=MAX).contains(&n) => Ok(n),
        _ => Err(format!("use a whole number from {MIN} to {MAX}")),
    }
}

/// A seed.
pub fn seed(text: &str) -> Result<u64, String> {
    let range = format!("use a whole number from 0 to {}", u64::MAX);
    text.parse().map_err(|_| range)
}

/// A side of a picture. The model decides which multiples it can draw.
pub fn pixels(text: &str) -> Result<usize, String> {
    let wanted = "use a whole number of pixels, a multiple of 8 such as 128";
    text.parse().map_err(|_| wanted.to_owned())
}

/// A guidance scale.
pub fn guidance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if (0.0..=100.0).contains(&scale) => Ok(scale),
        _ => Err("use a number from 0 to 100; 7.5 is usual".to_owned()),
    }
}

/// A downscale of attention layers.
pub fn downscale(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(scale) if [1, 2, 4, 8].contains(&scale) => Ok(scale),
        _ => Err("use 1, 2, 4 or 8: how much coarser than the latents".to_owned()),
    }
}

/// A layer of the text encoder, counted from the end.
pub fn clip_skip(text: &str) -> Result<NonZeroUsize, String> {
    let wanted = "use a whole number from 1, the last layer; 2 is the layer before it";
    text.parse().map_err(|_| wanted.to_owned())
}

/// One threshold for the words and for those that are kept, or one for each.
#[derive(Debug, Clone, Copy)]
pub struct ThresholdArg(pub f32, pub f32);

impl FromStr for ThresholdArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| match part.trim().parse::<f32>() {
            Ok(x) if (0.0..1.0).contains(&x) => Ok(x),
            _ => Err("use a share of the peak from 0 to below 1, such as 0.3, or two: 0.3,0.5"),
        };
        let (words, keep) = text.split_once(',').unwrap_or((text, text));
        Ok(Self(number(words)?, number(keep)?))
    }
}

/// A fraction of the run.
pub fn fraction(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if (0.0..=1.0).contains(&x) => Ok(x),
        _ => Err("use a fraction of the run from 0 to 1, such as 0.2".to_owned()),
    }
}

/// The strength of an edit.
pub fn strength(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if (0.0..=4.0).contains(&x) => Ok(x),
        _ => Err(
            "use a number from 0 to 4: 0 is the source, 1 the edit, more exaggerates".to_owned(),
        ),
    }
}

/// A value among named ones: parses what `FromStr` reads, and lists the names for help and completions.
#[derive(Debug, Clone)]
pub struct NamedValue<T: 'static> {
    all: &'static [T],
    name: fn(&T) -> PossibleValue,
    parse: fn(&str) -> Result<T, String>,
}

impl<T: Clone + Send + Sync> TypedValueParser for NamedValue<T> {
    type Value = T;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Parsed<Self> {
        self.parse.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<PossibleValues<'_>> {
        Some(Box::new(self.all.iter().map(self.name)))
    }
}

/// The names of schedulers.
pub fn scheduler() -> NamedValue<SchedulerName> {
    NamedValue {
        all: &SchedulerName::ALL,
        name: |scheduler| PossibleValue::new(scheduler.name()).help(scheduler.about()),
        parse: |text| text.parse().map_err(|error: Error| error.to_string()),
    }
}

/// The names of presets.
pub fn preset() -> NamedValue<Preset> {
    NamedValue {
        all: &Preset::ALL,
        name: |preset| PossibleValue::new(preset.name()),
        parse: str::parse,
    }
}

/// The names of kinds of edits.
pub fn kind() -> NamedValue<KindChoice> {
    NamedValue {
        all: &KindChoice::ALL,
        name: |kind| PossibleValue::new(kind.name()),
        parse: str::parse,
    }
}
