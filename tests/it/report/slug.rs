//! Folder names: readable, short, safe.

use prompt_to_prompt::report::slug::slug;
use proptest::prelude::*;

#[test]
fn names_both_prompts() {
    assert_eq!(
        slug("a big red bicycle", &["a big red car"]),
        "a-big-red-bicycle--a-big-red-car"
    );
    assert_eq!(
        slug("A cat, sitting!", &["a dog", "a fox"]),
        "a-cat-sitting--a-dog--a-fox"
    );
    assert_eq!(slug("a red car", &[]), "a-red-car");
}

#[test]
fn long_prompts_keep_the_words_that_change() {
    let scene = "standing on a wooden table in front of a window with a view of the sea";
    let name = slug(
        &format!("a photo of a cat {scene}"),
        &[&format!("a photo of a fox {scene}")],
    );
    assert_eq!(name, "a-photo-of-a-cat-standing-on-a--fox");
    // Only words dropped: the edited prompt itself says more than nothing.
    let name = slug(
        &format!("a photo of a cat {scene}"),
        &["a photo of a cat", scene],
    );
    assert!(
        name.starts_with("a-photo-of-a-cat-standing-on-a--a-photo-of-a-cat--standing"),
        "{name}"
    );
}

#[test]
fn odd_prompts_still_give_a_name() {
    assert_eq!(slug("", &[]), "edit");
    assert_eq!(slug("!?", &["…"]), "edit");
    assert_eq!(slug("NUL", &[]), "p2p-nul");
    assert_eq!(slug("com1", &[]), "p2p-com1");
    assert_eq!(slug("com¹", &[]), "p2p-com¹");
    assert_eq!(slug("com10", &[]), "com10");
    assert_eq!(slug("../../etc", &["/"]), "etc");
    assert_eq!(slug("caf\u{65}\u{301} ÉTÉ 猫", &[]), "cafe-été-猫");
}

proptest! {
    #[test]
    fn always_a_safe_name(src in ".{0,200}", dst in ".{0,200}") {
        let name = slug(&src, &[&dst]);
        prop_assert!(!name.is_empty() && name.len() <= 80, "{}", name);
        prop_assert!(name.chars().all(|c| c.is_alphanumeric() || c == '-'), "{}", name);
        prop_assert!(!name.starts_with('-') && !name.ends_with('-'), "{}", name);
    }
}
