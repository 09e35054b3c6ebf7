//! Flags and values that are wrong: each refusal has one line of cause, a cure, an exit code, and
//! writes nothing to disk.

use super::{EDIT, Place, stderr};

pub(super) const WRONG_USAGE: i32 = 2;

/// Runs `args` in `place` and checks the refusal: exit code, one line of cause, a cure, nothing on stdout,
/// no new file. Weights are read after the run is announced, so tests of damaged weights pass `-q`.
pub(super) fn refused_in(place: &Place, args: &[&str], code: i32, cause: &str, cure: &str) {
    let before = place.listing();
    let output = place.p2p(args);
    let said = stderr(&output);
    let shown = format!("{args:?} says:\n{said}");
    assert_eq!(output.status.code(), Some(code), "{shown}");
    assert!(output.stdout.is_empty(), "{shown}");
    assert_eq!(place.listing(), before, "{shown}");
    for crash in ["panicked", "BACKTRACE", "stack backtrace"] {
        assert!(!said.contains(crash), "{shown}");
    }
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("error: "), "{shown}");
    assert!(lines[0].contains(cause), "no {cause:?}: {shown}");
    assert!(said.contains(cure), "no {cure:?}: {shown}");
    // Errors of the flag parser point to the help. All other errors have two lines.
    if !said.contains("try '--help'") {
        assert_eq!(lines.len(), 2, "{shown}");
        assert!(lines[1].starts_with("  "), "{shown}");
    }
}

pub(super) fn refused(args: &[&str], code: i32, cause: &str, cure: &str) {
    refused_in(&Place::new(), args, code, cause, cure);
}

/// Checks that the quick edit's prompts with `flags`, separated by spaces, are a usage error.
fn wrong(flags: &str, cause: &str, cure: &str) {
    let flags: Vec<&str> = flags.split(' ').collect();
    refused(&[&EDIT[..5], &flags[..]].concat(), WRONG_USAGE, cause, cure);
}

#[test]
fn numbers_out_of_range_are_refused() {
    let steps = "use a whole number from 1 to 1000";
    for value in ["0", "1001", "-1", "2.5", "many", "nan"] {
        wrong(&format!("--steps {value}"), "--steps", steps);
    }
    // With this many steps diffusers computes infinities.
    for scheduler in ["dpm++2m", "unipc"] {
        let flags = format!("--steps 1000 --scheduler {scheduler}");
        wrong(&flags, &flags, "use --steps 998 or --scheduler ddim");
    }
    let threads = "use a whole number from 1 to";
    for value in ["0", "-2", "all"] {
        wrong(&format!("--threads {value}"), "--threads", threads);
    }
    let seed = "use a whole number from 0 to";
    for value in ["-1", "1.5", "x", "18446744073709551616"] {
        wrong(&format!("--seed {value}"), "--seed", seed);
    }
    for value in ["nan", "inf", "-1", "-inf", "high"] {
        wrong(&format!("--guidance {value}"), "--guidance", "7.5 is usual");
    }
    for value in ["0", "3", "x"] {
        wrong(
            &format!("--self-res {value}"),
            "--self-res",
            "use 1, 2, 4 or 8",
        );
    }
}

#[test]
fn unsupported_sizes_are_refused() {
    let size = |flag: &str, value: &str, cause: &str, cure: &str| {
        let args = [&EDIT[..5], &[flag, value]].concat();
        refused(&args, WRONG_USAGE, cause, cure);
    };
    size(
        "--width",
        "0",
        "--width 0 is not a multiple of 8",
        "--width 8;",
    );
    size(
        "--width",
        "65",
        "--width 65 is not",
        "nearest is --width 64;",
    );
    size("--height", "100", "--height 100 is not", "--height 104;");
    size("--height", "8000000", "from 8 to 4096", "--height 4096;");
    size(
        "--width",
        "18446744073709551615",
        "to 4096",
        "--width 4096;",
    );
    for value in ["-8", "wide", "64.0", "18446744073709551616"] {
        size("--width", value, "--width", "use a whole number of pixels");
    }
}

#[test]
fn invalid_windows_are_refused() {
    for flag in ["--cross-steps", "--self-steps"] {
        let window = |value: &str, cause: &str, cure: &str| {
            wrong(&format!("{flag} {value}"), flag, cause);
            wrong(&format!("{flag} {value}"), flag, cure);
        };
        window("1.5", "0..1.5 leaves 0..1", "such as 0.8");
        window("-0.1..0.5", "leaves 0..1", "such as 0.8");
        window("0.8..0.2", "is reversed", "write 0.2..0.8");
        for value in ["x", "nan", "0.1..", "inf", "0..inf"] {
            window(value, "is not a window", "0.1..0.8");
        }
    }
    wrong("--cross-steps car=2", "0..2 leaves 0..1", "such as 0.8");
    wrong("--cross-steps car=0.9..0.1", "is reversed", "0.1..0.9");
    wrong("--cross-steps =0.5", "is not a window", "0.1..0.8");
}

#[test]
fn invalid_weights_are_refused() {
    wrong("--weight red", "'red'", "write WORD=FACTOR");
    wrong("--weight =2", "'=2'", "write WORD=FACTOR");
    wrong("--weight red=much", "\"much\" is not a number", "such as 2");
    for value in ["nan", "inf", "-inf", "1e999"] {
        wrong(
            &format!("--weight red={value}"),
            "must be finite",
            "-2 to 2",
        );
    }
}

#[test]
fn values_given_twice_are_refused() {
    wrong(
        "--weight red=2 --weight red=-1",
        "--weight gives \"red\" twice",
        "leave one",
    );
    wrong(
        "--cross-steps 0.2 --cross-steps 0.4",
        "gives a default twice",
        "leave one",
    );
}

#[test]
fn words_missing_from_the_edited_prompt_are_refused() {
    for (flag, value) in [("--weight", "2"), ("--cross-steps", "0.4")] {
        let word = |word: &str, cause: &str, cure: &str| {
            wrong(&format!("{flag} {word}={value}"), cause, cure);
        };
        let list = "its words: a, big, red, car";
        word("zebra", "\"zebra\" is not a word of the edited", list);
        word(
            "bicycle",
            "\"bicycle\" stands in the source prompt only",
            "name the word that replaced it",
        );
        word(
            "cra",
            "\"cra\" is not a word",
            "did you mean \"car\"? its words: a, big",
        );
        word("car#2", "\"car\" occurs only once", "use `car`");
    }
}

#[test]
fn empty_unequal_and_long_prompts_are_refused() {
    let prompts = |args: &[&str], cause: &str, cure: &str| {
        refused(&[&["edit"], args].concat(), WRONG_USAGE, cause, cure);
    };
    let what = "write what the picture shows";
    prompts(&["--src", "", "--dst", "a cat"], "--src is empty", what);
    prompts(&["--src", "a cat", "--dst", " \t"], "--dst is empty", what);
    prompts(
        &["--src", "a cat"],
        "nothing to edit",
        "add an edited prompt, --dst",
    );
    prompts(&["--dst", "a cat"], "not provided", "--src <PROMPT>");
    let unequal = ["--src", "a cat", "--dst", "a big cat", "--edit", "replace"];
    prompts(&unequal, "source 2, edited 3", "--edit refine");
    let long = format!("a cat {}the\nend", "and a dog ".repeat(30));
    let cause = "prompt \"a cat and a ...\" has";
    let cut = "shorten it; this would be cut: \"";
    prompts(&["--src", "a cat", "--dst", &long], cause, cut);
    prompts(
        &["--src", &long, "--weight", "cat=2"],
        cause,
        "and a dog the end\"",
    );
    let negative = ["--src", "a", "--dst", "b", "--negative-prompt", &long];
    prompts(&negative, cause, cut);
}

#[test]
fn unknown_flags_and_values_are_refused() {
    wrong("--edit swap", "'swap' for '--edit", "auto, replace, refine");
    let names = "use one of ddim, pndm, dpm++2m, unipc, euler, euler-a";
    wrong("--scheduler heun", "'heun' for '--scheduler", names);
    wrong("--scheduler unpic", "'unpic'", "did you mean unipc?");
    wrong(
        "--compat diffusers",
        "'diffusers' for '--compat",
        "reference",
    );
    wrong("--frobnicate", "'--frobnicate'", "--help");
    wrong("--widht 64", "'--widht'", "'--width'");
    wrong("-q -v", "cannot be used with", "--help");
    refused(&["paint"], WRONG_USAGE, "'paint'", "--help");
}

#[test]
fn blends_without_a_region_are_refused() {
    wrong(
        "--blend zebra",
        "\"zebra\" is not a word of the prompts",
        "big, red, bicycle, car",
    );
    wrong(
        "--blend bicycle:bicycle",
        "\"bicycle\" is not a word of the edited prompt",
        "car",
    );
    wrong(
        "--blend car:car",
        "\"car\" is not a word of the source prompt",
        "bicycle",
    );
    wrong(
        "--blend-keep tree",
        "\"tree\" is not a word of the prompts",
        "bicycle",
    );
    for value in [":", ",", "a:b:c"] {
        wrong(&format!("--blend {value}"), "--blend", "bicycle:car");
    }
    for value in ["1", "-0.1", "x", "0.3,2"] {
        wrong(
            &format!("--blend-threshold {value}"),
            "--blend-threshold",
            "0.3,0.5",
        );
    }
    wrong(
        "--blend auto --blend-from 1.5",
        "--blend-from",
        "from 0 to 1",
    );
    for flags in ["--blend-soft", "--blend-from 0.3", "--blend-threshold 0.3"] {
        wrong(
            flags,
            "without --blend, --blend-keep or --mask has no effect",
            "--blend auto",
        );
    }
    let same = [
        "edit", "--src", "a cat", "--dst", "a cat", "--blend", "auto",
    ];
    refused(
        &same,
        WRONG_USAGE,
        "edit 1 changes no word",
        "--blend bicycle",
    );
}

#[test]
fn unreadable_masks_are_refused() {
    let place = Place::new();
    std::fs::write(place.path("text.png"), "not a picture").unwrap();
    for file in ["nowhere.png", "text.png", "."] {
        let args = [&EDIT[..5], &["--mask", file]].concat();
        let cause = format!("cannot read --mask {file}");
        refused_in(
            &place,
            &args,
            WRONG_USAGE,
            &cause,
            "white where the picture may change",
        );
    }
}

#[test]
fn contradicting_strengths_and_chains_are_refused() {
    for value in ["x", "nan", "9", "-0.5", "0.5,x"] {
        wrong(
            &format!("--strength {value}"),
            "--strength",
            "0 is the source, 1 the edit",
        );
    }
    let first = ["edit", "--src", "a cat", "--then", "a dog"];
    refused(
        &first,
        WRONG_USAGE,
        "--then has no edit before it",
        "--dst \"a dog\" --then",
    );
    for flags in [
        "--blend auto",
        "--strength 0.5",
        "--mask x.png",
        "--inject-latents 0.2",
    ] {
        let idle = format!("{flags} --no-edit-control");
        wrong(
            &idle,
            "has no effect with --no-edit-control",
            "leave one of them out",
        );
    }
    wrong(
        "--weight-steps 0.5",
        "--weight-steps without --weight",
        "--weight red=2",
    );
    wrong(
        "--weight BIG=2 --weight big=3",
        "--weight gives \"big\" twice",
        "leave one",
    );
    let both = [&EDIT[..5], &["--strength", "0.5,1", "--then", "a red car"]].concat();
    refused(
        &both,
        WRONG_USAGE,
        "does not say which of them it edits",
        "give one --strength",
    );
    let preset = [&EDIT[..5], &["--preset", "sytle"]].concat();
    refused(&preset, WRONG_USAGE, "'sytle'", "style");
}
