//! Progress lines of downloads where stderr is not a terminal.

use std::cell::Cell;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use prompt_to_prompt::hub::ProgressReporter;
use prompt_to_prompt::report::console::{Console, PIPE_INTERVAL, Verbosity};
use prompt_to_prompt::report::downloads::Downloads;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

thread_local! {
    /// Milliseconds since the start of the test's download.
    static TIME: Cell<u64> = const { Cell::new(0) };
}

fn clock() -> Instant {
    *START + Duration::from_millis(TIME.get())
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

/// The progress lines of two files of 500 MB, downloaded at 10 MB a second and reported every 50 ms.
fn lines_of_a_download() -> Vec<String> {
    const FILE: u64 = 500_000_000;
    let lines = Lines::default();
    let console = Console::plain(Verbosity::Normal, Box::new(lines.clone()));
    let downloads = Downloads::with_clock(&console, Arc::default(), clock);
    TIME.set(0);
    downloads.start(2, 2 * FILE, "ada/large", Path::new("/cache"));
    let first = lines.take();
    assert_eq!(first.len(), 1);
    assert!(first[0].contains("2 files of ada/large"), "{first:?}");
    for path in ["unet/a.safetensors", "vae/b.safetensors"] {
        downloads.file(path, FILE);
        for step in 0..=1000 {
            downloads.position(step * FILE / 1000);
            if step < 1000 {
                TIME.set(TIME.get() + 50);
            }
        }
    }
    downloads.finish();
    lines.take()
}

#[test]
fn a_pipe_gets_a_line_every_ten_seconds() {
    assert_eq!(PIPE_INTERVAL, Duration::from_secs(10));
    let lines = lines_of_a_download();
    // 100 seconds.
    assert_eq!(lines.len(), 10, "{lines:?}");
    assert!(lines[0].starts_with("file 1/2, 95 MiB"), "{lines:?}");
    assert!(lines[0].contains("/s, ETA 1:30 min"), "{lines:?}");
    assert!(lines[6].starts_with("file 2/2, 668 MiB"), "{lines:?}");
}

#[test]
fn a_short_download_gets_no_progress_line() {
    let lines = Lines::default();
    let console = Console::plain(Verbosity::Normal, Box::new(lines.clone()));
    let downloads = Downloads::with_clock(&console, Arc::default(), clock);
    TIME.set(0);
    downloads.start(1, 5_000_000, "ada/small", Path::new("/cache"));
    downloads.file("a.safetensors", 5_000_000);
    for step in 0..100 {
        TIME.set(step * 99);
        downloads.position(step * 50_000);
    }
    downloads.finish();
    assert_eq!(lines.take().len(), 1);
    // Configs are not announced at all.
    downloads.start(1, 1_000, "ada/small", Path::new("/cache"));
    downloads.file("config.json", 1_000);
    downloads.position(1_000);
    downloads.finish();
    assert!(lines.take().is_empty());
}
