//! `--show` in a pseudo-terminal that answers no queries: the terminal's name chooses the protocol, and a
//! terminal without a size gets a picture too.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::super::Place;
use super::SMALL;

/// A new pseudo-terminal with zero columns: the end of the test and the end of the program.
fn terminal() -> (File, File) {
    let own = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&own).unwrap();
    unlockpt(&own).unwrap();
    let name = ptsname(&own, vec![]).unwrap().into_string().unwrap();
    let other = OpenOptions::new().read(true).write(true).open(name);
    (File::from(own), other.unwrap())
}

/// The output of the program in a terminal with these environment variables.
fn shown(variables: &[(&str, &str)]) -> String {
    let place = Place::new();
    let (mut own, other) = terminal();
    let mut command = Command::new(env!("CARGO_BIN_EXE_p2p"));
    command
        .args(SMALL)
        .args(["-q", "-o", "out", "--prompt", "a cat", "--show"])
        .current_dir(place.path("."))
        .env("TERM", "xterm-256color");
    for variable in [
        "TERM_PROGRAM",
        "LC_TERMINAL",
        "KONSOLE_VERSION",
        "COLORTERM",
    ] {
        command.env_remove(variable);
    }
    command.envs(variables.iter().copied());
    command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .stdout(Stdio::from(OwnedFd::from(other)));
    let mut child = command.spawn().unwrap();
    // Closes this process's copy of the program's end, so that reading ends with the program.
    drop(command);
    let reader = thread::spawn(move || {
        let (mut text, mut piece) = (vec![], [0; 4096]);
        // A read fails when the other end is closed.
        while let Ok(n @ 1..) = own.read(&mut piece) {
            text.extend_from_slice(&piece[..n]);
        }
        String::from_utf8(text).unwrap()
    });
    assert!(child.wait().unwrap().success());
    reader.join().unwrap()
}

#[test]
fn each_terminal_gets_its_protocol() {
    let cases: [(&[(&str, &str)], &str); 6] = [
        (&[("TERM", "xterm-kitty")], "\x1b_Ga=T,f=100,"),
        (&[("TERM", "xterm-ghostty")], "\x1b_Ga=T,f=100,"),
        (&[("TERM_PROGRAM", "iTerm.app")], "\x1b]1337;File=inline=1;"),
        (&[("TERM_PROGRAM", "WezTerm")], "\x1b]1337;File=inline=1;"),
        (&[("TERM", "foot")], "\x1bP"),
        (&[("COLORTERM", "truecolor")], "\x1b[0m\x1b["),
    ];
    for (variables, begin) in cases {
        let said = shown(variables);
        let head: String = said.chars().take(60).collect();
        assert!(said.starts_with(begin), "{variables:?}: {head:?}");
        let paths = ["out/attn/source/", "out/attn/grid.png", "out/manifest.json"];
        assert!(
            paths.iter().all(|path| said.contains(path)),
            "{variables:?}"
        );
    }
}

/// The picture has 80 columns if the terminal reports no size.
#[test]
fn a_terminal_without_a_size_has_eighty_columns() {
    let said = shown(&[]);
    let first = said.split(['\r', '\n']).next().unwrap();
    let blocks = first.matches(['\u{2580}', '\u{2584}']).count();
    assert_eq!(blocks, 80, "{first:?}");
}

/// The chunks of the kitty protocol contain a PNG of the grid.
#[test]
fn kitty_is_given_the_grid() {
    let said = shown(&[("TERM", "xterm-kitty")]);
    let commands = said.split("\x1b_G").skip(1);
    let pieces = commands.map(|c| c.split_once("\x1b\\").unwrap().0.split_once(';').unwrap());
    let pieces: Vec<(&str, &str)> = pieces.collect();
    let last = pieces.len() - 1;
    for (i, (keys, data)) in pieces.iter().enumerate() {
        assert!(data.len() <= 4096 && !data.is_empty());
        assert!(
            keys.ends_with(if i < last { "m=1" } else { "m=0" }),
            "{keys}"
        );
    }
    // "iVBORw0KGgo" is how a PNG begins in base64.
    assert!(
        pieces[0].1.starts_with("iVBORw0KGgo"),
        "{}",
        &pieces[0].1[..20]
    );
}
