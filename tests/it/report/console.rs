//! Lines on stderr: who hears what, and that a broken pipe harms nobody.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use prompt_to_prompt::error::Error;
use prompt_to_prompt::report::console::{Console, Verbosity};

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
        normal.starts_with("a note\nwarning: a doubt\nedit: step 5/50, "),
        "{normal}"
    );
    assert!(heard(Verbosity::Verbose, speak).contains("a detail\n"));
}

#[test]
fn plain_progress_is_a_line_a_tenth() {
    let lines = |total| {
        heard(Verbosity::Normal, |console| {
            let mut progress = console.progress(total, "edit");
            (0..total).for_each(|_| progress.step());
        })
    };
    for (total, expected) in [(50, 10), (1000, 10), (7, 7), (1, 1), (0, 0)] {
        assert_eq!(lines(total).lines().count(), expected, "{total} steps");
    }
    let last = lines(50);
    let last = last.lines().last().unwrap();
    assert!(
        last.starts_with("edit: step 50/50, ") && last.ends_with(" it/s, ETA 0 s"),
        "{last}"
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
