//! What flags take as values, each with an error that says what to write.

use std::ffi::OsStr;
use std::str::FromStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command};

use prompt_to_prompt::edit::Window;
use prompt_to_prompt::error::Error;
use prompt_to_prompt::job::{BlendWords, SchedulerName};

/// What a parser of values returns.
pub type Parsed<P> = Result<<P as TypedValueParser>::Value, clap::Error>;
/// What it offers for completion.
pub type PossibleValues<'a> = Box<dyn Iterator<Item = PossibleValue> + 'a>;

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

#[derive(Debug, Clone)]
pub enum CrossArg {
    Default(Window),
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

/// `WORD=VALUE`; the word may hold a `=` of its own.
pub fn split_word(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once('=')
        .filter(|(word, _)| !word.trim().is_empty())
}

/// A whole number from `MIN` to `MAX`. The error says what to write, where the standard parser would
/// say what it tripped over.
pub fn whole<const MIN: usize, const MAX: usize>(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (MIN..=MAX).contains(&n) => Ok(n),
        _ => Err(format!("use a whole number from {MIN} to {MAX}")),
    }
}

pub fn seed(text: &str) -> Result<u64, String> {
    let range = format!("use a whole number from 0 to {}", u64::MAX);
    text.parse().map_err(|_| range)
}

/// Which multiples are drawn is the model's to say.
pub fn pixels(text: &str) -> Result<usize, String> {
    let wanted = "use a whole number of pixels, a multiple of 8 such as 128";
    text.parse().map_err(|_| wanted.to_owned())
}

pub fn guidance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if (0.0..=100.0).contains(&scale) => Ok(scale),
        _ => Err("use a number from 0 to 100; 7.5 is usual".to_owned()),
    }
}

pub fn downscale(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(scale) if [1, 2, 4, 8].contains(&scale) => Ok(scale),
        _ => Err("use 1, 2, 4 or 8: how much coarser than the latents".to_owned()),
    }
}

#[derive(Debug, Clone)]
pub struct BlendArg(pub BlendWords);

impl FromStr for BlendArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted =
            "write the words of both prompts, such as bicycle:car, one word for either, or auto";
        let split = |words: &str| -> Vec<String> {
            let words = words.split(',').map(str::trim);
            words.filter(|w| !w.is_empty()).map(str::to_owned).collect()
        };
        let words = match text.split_once(':') {
            None if text.trim() == "auto" => BlendWords::Changed,
            None => BlendWords::Either(split(text)),
            Some((base, edited)) if !edited.contains(':') => {
                BlendWords::Pair(split(base), split(edited))
            }
            Some(_) => return Err(wanted.to_owned()),
        };
        match &words {
            BlendWords::Either(words) if words.is_empty() => Err(wanted.to_owned()),
            BlendWords::Pair(a, b) if a.is_empty() && b.is_empty() => Err(wanted.to_owned()),
            _ => Ok(Self(words)),
        }
    }
}

/// One threshold for the words and for those that are kept, or one each.
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

pub fn fraction(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if (0.0..=1.0).contains(&x) => Ok(x),
        _ => Err("use a fraction of the run from 0 to 1, such as 0.2".to_owned()),
    }
}

pub fn strength(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if (0.0..=4.0).contains(&x) => Ok(x),
        _ => Err(
            "use a number from 0 to 4: 0 is the source, 1 the edit, more exaggerates".to_owned(),
        ),
    }
}

/// Parses whatever `SchedulerName` reads, and lists its names for completions.
#[derive(Debug, Clone)]
pub struct SchedulerParser;

impl TypedValueParser for SchedulerParser {
    type Value = SchedulerName;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Parsed<Self> {
        str::parse::<SchedulerName>.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<PossibleValues<'_>> {
        let named = |s: SchedulerName| PossibleValue::new(s.name()).help(s.about());
        Some(Box::new(SchedulerName::ALL.into_iter().map(named)))
    }
}
