//! The commands about the program itself: doctor, completions, manual pages.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::{Place, stderr, stdout};
use crate::common::skip;

/// Runs with these variables and no others.
fn with(place: &Place, args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_p2p"));
    command.args(args).current_dir(place.0.path()).env_clear();
    command.envs(variables.iter().copied()).output().unwrap()
}

fn doctor(variables: &[(&str, &str)]) -> (String, Value) {
    let place = Place::new();
    let text = with(&place, &["doctor"], variables);
    let json = with(&place, &["doctor", "--json"], variables);
    assert!(text.status.success() && json.status.success());
    assert!(text.stderr.is_empty() && json.stderr.is_empty());
    let json = serde_json::from_slice(&json.stdout).expect("JSON");
    (stdout(&text), json)
}

fn hints(json: &Value) -> String {
    let hints = json["hints"].as_array().unwrap();
    let hints: Vec<&str> = hints.iter().map(|hint| hint.as_str().unwrap()).collect();
    hints.join("\n")
}

/// The commands that the help lists.
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

/// The long flags that a command's help lists.
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

/// Flags stand alone or behind their short form; examples and lists begin otherwise.
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

/// What bash would offer for the last word.
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
fn a_shell_that_is_none_is_refused() {
    let output = Place::new().p2p(&["completions", "csh"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("bash"), "{}", stderr(&output));
}

/// Roff as a reader sees it, as far as flags go.
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
    // Again over what is there.
    place.succeed(&["man", "--dir", "share/man1"]);
    assert!(!place.listing().iter().any(|name| name.contains(".p2p-")));
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn manual_pages_are_good_roff_and_keep_examples_line_by_line() {
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
fn manual_pages_of_nothing_are_refused() {
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

#[test]
fn doctor_reports_what_is_there() {
    let (text, json) = doctor(&[("HOME", "/nowhere"), ("LANG", "en_GB.UTF-8")]);
    assert_eq!(json["schema"], "p2p.doctor/v1");
    assert_eq!(json["program"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(json["program"]["os"], std::env::consts::OS);
    let threads = std::thread::available_parallelism().unwrap().get();
    assert_eq!(json["processor"]["threads"], threads);
    assert_eq!(json["processor"]["workers"], threads);
    let memory = &json["memory"];
    let (available, total) = (
        memory["available_bytes"].as_u64(),
        memory["total_bytes"].as_u64(),
    );
    assert!(available.unwrap() > 0 && available < total, "{memory}");
    assert_eq!(json["devices"][0]["name"], "cpu");
    assert_eq!(json["devices"][1]["compiled_in"], false);
    assert_eq!(
        json["kernels"]["form"],
        json["kernels"]["available"]
            .as_array()
            .unwrap()
            .last()
            .unwrap()
            .clone()
    );
    assert_eq!(json["hub"]["cache"], "/nowhere/.cache/huggingface/hub");
    assert_eq!(json["hub"]["cache_exists"], false);
    assert_eq!(json["hub"]["token"], Value::Null);
    assert_eq!(json["terminal"]["stdout_is_terminal"], false);
    for line in [
        "\nkernels     ",
        " GiB\n",
        "cuda   not compiled in\n",
        "\nmodel       storybook, embedded\n",
        "cache  /nowhere/.cache/huggingface/hub, does not exist\n",
        &format!("{:<29} not set\n", "HF_TOKEN"),
        &format!("{:<29} = en_GB.UTF-8\n", "LANG"),
        "at     https://huggingface.co\n",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    assert!(!hints(&json).contains("locale"), "{}", hints(&json));
}

#[test]
fn doctor_names_the_model_as_manifests_do() {
    let (_, json) = doctor(&[]);
    let run = Place::new().edit(&["--seed", "1", "--json"]);
    let manifest: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(json["model"], manifest["model"]);
}

#[test]
fn doctor_never_shows_a_token() {
    let secret = "hf_aVerySecretToken";
    let place = Place::new();
    let home = place.path("hf");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("token"), secret).unwrap();
    let home = home.to_str().unwrap();
    for (variables, shown) in [
        (
            &[("HF_TOKEN", secret), ("HF_HOME", home)][..],
            "token  set in HF_TOKEN\n",
        ),
        (&[("HF_HOME", home)], "token  in "),
    ] {
        let (text, json) = doctor(variables);
        assert!(!text.contains(secret) && !json.to_string().contains(secret));
        assert!(text.contains(shown), "{text}");
    }
    let (text, json) = doctor(&[("HF_TOKEN", secret)]);
    assert!(
        text.contains(&format!("{:<29} set\n", "HF_TOKEN")),
        "{text}"
    );
    let settings = json["environment"].as_array().unwrap();
    let token = settings.iter().find(|s| s["name"] == "HF_TOKEN").unwrap();
    assert_eq!(
        *token,
        serde_json::json!({"name": "HF_TOKEN", "set": true, "value": null})
    );
}

#[test]
fn doctor_measures_the_hub_cache() {
    let place = Place::new();
    for file in [
        "models--a--b/blobs/x",
        "models--c--d/blobs/y",
        "datasets--e--f/blobs/z",
    ] {
        let path = place.path("hub").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, vec![0; 1 << 20]).unwrap();
    }
    let (text, json) = doctor(&[
        ("HOME", place.0.path().to_str().unwrap()),
        ("HF_HUB_CACHE", "~/hub"),
    ]);
    assert_eq!(json["hub"]["cache_exists"], true);
    let models = json["hub"]["models"].as_array().unwrap();
    let ids: Vec<&Value> = models.iter().map(|model| &model["id"]).collect();
    assert_eq!(ids, ["a/b", "c/d"]);
    assert!(text.contains("model  c/d, 1 MiB\n"), "{text}");
    assert_eq!(json["hub"]["cache_bytes"], 3 << 20);
    assert!(text.contains("hub, 3 MiB in 2 models\n"), "{text}");
    std::fs::write(place.path("file"), "").unwrap();
    let (_, json) = doctor(&[("HF_HUB_CACHE", place.path("file").to_str().unwrap())]);
    assert!(hints(&json).contains("is not a folder"), "{}", hints(&json));
}

#[test]
fn doctor_hints_at_what_slows_or_is_ignored() {
    let (text, json) = doctor(&[("P2P_KERNELS", "portable"), ("RAYON_NUM_THREADS", "1")]);
    assert_eq!(json["kernels"]["form"], "portable");
    assert_eq!(json["processor"]["workers"], 1);
    assert!(text.contains("portable: P2P_KERNELS chooses it"), "{text}");
    let threads = std::thread::available_parallelism().unwrap().get();
    assert_eq!(
        hints(&json).contains("RAYON_NUM_THREADS=1 limits p2p to 1"),
        threads > 1
    );
    let slower = json["kernels"]["available"].as_array().unwrap().len() > 1;
    assert_eq!(hints(&json).contains("P2P_KERNELS=portable slows"), slower);

    let (_, json) = doctor(&[
        ("P2P_KERNELS", "neon"),
        ("RAYON_NUM_THREADS", "many"),
        ("LC_ALL", "C"),
        ("LANG", "C.UTF-8"),
    ]);
    for hint in [
        "P2P_KERNELS=neon is ignored: the kernels here are portable",
        "RAYON_NUM_THREADS=many is not",
        "the locale C is",
    ] {
        assert!(hints(&json).contains(hint), "{}", hints(&json));
    }
}

#[test]
fn doctor_says_how_show_would_draw() {
    for (variables, pictures) in [
        (&[("TERM", "xterm-kitty")][..], "kitty's protocol"),
        (&[("TERM", "foot")], "sixel"),
        (&[("TERM_PROGRAM", "iTerm.app")], "iTerm2's protocol"),
        (&[("TERM", "xterm-256color")], "half-blocks"),
    ] {
        let (text, json) = doctor(variables);
        assert_eq!(json["terminal"]["pictures"], pictures);
        assert!(
            text.contains(&format!("--show prints pictures with {pictures}\n")),
            "{text}"
        );
    }
    let (text, json) = doctor(&[("TERM", "dumb")]);
    assert_eq!(json["terminal"]["pictures"], Value::Null);
    assert!(text.contains("--show prints nothing"), "{text}");
}

#[test]
fn doctor_spells_out_signs_that_steer_a_terminal() {
    let (text, json) = doctor(&[("TERM", "x\x1b[31m\ny")]);
    assert!(text.contains("= x\\u{1b}[31m\\ny\n"), "{text}");
    let settings = json["environment"].as_array().unwrap();
    let term = settings.iter().find(|s| s["name"] == "TERM").unwrap();
    assert_eq!(term["value"], "x\x1b[31m\ny");
}

/// A variable that is read and not listed is one that nobody finds.
#[test]
fn doctor_lists_every_variable_of_ours() {
    let (_, json) = doctor(&[]);
    let settings = json["environment"].as_array().unwrap();
    let listed: Vec<&str> = settings
        .iter()
        .map(|s| s["name"].as_str().unwrap())
        .collect();
    let mut found = 0;
    for (file, text) in crate::layers::all_sources() {
        for rest in text.split("\"P2P_").skip(1) {
            let name = format!("P2P_{}", rest.split('"').next().unwrap());
            // Known when it is built, not when it runs.
            if name != "P2P_COMMIT" {
                found += 1;
                assert!(
                    listed.contains(&&*name),
                    "{file} reads {name}, doctor does not list it"
                );
            }
        }
    }
    assert!(found > 0);
}
