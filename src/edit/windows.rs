//! When an edit acts: windows in fractions of the run or in steps, per word for cross-attention
//! (paper 3.2, tau). A window opens and closes at once or over a ramp.
//!
//! Owns both rules that turn a fraction into steps, so that they can be compared in one place. Under our
//! rule call `i` of `n` is inside `[a, b)` if `a <= i/n < b`. The reference truncates `f * (steps + 1)` for
//! cross-attention and `f * steps` for everything else. Windows must never know what an edit changes.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::prompt::Tokens;

use super::Rules;

/// How a run counts its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// The rules that turn fractions into steps.
    pub rules: Rules,
    /// Number of steps that the user asked for.
    pub steps: usize,
    /// Number of denoiser calls. Some schedulers make more calls than steps.
    pub calls: usize,
}

impl Clock {
    /// A clock with our own rules and one denoiser call per step.
    pub fn new(steps: usize) -> Self {
        Self {
            rules: Rules::Ours,
            steps,
            calls: steps,
        }
    }

    /// Whether denoiser call `call`, counted from 0, is at or after `fraction` of the run.
    pub fn reached(&self, fraction: f64, call: usize) -> bool {
        match self.rules {
            Rules::Ours => fraction <= call as f64 / self.calls as f64,
            Rules::Reference => (fraction * self.steps as f64).trunc() <= call as f64,
        }
    }
}

/// What a window is for. The reference counts the steps of each in another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acts {
    /// Cross-attention, including the factors of words.
    Cross,
    /// Injected self-attention.
    SelfAttn,
    /// Latents, which are copied after a step.
    Latents,
}

/// The unit of a window's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// Fractions of the run, 0 to 1.
    Fraction,
    /// Denoiser calls, counted from 0.
    Steps,
}

/// One end of a window: a single point if `from == to`, else a linear ramp.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Edge {
    from: f64,
    to: f64,
}

impl Edge {
    fn sharp(at: f64) -> Self {
        Self { from: at, to: at }
    }

    /// The share of the edge that has passed: 0 before the edge, 1 after it.
    fn passed(self, at: f64) -> f64 {
        if at >= self.to {
            1.0
        } else if at < self.from {
            0.0
        } else {
            (at - self.from) / (self.to - self.from)
        }
    }
}

/// A half-open part of the run. Its text form is described at [`Window::from_str`]; serde uses the same form.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Window {
    unit: Unit,
    opens: Edge,
    closes: Edge,
}

impl Window {
    /// The whole run.
    pub const ALL: Self = Self::until(1.0);

    /// The run from its start to the fraction `to`.
    pub const fn until(to: f64) -> Self {
        Self {
            unit: Unit::Fraction,
            opens: Edge { from: 0.0, to: 0.0 },
            closes: Edge { from: to, to },
        }
    }

    /// The run from the fraction `from` to the fraction `to`.
    ///
    /// # Errors
    ///
    /// A fraction is outside 0 to 1, or `to` is less than `from`.
    pub fn new(from: f64, to: f64) -> Result<Self> {
        Self {
            unit: Unit::Fraction,
            opens: Edge::sharp(from),
            closes: Edge::sharp(to),
        }
        .checked()
    }

    /// The window, if its numbers are in range and in order.
    fn checked(self) -> Result<Self> {
        let numbers = [
            self.opens.from,
            self.opens.to,
            self.closes.from,
            self.closes.to,
        ];
        let outside = |x: &f64| !(0.0..=1.0).contains(x);
        if self.unit == Unit::Fraction && numbers.iter().any(outside) {
            return Err(Error::usage(
                format!("window {self} leaves 0..1"),
                "write fractions of the run, such as 0.8 or 0.1..0.8, or steps, such as steps:10..40",
            ));
        }
        if !numbers.is_sorted() {
            let mut sorted = numbers;
            sorted.sort_by(f64::total_cmp);
            let [a, b, c, d] = sorted;
            let (opens, closes) = (Edge { from: a, to: b }, Edge { from: c, to: d });
            let ordered = Self {
                opens,
                closes,
                ..self
            };
            return Err(Error::usage(
                format!("window {self} is reversed"),
                format!("write {ordered}"),
            ));
        }
        Ok(self)
    }

    /// How far the window is open at denoiser call `call`, counted from 0: 0 is closed, 1 is open.
    pub fn gate(&self, call: usize, clock: &Clock, acts: Acts) -> f32 {
        let at = self.time(call, clock, acts);
        let edge = |edge: Edge| self.edge(edge, clock, acts).passed(at);
        (edge(self.opens) * (1.0 - edge(self.closes))) as f32
    }

    /// The time of a denoiser call, in the unit of [`Self::edge`].
    fn time(&self, call: usize, clock: &Clock, acts: Acts) -> f64 {
        match (self.unit, clock.rules) {
            (Unit::Steps, _) => call as f64,
            (Unit::Fraction, Rules::Ours) => call as f64 / clock.calls as f64,
            // Quirk: the reference counts the step as done before it looks at latents.
            (Unit::Fraction, Rules::Reference) if acts == Acts::Latents => call as f64 + 1.0,
            (Unit::Fraction, Rules::Reference) => call as f64,
        }
    }

    /// An edge in the unit of [`Self::time`].
    fn edge(&self, edge: Edge, clock: &Clock, acts: Acts) -> Edge {
        if self.unit == Unit::Steps || clock.rules == Rules::Ours {
            return edge;
        }
        // Quirk: the product is truncated, so 0.58 of 50 steps is 28 because of rounding in f64.
        let rows = clock.steps + usize::from(acts == Acts::Cross);
        let step = |fraction: f64| (fraction * rows as f64).trunc();
        Edge {
            from: step(edge.from),
            to: step(edge.to),
        }
    }

    /// First and last denoiser call, counted from 0, at which the window is open at least in part. `None` if
    /// the window is never open.
    pub fn calls(&self, clock: &Clock, acts: Acts) -> Option<RangeInclusive<usize>> {
        let open = |call: &usize| self.gate(*call, clock, acts) > 0.0;
        let first = (0..clock.calls).find(open)?;
        let last = (first..clock.calls).rfind(open)?;
        Some(first..=last)
    }
}

impl fmt::Display for Window {
    /// The text that [`Window::from_str`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let edge = |e: &Edge| {
            if e.from == e.to {
                e.to.to_string()
            } else {
                format!("{}~{}", e.from, e.to)
            }
        };
        let unit = match self.unit {
            Unit::Fraction => "",
            Unit::Steps => "steps:",
        };
        write!(f, "{unit}{}..{}", edge(&self.opens), edge(&self.closes))
    }
}

impl FromStr for Window {
    type Err = Error;

    /// Parses a window. `0.8` is the first 80 % of the run, `0.1..0.8` also leaves out the first 10 %,
    /// `0.6~0.8` fades out between 60 % and 80 %, `steps:10..40` counts denoiser calls from 0.
    ///
    /// # Errors
    ///
    /// The text is not a window, a fraction is outside 0 to 1, or the numbers are not in order.
    fn from_str(text: &str) -> Result<Self> {
        let (unit, numbers) = match text.trim().strip_prefix("steps:") {
            Some(rest) => (Unit::Steps, rest),
            None => (Unit::Fraction, text.trim()),
        };
        let number = |part: &str| -> Result<f64> {
            let number = part.trim().parse::<f64>().ok();
            let whole = |x: &f64| unit == Unit::Fraction || (x.fract() == 0.0 && *x >= 0.0);
            number.filter(|x| x.is_finite() && whole(x)).ok_or_else(|| {
                Error::usage(
                    format!("\"{text}\" is not a window"),
                    "write a fraction such as 0.8, a range 0.1..0.8, a fade 0.6~0.8, or steps:10..40",
                )
            })
        };
        let edge = |part: &str| match part.split_once('~') {
            Some((from, to)) => Ok(Edge {
                from: number(from)?,
                to: number(to)?,
            }),
            None => number(part).map(Edge::sharp),
        };
        let (opens, closes) = match numbers.split_once("..") {
            Some((opens, closes)) => (edge(opens)?, edge(closes)?),
            None => (Edge::sharp(0.0), edge(numbers)?),
        };
        let window = Self {
            unit,
            opens,
            closes,
        };
        window.checked()
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

impl TryFrom<String> for Window {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// The cross-attention windows of one edit.
#[derive(Debug, Clone, PartialEq)]
pub struct CrossWindows {
    /// The window of all tokens without a more specific one.
    pub default: Window,
    /// The window of tokens in which the edited prompt differs from its source. `None` means `default`.
    pub changed: Option<Window>,
    /// Windows of words and phrases. If words overlap, later entries win.
    pub words: Vec<(String, Window)>,
}

impl CrossWindows {
    /// One window for all tokens.
    pub fn all(default: Window) -> Self {
        Self {
            default,
            changed: None,
            words: vec![],
        }
    }

    /// The window of each token of the edited prompt. `changed` holds the indices of the tokens in which the
    /// prompt differs from its source. Words that the prompt does not contain are ignored, because the
    /// caller checks whether any prompt contains them.
    ///
    /// # Panics
    ///
    /// An index in `changed` is out of range.
    pub fn per_token(&self, edited: &Tokens, changed: &[usize], rules: Rules) -> Vec<Window> {
        let mut windows = vec![self.default; edited.ids.len()];
        if let Some(window) = self.changed {
            changed.iter().for_each(|&token| windows[token] = window);
        }
        for (word, window) in &self.words {
            for token in rules.find(edited, word) {
                windows[token] = *window;
            }
        }
        windows
    }
}

/// The step gate of each token at denoiser call `call`: 1 if its window is open, 0 if it is closed, between
/// the two on a ramp.
pub fn gate(windows: &[Window], call: usize, clock: &Clock) -> Vec<f32> {
    let gate = |window: &Window| window.gate(call, clock, Acts::Cross);
    windows.iter().map(gate).collect()
}
