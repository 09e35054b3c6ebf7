//! Words that say where in the picture an edit may act, as people type them: `cat:dog`, `auto`.

use std::fmt;
use std::str::FromStr;

/// Words whose attention confines an edit (local blend).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlendWords {
    /// The words in which the two prompts differ, typed `auto`.
    Changed,
    /// Words that may stand in either prompt, typed `cat,mouse`.
    Either(Vec<String>),
    /// Words of the prompt that is edited, and words of the edited prompt, typed `cat:dog`.
    Pair(Vec<String>, Vec<String>),
}

impl fmt::Display for BlendWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => f.write_str("auto"),
            // The comma tells the word of a prompt from the setting `auto`.
            Self::Either(words) if *words == ["auto"] => f.write_str("auto,"),
            Self::Either(words) => f.write_str(&words.join(",")),
            Self::Pair(base, edited) => write!(f, "{}:{}", base.join(","), edited.join(",")),
        }
    }
}

impl FromStr for BlendWords {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let split = |words: &str| -> Vec<String> {
            let words = words.split(',').map(str::trim);
            words.filter(|w| !w.is_empty()).map(str::to_owned).collect()
        };
        let words = match text.split_once(':') {
            None if text.trim() == "auto" => Self::Changed,
            None => Self::Either(split(text)),
            Some((base, edited)) if !edited.contains(':') => Self::Pair(split(base), split(edited)),
            Some(_) => return Err(FORM.to_owned()),
        };
        match &words {
            Self::Either(words) if words.is_empty() => Err(FORM.to_owned()),
            Self::Pair(a, b) if a.is_empty() && b.is_empty() => Err(FORM.to_owned()),
            _ => Ok(words),
        }
    }
}

const FORM: &str =
    "write the words of both prompts, such as bicycle:car, one word for either, or auto";

#[cfg(test)]
mod tests {
    use super::BlendWords;

    #[test]
    fn words_read_back_as_they_were_written() {
        for text in [
            "auto", "auto,", "auto,cat", "cat", "cat,dog", "cat:dog", "auto:", ":dog",
        ] {
            let words: BlendWords = text.parse().unwrap();
            assert_eq!(words.to_string().parse(), Ok(words), "{text}");
        }
    }
}
