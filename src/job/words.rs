//! Words that a job names, looked up in its prompts: weights, windows, blends.
//! Owns who must contain a word and what is said where nobody does. Knows no tensor.

use super::{BlendWords, EditSpec, Job, PreparedEdit};
use crate::edit::{Region, Rules};
use crate::error::{Error, Result};
use crate::format::nearest;
use crate::model::ModelFolder;
use crate::prompt::{Tokens, WordRef, unknown_word};

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

/// Weights, windows and blends: a word counts for the edits that contain it; one that none contains
/// is an error. The reference passes over it in silence: its mode goes on, but says so.
pub(super) fn check(job: &Job, prompts: &Prompts, warnings: &mut Vec<String>) -> Result<()> {
    let (bases, edits) = (prompts.all_bases(), prompts.all_edits());
    let mut check = |word: &str, among: &[&Tokens], error: &dyn Fn() -> Error| {
        let found = among.iter().any(|p| !job.rules.find(p, word).is_empty());
        match job.rules {
            Rules::Ours if !found => return Err(error()),
            Rules::Reference if !found => {
                push_once(
                    warnings,
                    format!("the reference's lookup finds no word \"{word}\""),
                );
            }
            _ => {}
        }
        Ok(())
    };
    for spec in &job.edits {
        let weighted = spec.weights.iter().map(|(word, _)| word);
        for word in weighted.chain(spec.cross_steps_of.iter().map(|(word, _)| word)) {
            check(word, &edits, &|| not_edited(word, &edits, &prompts.source))?;
        }
        let both = [&bases[..], &edits].concat();
        for words in &spec.blend.words {
            let BlendWords::Pair(base, edited) = words else {
                continue;
            };
            for word in base {
                check(word, &bases, &|| {
                    unknown_word(word, &bases, "source prompt")
                })?;
            }
            for word in edited {
                check(word, &edits, &|| {
                    unknown_word(word, &edits, "edited prompt")
                })?;
            }
        }
        let either = spec.blend.words.iter().filter_map(|words| match words {
            BlendWords::Either(words) => Some(words),
            _ => None,
        });
        for word in either.flatten().chain(&spec.blend.keep) {
            check(word, &both, &|| unknown_word(word, &both, "prompts"))?;
        }
    }
    Ok(())
}

/// The commonest slip is to name the word that was swapped away.
fn not_edited(word: &str, edited: &[&Tokens], source: &Tokens) -> Error {
    if source.find(&WordRef::new(word)).is_empty() {
        return unknown_word(word, edited, "edited prompt");
    }
    Error::usage(
        format!("\"{word}\" stands in the source prompt only"),
        "weights and windows are for words of the edited prompt: name the word that replaced it",
    )
}

/// Where an edit acts, and whether the rest of the picture is to be put back.
pub(super) struct BlendRegion {
    pub region: Region,
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
    let (spec, rules) = (&job.edits[i], job.rules);
    let sides = [prompts.base(i), &prompts.edits[i]];
    let acting = acting(spec, rules, sides, changed);
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
    let any_counts = spec.blend_words().iter().any(counts);
    for words in spec.blend_words() {
        match words {
            BlendWords::Changed if acting.iter().all(|tokens| tokens.is_empty()) => {
                return Err(Error::usage(
                    format!("--blend auto: edit {} changes no word", i + 1),
                    "name the words, such as --blend bicycle",
                ));
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
    (0..2).for_each(|side| add(&mut region.keep, side, &spec.blend.keep));
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
    spec: &EditSpec,
    rules: Rules,
    sides: [&Tokens; 2],
    (base, edited): &(Vec<usize>, Vec<usize>),
) -> [Vec<usize>; 2] {
    if base.is_empty() && edited.is_empty() {
        let weighted: Vec<String> = spec.weights.iter().map(|(word, _)| word.clone()).collect();
        return sides.map(|prompt| tokens(rules, prompt, &weighted));
    }
    let telling = [telling(sides[0], base), telling(sides[1], edited)];
    match telling.iter().all(|tokens| tokens.is_empty()) {
        true => [base.clone(), edited.clone()],
        false => telling,
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

/// A small model draws something for a word it never saw, and nobody would know why.
pub(super) fn check_vocabulary(prompt: &Tokens, model: &ModelFolder, warnings: &mut Vec<String>) {
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
        push_once(
            warnings,
            format!("{id} was never taught the word \"{text}\"{near}"),
        );
    }
}

pub(super) fn push_once(warnings: &mut Vec<String>, warning: String) {
    if !warnings.contains(&warning) {
        warnings.push(warning);
    }
}

/// The reference builds its equalizer from the first edited prompt and applies it to all.
pub(super) fn first_equalizer_for_all(edits: &mut [PreparedEdit]) {
    if let Some((first, rest)) = edits.split_first_mut() {
        rest.iter_mut().for_each(|edit| {
            edit.factors = first.factors.clone();
            edit.weights = first.weights.clone();
        });
    }
}
