//! Remarks on a plan: what looks wrong and is right, and what looks right and is not.

use super::{EditExplanation, When};
use crate::edit::EditKind;
use crate::job::PreparedEdit;
use crate::prompt::Tokens;

/// The remarks on one edit.
pub(super) fn notes(
    explanation: &EditExplanation,
    edit: &PreparedEdit,
    base: &Tokens,
) -> Vec<String> {
    let mut notes = vec![];
    let alignment = &edit.alignment;
    let same = base.text == edit.tokens.text;
    if same && edit.factors.iter().all(|f| *f == 1.0) {
        notes.push("the prompts are the same and no word has a weight: nothing will change".into());
    }
    let open = explanation
        .tokens
        .iter()
        .any(|token| token.when.steps.is_some());
    let swaps = alignment.kind != EditKind::Refine && !same && open;
    if swaps && alignment.map.is_identity() {
        notes.push(
            "every token is placed by the one that stood there: the map stays, only the values \
             change; that is how a swap works"
                .into(),
        );
    }
    let own: Vec<usize> = (0..edit.tokens.len)
        .filter(|&j| alignment.aligned[j] == 0.0)
        .collect();
    if !own.is_empty() {
        let words = quoted(&phrases(&edit.tokens, &own));
        notes.push(format!("{words}: new, so placed by its own attention"));
    }
    let read = |i: usize| (0..edit.tokens.ids.len()).any(|j| alignment.map.get(i, j) != 0.0);
    let dropped: Vec<usize> = (1..base.eos()).filter(|&i| !read(i)).collect();
    if !dropped.is_empty() {
        let words = quoted(&phrases(base, &dropped));
        notes.push(format!(
            "{words}: placed nothing in the edit; its attention is dropped"
        ));
    }
    let shut = |when: &When| when.steps.is_none();
    if !open {
        notes.push(
            "no step lies in the cross-attention windows: the words' maps stay the edit's own"
                .into(),
        );
    } else {
        for token in explanation.tokens.iter().filter(|t| shut(&t.when)) {
            let (text, window) = (&token.text, &token.when.window);
            notes.push(format!("no step lies in the window {window} of \"{text}\""));
        }
    }
    if shut(&explanation.self_attention) {
        notes.push("no self-attention is injected: the layout may move".into());
    }
    notes
}

fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|w| format!("\"{w}\"")).collect();
    words.join(", ")
}

/// The words that tokens stand in, neighbours joined.
pub(super) fn phrases(prompt: &Tokens, tokens: &[usize]) -> Vec<String> {
    let mut phrases: Vec<String> = vec![];
    let mut last = None;
    for (i, word) in prompt.words().iter().enumerate() {
        if !word.tokens.iter().any(|token| tokens.contains(token)) {
            continue;
        }
        match phrases.last_mut().filter(|_| last == i.checked_sub(1)) {
            Some(phrase) => *phrase = format!("{phrase} {}", word.text),
            None => phrases.push(word.text.to_owned()),
        }
        last = Some(i);
    }
    phrases
}
