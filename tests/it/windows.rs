//! Fractions to steps. Our rule and the reference's stand side by side here on purpose.

use prompt_to_prompt::edit::{CrossWindows, Rules, Window, windows::gate};

use crate::common::{json, toy_tokens};

fn open(steps: usize, calls: usize, inside: impl Fn(usize) -> bool) -> Option<(usize, usize)> {
    let open: Vec<usize> = (0..calls).filter(|&i| inside(i)).collect();
    let (first, last) = (open.first()?, open.last()?);
    assert_eq!(
        last - first + 1,
        open.len(),
        "a window is one run of the {steps} steps"
    );
    Some((*first, last + 1))
}

#[test]
fn the_reference_rule_matches_200_golden_windows() {
    let cases = json("parity/windows.json");
    for case in cases.as_array().unwrap() {
        let steps = case["steps"].as_u64().unwrap() as usize;
        let bound = |i: usize| case["window"][i].as_f64().unwrap();
        let window = Window::new(bound(0), bound(1)).unwrap();
        let golden = |key: &str| {
            case[key].as_array().map(|r| {
                (
                    r[0].as_u64().unwrap() as usize,
                    r[1].as_u64().unwrap() as usize,
                )
            })
        };
        let cross = open(steps, steps + 1, |i| {
            window.cross_open(i, steps, Rules::Reference)
        });
        let own = open(steps, steps + 1, |i| {
            window.self_open(i, steps, Rules::Reference)
        });
        assert_eq!(cross, golden("cross"), "cross {case}");
        assert_eq!(own, golden("self"), "self {case}");
    }
}

#[test]
fn ours_takes_step_i_when_a_le_i_over_n_lt_b() {
    let inside = |w: &str, steps| {
        let w: Window = w.parse().unwrap();
        open(steps, steps, |i| w.cross_open(i, steps, Rules::Ours))
    };
    assert_eq!(inside("0.8", 50), Some((0, 40)));
    assert_eq!(
        inside("0.58", 50),
        Some((0, 29)),
        "the reference's self window truncates to 28"
    );
    assert_eq!(inside("1", 50), Some((0, 50)));
    assert_eq!(inside("0", 50), None);
    assert_eq!(inside("0.1..0.3", 10), Some((1, 3)));
    assert_eq!(
        inside("0.05", 10),
        Some((0, 1)),
        "any open window has the first step"
    );
    assert_eq!(inside("0.5", 3), Some((0, 2)));
    assert_eq!(inside("1", 1), Some((0, 1)));
}

#[test]
fn cross_and_self_windows_agree_under_our_rule() {
    for steps in 1..40 {
        for i in 0..steps {
            let w = Window::new(0.2, 0.7).unwrap();
            let (cross, own) = (
                w.cross_open(i, steps, Rules::Ours),
                w.self_open(i, steps, Rules::Ours),
            );
            assert_eq!(cross, own);
        }
    }
}

#[test]
fn bad_windows_name_themselves_and_the_cure() {
    for (text, cause) in [
        ("1.2", "leaves 0..1"),
        ("-0.1", "leaves 0..1"),
        ("0.8..0.2", "reversed"),
        ("nan", "is not a window"),
        ("inf", "is not a window"),
        ("0.1..", "is not a window"),
        ("..0.4", "is not a window"),
        ("much", "is not a window"),
        ("", "is not a window"),
    ] {
        let error = text.parse::<Window>().unwrap_err();
        let (said, cure) = error.parts();
        assert!(said.contains(cause), "{text}: {said}");
        assert!(cure.is_some());
    }
}

#[test]
fn words_have_windows_of_their_own() {
    let edited = toy_tokens("a red car, a blue car", 16);
    let windows = CrossWindows {
        default: Window::until(1.0),
        words: vec![
            ("car".into(), Window::until(0.5)),
            ("car#2".into(), Window::until(0.0)),
        ],
    };
    let per_token = windows.per_token(&edited, Rules::Ours);
    let at = |step| gate(&per_token, step, 10, Rules::Ours);
    let (first, second) = (3, 7);
    assert_eq!((at(0)[first], at(5)[first], at(0)[second]), (1.0, 0.0, 0.0));
    assert!(
        (0..16)
            .filter(|t| ![first, second].contains(t))
            .all(|t| at(9)[t] == 1.0)
    );
}
