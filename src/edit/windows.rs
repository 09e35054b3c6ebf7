//! When an edit acts: windows in fractions of the run, per word for cross-attention (paper 3.2, tau).
//!
//! Owns both rules that turn a fraction into steps, so that they can be compared in one place:
//! ours, *step i of n is inside [a, b) when a <= i/n < b*, and the reference's, which truncates
//! `f * (steps + 1)` for cross-attention and `f * steps` for self-attention.

use std::str::FromStr;

use crate::error::{Error, Result};
use crate::prompt::Tokens;

use super::{Rules, reference};

/// A half-open part of the run, as fractions from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    pub from: f64,
    pub to: f64,
}

impl Window {
    /// The first `to` of the run.
    pub fn until(to: f64) -> Self {
        Self { from: 0.0, to }
    }

    /// Fractions inside 0..1 and in order.
    pub fn new(from: f64, to: f64) -> Result<Self> {
        let inside = |x: f64| (0.0..=1.0).contains(&x);
        if !inside(from) || !inside(to) {
            return Err(Error::usage(
                format!("window {from}..{to} leaves 0..1"),
                "windows are fractions of the run, such as 0.8 or 0.1..0.8",
            ));
        }
        if from > to {
            return Err(Error::usage(
                format!("window {from}..{to} is reversed"),
                format!("write {to}..{from}"),
            ));
        }
        Ok(Self { from, to })
    }

    /// Whether cross-attention is edited at step `step` of `steps`.
    pub fn cross_open(&self, step: usize, steps: usize, rules: Rules) -> bool {
        match rules {
            Rules::Ours => self.contains(step, steps),
            Rules::Reference => reference::truncated(self, steps + 1).contains(&step),
        }
    }

    /// Whether self-attention is injected at step `step` of `steps`.
    pub fn self_open(&self, step: usize, steps: usize, rules: Rules) -> bool {
        match rules {
            Rules::Ours => self.contains(step, steps),
            Rules::Reference => reference::truncated(self, steps).contains(&step),
        }
    }

    fn contains(&self, step: usize, steps: usize) -> bool {
        let at = step as f64 / steps as f64;
        self.from <= at && at < self.to
    }
}

impl FromStr for Window {
    type Err = Error;

    /// `0.8` is the first 80 %, `0.1..0.8` leaves out the first tenth as well.
    fn from_str(text: &str) -> Result<Self> {
        let number = |part: &str| -> Result<f64> {
            part.trim()
                .parse::<f64>()
                .ok()
                .filter(|x| x.is_finite())
                .ok_or_else(|| {
                    Error::usage(
                        format!("\"{text}\" is not a window"),
                        "write a fraction such as 0.8, or two: 0.1..0.8",
                    )
                })
        };
        match text.split_once("..") {
            Some((from, to)) => Self::new(number(from)?, number(to)?),
            None => Self::new(0.0, number(text)?),
        }
    }
}

/// The cross-attention windows of one edit: a default, and words that have their own.
#[derive(Debug, Clone, PartialEq)]
pub struct CrossWindows {
    pub default: Window,
    /// Later entries win where words overlap.
    pub words: Vec<(String, Window)>,
}

impl CrossWindows {
    pub fn all(default: Window) -> Self {
        Self {
            default,
            words: vec![],
        }
    }

    /// The window of each token of the edited prompt. Words that it doesn't contain are passed over:
    /// whether *some* prompt must contain them is the caller's question.
    pub fn per_token(&self, edited: &Tokens, rules: Rules) -> Vec<Window> {
        let mut windows = vec![self.default; edited.ids.len()];
        for (word, window) in &self.words {
            for token in rules.find(edited, word) {
                windows[token] = *window;
            }
        }
        windows
    }
}

/// The step gate of each token: 1 where its window is open, else 0.
pub fn gate(windows: &[Window], step: usize, steps: usize, rules: Rules) -> Vec<f32> {
    windows
        .iter()
        .map(|w| f32::from(u8::from(w.cross_open(step, steps, rules))))
        .collect()
}
