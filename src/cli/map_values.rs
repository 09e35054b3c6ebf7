//! Parses the values of heatmap flags. Owns their spelling. It must never know flags or models.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command};

use super::values::{Parsed, PossibleValues};
use prompt_to_prompt::attention::{AttentionKind, Place};
use prompt_to_prompt::edit::Window;
use prompt_to_prompt::heatmap::draw::{Colormap, Enlarge};
use prompt_to_prompt::heatmap::{Resolution, Rows, ScaleBy, Steps};
use prompt_to_prompt::sample::{Heads, Shown};

/// Parser of a value from a fixed list. Completions offer the list.
#[derive(Debug, Clone, Copy)]
pub struct OneOf<T: 'static>(&'static [(&'static str, T)]);

impl<T: Copy + Send + Sync> TypedValueParser for OneOf<T> {
    type Value = T;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Parsed<Self> {
        let choices = self.0;
        (move |text: &str| choose(text, choices)).parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<PossibleValues<'_>> {
        let names = self.0.iter().map(|(name, _)| PossibleValue::new(*name));
        Some(Box::new(names))
    }
}

/// The value with the name `text`.
fn choose<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| *name == text);
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    found
        .map(|(_, value)| *value)
        .ok_or_else(|| format!("use one of {}", names.join(", ")))
}

/// Parses a list of words, separated by commas.
pub fn words(text: &str) -> Result<Vec<String>, String> {
    let words = text.split(',').map(str::trim).filter(|w| !w.is_empty());
    let words: Vec<String> = words.map(str::to_owned).collect();
    if words.is_empty() {
        Err("name at least one word".to_owned())
    } else {
        Ok(words)
    }
}

/// Values of the flag for rows.
pub const ROWS: OneOf<Rows> = OneOf(&[
    ("source", Rows::Source),
    ("edited", Rows::Edited),
    ("both", Rows::Both),
]);

/// Parses a downscale or `all`.
pub fn resolution(text: &str) -> Result<Resolution, String> {
    match text {
        "all" => Ok(Resolution::All),
        number => match number.parse() {
            Ok(scale @ (1 | 2 | 4 | 8)) => Ok(Resolution::Downscale(scale)),
            _ => Err(
                "use 1, 2, 4, 8 or all: the factor by which a layer is coarser than the latents"
                    .to_owned(),
            ),
        },
    }
}

/// Parses a list of places in the UNet, separated by commas.
pub fn places(text: &str) -> Result<Vec<Place>, String> {
    let names = [
        ("down", Place::Down),
        ("mid", Place::Mid),
        ("up", Place::Up),
    ];
    text.split(',')
        .map(|part| choose(part.trim(), &names))
        .collect()
}

/// Parses the number of a layer.
pub fn layer(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| "use the number of a layer, as p2p sites lists them".to_owned())
}

/// Parses the number of a head, `mean` or `all`.
pub fn heads(text: &str) -> Result<Heads, String> {
    match text {
        "mean" => Ok(Heads::Mean),
        "all" => Ok(Heads::Each),
        number => {
            let wanted = "use the number of a head, counted from 0, or mean, or all";
            number
                .parse()
                .map(Heads::One)
                .map_err(|_| wanted.to_owned())
        }
    }
}

/// Parses a range of steps, a list of fractions of the run, `all` or `each`.
pub fn steps(text: &str) -> Result<Steps, String> {
    let wanted = "use all, each, a range such as 0..0.5 or steps:10..40, or a list of fractions of the \
                  run such as 0,0.5,0.9";
    match text {
        "all" => Ok(Steps::In(Window::ALL)),
        "each" => Ok(Steps::Each),
        list if list.contains(',') => moments(list).ok_or_else(|| wanted.to_owned()),
        window => match window.parse() {
            Ok(window) => Ok(Steps::In(window)),
            // The error of a malformed range says what is wrong with the range.
            Err(error) if window.contains("..") => Err(error.to_string()),
            Err(error) => Err(format!("{}; {wanted}", error.cause())),
        },
    }
}

fn moments(list: &str) -> Option<Steps> {
    let moment = |part: &str| part.trim().parse().ok().filter(|x| (0.0..=1.0).contains(x));
    let parts = list.split(',').filter(|part| !part.trim().is_empty());
    let moments: Vec<f64> = parts.map(moment).collect::<Option<_>>()?;
    (!moments.is_empty()).then_some(Steps::At(moments))
}

/// Values of the flag for the kind of attention.
pub const KIND: OneOf<AttentionKind> = OneOf(&[
    ("cross", AttentionKind::Cross),
    ("self", AttentionKind::SelfAttn),
]);

/// Parses a point, given as shares `X,Y` of width and height.
pub fn pixel(text: &str) -> Result<(f32, f32), String> {
    let share = |part: &str| part.trim().parse().ok().filter(|x| (0.0..=1.0).contains(x));
    let both = text
        .split_once(',')
        .and_then(|(x, y)| Some((share(x)?, share(y)?)));
    both.ok_or_else(|| "use shares of width and height from 0 to 1, such as 0.5,0.5".to_owned())
}

/// Values of the flag for maps after or before injection.
pub const SHOWN: OneOf<Shown> = OneOf(&[("injected", Shown::Used), ("own", Shown::Own)]);

/// Values of the flag for the colour scale.
pub const SCALE: OneOf<ScaleBy> = OneOf(&[("shared", ScaleBy::Shared), ("token", ScaleBy::Token)]);

/// Values of the flag for colours.
pub const COLORMAP: OneOf<Colormap> = OneOf(&[
    ("viridis", Colormap::Viridis),
    ("turbo", Colormap::Turbo),
    ("inferno", Colormap::Inferno),
    ("gray", Colormap::Gray),
]);

/// Values of the flag for enlarging.
pub const ENLARGE: OneOf<Enlarge> =
    OneOf(&[("bicubic", Enlarge::Bicubic), ("nearest", Enlarge::Nearest)]);

/// Parses a share of the peak, from 0 to below 1.
pub fn threshold(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(x) if (0.0..1.0).contains(&x) => Ok(x),
        _ => Err("use a share of the peak from 0 to below 1, such as 0.3".to_owned()),
    }
}

/// Values of the flag for other tools.
pub const LIKE: OneOf<()> = OneOf(&[("daam", ())]);
