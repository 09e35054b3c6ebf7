//! `p2p report` and `--report`: where the page is written, what is printed, and that the commands on the
//! page repeat its pictures.

use std::fs;

use super::{Place, stderr, stdout};

/// The arguments of each command on a page.
fn commands(html: &str) -> Vec<Vec<String>> {
    let inside = html.split("<pre id=\"command-").skip(1);
    let line = |rest: &str| {
        let text = rest
            .split("</pre>")
            .next()
            .unwrap()
            .split_once('>')
            .unwrap()
            .1;
        let text = text.replace("<span>", "").replace("</span>", "");
        let text = text
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"");
        shlex::split(&text.replace("&amp;", "&")).unwrap()
    };
    inside.map(line).collect()
}

fn page(place: &Place, name: &str) -> String {
    String::from_utf8(place.bytes(name)).unwrap()
}

#[test]
fn the_page_is_written_to_the_named_file_and_its_path_printed() {
    let place = Place::new();
    place.edit(&["-o", "out/a", "--seed", "1"]);
    place.edit(&["-o", "out/b", "--seed", "2"]);
    let output = place.succeed(&["report", "out"]);
    assert_eq!(stdout(&output), "out/report.html\n");
    assert_eq!(stderr(&output), "2 edits of 1 prompt, 2 seeds, storybook\n");
    assert!(page(&place, "out/report.html").contains("src=\"a/source.png\""));
    // To another file, and for the default folder.
    let output = place.succeed(&["report", "out", "-o", "all.html", "-q"]);
    assert_eq!(
        (stdout(&output), stderr(&output)),
        ("all.html\n".to_owned(), String::new())
    );
    assert!(page(&place, "all.html").contains("src=\"out/a/source.png\""));
    fs::rename(place.path("out"), place.path("p2p-out")).unwrap();
    assert_eq!(stdout(&place.succeed(&["report"])), "p2p-out/report.html\n");
    place.succeed(&["report", "--embed", "-o", "one.html"]);
    let one = page(&place, "one.html");
    assert!(one.contains("src=\"data:image/png;base64,") && !one.contains(".png\""));
}

#[test]
fn missing_and_damaged_runs_are_reported() {
    let place = Place::new();
    for (args, says) in [
        (&["report"][..], "cannot read p2p-out"),
        (&["report", "."], "there is no edit below ."),
    ] {
        let output = place.p2p(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            stderr(&output).contains(says),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    place.edit(&["-o", "out"]);
    let before = place.bytes("out/source.png");
    let output = place.p2p(&["report", "out", "-o", "out/source.png"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("is not a report"),
        "{}",
        stderr(&output)
    );
    assert_eq!(place.bytes("out/source.png"), before);
    fs::create_dir(place.path("out/torn")).unwrap();
    fs::write(place.path("out/torn/manifest.json"), "{").unwrap();
    let output = place.succeed(&["report", "out"]);
    assert!(
        stderr(&output).contains("warning: out/torn/manifest.json is left out"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_report_flag_writes_a_page() {
    let place = Place::new();
    let output = place.edit(&["-o", "out", "--report", "--heatmaps", "--seed", "1"]);
    assert!(stdout(&output).contains("out/report.html\n"));
    let page = page(&place, "out/report.html");
    assert!(page.contains("<h1>out</h1>") && page.contains("src=\"source.png\""));
    // Both prompts have four words.
    assert_eq!(page.matches("data-map=\"attn/source/").count(), 4);
    assert_eq!(page.matches("data-map=\"attn/edited-1/").count(), 4);
    // `p2p report` writes the same page, and --force deletes it with the run.
    let again = place.succeed(&["report", "out"]);
    assert_eq!(stdout(&again), "out/report.html\n");
    assert_eq!(self::page(&place, "out/report.html"), page);
    place.edit(&["-o", "out", "--force"]);
    assert!(!place.path("out/report.html").exists());
}

/// Flags of seven runs, which together set most edit and run settings.
const JOBS: [&[&str]; 7] = [
    &["--dst", "a big red car"],
    &[
        "--weight",
        "red=-1.5",
        "--weight-steps",
        "0.1..1",
        "--negative-prompt",
        "it's \"snow\" & $HOME",
    ],
    &[
        "--dst",
        "a big blue car",
        "--preset",
        "free-shape",
        "--edit",
        "auto",
        "--fast",
    ],
    &[
        "--dst",
        "a big red car",
        "--dst",
        "a small red car",
        "--edit",
        "refine",
        "--cross-steps",
        "0.5~0.7",
        "--cross-steps",
        "car=steps:0..1",
        "--self-steps",
        "0.1..0.6",
        "--inject-latents",
        "0.5",
        "--strength",
        "0.5",
        "--blend",
        "bicycle:car",
        "--blend-keep",
        "red",
        "--blend-threshold",
        "0.4,0.6",
        "--blend-from",
        "0",
        "--blend-soft",
        "--guidance",
        "4.5",
        "--scheduler",
        "euler-a",
        "--self-res",
        "2",
    ],
    &[
        "--dst",
        "a big red car",
        "--then",
        "a big red car in winter",
    ],
    &[
        "--dst",
        "a big red car",
        "--no-edit-control",
        "--compat",
        "reference",
    ],
    &[
        "--dst",
        "a small red car",
        "--preset",
        "local",
        "-H",
        "72",
        "--baseline",
    ],
];

/// Each command on the page draws its picture again, to the byte.
#[test]
fn the_commands_repeat_the_pictures() {
    let place = Place::new();
    for (i, more) in JOBS.iter().enumerate() {
        let folder = format!("out/{i}");
        let size = [
            "--steps", "3", "--width", "64", "--height", "64", "--seed", "5", "-q",
        ];
        let size = if more.contains(&"-H") {
            &size[..4]
        } else {
            &size[..]
        };
        let seed = ["-o", &folder, "--src", "a big red bicycle"];
        let seed = [&["edit"][..], &seed, size, more].concat();
        place.succeed(&seed);
    }
    place.succeed(&["report", "out"]);
    let commands = commands(&page(&place, "out/report.html"));
    let pictures = [
        (0, 1),
        (1, 1),
        (2, 1),
        (3, 1),
        (3, 2),
        (4, 1),
        (4, 2),
        (5, 1),
        (6, 1),
    ];
    assert_eq!(commands.len(), pictures.len());
    for (command, (job, edit)) in commands.iter().zip(pictures) {
        let mut args: Vec<String> = command[1..].to_vec();
        if args[0] == "rerun" {
            // File names are relative to the page's folder.
            args[1] = format!("out/{}", args[1]);
        }
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        args.extend(["-q", "-o", "again", "--force"]);
        place.succeed(&args);
        // The bases of a chained edit come before it.
        let mut edits = place.listing().into_iter();
        let last = edits.rfind(|name| name.starts_with("again/edited-"));
        let again = place.bytes(&last.unwrap());
        let first = place.bytes(&format!("out/{job}/edited-{edit}.png"));
        assert!(again == first, "job {job}, edit {edit}: {command:?}");
    }
}
