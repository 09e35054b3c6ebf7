//! `p2p sweep`: the grid of pictures, the table of scores, and values that cannot be varied.

use super::batch::{events, of};
use super::{Place, stderr, stdout};

/// A small sweep without what varies.
const BASE: [&str; 13] = [
    "sweep",
    "--src",
    "a cat on the beach",
    "--dst",
    "a dog on the beach",
    "--steps",
    "2",
    "--width",
    "64",
    "--height",
    "64",
    "-o",
    "out",
];

#[test]
fn a_sweep_writes_a_sheet_and_scores() {
    let place = Place::new();
    let args = [
        &BASE[..],
        &["--vary", "cross-steps=0:1:0.5", "--vary", "seed=0..1"],
    ]
    .concat();
    let output = place.succeed(&args);
    assert!(
        stdout(&output).ends_with("out/sweep.png\nout/scores.csv\n"),
        "{}",
        stdout(&output)
    );
    let csv = String::from_utf8(place.bytes("out/scores.csv")).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(
        lines[0],
        "seed,cross_steps,edit,changed,changed_inside,changed_outside,psnr_outside,folder"
    );
    assert_eq!(lines.len(), 1 + 6);
    assert!(
        lines[3].starts_with("0,1,1,") && lines[3].ends_with(",seed-0_cross_steps-1"),
        "{}",
        lines[3]
    );
    let sheet = image::open(place.path("out/sweep.png")).unwrap();
    // The source and three columns have at least 128 pixels each, plus headings.
    assert!(sheet.width() > 4 * 128 && sheet.height() > 2 * 128);
    // The same command again draws nothing.
    let again = place.succeed(&[&args[..], &["--jsonl"]].concat());
    assert_eq!(of(&events(&again), "skipped").len(), 6);
}

#[test]
fn a_sweep_varies_a_word_and_refuses_other_keys() {
    let place = Place::new();
    let fader = [
        "sweep",
        "--src",
        "a fluffy dog",
        "--vary",
        "weight.fluffy=-2:2:2",
        "--steps",
        "1",
        "-o",
        "fader",
    ];
    place.succeed(&fader);
    assert!(place.path("fader/weight.fluffy--2/edited-1.png").exists());
    for (vary, said) in [
        ("cross-stpes=0:1:0.5", "did you mean `cross_steps`?"),
        ("cross-steps=0:1:0", "0 does not lead from 0 to 1"),
        ("seed.cat=1", "`seed` is not set per word"),
        ("steps=0,5", "`steps` cannot be \"0\""),
        ("seed", "it has no values"),
    ] {
        let refused = place.p2p(&[&BASE[..], &["--vary", vary]].concat());
        assert_eq!(refused.status.code(), Some(2));
        assert!(stderr(&refused).contains(said), "{}", stderr(&refused));
    }
}
