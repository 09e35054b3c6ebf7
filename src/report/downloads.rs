//! What is said of downloads: a bar for the file and one for all of them on a terminal, lines elsewhere.
//! Never knows what the files are for.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::console::{Console, PIPE_INTERVAL, duration};
use crate::error::{Error, Result};
use crate::format;
use crate::hub::Watch;

/// Columns of a file's name beside its bar.
const NAME: usize = 30;
/// Bytes.
const WORTH_A_LINE: u64 = 1 << 20;

pub struct Downloads<'a> {
    console: &'a Console,
    stop: Arc<AtomicBool>,
    /// Neither bars nor lines on how far it is.
    still: bool,
    now: Mutex<Option<Transfer>>,
}

/// Files on their way.
struct Transfer {
    files: usize,
    /// The one that is fetched, from 1.
    nth: usize,
    bytes: u64,
    /// Of the files before this one.
    before: u64,
    /// Of this one: its size, what is there, and what was there when it was begun.
    size: u64,
    at: u64,
    /// Fetched by this run.
    fetched: u64,
    start: Instant,
    said: Instant,
    bars: Option<Bars>,
}

struct Bars {
    file: ProgressBar,
    all: ProgressBar,
}

impl<'a> Downloads<'a> {
    /// `stop` ends them; what came so far is kept.
    pub fn new(console: &'a Console, stop: Arc<AtomicBool>) -> Self {
        let value = std::env::var("HF_HUB_DISABLE_PROGRESS_BARS").unwrap_or_default();
        let still = ["1", "ON", "YES", "TRUE"].contains(&&*value.trim().to_uppercase());
        Self {
            console,
            stop,
            still,
            now: Mutex::new(None),
        }
    }

    fn now(&self) -> MutexGuard<'_, Option<Transfer>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bars(&self, bytes: u64) -> Option<Bars> {
        if self.still || !self.console.draws_bars() {
            return None;
        }
        let target = ProgressDrawTarget::stderr();
        let both = MultiProgress::with_draw_target(target);
        let fill = if self.console.is_colourful() {
            ".cyan"
        } else {
            ""
        };
        let style = |rest: &str| {
            let template = format!(
                "{{msg:{NAME}!}} [{{bar:24{fill}}}] {{binary_bytes}}/{{binary_total_bytes}}{rest}"
            );
            let style = ProgressStyle::with_template(&template);
            style.expect("it is well formed").progress_chars("=> ")
        };
        let file = both.add(ProgressBar::new(0).with_style(style("")));
        let all = style(", {binary_bytes_per_sec}, ETA {eta}");
        let all = both.add(ProgressBar::new(bytes).with_style(all));
        all.set_message("in all");
        self.console.hold(Some(all.clone()));
        Some(Bars { file, all })
    }
}

impl Watch for Downloads<'_> {
    fn note(&self, line: &str) {
        self.console.note(line);
    }

    fn warn(&self, line: &str) {
        self.console.warn(line);
    }

    fn go_on(&self) -> Result<()> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }

    fn begin(&self, files: usize, bytes: u64, of: &str, into: &Path) {
        // A config is there before it is read of.
        if bytes >= WORTH_A_LINE {
            self.console.note(format!(
                "fetching {} of {of}, {}, into {}",
                format::count(files, "file"),
                format::bytes(bytes),
                into.display()
            ));
        }
        *self.now() = Some(Transfer {
            files,
            nth: 0,
            bytes,
            before: 0,
            size: 0,
            at: 0,
            fetched: 0,
            start: Instant::now(),
            said: Instant::now(),
            bars: (bytes >= WORTH_A_LINE).then(|| self.bars(bytes)).flatten(),
        });
    }

    fn file(&self, path: &str, bytes: u64) {
        if let Some(now) = self.now().as_mut() {
            now.nth += 1;
            now.before += now.size;
            (now.size, now.at) = (bytes, 0);
            if let Some(bars) = &now.bars {
                bars.file.set_length(bytes);
                bars.file.set_position(0);
                bars.file.set_message(short(path));
            }
        }
    }

    fn at(&self, bytes: u64) {
        let mut now = self.now();
        let Some(now) = now.as_mut() else {
            return;
        };
        // A first word on a file says what was there before.
        if now.at > 0 {
            now.fetched += bytes.saturating_sub(now.at);
        }
        now.at = bytes;
        let done = now.before + bytes;
        match &now.bars {
            Some(bars) => {
                bars.file.set_position(bytes);
                bars.all.set_position(done);
            }
            None if !self.still && now.said.elapsed() >= PIPE_INTERVAL => {
                now.said = Instant::now();
                self.console.note(now.line());
            }
            None => {}
        }
    }

    fn end(&self) {
        let Some(done) = self.now().take() else {
            return;
        };
        if let Some(bars) = &done.bars {
            bars.file.finish_and_clear();
            bars.all.finish_and_clear();
            self.console.hold(None);
        }
        if self.stop.load(Ordering::Relaxed) {
            self.console
                .note("what came so far is kept: the next time it goes on from there");
        }
    }
}

/// A name as wide as the bars have room for: its folder and its ending.
fn short(path: &str) -> String {
    const BEGIN: usize = 12;
    let signs: Vec<char> = path.chars().collect();
    if signs.len() <= NAME {
        return path.to_owned();
    }
    let end = &signs[signs.len() - (NAME - BEGIN - 1)..];
    let (begin, end): (String, String) = (signs[..BEGIN].iter().collect(), end.iter().collect());
    format!("{begin}…{end}")
}

impl Transfer {
    fn line(&self) -> String {
        let done = self.before + self.at;
        let far = format!(
            "file {}/{}, {} of {}",
            self.nth,
            self.files,
            format::bytes(done),
            format::bytes(self.bytes)
        );
        // Another process fetched it.
        if self.fetched == 0 {
            return far;
        }
        let speed = self.fetched as f64 / self.start.elapsed().as_secs_f64().max(1e-3);
        let left = self.bytes.saturating_sub(done) as f64 / speed.max(1.0);
        format!(
            "{far}, {}/s, ETA {}",
            format::bytes(speed as u64),
            duration(Duration::from_secs_f64(left.min(1e9)))
        )
    }
}
