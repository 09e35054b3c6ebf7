//! Lines on stderr: what each verbosity prints, progress in a pipe, and a closed stderr.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prompt_to_prompt::error::Error;
use prompt_to_prompt::message;
use prompt_to_prompt::message::HeatmapFlags;
use prompt_to_prompt::report::console::{Console, PIPE_INTERVAL, Verbosity};
use prompt_to_prompt::setting::Setting;

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

fn heard(verbosity: Verbosity, speak: impl Fn(&Console)) -> String {
    let out = Heard::default();
    speak(&Console::plain(verbosity, Box::new(out.clone())));
    let bytes = out.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn speak(console: &Console) {
    console.note("a note");
    console.warn("a doubt");
    console.detail("a detail");
    let mut progress = console.progress(50, "edit");
    (0..50).for_each(|_| progress.step());
}

#[test]
fn verbosity_decides_who_hears_what() {
    assert_eq!(heard(Verbosity::Quiet, speak), "warning: a doubt\n");
    let normal = heard(Verbosity::Normal, speak);
    assert!(
        normal.starts_with("a note\nwarning: a doubt\nedit: step 1/50, "),
        "{normal}"
    );
    assert!(heard(Verbosity::Verbose, speak).contains("a detail\n"));
}

/// What a console prints whose clock goes on by `seconds` each time that it is read.
fn heard_in_time(seconds: u64, speak: impl Fn(&Console)) -> String {
    let out = Heard::default();
    let (start, readings) = (Instant::now(), AtomicU64::new(0));
    let clock = move || {
        let reading = readings.fetch_add(1, Ordering::Relaxed);
        start + Duration::from_secs(reading * seconds)
    };
    speak(&Console::plain(Verbosity::Normal, Box::new(out.clone())).with_clock(clock));
    let bytes = out.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn progress_in_a_pipe_is_at_most_a_line_in_ten_seconds() {
    assert_eq!(PIPE_INTERVAL, Duration::from_secs(10));
    let run = |console: &Console, steps| {
        let mut progress = console.progress(steps, "edit");
        (0..steps).for_each(|_| progress.step());
    };
    let said = heard_in_time(1, |console| run(console, 25));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "edit: step 1/25, 1.0 it/s, ETA 24 s",
            "edit: step 11/25, 1.0 it/s, ETA 14 s",
            "edit: step 21/25, 1.0 it/s, ETA 4 s",
        ]
    );
    // A slow model has a line for each step.
    let said = heard_in_time(60, |console| run(console, 3));
    assert_eq!(said.lines().count(), 3, "{said}");
    // Short runs of a batch share the interval.
    let said = heard_in_time(1, |console| (0..8).for_each(|_| run(console, 2)));
    assert_eq!(said.lines().count(), 3, "{said}");
    assert_eq!(heard_in_time(1, |console| run(console, 0)), "");
}

#[test]
fn settings_have_the_names_of_the_front_end() {
    let about = || message!["leave ", Setting::MapWords, " out"];
    let said = heard(Verbosity::Normal, |console| {
        console.note(about());
        let console = console.clone().with_names(&HeatmapFlags);
        console.warn(about());
        console.error(&Error::usage(
            "\"a--b\" is not a word",
            message![
                "give ",
                Setting::Src,
                " and ",
                Setting::MapAtSteps.to("each")
            ],
        ));
    });
    assert_eq!(
        said,
        "leave --map-words out\nwarning: leave --words out\nerror: \"a--b\" is not a word\n  \
         give --prompt and --at-steps each\n"
    );
}

#[test]
fn errors_are_a_cause_and_a_cure() {
    let said = heard(Verbosity::Quiet, |console| {
        console.error(&Error::usage("cause", "cure"))
    });
    assert_eq!(said, "error: cause\n  cure\n");
}

#[test]
fn a_broken_stderr_is_ignored() {
    speak(&Console::plain(Verbosity::Verbose, Box::new(Broken)));
}
