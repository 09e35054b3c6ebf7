//! Lookup of words in prompts, as users spell them.

use prompt_to_prompt::message::Flags;
use prompt_to_prompt::prompt::{Tokens, WordRef, unknown_word};

use crate::common::toy_tokens;

fn find<'a>(prompt: &'a Tokens, word: &str) -> Vec<&'a str> {
    prompt
        .find(&WordRef::new(word))
        .into_iter()
        .map(|i| prompt.pieces[i - 1].as_str())
        .collect()
}

#[test]
fn case_and_punctuation_do_not_matter() {
    let prompt = toy_tokens("A Cat, \"quoted\" dogs; the cat's hat (red)", 40);
    assert_eq!(find(&prompt, "cat"), ["cat", "cat"]);
    assert_eq!(find(&prompt, "CAT,"), ["cat", "cat"]);
    assert_eq!(find(&prompt, "red"), ["red"]);
    assert_eq!(find(&prompt, "cat's"), ["cat", "s"]);
    assert_eq!(find(&prompt, "hats"), [""; 0]);
}

#[test]
fn phrases_and_words_of_several_tokens() {
    let prompt = toy_tokens("a teddy-bear and a hippopotamus, a teddy bear", 40);
    assert_eq!(
        find(&prompt, "teddy bear"),
        ["teddy", "bear", "teddy", "bear"]
    );
    assert_eq!(find(&prompt, "teddy bear#2"), ["teddy", "bear"]);
    assert_eq!(find(&prompt, "hippopotamus"), ["hippo", "potam", "us"]);
    assert_eq!(find(&prompt, "bear teddy"), [""; 0]);
}

#[test]
fn an_occurrence_is_picked_by_number() {
    let prompt = toy_tokens("a cat and a cat", 20);
    assert_eq!(prompt.find(&WordRef::new("cat")), [2, 5]);
    assert_eq!(prompt.find(&WordRef::new("cat#2")), [5]);
    assert_eq!(prompt.find(&WordRef::new("cat#3")), [0usize; 0]);
    assert_eq!(WordRef::new("cat#0").phrase, "cat#0");
}

#[test]
fn unicode_words_and_emoji_are_words() {
    let prompt = toy_tokens("Über straße “naïve” 🚲 and 猫", 40);
    assert_eq!(find(&prompt, "über"), ["über"]);
    assert_eq!(find(&prompt, "naïve"), ["naïve"]);
    assert_eq!(find(&prompt, "🚲"), ["🚲"]);
    assert_eq!(find(&prompt, "猫"), ["猫"]);
}

#[test]
fn punctuation_alone_is_found_as_it_stands() {
    let prompt = toy_tokens("wow! a car", 20);
    assert_eq!(find(&prompt, "!"), ["!"]);
    assert_eq!(find(&prompt, "?"), [""; 0]);
    assert_eq!(find(&prompt, " "), [""; 0]);
}

#[test]
fn an_unknown_word_lists_the_words_and_the_nearest() {
    let (one, two) = (
        toy_tokens("a big red car", 20),
        toy_tokens("a blue bicycle", 20),
    );
    let error = unknown_word("bicicle", &[&one, &two], "edited prompt");
    let (cause, cure) = error.parts(&Flags);
    assert_eq!(cause, "\"bicicle\" is not a word of the edited prompt");
    assert_eq!(
        cure,
        "did you mean \"bicycle\"? its words: a, big, red, car, blue, bicycle"
    );
    let error = unknown_word("zebra", &[&one], "edited prompt");
    assert_eq!(
        error.parts(&Flags).1,
        "use one of its words: a, big, red, car"
    );
    let error = unknown_word("car#2", &[&one], "edited prompt");
    assert_eq!(
        error.parts(&Flags).0,
        "\"car#2\": \"car\" occurs only once in the edited prompt"
    );
}
