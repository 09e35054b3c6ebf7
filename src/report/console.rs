//! What a run prints on stderr while it works: notes, warnings, errors and progress.
//! Owns verbosity, colour, the progress bar, and plain progress lines for pipes. It must never know stdout,
//! which belongs to paths and JSON, nor what the steps of the work are.
//!
//! Failed writes are ignored: a closed stderr is no reason to lose a picture.

use std::env;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::error::Error;
use crate::message::{Flags, Message, Names};

/// Shortest time between two progress lines where stderr is a pipe or a file.
pub const PIPE_INTERVAL: Duration = Duration::from_secs(10);

/// How much a [`Console`] prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Verbosity {
    /// Only warnings and errors.
    Quiet,
    /// Notes and progress too.
    #[default]
    Normal,
    /// Details too.
    Verbose,
}

type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Prints messages on stderr, or in tests into any writer. Clones share the writer and the progress bar.
#[derive(Clone)]
pub struct Console {
    verbosity: Verbosity,
    names: &'static dyn Names,
    /// Whether stderr is a terminal that can redraw a line.
    live: bool,
    colour: bool,
    out: Arc<Mutex<Box<dyn Write + Send>>>,
    /// The progress bar on the screen. Other lines are printed above it.
    bar: Arc<Mutex<Option<ProgressBar>>>,
    /// When the last progress line was printed. Runs of a batch share it.
    last_line: Arc<Mutex<Option<Instant>>>,
    clock: Clock,
}

impl Console {
    /// A console on stderr that names settings as flags.
    ///
    /// Output is plain if stderr is not a terminal or `TERM` is `dumb`. It has no colour if `NO_COLOR` is set.
    pub fn new(verbosity: Verbosity) -> Self {
        let live = io::stderr().is_terminal() && env::var_os("TERM").is_none_or(|t| t != "dumb");
        Self {
            live,
            colour: live && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            ..Self::plain(verbosity, Box::new(io::stderr()))
        }
    }

    /// A console that writes plain lines to `out` and names settings as flags.
    pub fn plain(verbosity: Verbosity, out: Box<dyn Write + Send>) -> Self {
        Self {
            verbosity,
            names: &Flags,
            live: false,
            colour: false,
            out: Arc::new(Mutex::new(out)),
            bar: Arc::default(),
            last_line: Arc::default(),
            clock: Arc::new(Instant::now),
        }
    }

    /// The console with other names for settings.
    pub fn with_names(self, names: &'static dyn Names) -> Self {
        Self { names, ..self }
    }

    /// The console with another clock for the speed and the pace of progress lines.
    pub fn with_clock(self, clock: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        Self {
            clock: Arc::new(clock),
            ..self
        }
    }

    /// Prints a message unless the console is quiet.
    pub fn note(&self, message: impl Into<Message>) {
        if self.verbosity >= Verbosity::Normal {
            self.line(&message.into().render(self.names));
        }
    }

    /// Prints a warning, also if the console is quiet.
    pub fn warn(&self, message: impl Into<Message>) {
        let message = message.into().render(self.names);
        self.line(&format!("{} {message}", self.paint("warning:", "33")));
    }

    /// Prints an error's cause and, on the next line, its cure, also if the console is quiet.
    pub fn error(&self, error: &Error) {
        let (cause, cure) = error.parts(self.names);
        self.line(&format!("{} {cause}", self.paint("error:", "31")));
        self.line(&format!("  {cure}"));
    }

    /// Prints several lines unchanged, also if the console is quiet.
    pub fn block(&self, text: &str) {
        self.line(text.trim_end());
    }

    /// Prints a message if the console is verbose.
    pub fn detail(&self, message: impl Into<Message>) {
        if self.is_verbose() {
            self.line(&message.into().render(self.names));
        }
    }

    /// How the console spells settings.
    pub fn names(&self) -> &'static dyn Names {
        self.names
    }

    /// Whether the console prints colours.
    pub fn is_colourful(&self) -> bool {
        self.colour
    }

    /// Whether the console prints details.
    pub fn is_verbose(&self) -> bool {
        self.verbosity >= Verbosity::Verbose
    }

    /// Starts to report `total_steps` steps of the work called `label`. Only one [`Progress`] may exist at
    /// a time.
    ///
    /// A terminal shows a bar. Elsewhere the first step prints a line, and later steps print one if
    /// [`PIPE_INTERVAL`] has passed since the last line.
    pub fn progress(&self, total_steps: usize, label: &str) -> Progress<'_> {
        *lock(&self.bar) = self.draws_bars().then(|| self.draw_bar(total_steps, label));
        Progress {
            console: self,
            label: label.to_string(),
            total: total_steps,
            done: 0,
            start: (self.clock)(),
        }
    }

    /// Whether the console draws progress bars. The bars of [`Console::progress`] and those of downloads
    /// must not be on the screen together.
    pub(super) fn draws_bars(&self) -> bool {
        self.live && self.verbosity >= Verbosity::Normal
    }

    /// Sets the bar above which lines are printed. If several bars are drawn together, any of them does.
    pub(super) fn hold(&self, bar: Option<ProgressBar>) {
        *lock(&self.bar) = bar;
    }

    /// Whether a progress line may be printed now. If so, the next one has to wait.
    fn may_print_progress(&self, now: Instant) -> bool {
        let mut last = lock(&self.last_line);
        let due = last.is_none_or(|last| now.duration_since(last) >= PIPE_INTERVAL);
        if due {
            *last = Some(now);
        }
        due
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
        // The first step of a slow model takes long: show at once that work began.
        bar.tick();
        bar
    }

    fn line(&self, message: &str) {
        let write = || {
            let mut out = lock(&self.out);
            let _ = writeln!(out, "{message}").and_then(|()| out.flush());
        };
        // A line printed over the bar would leave parts of it on the screen.
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

/// Reports the steps of one piece of work. When it is dropped, its bar disappears from the screen.
pub struct Progress<'a> {
    console: &'a Console,
    label: String,
    total: usize,
    done: usize,
    start: Instant,
}

impl Progress<'_> {
    /// Reports that one more step is done.
    pub fn step(&mut self) {
        self.done += 1;
        if let Some(bar) = lock(&self.console.bar).as_ref() {
            bar.inc(1);
            return;
        }
        let now = (self.console.clock)();
        if self.console.may_print_progress(now) {
            self.console.note(self.plain_line(now));
        }
    }

    fn plain_line(&self, now: Instant) -> String {
        let elapsed = now.duration_since(self.start).as_secs_f64().max(1e-9);
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

/// Writes speed and remaining time. Before the first step there is no speed, and nothing is written.
fn write_speed(state: &ProgressState, out: &mut dyn fmt::Write) {
    if state.pos() > 0 {
        let (rate, eta) = (rate(state.per_sec()), duration(state.eta()));
        let _ = write!(out, ", {rate}, ETA {eta}");
    }
}

/// Steps per second, or seconds per step if that is the larger number.
fn rate(per_second: f64) -> String {
    if per_second > 0.0 && per_second < 1.0 {
        format!("{:.1} s/it", 1.0 / per_second)
    } else {
        format!("{per_second:.1} it/s")
    }
}

/// A duration as text: `42 s`, `3:20 min`, `1:05 h`.
pub(super) fn duration(left: Duration) -> String {
    match left.as_secs_f64().round() as u64 {
        s if s < 60 => format!("{s} s"),
        s if s < 3600 => format!("{}:{:02} min", s / 60, s % 60),
        s => format!("{}:{:02} h", s / 3600, s / 60 % 60),
    }
}

/// Locks the mutex also after a panic in another thread, which must not silence the console.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
