//! The kinds of edit, and whose rules they follow.
//! Owns [`Rules`] and [`EditKind`], their names, and the choice of a kind for two prompts. It must never know
//! how a kind aligns tokens.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::format::count;
use crate::prompt::{Tokens, WordRef};
use crate::setting::Setting;

use super::diff::changed_spans;
use super::reference;

/// The rules by which words are found, prompts are aligned and windows are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rules {
    /// The rules of this crate.
    #[default]
    Ours,
    /// The rules of the reference (google/prompt-to-prompt) with every quirk, so that its results can be
    /// reproduced.
    Reference,
}

impl Rules {
    /// Both sets of rules.
    pub const ALL: [Self; 2] = [Self::Ours, Self::Reference];

    /// The name in metadata: `ours` or `reference`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Reference => "reference",
        }
    }

    /// Token indices of a word or phrase in a prompt. Empty if the prompt does not contain it.
    pub fn find(self, prompt: &Tokens, word: &str) -> Vec<usize> {
        match self {
            Self::Ours => prompt.find(&WordRef::new(word)),
            Self::Reference => reference::places(prompt, word).concat(),
        }
    }

    /// Token indices of a word or phrase, for each of its occurrences.
    pub fn places(self, prompt: &Tokens, word: &str) -> Vec<Vec<usize>> {
        match self {
            Self::Ours => prompt.places(&WordRef::new(word)),
            Self::Reference => reference::places(prompt, word),
        }
    }
}

/// How an edit borrows attention from the source prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EditKind {
    /// Word swap: both prompts have the same number of words, and every token reads the source's attention.
    Replace,
    /// Phrases are added, changed or removed: aligned tokens read the source's attention, new tokens their own.
    Refine,
    /// Both: words that are swapped one for one are replaced, all others are refined.
    Mixed,
}

impl EditKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Replace, Self::Refine, Self::Mixed];

    /// The name that users type: `replace`, `refine` or `mixed`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Refine => "refine",
            Self::Mixed => "mixed",
        }
    }

    /// The kind that suits two prompts, and the reason as text for users.
    ///
    /// Our rules choose replace if words are only swapped one for one, mixed if some words are swapped and
    /// others added or removed, and refine in all other cases. The reference's rules compare the numbers of
    /// words: replace if they are equal, else refine.
    pub fn choose(source: &Tokens, edited: &Tokens, rules: Rules) -> (Self, String) {
        let (s, e) = (source.words().len(), edited.words().len());
        let spans = changed_spans(source, edited);
        let swaps = spans.iter().filter(|span| span.swaps()).count();
        let replaces = match rules {
            Rules::Ours => swaps == spans.len(),
            Rules::Reference => s == e,
        };
        if replaces {
            let reason = format!("both prompts have {}", count(s, "word"));
            (Self::Replace, reason)
        } else if rules == Rules::Ours && swaps > 0 {
            let reason = "words are both swapped and added or removed";
            (Self::Mixed, reason.to_owned())
        } else if s == e {
            let reason = "words are added in one place and as many removed in another";
            (Self::Refine, reason.to_owned())
        } else {
            let reason = format!("the source has {}, the edit {e}", count(s, "word"));
            (Self::Refine, reason)
        }
    }
}

/// Text forms of an enum by its `ALL` and `name`. Serde writes the same names.
macro_rules! named {
    ($kind:ty, $what:literal, $setting:expr) => {
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $kind {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
                let names = || Self::ALL.map(Self::name).join(", ");
                found.ok_or_else(|| {
                    let cause = format!(concat!("\"{}\" is not ", $what), text);
                    Error::usage(cause, format!("use one of {}", names())).about($setting)
                })
            }
        }
    };
}

named!(Rules, "a set of rules", Setting::Compat);
named!(EditKind, "a kind of edit", Setting::Edit);
