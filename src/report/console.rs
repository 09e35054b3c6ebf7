//! What a run says on stderr while it works.
//! Owns the terminal: verbosity, colour, the progress bar and its plain form; it must never know
//! stdout, which belongs to paths and JSON, nor what the steps are.
//!
//! A broken stderr is no reason to lose a picture: every failed write is ignored.

use crate::message::Flags;
use std::env;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::error::Error;

/// Shortest time between two progress lines where stderr is a pipe or a file.
pub const PIPE_INTERVAL: Duration = Duration::from_secs(10);

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Verbosity {
    /// Warnings and errors only.
    Quiet,
    #[default]
    Normal,
    /// Details too.
    Verbose,
}

/// Stderr, or in tests any writer. A clone writes to the same, around the same bar.
#[derive(Clone)]
pub struct Console {
    verbosity: Verbosity,
    /// A terminal that can redraw a line.
    live: bool,
    colour: bool,
    out: Arc<Mutex<Box<dyn Write + Send>>>,
    /// The bar on the screen, which lines must be printed above of.
    bar: Arc<Mutex<Option<ProgressBar>>>,
}

impl Console {
    /// A console on stderr. It is plain where stderr is no terminal or `TERM` is `dumb`, without
    /// colour where `NO_COLOR` is set to anything.
    pub fn new(verbosity: Verbosity) -> Self {
        let live = io::stderr().is_terminal() && env::var_os("TERM").is_none_or(|t| t != "dumb");
        Self {
            live,
            colour: live && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            ..Self::plain(verbosity, Box::new(io::stderr()))
        }
    }

    /// A console that writes plain lines to `out`.
    pub fn plain(verbosity: Verbosity, out: Box<dyn Write + Send>) -> Self {
        Self {
            verbosity,
            live: false,
            colour: false,
            out: Arc::new(Mutex::new(out)),
            bar: Arc::default(),
        }
    }

    /// What everyone should know; silent when quiet.
    pub fn note(&self, message: &str) {
        if self.verbosity >= Verbosity::Normal {
            self.line(message);
        }
    }

    /// What is probably not meant; said even when quiet.
    pub fn warn(&self, message: &str) {
        self.line(&format!("{} {message}", self.paint("warning:", "33")));
    }

    /// The cause and, on a line of its own, the cure; said even when quiet.
    pub fn error(&self, error: &Error) {
        let (cause, cure) = error.parts(&Flags);
        self.line(&format!("{} {cause}", self.paint("error:", "31")));
        self.line(&format!("  {cure}"));
    }

    /// Several lines as they are, said even when quiet.
    pub fn block(&self, text: &str) {
        self.line(text.trim_end());
    }

    pub fn is_colourful(&self) -> bool {
        self.colour
    }

    pub fn is_verbose(&self) -> bool {
        self.verbosity >= Verbosity::Verbose
    }

    /// What only the curious want; verbose runs only.
    pub fn detail(&self, message: &str) {
        if self.verbosity >= Verbosity::Verbose {
            self.line(message);
        }
    }

    /// Starts to report `total_steps` steps of work called `label`; one at a time.
    pub fn progress(&self, total_steps: usize, label: &str) -> Progress<'_> {
        *lock(&self.bar) = self.draws_bars().then(|| self.draw_bar(total_steps, label));
        Progress {
            console: self,
            label: label.to_string(),
            total: total_steps,
            done: 0,
            start: Instant::now(),
        }
    }

    /// Whether bars are drawn: others than [`Console::progress`]'s must not be up with it.
    pub(super) fn draws_bars(&self) -> bool {
        self.live && self.verbosity >= Verbosity::Normal
    }

    /// The bar that lines step aside for; of several drawn together any.
    pub(super) fn hold(&self, bar: Option<ProgressBar>) {
        *lock(&self.bar) = bar;
    }

    fn draw_bar(&self, total: usize, label: &str) -> ProgressBar {
        let fill = if self.colour { ".cyan" } else { "" };
        let template = format!("{{msg}} [{{bar:30{fill}}}] {{pos}}/{{len}}{{speed}}");
        let style = ProgressStyle::with_template(&template)
            .expect("the template is well formed")
            .with_key("speed", write_speed)
            .progress_chars("=> ");
        let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
        bar.set_style(style);
        bar.set_message(label.to_string());
        // On a slow model the first step takes long: show at once that work began.
        bar.tick();
        bar
    }

    fn line(&self, message: &str) {
        let write = || {
            let mut out = lock(&self.out);
            let _ = writeln!(out, "{message}").and_then(|()| out.flush());
        };
        // The bar steps aside, or the line would tear it.
        match lock(&self.bar).as_ref() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn paint(&self, word: &str, colour: &str) -> String {
        if self.colour {
            format!("\x1b[1;{colour}m{word}\x1b[0m")
        } else {
            word.to_string()
        }
    }
}

/// Work under way; dropped, it leaves the screen as it was.
pub struct Progress<'a> {
    console: &'a Console,
    label: String,
    total: usize,
    done: usize,
    start: Instant,
}

impl Progress<'_> {
    /// One step is done.
    pub fn step(&mut self) {
        let tenths = |done: usize| done * 10 / self.total.max(1);
        let crossed = tenths(self.done + 1) > tenths(self.done);
        self.done += 1;
        if let Some(bar) = lock(&self.console.bar).as_ref() {
            bar.inc(1);
            return;
        }
        if crossed {
            self.console.note(&self.plain_line());
        }
    }

    fn plain_line(&self) -> String {
        let elapsed = self.start.elapsed().as_secs_f64().max(1e-9);
        let left = self.total.saturating_sub(self.done) as f64;
        let eta = Duration::try_from_secs_f64(elapsed * left / self.done as f64);
        format!(
            "{}: step {}/{}, {}, ETA {}",
            self.label,
            self.done,
            self.total,
            rate(self.done as f64 / elapsed),
            duration(eta.unwrap_or(Duration::MAX)),
        )
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(bar) = lock(&self.console.bar).take() {
            bar.finish_and_clear();
        }
    }
}

/// Nothing before the first step: there is no speed yet.
fn write_speed(state: &ProgressState, out: &mut dyn fmt::Write) {
    if state.pos() > 0 {
        let (rate, eta) = (rate(state.per_sec()), duration(state.eta()));
        let _ = write!(out, ", {rate}, ETA {eta}");
    }
}

/// Steps a second, or seconds a step where that is the larger number.
fn rate(per_second: f64) -> String {
    if per_second > 0.0 && per_second < 1.0 {
        format!("{:.1} s/it", 1.0 / per_second)
    } else {
        format!("{per_second:.1} it/s")
    }
}

pub(super) fn duration(left: Duration) -> String {
    match left.as_secs_f64().round() as u64 {
        s if s < 60 => format!("{s} s"),
        s if s < 3600 => format!("{}:{:02} min", s / 60, s % 60),
        s => format!("{}:{:02} h", s / 3600, s / 60 % 60),
    }
}

/// A panic elsewhere must not silence the console.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
