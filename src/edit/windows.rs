//! When an edit acts: windows in fractions of the run or in steps, per word for cross-attention
//! (paper 3.2, tau), closing at once or over a ramp.
//!
//! Owns both rules that turn a fraction into steps, so that they can be compared in one place:
//! ours, *call i of n is inside [a, b) when a <= i/n < b*, and the reference's, which truncates
//! `f * (steps + 1)` for cross-attention and `f * steps` for everything else.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::prompt::Tokens;

use super::Rules;

/// How a run counts its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    pub rules: Rules,
    /// As asked for.
    pub steps: usize,
    /// Denoiser calls: more than `steps` with some schedulers.
    pub calls: usize,
}

impl Clock {
    /// Our own rules, with a call a step.
    pub fn new(steps: usize) -> Self {
        Self {
            rules: Rules::Ours,
            steps,
            calls: steps,
        }
    }

    /// Whether denoiser call `call` lies in the run from `fraction` on.
    pub fn reached(&self, fraction: f64, call: usize) -> bool {
        match self.rules {
            Rules::Ours => fraction <= call as f64 / self.calls as f64,
            Rules::Reference => (fraction * self.steps as f64).trunc() <= call as f64,
        }
    }
}

/// What a window is for: the reference counts cross-attention's steps in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acts {
    /// Cross-attention, and the factors of words.
    Cross,
    /// Injected self-attention.
    SelfAttn,
    /// Latents that are copied after a step.
    Latents,
}

/// What a window's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// 0 to 1, of the run.
    Fraction,
    /// Denoiser calls from 0.
    Steps,
}

/// One end of a window: passed at once where `from == to`, else linearly.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Edge {
    from: f64,
    to: f64,
}

impl Edge {
    fn sharp(at: f64) -> Self {
        Self { from: at, to: at }
    }

    /// 0 before the edge, 1 behind it.
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

/// A half-open part of the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    unit: Unit,
    opens: Edge,
    closes: Edge,
}

impl Window {
    /// The whole run.
    pub const ALL: Self = Self::until(1.0);

    /// The first `to` of the run.
    pub const fn until(to: f64) -> Self {
        Self {
            unit: Unit::Fraction,
            opens: Edge { from: 0.0, to: 0.0 },
            closes: Edge { from: to, to },
        }
    }

    /// Fractions inside 0..1 and in order.
    pub fn new(from: f64, to: f64) -> Result<Self> {
        Self {
            unit: Unit::Fraction,
            opens: Edge::sharp(from),
            closes: Edge::sharp(to),
        }
        .checked()
    }

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
                "windows are fractions of the run, such as 0.8 or 0.1..0.8; absolute steps are \
                 written steps:10..40",
            ));
        }
        if !numbers.is_sorted() {
            let mut sorted = numbers;
            sorted.sort_by(f64::total_cmp);
            let [a, b, c, d] = sorted;
            let (opens, closes) = (Edge { from: a, to: b }, Edge { from: c, to: d });
            let right = Self {
                opens,
                closes,
                ..self
            };
            return Err(Error::usage(
                format!("window {self} is reversed"),
                format!("write {right}"),
            ));
        }
        Ok(self)
    }

    /// How far it is open at denoiser call `call`, 0 to 1.
    pub fn gate(&self, call: usize, clock: &Clock, acts: Acts) -> f32 {
        let at = self.time(call, clock, acts);
        let edge = |edge: Edge| self.edge(edge, clock, acts).passed(at);
        (edge(self.opens) * (1.0 - edge(self.closes))) as f32
    }

    fn time(&self, call: usize, clock: &Clock, acts: Acts) -> f64 {
        match (self.unit, clock.rules) {
            (Unit::Steps, _) => call as f64,
            (Unit::Fraction, Rules::Ours) => call as f64 / clock.calls as f64,
            // Odd: by the time the reference looks at latents, the step is counted as done.
            (Unit::Fraction, Rules::Reference) if acts == Acts::Latents => call as f64 + 1.0,
            (Unit::Fraction, Rules::Reference) => call as f64,
        }
    }

    /// The edge in the unit of [`Self::time`].
    fn edge(&self, edge: Edge, clock: &Clock, acts: Acts) -> Edge {
        if self.unit == Unit::Steps || clock.rules == Rules::Ours {
            return edge;
        }
        // Odd: truncated, so 0.58 of 50 is 28.
        let rows = clock.steps + usize::from(acts == Acts::Cross);
        let step = |fraction: f64| (fraction * rows as f64).trunc();
        Edge {
            from: step(edge.from),
            to: step(edge.to),
        }
    }

    /// First and last denoiser call, from 0, at which it is open at all.
    pub fn calls(&self, clock: &Clock, acts: Acts) -> Option<RangeInclusive<usize>> {
        let open = |call: &usize| self.gate(*call, clock, acts) > 0.0;
        let first = (0..clock.calls).find(open)?;
        let last = (first..clock.calls).rfind(open)?;
        Some(first..=last)
    }
}

impl fmt::Display for Window {
    /// As it is typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let edge = |e: &Edge| match e.from == e.to {
            true => format!("{}", e.to),
            false => format!("{}~{}", e.from, e.to),
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

    /// `0.8` is the first 80 %, `0.1..0.8` leaves out the first tenth as well, `0.6~0.8` fades out
    /// between the two, `steps:10..40` counts denoiser calls from 0.
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
                    "write a fraction such as 0.8, two: 0.1..0.8, a fade: 0.6~0.8, or steps:10..40",
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

/// The cross-attention windows of one edit: a default, and words that have their own.
#[derive(Debug, Clone, PartialEq)]
pub struct CrossWindows {
    pub default: Window,
    /// Of tokens that the source prompt doesn't have; `None` is the default.
    pub changed: Option<Window>,
    /// Later entries win where words overlap.
    pub words: Vec<(String, Window)>,
}

impl CrossWindows {
    pub fn all(default: Window) -> Self {
        Self {
            default,
            changed: None,
            words: vec![],
        }
    }

    /// The window of each token of the edited prompt, of whose tokens `changed` are new. Words that
    /// it doesn't contain are passed over: whether *some* prompt must contain them is the caller's
    /// question.
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

/// The step gate of each token: 1 where its window is open, 0 where it is shut.
pub fn gate(windows: &[Window], call: usize, clock: &Clock) -> Vec<f32> {
    let gate = |window: &Window| window.gate(call, clock, Acts::Cross);
    windows.iter().map(gate).collect()
}
