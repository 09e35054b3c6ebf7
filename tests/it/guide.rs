//! The guides and the README: every command in them parses, every edit in them can be explained, every job
//! file is valid, and every link has a target.

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use prompt_to_prompt::guide::{ALL, styled};

/// Flags whose value must be there before an edit can be explained: files and downloaded models.
const NEEDS_FILES: [&str; 5] = ["--model", "--mask", "--lora", "--vae", "--device"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The README and the guides as they stand in the repository: path and text.
fn pages() -> Vec<(String, String)> {
    let guides = ALL
        .iter()
        .map(|guide| format!("src/guide/{}.md", guide.name));
    let paths = guides.chain(["README.md".to_owned()]);
    paths
        .map(|path| {
            let text = std::fs::read_to_string(root().join(&path)).unwrap();
            (path, text)
        })
        .collect()
}

/// The fenced blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = vec![];
    let mut open: Option<(bool, String)> = None;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(named)) => open = Some((named == language, String::new())),
            (Some((wanted, block)), Some(_)) => {
                blocks.extend(wanted.then(|| std::mem::take(block)));
                open = None;
            }
            (Some((_, block)), None) => *block += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block stays open");
    blocks
}

/// The arguments of each `p2p` command in a page, also of those that cargo builds and runs.
fn commands(text: &str) -> Vec<Vec<String>> {
    let lines = blocks(text, "sh").concat().replace("\\\n", " ");
    let arguments = |line: &str| {
        let typed = line.strip_prefix("cargo run --release -- ");
        let typed = typed.or(line.strip_prefix("p2p "))?;
        let typed = typed.split([';', '|', '>']).next()?;
        Some(shlex::split(typed).unwrap_or_else(|| panic!("{line} is no shell command")))
    };
    lines.lines().filter_map(arguments).collect()
}

fn p2p(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_p2p"));
    command.args(args).env("HF_HUB_OFFLINE", "1");
    command.output().unwrap()
}

/// What the program says against a command line. The parser reads flags and values in order and stops at
/// `--help`, so nothing runs.
fn refusal(args: &[String]) -> Option<String> {
    let args: Vec<&str> = args.iter().map(String::as_str).chain(["--help"]).collect();
    let output = p2p(&args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success()).then_some(said)
}

#[test]
fn commands_in_guides_and_readme_parse() {
    let mut seen = 0;
    for (path, text) in pages() {
        for command in commands(&text) {
            let refused = refusal(&command);
            assert!(refused.is_none(), "{path}: {command:?}: {refused:?}");
            seen += 1;
        }
    }
    assert!(seen > 60, "only {seen} commands were found");
}

#[test]
fn a_command_with_an_unknown_flag_or_value_is_noticed() {
    for wrong in [
        "edit --crss-steps 0.8",
        "edit --steps many",
        "modles ls",
        "job chek",
    ] {
        let words: Vec<String> = wrong.split(' ').map(str::to_owned).collect();
        assert!(refusal(&words).is_some(), "{wrong}");
    }
}

#[test]
fn edits_in_guides_and_readme_can_be_explained() {
    let mut seen = 0;
    for (path, text) in pages() {
        for command in commands(&text) {
            let is_edit = ["edit", "explain"].contains(&command[0].as_str());
            let is_whole = NEEDS_FILES
                .iter()
                .all(|flag| !command.iter().any(|argument| argument == flag));
            if !is_edit || !is_whole {
                continue;
            }
            let rest = command[1..].iter().map(String::as_str);
            let output = p2p(&["explain"].into_iter().chain(rest).collect::<Vec<_>>());
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{path}: {command:?}: {said}");
            assert!(!said.contains("warning"), "{path}: {command:?}: {said}");
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} edits were found");
}

#[test]
fn job_files_in_guides_and_readme_are_valid() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("jobs.toml");
    let mut seen = 0;
    for (path, text) in pages() {
        for block in blocks(&text, "toml") {
            std::fs::write(&file, &block).unwrap();
            let output = p2p(&["job", "check", file.to_str().unwrap()]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{path}: {said}");
            seen += 1;
        }
    }
    assert!(seen > 0, "no job file was found");
}

/// The relative targets of links and pictures: `](target)` and `[name]: target`.
fn targets(text: &str) -> Vec<&str> {
    let inline = text.split("](").skip(1);
    let inline = inline.filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    let defined = text.lines().filter(|line| line.starts_with('['));
    let defined = defined.filter_map(|line| line.split_once("]: ").map(|(_, target)| target));
    let all = inline.chain(defined);
    all.filter(|target| !target.starts_with("http")).collect()
}

#[test]
fn links_in_guides_and_readme_have_targets() {
    for (path, text) in pages() {
        let folder = root().join(&path).parent().unwrap().to_owned();
        for target in targets(&text) {
            assert!(folder.join(target).exists(), "{path}: {target} is missing");
        }
    }
}

#[test]
fn guides_are_short_and_listed() {
    let list = String::from_utf8(p2p(&["guide"]).stdout).unwrap();
    for guide in ALL {
        let lines = guide.text.lines().count();
        assert!(lines <= 150, "{} has {lines} lines", guide.name);
        assert!(guide.text.starts_with("# "), "{} has no title", guide.name);
        assert!(list.contains(guide.name) && list.contains(guide.about));
    }
    let files = std::fs::read_dir(root().join("src/guide")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let guides = names.filter(|name| name.ends_with(".md")).count();
    assert_eq!(guides, ALL.len(), "a guide is not listed");
}

#[test]
fn a_pipe_gets_the_markdown() {
    let output = p2p(&["guide", "blend"]);
    let file = std::fs::read(root().join("src/guide/blend.md")).unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, file);
}

#[test]
fn an_unknown_guide_is_a_usage_error_that_names_the_nearest() {
    let output = p2p(&["guide", "blends"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("did you mean \"blend\"?"), "{said}");
    let said = String::from_utf8(p2p(&["guide", "xyz"]).stderr).unwrap();
    assert!(said.contains("getting-started"), "{said}");
}

#[test]
fn a_terminal_gets_styles_in_place_of_marks() {
    let text = "# Title\n\nSome `code` and **bold**, see [blend] and [a page](x).\n\n```sh\np2p `x`\n```\n\
                5 * 3\n\n[blend]: blend.md\n";
    let expected = "\x1b[1mTitle\x1b[0m\n\nSome \x1b[36mcode\x1b[0m and \x1b[1mbold\x1b[0m, see \
                    \x1b[36mp2p guide blend\x1b[0m and a page (x).\n\n    \x1b[36mp2p `x`\x1b[0m\n5 * 3\n";
    assert_eq!(styled(text), expected);
}

#[test]
fn styled_guides_keep_every_word_of_their_code() {
    for guide in ALL {
        let shown = styled(guide.text);
        for line in blocks(guide.text, "sh").concat().lines() {
            assert!(shown.contains(line), "{}: {line}", guide.name);
        }
        let marks = ["```", "**", "]: "];
        let left = marks.into_iter().find(|mark| shown.contains(mark));
        assert_eq!(left, None, "{}", guide.name);
    }
}
