//! Shell completions and manual pages name every command and flag, and the programs that read them accept
//! them.

use std::path::Path;
use std::process::Command;

use super::{Place, stderr, stdout};
use crate::common::skip;

/// Names of the commands that `p2p --help` lists.
fn commands() -> Vec<String> {
    let help = stdout(&Place::new().succeed(&["--help"]));
    let list = help.split("Commands:\n").nth(1).expect("commands");
    let list = list.split("\n\n").next().unwrap();
    let first = |line: &str| line.split_whitespace().next().unwrap().to_owned();
    let named = list
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<String> = named.map(first).filter(|name| name != "help").collect();
    assert!(names.len() >= 8, "{names:?}");
    names
}

/// Names of the long flags that a command's help lists.
fn flags(command: &str) -> Vec<String> {
    let help = stdout(&Place::new().succeed(&[command, "--help"]));
    let flag = |line: &str| {
        let line = line.trim_start();
        let line = line.split_once(", --").map_or(line, |(_, long)| long);
        let name = line.trim_start_matches("--");
        let flag = help_names_flag(line, name).then_some(name)?;
        let end = flag.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        Some(flag[..end.unwrap_or(flag.len())].to_owned())
    };
    let options = help.lines().skip_while(|line| !line.starts_with("Usage:"));
    let typed = options.filter(|line| line.trim_start().starts_with('-'));
    typed.filter_map(flag).collect()
}

/// Whether a line of help documents a flag. Such lines start with the flag or its short form; lines of
/// examples and lists don't.
fn help_names_flag(line: &str, name: &str) -> bool {
    (line.starts_with("--") || line.starts_with(name))
        && name.starts_with(|c: char| c.is_ascii_lowercase())
}

/// Whether a program is installed. A missing one skips what the test does with it.
fn there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        skip(&format!("{program} is not installed"));
    }
    found
}

fn script(shell: &str) -> String {
    stdout(&Place::new().succeed(&["completions", shell]))
}

#[test]
fn completions_name_every_command_and_flag() {
    let (commands, flags) = (commands(), flags("edit"));
    assert!(flags.len() > 50, "{flags:?}");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = script(shell);
        for command in &commands {
            assert!(script.contains(&**command), "{shell} lacks {command}");
        }
        for flag in &flags {
            // fish writes `-l steps`.
            let found = script.contains(&format!("--{flag}"))
                || script.contains(&format!("-l {flag} "))
                || script.contains(&format!("-l {flag}\n"));
            assert!(found, "{shell} lacks --{flag}");
        }
    }
}

#[test]
fn completions_are_read_by_their_shells() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"]
        .into_iter()
        .filter(|shell| there(shell))
    {
        std::fs::write(place.path(shell), script(shell)).unwrap();
        let read = Command::new(shell)
            .arg("-n")
            .arg(place.path(shell))
            .output()
            .unwrap();
        assert!(
            read.status.success() && read.stderr.is_empty(),
            "{shell}: {}",
            stderr(&read)
        );
    }
}

/// The completions that bash offers for the last word.
fn offered(words: &str) -> String {
    let place = Place::new();
    std::fs::write(place.path("p2p.bash"), script("bash")).unwrap();
    let command = format!(
        "source p2p.bash; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
         _p2p p2p \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\""
    );
    let output = Command::new("bash")
        .args(["-c", &command])
        .current_dir(place.0.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output).trim().to_owned()
}

#[test]
fn bash_completes_commands_flags_and_values() {
    if !there("bash") {
        return;
    }
    assert_eq!(offered("p2p ed"), "edit");
    assert_eq!(offered("p2p edit --cross"), "--cross-steps");
    assert_eq!(offered("p2p completions pow"), "powershell");
    let schedulers = "ddim pndm dpm++2m unipc euler euler-a";
    assert_eq!(offered("p2p edit --scheduler ''"), schedulers);
    assert_eq!(offered("p2p edit --preset sw"), "swap");
    let colormaps = "viridis turbo inferno gray";
    assert_eq!(offered("p2p heatmap --colormap ''"), colormaps);
    assert_eq!(offered("p2p edit --map-colormap ''"), colormaps);
}

#[test]
fn an_unknown_shell_is_refused() {
    let output = Place::new().p2p(&["completions", "csh"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("bash"), "{}", stderr(&output));
}

/// A manual page without the roff marks that occur in flags.
fn unescaped(page: &str) -> String {
    page.replace("\\-", "-")
        .replace("\\fB", "")
        .replace("\\fR", "")
}

#[test]
fn manual_pages_hold_every_command_and_flag() {
    let place = Place::new();
    let output = place.succeed(&["man", "--dir", "share/man1"]);
    let written = stdout(&output);
    let main = unescaped(&stdout(&place.succeed(&["man"])));
    assert_eq!(unescaped(&read(&place.path("share/man1/p2p.1"))), main);
    for command in commands() {
        let file = format!("share/man1/p2p-{command}.1");
        assert!(written.contains(&file), "{written}");
        assert!(main.contains(&format!("p2p-{command}(1)")), "{main}");
        let page = read(&place.path(&file));
        assert_eq!(page, stdout(&place.succeed(&["man", &command])));
        for flag in flags(&command) {
            assert!(
                unescaped(&page).contains(&format!("--{flag}")),
                "{command} lacks --{flag}"
            );
        }
    }
    assert!(main.contains(".SH ENVIRONMENT") && main.contains("P2P_KERNELS"));
    // A second run replaces the pages.
    place.succeed(&["man", "--dir", "share/man1"]);
    assert!(!place.listing().iter().any(|name| name.contains(".p2p-")));
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn groff_accepts_manual_pages_and_keeps_lines_of_examples() {
    if !there("groff") {
        return;
    }
    let place = Place::new();
    place.succeed(&["man", "--dir", "."]);
    for name in place.listing() {
        let page = Command::new("groff")
            .args(["-man", "-Tascii", "-ww", "-P-cbou", &name])
            .current_dir(place.0.path())
            .output()
            .unwrap();
        assert!(page.stderr.is_empty(), "{name}: {}", stderr(&page));
        if name == "p2p-edit.1" {
            let text = stdout(&page);
            assert!(
                text.contains("       p2p edit [OPTIONS] --src <PROMPT>\n"),
                "{text}"
            );
            let swap = "       # swap a word\n       p2p edit --src \"a big red bicycle\" --dst \"a big red car\"\n";
            assert!(text.contains(swap), "{text}");
        }
    }
}

#[test]
fn manual_pages_of_unknown_commands_are_refused() {
    let place = Place::new();
    for (args, cause, cure) in [
        (
            &["man", "edti"][..],
            "p2p has no command \"edti\"",
            "did you mean \"edit\"?",
        ),
        (
            &["man", "x"],
            "p2p has no command \"x\"",
            "use one of edit, ",
        ),
        (
            &["man", "edit", "x"],
            "p2p edit has no command \"x\"",
            "leave it out",
        ),
        (
            &["man", "edit", "--dir", "x"],
            "cannot be used with",
            "--help",
        ),
    ] {
        let output = place.p2p(args);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(cause) && said.contains(cure), "{said}");
    }
    std::fs::write(place.path("file"), "").unwrap();
    let output = place.p2p(&["man", "--dir", "file"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("cannot create file"),
        "{}",
        stderr(&output)
    );
    assert_eq!(place.listing(), ["file"]);
}
