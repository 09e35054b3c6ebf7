//! Looks up the words of weights, windows and blends in the prompts of a job. Owns which prompts must contain a word, and
//! the messages if none does. It must never know tensors.

use indexmap::IndexMap;

use super::{BlendWords, EditSettings, Job, PreparedEdit};
use crate::edit::{Region, Rules};
use crate::error::{Error, Result};
use crate::format::nearest;
use crate::message;
use crate::message::Message;
use crate::model::ModelFolder;
use crate::prompt::{Tokens, WordRef, unknown_word};
use crate::setting::Setting;

/// The prompts of a job.
#[derive(Debug, Clone)]
pub(super) struct Prompts {
    pub source: Tokens,
    pub edits: Vec<Tokens>,
    /// For each edit the row that it edits; 0 is the source.
    pub bases: Vec<usize>,
}

impl Prompts {
    /// The prompt of a row; 0 is the source.
    pub fn row(&self, row: usize) -> &Tokens {
        match row {
            0 => &self.source,
            row => &self.edits[row - 1],
        }
    }

    /// The prompt that edit `i` edits.
    pub fn base(&self, i: usize) -> &Tokens {
        self.row(self.bases[i])
    }

    fn all_bases(&self) -> Vec<&Tokens> {
        (0..self.edits.len()).map(|i| self.base(i)).collect()
    }

    fn all_edits(&self) -> Vec<&Tokens> {
        self.edits.iter().collect()
    }
}

/// Checks the words of weights, windows and blends. A word applies to the edits whose prompts contain it. A word that no
/// prompt contains is an error. The reference ignores such a word silently, so its rules only add a warning.
///
/// # Errors
/// A usage error with the setting and the word.
pub(super) fn check(job: &Job, prompts: &Prompts, warnings: &mut Vec<Message>) -> Result<()> {
    let (bases, edits) = (prompts.all_bases(), prompts.all_edits());
    let both = [&bases[..], &edits].concat();
    let mut check = |named: &Named, among: &[&Tokens], error: &dyn Fn() -> Error| {
        let word = named.word;
        if among.iter().any(|p| !job.rules.find(p, word).is_empty()) {
            return Ok(());
        }
        match job.rules {
            Rules::Ours => Err(error().about(named.setting).word(word)),
            Rules::Reference => {
                let notice = format!("the reference's lookup finds no word \"{word}\"");
                push_once(warnings, notice);
                Ok(())
            }
        }
    };
    for edit in &job.edits {
        let weighted = named(Setting::Weight, edit.weight.keys());
        let windows = named(Setting::CrossSteps, edit.cross_steps.words.keys());
        for named in weighted.chain(windows) {
            let error = || not_edited(named.word, &edits, &prompts.source);
            check(&named, &edits, &error)?;
        }
        for words in &edit.blend {
            let unknown = |word: &str, among: &[&Tokens], of: &str| unknown_word(word, among, of);
            match words {
                BlendWords::Changed => {}
                BlendWords::Pair(base, edited) => {
                    for named in named(Setting::Blend, base) {
                        let error = || unknown(named.word, &bases, "source prompt");
                        check(&named, &bases, &error)?;
                    }
                    for named in named(Setting::Blend, edited) {
                        let error = || unknown(named.word, &edits, "edited prompt");
                        check(&named, &edits, &error)?;
                    }
                }
                BlendWords::Either(words) => {
                    for named in named(Setting::Blend, words) {
                        check(&named, &both, &|| unknown(named.word, &both, "prompts"))?;
                    }
                }
            }
        }
        for named in named(Setting::BlendKeep, &edit.blend_keep) {
            check(&named, &both, &|| {
                unknown_word(named.word, &both, "prompts")
            })?;
        }
    }
    Ok(())
}

/// A word that a setting names.
struct Named<'a> {
    setting: Setting,
    word: &'a str,
}

fn named<'a>(
    setting: Setting,
    words: impl IntoIterator<Item = &'a String>,
) -> impl Iterator<Item = Named<'a>> {
    words.into_iter().map(move |word| Named { setting, word })
}

/// The error for a word of weights or windows. A common mistake is to name the word that the edit replaces.
fn not_edited(word: &str, edited: &[&Tokens], source: &Tokens) -> Error {
    if source.find(&WordRef::new(word)).is_empty() {
        return unknown_word(word, edited, "edited prompt");
    }
    Error::usage(
        format!("\"{word}\" stands in the source prompt only"),
        "weights and windows are for words of the edited prompt: name the word that replaced it",
    )
}

/// The region of an edit.
pub(super) struct BlendRegion {
    /// Where the edit acts.
    pub region: Region,
    /// Whether the rest of the picture is restored.
    pub blends: bool,
}

/// The region of edit `i`: the words of its blend that its prompts contain. Without a blend, the region is measured and
/// not blended: the words in which the prompts differ, else those with a weight.
pub(super) fn region(
    job: &Job,
    i: usize,
    prompts: &Prompts,
    changed: &(Vec<usize>, Vec<usize>),
) -> Result<BlendRegion> {
    let (edit, rules) = (&job.edits[i], job.rules);
    let sides = [prompts.base(i), &prompts.edits[i]];
    let acting = acting(edit, rules, sides, changed);
    let mut region = Region::default();
    let add = |to: &mut [Vec<usize>; 2], side: usize, words: &[String]| {
        to[side].extend(tokens(rules, sides[side], words));
    };
    let stands = |side: usize, words: &[String]| {
        words.is_empty() || words.iter().any(|w| !rules.find(sides[side], w).is_empty())
    };
    let counts = |words: &BlendWords| match words {
        BlendWords::Pair(base, edited) => stands(0, base) && stands(1, edited),
        _ => true,
    };
    let any_counts = edit.blend_words().iter().any(counts);
    for words in edit.blend_words() {
        match words {
            BlendWords::Changed if acting.iter().all(|tokens| tokens.is_empty()) => {
                return Err(Error::usage(
                    message![
                        Setting::Blend.to("auto"),
                        format!(": edit {} changes no word", i + 1),
                    ],
                    message!["name the words, such as ", Setting::Blend.to("bicycle")],
                )
                .about(Setting::Blend));
            }
            BlendWords::Changed => (0..2).for_each(|side| region.words[side].extend(&acting[side])),
            BlendWords::Either(words) => {
                (0..2).for_each(|side| add(&mut region.words, side, words))
            }
            // A pair applies to the edits whose prompts contain both halves. Under the rules of the reference a pair is
            // left out only if another entry applies.
            pair if !counts(pair) && (rules == Rules::Ours || any_counts) => {}
            BlendWords::Pair(base, edited) => {
                add(&mut region.words, 0, base);
                add(&mut region.words, 1, edited);
            }
        }
    }
    (0..2).for_each(|side| add(&mut region.keep, side, &edit.blend_keep));
    let blends = region.is_somewhere();
    if !blends {
        region.words = acting;
    }
    // A token that two words contain must be summed only once.
    for tokens in region.words.iter_mut().chain(&mut region.keep) {
        tokens.sort_unstable();
        tokens.dedup();
    }
    Ok(BlendRegion { region, blends })
}

/// The tokens in which the prompts differ, without function words. If the prompts do not differ, the tokens with a weight.
fn acting(
    edit: &EditSettings,
    rules: Rules,
    sides: [&Tokens; 2],
    (base, edited): &(Vec<usize>, Vec<usize>),
) -> [Vec<usize>; 2] {
    if base.is_empty() && edited.is_empty() {
        let weighted: Vec<String> = edit.weight.keys().cloned().collect();
        return sides.map(|prompt| tokens(rules, prompt, &weighted));
    }
    let telling = [telling(sides[0], base), telling(sides[1], edited)];
    if telling.iter().all(|tokens| tokens.is_empty()) {
        [base.clone(), edited.clone()]
    } else {
        telling
    }
}

fn tokens(rules: Rules, prompt: &Tokens, words: &[String]) -> Vec<usize> {
    words
        .iter()
        .flat_map(|word| rules.find(prompt, word))
        .collect()
}

/// Function words. Their attention is spread over the whole picture, so it does not locate a change.
const EVERYWHERE: [&str; 14] = [
    "a", "an", "the", "of", "in", "on", "at", "with", "and", "or", "by", "to", "is", "next",
];

fn telling(prompt: &Tokens, tokens: &[usize]) -> Vec<usize> {
    let everywhere: Vec<usize> = EVERYWHERE
        .iter()
        .flat_map(|word| prompt.find(&WordRef::new(word)))
        .collect();
    tokens
        .iter()
        .copied()
        .filter(|token| !everywhere.contains(token))
        .collect()
}

/// Adds a warning for each word that a small model was not trained on, and for each character that its tokenizer does not
/// know. The model draws something for them all the same, which would surprise users.
pub(super) fn check_vocabulary(prompt: &Tokens, model: &ModelFolder, warnings: &mut Vec<Message>) {
    for i in (1..prompt.eos()).filter(|&i| prompt.ids[i] == prompt.ids[prompt.eos()]) {
        let sign = &prompt.text[prompt.spans[i - 1].clone()];
        push_once(warnings, format!("{} cannot read \"{sign}\"", model.id));
    }
    let known: Vec<&str> = model.recommended.words.iter().map(|w| &**w).collect();
    let is_text = |w: &str| w.chars().any(char::is_alphabetic);
    for text in prompt.words().iter().map(|w| w.text.to_lowercase()) {
        let text = text.trim_matches(|c: char| !c.is_alphanumeric());
        if known.is_empty() || known.contains(&text) || !is_text(text) {
            continue;
        }
        let near =
            nearest(text, known.iter().copied()).map(|near| format!("; did you mean \"{near}\"?"));
        let near = near.unwrap_or_default();
        let id = &model.id;
        let notice = format!("{id} was never taught the word \"{text}\"{near}");
        push_once(warnings, notice);
    }
}

/// Adds a warning unless it was added before.
pub(super) fn push_once(warnings: &mut Vec<Message>, warning: impl Into<Message>) {
    let warning = warning.into();
    if !warnings.contains(&warning) {
        warnings.push(warning);
    }
}

/// Words and their factors as pairs.
pub(super) fn pairs(weight: &IndexMap<String, f32>) -> Vec<(String, f32)> {
    weight.iter().map(|(w, f)| (w.clone(), *f)).collect()
}

/// Applies the factors of the first edit to all edits. The reference builds its equalizer from the first
/// edited prompt.
pub(super) fn first_equalizer_for_all(edits: &mut [PreparedEdit]) {
    if let Some((first, rest)) = edits.split_first_mut() {
        rest.iter_mut()
            .for_each(|edit| edit.factors.clone_from(&first.factors));
    }
}

/// Selects the words that apply to one edit of a run; the other words apply to other edits. The reference ignores words
/// that it does not find, so under its rules all words are kept.
pub(super) struct EditWords<'a> {
    pub rules: Rules,
    /// The prompt that is edited, and the edited prompt.
    pub sides: [&'a Tokens; 2],
}

impl EditWords<'_> {
    /// Whether the prompt before the edit (side 0) or after it (side 1) contains a word.
    pub fn stand(&self, side: usize, word: &str) -> bool {
        self.rules == Rules::Reference || !self.rules.find(self.sides[side], word).is_empty()
    }

    /// The words of a blend that apply to this edit.
    pub fn blend(&self, words: &BlendWords) -> Option<BlendWords> {
        let of = |side: usize, words: &[String]| -> Vec<String> {
            let standing = words.iter().filter(|word| self.stand(side, word));
            standing.cloned().collect()
        };
        match words {
            BlendWords::Changed => Some(BlendWords::Changed),
            BlendWords::Either(either) => {
                let stands = |word: &&String| self.stand(0, word) || self.stand(1, word);
                let standing: Vec<String> = either.iter().filter(stands).cloned().collect();
                (!standing.is_empty()).then_some(BlendWords::Either(standing))
            }
            BlendWords::Pair(base, edited) => {
                let (from, to) = (of(0, base), of(1, edited));
                let whole =
                    from.is_empty() == base.is_empty() && to.is_empty() == edited.is_empty();
                whole.then_some(BlendWords::Pair(from, to))
            }
        }
    }
}
