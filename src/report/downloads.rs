//! The progress of downloads on stderr. A terminal shows a bar for the current file and one for all files; a
//! pipe gets plain lines. It must never know what the files are for.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::console::{Console, PIPE_INTERVAL, duration};
use crate::error::{Error, Result};
use crate::format;
use crate::hub::ProgressReporter;

/// Width of a file's name beside its bar, in columns.
const NAME: usize = 30;
/// Bytes from which a download is reported. Configs are there at once.
const REPORT_FROM: u64 = 1 << 20;

/// Reports downloads on a console.
pub struct Downloads<'a> {
    console: &'a Console,
    stop: Arc<AtomicBool>,
    /// Whether bars and progress lines are off.
    is_silent: bool,
    /// The current time. Tests set their own.
    now: fn() -> Instant,
    transfer: Mutex<Option<Transfer>>,
}

/// The state of a running download.
struct Transfer {
    files: usize,
    /// The number of the current file, from 1.
    file: usize,
    /// Bytes of all files.
    bytes: u64,
    /// Bytes of the files before the current one.
    earlier: u64,
    /// Size of the current file, and how much of it is on the disk, in bytes.
    size: u64,
    position: u64,
    /// Bytes that this run downloaded.
    downloaded: u64,
    start: Instant,
    last_line: Instant,
    bars: Option<Bars>,
}

struct Bars {
    file: ProgressBar,
    total: ProgressBar,
}

impl<'a> Downloads<'a> {
    /// Reports downloads on `console`. Setting `stop` interrupts them; the bytes so far are kept.
    pub fn new(console: &'a Console, stop: Arc<AtomicBool>) -> Self {
        Self::with_clock(console, stop, Instant::now)
    }

    /// The same reports by another clock than the system's.
    pub fn with_clock(console: &'a Console, stop: Arc<AtomicBool>, now: fn() -> Instant) -> Self {
        let value = std::env::var("HF_HUB_DISABLE_PROGRESS_BARS").unwrap_or_default();
        Self {
            console,
            stop,
            is_silent: ["1", "ON", "YES", "TRUE"].contains(&&*value.trim().to_uppercase()),
            now,
            transfer: Mutex::new(None),
        }
    }

    fn transfer(&self) -> MutexGuard<'_, Option<Transfer>> {
        self.transfer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bars(&self, bytes: u64) -> Option<Bars> {
        if self.is_silent || !self.console.draws_bars() {
            return None;
        }
        let both = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let is_colourful = self.console.is_colourful();
        let fill = if is_colourful { ".cyan" } else { "" };
        let style = |rest: &str| {
            let template = format!(
                "{{msg:{NAME}!}} [{{bar:24{fill}}}] {{binary_bytes}}/{{binary_total_bytes}}{rest}"
            );
            let style = ProgressStyle::with_template(&template);
            style.expect("the template is valid").progress_chars("=> ")
        };
        let file = both.add(ProgressBar::new(0).with_style(style("")));
        let total = style(", {decimal_bytes_per_sec}, ETA {eta}");
        let total = both.add(ProgressBar::new(bytes).with_style(total));
        total.set_message("total");
        self.console.hold(Some(total.clone()));
        Some(Bars { file, total })
    }
}

impl ProgressReporter for Downloads<'_> {
    fn note(&self, line: &str) {
        self.console.note(line);
    }

    fn warn(&self, line: &str) {
        self.console.warn(line);
    }

    fn check_interrupted(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        Ok(())
    }

    fn start(&self, files: usize, bytes: u64, repo: &str, into: &Path) {
        if bytes >= REPORT_FROM {
            self.console.note(format!(
                "downloading {} of {repo}, {}, into {}",
                format::count(files, "file"),
                format::bytes(bytes),
                into.display()
            ));
        }
        let now = (self.now)();
        *self.transfer() = Some(Transfer {
            files,
            file: 0,
            bytes,
            earlier: 0,
            size: 0,
            position: 0,
            downloaded: 0,
            start: now,
            last_line: now,
            bars: (bytes >= REPORT_FROM).then(|| self.bars(bytes)).flatten(),
        });
    }

    fn file(&self, path: &str, size: u64) {
        if let Some(transfer) = self.transfer().as_mut() {
            transfer.file += 1;
            transfer.earlier += transfer.size;
            (transfer.size, transfer.position) = (size, 0);
            if let Some(bars) = &transfer.bars {
                bars.file.set_length(size);
                bars.file.set_position(0);
                bars.file.set_message(shortened(path));
            }
        }
    }

    fn position(&self, bytes: u64) {
        let mut transfer = self.transfer();
        let Some(transfer) = transfer.as_mut() else {
            return;
        };
        // The first position of a file counts what earlier runs downloaded.
        if transfer.position > 0 {
            transfer.downloaded += bytes.saturating_sub(transfer.position);
        }
        transfer.position = bytes;
        if let Some(bars) = &transfer.bars {
            bars.file.set_position(bytes);
            bars.total.set_position(transfer.earlier + bytes);
            return;
        }
        let now = (self.now)();
        if !self.is_silent && now - transfer.last_line >= PIPE_INTERVAL {
            transfer.last_line = now;
            self.console.note(transfer.line(now));
        }
    }

    fn finish(&self) {
        let Some(transfer) = self.transfer().take() else {
            return;
        };
        if let Some(bars) = &transfer.bars {
            bars.file.finish_and_clear();
            bars.total.finish_and_clear();
            self.console.hold(None);
        }
        if self.stop.load(Ordering::Relaxed) {
            self.console
                .note("the partial download is kept: the next run resumes it");
        }
    }
}

/// A path that fits beside the bars: its start and its end.
fn shortened(path: &str) -> String {
    const START: usize = 12;
    let chars: Vec<char> = path.chars().collect();
    if chars.len() <= NAME {
        return path.to_owned();
    }
    let end = &chars[chars.len() - (NAME - START - 1)..];
    let (start, end): (String, String) = (chars[..START].iter().collect(), end.iter().collect());
    format!("{start}…{end}")
}

impl Transfer {
    /// `file 2/3, 1.10 GB of 4.00 GB, 12.0 MB/s, ETA 4:02 min`
    fn line(&self, now: Instant) -> String {
        let done = self.earlier + self.position;
        let progress = format!(
            "file {}/{}, {} of {}",
            self.file,
            self.files,
            format::bytes(done),
            format::bytes(self.bytes)
        );
        // There is no speed if another process downloaded the files so far.
        if self.downloaded == 0 {
            return progress;
        }
        let seconds = (now - self.start).as_secs_f64().max(1e-3);
        let speed = self.downloaded as f64 / seconds;
        let left = self.bytes.saturating_sub(done) as f64 / speed.max(1.0);
        format!(
            "{progress}, {}/s, ETA {}",
            format::bytes(speed as u64),
            duration(Duration::from_secs_f64(left.min(1e9)))
        )
    }
}
