//! How fractions of a run become steps, under our rule and under the reference's.

use prompt_to_prompt::edit::{Acts, Clock, CrossWindows, Rules, Window, windows::gate};
use prompt_to_prompt::message::Flags;

use crate::common::{json, toy_tokens};

/// The open steps as a half-open range. Panics if they have a gap.
fn open(steps: usize, calls: usize, inside: impl Fn(usize) -> bool) -> Option<(usize, usize)> {
    let open: Vec<usize> = (0..calls).filter(|&i| inside(i)).collect();
    let (first, last) = (open.first()?, open.last()?);
    assert_eq!(
        last - first + 1,
        open.len(),
        "the window has a gap in its {steps} steps"
    );
    Some((*first, last + 1))
}

/// A clock with the reference's rules. Its scheduler makes one call more than there are steps.
fn reference(steps: usize) -> Clock {
    Clock {
        rules: Rules::Reference,
        steps,
        calls: steps + 1,
    }
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
            window.gate(i, &reference(steps), Acts::Cross) == 1.0
        });
        let own = open(steps, steps + 1, |i| {
            window.gate(i, &reference(steps), Acts::SelfAttn) == 1.0
        });
        assert_eq!(cross, golden("cross"), "cross {case}");
        assert_eq!(own, golden("self"), "self {case}");
    }
}

#[test]
fn ours_takes_step_i_when_a_le_i_over_n_lt_b() {
    let inside = |w: &str, steps| {
        let w: Window = w.parse().unwrap();
        open(steps, steps, |i| {
            w.gate(i, &Clock::new(steps), Acts::Cross) == 1.0
        })
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
            let gate = |acts| w.gate(i, &Clock::new(steps), acts);
            assert_eq!(gate(Acts::Cross), gate(Acts::SelfAttn));
        }
    }
}

#[test]
fn errors_of_windows_say_the_cause_and_the_cure() {
    for (text, cause) in [
        ("1.2", "leaves 0..1"),
        ("-0.1", "leaves 0..1"),
        ("0.8..0.2", "reversed"),
        ("nan", "is not a window"),
        ("inf", "is not a window"),
        ("0.1..", "is not a window"),
        ("..0.4", "is not a window"),
        ("much", "is not a window"),
        ("0.8~0.2", "reversed"),
        ("0.2~0.6..0.4", "reversed"),
        ("0.2~1.5", "leaves 0..1"),
        ("steps:40..10", "reversed"),
        ("steps:1.5", "is not a window"),
        ("steps:-1", "is not a window"),
        ("steps:", "is not a window"),
        ("", "is not a window"),
    ] {
        let error = text.parse::<Window>().unwrap_err();
        let (said, cure) = error.parts(&Flags);
        assert!(said.contains(cause), "{text}: {said}");
        assert!(!cure.is_empty());
    }
}

#[test]
fn words_have_windows_of_their_own() {
    let edited = toy_tokens("a red car, a blue car", 16);
    let windows = CrossWindows {
        default: Window::until(1.0),
        changed: None,
        words: vec![
            ("car".into(), Window::until(0.5)),
            ("car#2".into(), Window::until(0.0)),
        ],
    };
    let per_token = windows.per_token(&edited, &[], Rules::Ours);
    let at = |step| gate(&per_token, step, &Clock::new(10));
    let (first, second) = (3, 7);
    assert_eq!((at(0)[first], at(5)[first], at(0)[second]), (1.0, 0.0, 0.0));
    assert!(
        (0..16)
            .filter(|t| ![first, second].contains(t))
            .all(|t| at(9)[t] == 1.0)
    );
}

#[test]
fn windows_fade_over_a_ramp() {
    let gates = |text: &str, steps: usize| -> Vec<f32> {
        let window: Window = text.parse().unwrap();
        let gate = |call| window.gate(call, &Clock::new(steps), Acts::Cross);
        (0..steps).map(gate).collect()
    };
    let near = |a: Vec<f32>, b: &[f32]| {
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6), "{a:?}");
    };
    near(gates("0.2~0.8", 5), &[1.0, 1.0, 2.0 / 3.0, 1.0 / 3.0, 0.0]);
    near(gates("0~0.4..0.6~1", 5), &[0.0, 0.5, 1.0, 1.0, 0.5]);
    near(gates("0.4..0.6~1", 5), &[0.0, 0.0, 1.0, 1.0, 0.5]);
    near(gates("steps:1..3", 5), &[0.0, 1.0, 1.0, 0.0, 0.0]);
    near(gates("steps:2", 4), &[1.0, 1.0, 0.0, 0.0]);
    near(gates("steps:1~3", 4), &[1.0, 1.0, 0.5, 0.0]);
    // Windows in steps mean the same under both rules.
    let window: Window = "steps:10..40".parse().unwrap();
    let calls = |clock: &Clock| window.calls(clock, Acts::Cross);
    assert_eq!(calls(&reference(50)), Some(10..=39));
    assert_eq!(calls(&Clock::new(20)), Some(10..=19));
    assert_eq!(calls(&Clock::new(10)), None);
}

#[test]
fn windows_are_written_as_they_are_typed() {
    for text in [
        "0..0.8",
        "0.1..0.8",
        "0..0.6~0.8",
        "0.1~0.2..0.6~0.8",
        "steps:10..40",
    ] {
        let window: Window = text.parse().unwrap();
        assert_eq!(window.to_string(), text);
    }
    assert_eq!("0.8".parse::<Window>().unwrap(), "0..0.8".parse().unwrap());
    let window: Window = serde_json::from_value("0.8".into()).unwrap();
    assert_eq!(window, Window::until(0.8));
    assert_eq!(serde_json::to_value(window).unwrap(), "0..0.8");
    let error = serde_json::from_value::<Window>("1.2".into()).unwrap_err();
    assert!(error.to_string().contains("leaves 0..1"), "{error}");
}

/// The reference counts a step as done before it copies latents, so it copies one step less.
#[test]
fn the_reference_copies_latents_one_step_less() {
    let copied = |clock: &Clock| Window::until(0.2).calls(clock, Acts::Latents);
    assert_eq!(copied(&Clock::new(50)), Some(0..=9));
    assert_eq!(copied(&reference(50)), Some(0..=8));
}

#[test]
fn new_words_may_have_a_window_of_their_own() {
    let edited = toy_tokens("a red lion", 8);
    let windows = CrossWindows {
        default: Window::ALL,
        changed: Some(Window::until(0.5)),
        words: vec![("red".into(), Window::until(0.0))],
    };
    let per_token = windows.per_token(&edited, &[2, 3], Rules::Ours);
    let ends: Vec<String> = per_token.iter().map(Window::to_string).collect();
    assert_eq!(ends[1..4], ["0..1", "0..0", "0..0.5"]);
}
