//! Words that a job names, looked up in its prompts: weights, windows, blends.
//! Owns who must contain a word and what is said where nobody does. Knows no tensor.

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
    /// Per edit the row it is an edit of.
    pub bases: Vec<usize>,
}

impl Prompts {
    pub fn row(&self, row: usize) -> &Tokens {
        match row {
            0 => &self.source,
            row => &self.edits[row - 1],
        }
    }

    /// The prompt that edit `i` is an edit of.
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

/// Checks the words of weights, windows and blends. A word counts for the edits that contain it; a word that
/// none contains is an error. The reference passes over such a word in silence: its mode goes on with a notice.
///
/// # Errors
/// Usage, with the setting and the word.
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

/// The error for a word of weights or windows. The commonest slip is to name the word that was swapped away.
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

/// The words of edit `i`'s blend, as far as its prompts have them; without any, the words in which
/// the prompts differ, else those with a weight: there something should happen.
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
            // A pair counts for the edits that have both of its halves. The reference takes what it is
            // given; with several edits, what is meant for them.
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
    // A token that two words name is summed once.
    for tokens in region.words.iter_mut().chain(&mut region.keep) {
        tokens.sort_unstable();
        tokens.dedup();
    }
    Ok(BlendRegion { region, blends })
}

/// Tokens in which the prompts differ, function words left out; else those with a weight.
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

/// Words that are everywhere in a picture say nothing of where a change is.
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

/// Adds a notice for each word that a small model was never taught, and for each sign that its tokenizer
/// cannot read. Such a model draws something for them, and the user would not know why.
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

/// Adds a notice unless it is there already.
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

/// Which of a run's words are about one edit. The others are about the other edits of the run. The reference
/// passes over words that it does not find, so under its rules they stay.
pub(super) struct EditWords<'a> {
    pub rules: Rules,
    /// The prompt that is edited, and the edited prompt.
    pub sides: [&'a Tokens; 2],
}

impl EditWords<'_> {
    /// Whether a word stands in the prompt that is edited (side 0) or in the edited prompt (side 1).
    pub fn stand(&self, side: usize, word: &str) -> bool {
        self.rules == Rules::Reference || !self.rules.find(self.sides[side], word).is_empty()
    }

    /// The part of the blend's words that is about this edit.
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
