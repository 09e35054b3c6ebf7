//! Which token of the source prompt each token of the edited prompt reads under our rules, on toy prompts.
//! `parity/plan.rs` compares the reference's rules with mappers that its own code made.

use prompt_to_prompt::edit::align::equalizer;
use prompt_to_prompt::edit::diff::{Span, changed_spans, changed_tokens};
use prompt_to_prompt::edit::{Alignment, EditKind, Rules, align};
use prompt_to_prompt::message::Flags;
use prompt_to_prompt::prompt::{Tokens, WordRef};
use prompt_to_prompt::setting::Setting;
use proptest::prelude::*;
use serde_json::{from_value, json};

use crate::common::toy_tokens;

const N: usize = 20;

fn ours(kind: EditKind, source: &str, edited: &str) -> (Tokens, Tokens, Alignment) {
    let (s, e) = (toy_tokens(source, N), toy_tokens(edited, N));
    let alignment = align(kind, &s, &e, Rules::Ours).unwrap();
    (s, e, alignment)
}

/// The source tokens that an edited token reads, by their text, with their weights.
fn reads(a: &(Tokens, Tokens, Alignment), edited: usize) -> Vec<(String, f32)> {
    let name = |i: usize| match i {
        0 => "<begin>".to_owned(),
        i if i < a.0.eos() => a.0.pieces[i - 1].clone(),
        i if i == a.0.eos() => "<end>".to_owned(),
        i => format!("<pad {}>", i - a.0.len),
    };
    a.2.map
        .column(edited)
        .into_iter()
        .map(|(i, w)| (name(i), w))
        .collect()
}

fn one(name: &str) -> Vec<(String, f32)> {
    vec![(name.to_owned(), 1.0)]
}

#[test]
fn a_one_token_swap_is_the_identity() {
    let a = ours(EditKind::Replace, "a big red boat", "a big red car");
    assert_eq!(a.2.map.as_diagonal(), Some(vec![1.0; N]));
}

#[test]
fn a_longer_word_shares_the_attention_and_the_tail_shifts() {
    let a = ours(
        EditKind::Replace,
        "a car on a plate",
        "a hippopotamus on a plate",
    );
    for token in 2..5 {
        assert_eq!(reads(&a, token), [("car".to_owned(), 1.0 / 3.0)]);
    }
    assert_eq!(
        reads(&a, 5),
        one("on"),
        "the reference's tail reads its neighbour here"
    );
    assert_eq!(reads(&a, 7), one("plate"));
    assert_eq!(reads(&a, a.1.eos()), one("<end>"));
    assert_eq!(reads(&a, a.1.len), one("<pad 0>"));
    // The source has two surplus pads. The last edited pad reads them too.
    let last: Vec<String> = reads(&a, N - 1).into_iter().map(|(name, _)| name).collect();
    assert_eq!(last, ["<pad 10>", "<pad 11>", "<pad 12>"]);
}

#[test]
fn a_shorter_word_gathers_the_attention() {
    let a = ours(
        EditKind::Replace,
        "a hippopotamus on a plate",
        "a car on a plate",
    );
    let gathered: Vec<String> = reads(&a, 2).into_iter().map(|(name, _)| name).collect();
    assert_eq!(gathered, ["hippo", "potam", "us"]);
    assert_eq!(
        reads(&a, N - 1),
        one("<pad 10>"),
        "surplus edited pads read the last source pad"
    );
    assert_eq!(reads(&a, N - 3), one("<pad 10>"));
}

#[test]
fn punctuation_that_both_words_share_keeps_its_column() {
    let a = ours(
        EditKind::Replace,
        "a car, on a plate",
        "a hippopotamus, on a plate",
    );
    assert_eq!(reads(&a, 2), [("car".to_owned(), 1.0 / 3.0)]);
    assert_eq!(reads(&a, 5), one(","));
    let dropped = ours(EditKind::Replace, "a car, on", "a car on");
    let gathered: Vec<String> = reads(&dropped, 2)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        gathered,
        ["car", ","],
        "a lost comma's attention is not lost"
    );
}

#[test]
fn refine_keeps_new_words_to_themselves() {
    let a = ours(EditKind::Refine, "a castle", "a big castle at night");
    assert_eq!((reads(&a, 2), a.2.aligned[2]), (vec![], 0.0));
    assert_eq!((reads(&a, 3), a.2.aligned[3]), (one("castl"), 1.0));
    assert_eq!(a.2.aligned[5], 0.0);
    assert_eq!(reads(&a, a.1.eos()), one("<end>"));
    assert_eq!(reads(&a, a.1.len), one("<pad 0>"));
}

#[test]
fn refine_after_a_deletion_reads_no_word_into_a_pad() {
    let a = ours(EditKind::Refine, "a big red cat on a mat", "a cat on a mat");
    assert_eq!(reads(&a, a.1.eos()), one("<end>"));
    assert_eq!(
        reads(&a, a.1.len),
        one("<pad 0>"),
        "the reference reads \"mat\" here"
    );
}

#[test]
fn a_prompt_without_pads_uses_its_last_token() {
    let full = "a b c d e f g h i j k l m n o p q r";
    let a = ours(EditKind::Refine, full, "a b c");
    assert_eq!((a.0.len, a.1.len), (N, 5));
    assert_eq!(reads(&a, N - 1), one("<end>"));
    let back = ours(EditKind::Refine, "a b c", full);
    assert!(
        reads(&back, N - 1).len() > 1,
        "all source pads go into the edit's last token"
    );
}

#[test]
fn the_kind_follows_from_the_words() {
    let choose =
        |a: &str, b: &str, rules| EditKind::choose(&toy_tokens(a, N), &toy_tokens(b, N), rules);
    let kind = |a: &str, b: &str| choose(a, b, Rules::Ours);
    assert_eq!(
        kind("a red car", "a blue hippopotamus").0,
        EditKind::Replace
    );
    let (kind, reason) = kind("a castle", "a drawing of a castle");
    assert_eq!(
        (kind, reason.as_str()),
        (EditKind::Refine, "the source has 2 words, the edit 5")
    );
}

#[test]
fn replace_with_unequal_words_is_an_error_with_a_cure() {
    let (s, e) = (toy_tokens("a cat", N), toy_tokens("a big cat", N));
    for rules in Rules::ALL {
        let error = align(EditKind::Replace, &s, &e, rules).unwrap_err();
        let (cause, cure) = error.parts(&Flags);
        assert!(cause.contains("source 2, edited 3"), "{cause}");
        assert_eq!(cure, "use --edit refine, or leave --edit out");
        assert_eq!(error.report().about, Some(Setting::Edit));
    }
}

#[test]
fn kinds_and_rules_have_the_same_name_everywhere() {
    for kind in EditKind::ALL {
        let name = kind.name();
        assert_eq!(
            (kind.to_string(), json!(kind)),
            (name.to_owned(), json!(name))
        );
        assert_eq!(name.parse::<EditKind>().unwrap(), kind);
        assert_eq!(from_value::<EditKind>(json!(name)).unwrap(), kind);
    }
    for rules in Rules::ALL {
        let name = rules.name();
        assert_eq!(
            (rules.to_string(), json!(rules)),
            (name.to_owned(), json!(name))
        );
        assert_eq!(name.parse::<Rules>().unwrap(), rules);
        assert_eq!(from_value::<Rules>(json!(name)).unwrap(), rules);
    }
    assert_eq!(
        EditKind::ALL.map(EditKind::name),
        ["replace", "refine", "mixed"]
    );
    assert_eq!(Rules::ALL.map(Rules::name), ["ours", "reference"]);
    let report = "swap".parse::<EditKind>().unwrap_err().report();
    assert_eq!(report.cure.to_string(), "use one of replace, refine, mixed");
    assert_eq!(report.about, Some(Setting::Edit));
}

#[test]
fn words_have_factors() {
    let edited = toy_tokens("a red car, a Car", 12);
    let weights = [
        ("car".to_owned(), 2.0),
        ("car#2".to_owned(), -1.0),
        ("dog".to_owned(), 9.0),
    ];
    let expected = |factors: [f32; 6]| [&[1.0][..], &factors, &[1.0; 5]].concat();
    assert_eq!(
        equalizer(&weights, &edited, Rules::Ours),
        expected([1.0, 1.0, 2.0, 1.0, 1.0, -1.0])
    );
    // The reference compares words exactly, punctuation and case included.
    let weights = [("car".to_owned(), 2.0), ("Car".to_owned(), 3.0)];
    assert_eq!(
        equalizer(&weights, &edited, Rules::Reference),
        expected([1.0, 1.0, 1.0, 1.0, 1.0, 3.0])
    );
}

proptest! {
    /// Replace loses no attention: the weights of each source token sum to 1. Only the last source pad may have
    /// more, because all surplus edited pads read it.
    #[test]
    fn replace_loses_no_attention(words in prop::collection::vec(("[a-z]{1,12},?", "[a-z]{1,12},?"), 1..5)) {
        let join = |pick: fn(&(String, String)) -> &str| {
            words.iter().map(pick).collect::<Vec<_>>().join(" ")
        };
        let (s, e) = (toy_tokens(&join(|w| &w.0), N), toy_tokens(&join(|w| &w.1), N));
        let map = align(EditKind::Replace, &s, &e, Rules::Ours).unwrap().map;
        for i in 0..N - 1 {
            let sum: f32 = (0..N).map(|j| map.get(i, j)).sum();
            prop_assert!((sum - 1.0).abs() < 1e-5, "token {i}: {sum}");
        }
        prop_assert!((0..N).all(|j| !map.column(j).is_empty()), "every edited token reads something");
    }

    #[test]
    fn identical_prompts_align_to_the_identity(text in "[a-zA-Z, ]{1,30}[a-z]") {
        let tokens = toy_tokens(&text, 40);
        for kind in [EditKind::Replace, EditKind::Refine] {
            let a = align(kind, &tokens, &tokens, Rules::Ours).unwrap();
            prop_assert_eq!(a.map.as_diagonal(), Some(vec![1.0; 40]));
            prop_assert!(a.aligned.iter().all(|x| *x == 1.0));
        }
    }
}

#[test]
fn a_mixed_edit_swaps_words_and_refines_the_rest() {
    let (source, edited) = (
        "a cat riding a bicycle",
        "a lion riding a big red bicycle today",
    );
    let a = ours(EditKind::Mixed, source, edited);
    let (s, e) = (&a.0, &a.1);
    let at = |prompt: &Tokens, word: &str| prompt.find(&WordRef::new(word))[0];
    assert_eq!(reads(&a, at(e, "lion")), one("cat"), "swapped");
    assert_eq!(
        reads(&a, at(e, "riding")),
        one("ridin"),
        "toy tokens have at most five letters"
    );
    assert_eq!(reads(&a, at(e, "bicycle")), one("bicyc"));
    let own = |word: &str| a.2.aligned[at(e, word)] == 0.0;
    assert!(own("big") && own("red") && own("today") && !own("lion") && !own("bicycle"));
    assert_eq!(
        changed_spans(s, e),
        [
            Span {
                source: 1..2,
                edited: 1..2
            },
            Span {
                source: 4..4,
                edited: 4..6
            },
            Span {
                source: 5..5,
                edited: 7..8
            },
        ]
    );
    let (from, to) = changed_tokens(s, e);
    assert_eq!((from, to.len()), (vec![at(s, "cat")], 4));
    // The weights of an aligned token sum to 1. A token that gathers several source tokens has more.
    for j in 0..N {
        let sum: f32 = a.2.map.column(j).iter().map(|(_, w)| w).sum();
        assert!(
            (sum - a.2.aligned[j]).abs() < 1e-6 || sum > 1.0,
            "column {j}: {sum}"
        );
    }
}

#[test]
fn words_that_are_swapped_and_added_make_a_mixed_edit() {
    let kind =
        |a: &str, b: &str, rules| EditKind::choose(&toy_tokens(a, N), &toy_tokens(b, N), rules).0;
    let both = ("a cat on a chair", "a dog on a red chair");
    assert_eq!(kind(both.0, both.1, Rules::Ours), EditKind::Mixed);
    assert_eq!(kind(both.0, both.1, Rules::Reference), EditKind::Refine);
    assert_eq!(kind("a cat", "a big dog", Rules::Ours), EditKind::Refine);
    // One word is removed and another is added elsewhere, so no word is swapped.
    let moved = ("a red cat on a beach", "a cat on a big beach");
    assert_eq!(kind(moved.0, moved.1, Rules::Ours), EditKind::Refine);
    assert_eq!(kind(moved.0, moved.1, Rules::Reference), EditKind::Replace);
}

#[test]
fn a_removed_word_is_a_span_without_edited_words() {
    let (s, e) = (toy_tokens("a big cat", N), toy_tokens("a cat", N));
    let (source, edited) = (1..2, 1..1);
    assert_eq!(changed_spans(&s, &e), [Span { source, edited }]);
    assert_eq!(changed_tokens(&s, &e), (vec![2], vec![]));
}
