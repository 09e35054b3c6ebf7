//! CLIP's tokenizer, from `tokenizer.json`, or from `vocab.json` and `merges.txt` as Stable Diffusion repositories
//! ship it. Owns the begin, end and padding tokens and the length limit. Never knows what a token means.

use serde_json::Value;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, Decoder, NormalizerWrapper, SplitDelimiterBehavior};

use super::checkpoint::Assembly;
use super::component::Component;
use super::config::Config;
use super::files::ModelFiles;
use crate::error::{Error, Result};
use crate::prompt::Tokens;

/// The pattern by which CLIP splits text before byte pair encoding.
const PIECES: &str = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Tokens of a padded prompt in CLIP's text encoders.
const CLIP_TOKENS: usize = 77;

/// A tokenizer that pads prompts to a fixed length.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    begin: u32,
    end: u32,
    pad: u32,
    max_tokens: usize,
}

impl Tokenizer {
    /// Loads a tokenizer of a model. `max_tokens` is the number of positions of the text encoder; the
    /// tokenizer's own limit may be lower.
    ///
    /// # Errors
    /// [`Error::Model`] where its files are missing or damaged, or the vocabulary lacks a special token.
    pub fn load(files: &ModelFiles, component: Component, max_tokens: usize) -> Result<Self> {
        let folder = component.folder();
        let json = component.path("tokenizer.json");
        let special = Special::load(files, folder)?;
        let mut inner = if files.has(&json) {
            from_json(files, &json)?
        } else {
            from_vocab(files, folder, &special)?
        };
        inner.with_padding(None);
        let unlimited = inner.with_truncation(None).map(|_| ());
        unlimited.map_err(|e| broken(files, &json, &e.to_string()))?;
        let id = |token: &str| {
            inner
                .token_to_id(token)
                .ok_or_else(|| broken(files, folder, &format!("the vocabulary lacks {token}")))
        };
        let (begin, end, pad) = (id(&special.begin)?, id(&special.end)?, id(&special.pad)?);
        let max_tokens = special.max_tokens.unwrap_or(max_tokens).min(max_tokens);
        if max_tokens < 3 {
            let why = format!("with {max_tokens} tokens there is no room for a prompt");
            return Err(broken(files, folder, &why));
        }
        Ok(Self {
            inner,
            begin,
            end,
            pad,
            max_tokens,
        })
    }

    /// CLIP's own tokenizer, which is compiled into the binary, with a padding token.
    ///
    /// # Errors
    /// [`Error::Model`] where the vocabulary lacks the padding token.
    pub fn clip(pad: &str) -> Result<Self> {
        let component = Component::Tokenizer;
        let mut files = Assembly::new("CLIP");
        let config = serde_json::json!({ "pad_token": pad }).to_string();
        files.text(&component.config(), config.into_bytes());
        files.fill_tokenizer(component);
        Self::load(&ModelFiles::Assembled(files.into()), component, CLIP_TOKENS)
    }

    /// How many tokens a padded prompt has.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// The id of the padding token.
    pub fn pad(&self) -> u32 {
        self.pad
    }

    /// Whether both make the same tokens of a prompt, padding aside.
    pub fn same_tokens_as(&self, other: &Self) -> bool {
        let rest = |t: &Self| (t.begin, t.end, t.max_tokens);
        rest(self) == rest(other) && self.inner.get_vocab(false) == other.inner.get_vocab(false)
    }

    /// Encodes a prompt: the begin token, the prompt's tokens, the end token, padding.
    ///
    /// # Errors
    /// [`Error::Usage`] for a prompt over the limit; the cure shows the text that would be cut.
    pub fn encode(&self, text: &str) -> Result<Tokens> {
        let encoding = self.inner.encode(text, false).map_err(|e| {
            let cause = format!("the prompt \"{text}\" cannot be tokenised: {e}");
            Error::usage(cause, "rephrase it")
        })?;
        let spans: Vec<_> = encoding.get_offsets().iter().map(|(a, b)| *a..*b).collect();
        let room = self.max_tokens - 2; // begin and end
        if spans.len() > room {
            return Err(Error::usage(
                format!(
                    "the prompt \"{} ...\" has {} tokens, but the model reads {room}",
                    one_line(text, 4),
                    spans.len()
                ),
                format!(
                    "shorten it; this would be cut: \"{}\"",
                    one_line(&text[spans[room].start..], usize::MAX)
                ),
            ));
        }
        let mut ids = vec![self.begin];
        ids.extend(encoding.get_ids());
        ids.push(self.end);
        let len = ids.len();
        ids.resize(self.max_tokens, self.pad);
        let pieces = encoding.get_tokens().iter().map(|t| decode(t)).collect();
        Ok(Tokens {
            text: text.to_owned(),
            ids,
            len,
            spans,
            pieces,
        })
    }
}

/// The first words of a text in one line.
fn one_line(text: &str, words: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().take(words).collect();
    words.join(" ")
}

/// A token's text: `burger</w>` is "burger". Bytes that are not valid UTF-8 show as the replacement character.
fn decode(token: &str) -> String {
    let bytes = vec![token.trim_end_matches("</w>").to_owned()];
    let decoded = ByteLevel::default()
        .decode_chain(bytes)
        .map(|pieces| pieces.concat());
    decoded.unwrap_or_else(|_| token.to_owned())
}

fn from_json(files: &ModelFiles, path: &str) -> Result<tokenizers::Tokenizer> {
    let bytes = files.read(path)?;
    tokenizers::Tokenizer::from_bytes(bytes).map_err(|e| broken(files, path, &e.to_string()))
}

fn from_vocab(
    files: &ModelFiles,
    folder: &str,
    special: &Special,
) -> Result<tokenizers::Tokenizer> {
    let path = &format!("{folder}/vocab.json");
    let vocab: std::collections::HashMap<String, u32> = serde_json::from_slice(&files.read(path)?)
        .map_err(|e| broken(files, path, &e.to_string()))?;
    let path = &format!("{folder}/merges.txt");
    let text =
        String::from_utf8(files.read(path)?).map_err(|e| broken(files, path, &e.to_string()))?;
    let lines = text
        .lines()
        .filter(|l| !l.starts_with("#version") && !l.is_empty());
    let merges = lines
        .map(|line| {
            line.split_once(' ')
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
        })
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| broken(files, path, "a line does not hold two tokens"))?;
    let bpe = BPE::builder()
        .vocab_and_merges(
            vocab
                .into_iter()
                .collect::<tokenizers::models::bpe::Vocab>(),
            merges,
        )
        .end_of_word_suffix("</w>".to_owned())
        .unk_token("<|endoftext|>".to_owned())
        .build()
        .map_err(|e| broken(files, path, &e.to_string()))?;
    let mut tokenizer = tokenizers::Tokenizer::new(bpe);
    let rules = clip_rules().map_err(|e| broken(files, path, &e.to_string()))?;
    let ruled = tokenizer.with_normalizer(Some(rules.0)).map(|_| ());
    ruled.map_err(|e| broken(files, path, &e.to_string()))?;
    tokenizer.with_pre_tokenizer(Some(rules.1));
    // A prompt that contains the text of a special token gets that token, as in transformers. That includes the
    // padding token.
    let special = [&special.begin, &special.end, &special.pad];
    let special = special.map(|token| AddedToken::from(token.as_str(), true));
    let added = tokenizer.add_special_tokens(special).map(|_| ());
    added.map_err(|e| broken(files, path, &e.to_string()))?;
    Ok(tokenizer)
}

fn clip_rules() -> tokenizers::Result<(Normalizers, PreTokenizers)> {
    let spaces = tokenizers::normalizers::replace::ReplacePattern::Regex(r"\s+".to_owned());
    let normalizers = Normalizers::new(vec![
        NormalizerWrapper::NFC(NFC),
        NormalizerWrapper::Replace(Replace::new(spaces, " ")?),
        NormalizerWrapper::Lowercase(Lowercase),
    ]);
    let pattern = SplitPattern::Regex(PIECES.to_owned());
    let split = Split::new(pattern, SplitDelimiterBehavior::Removed, true)?;
    let pieces = PreTokenizers::new(vec![
        PreTokenizerWrapper::Split(split),
        PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, true)),
    ]);
    Ok((normalizers, pieces))
}

/// The special tokens and the length limit, from `tokenizer_config.json` and `special_tokens_map.json`.
struct Special {
    begin: String,
    end: String,
    pad: String,
    max_tokens: Option<usize>,
}

impl Special {
    fn load(files: &ModelFiles, folder: &str) -> Result<Self> {
        let mut configs = vec![];
        for name in ["special_tokens_map.json", "tokenizer_config.json"] {
            let path = format!("{folder}/{name}");
            if files.has(&path) {
                configs.push(Config::parse(&files.name(&path), &files.read(&path)?)?);
            }
        }
        let token = |key: &str, default: &str| {
            let found = configs
                .iter()
                .find_map(|c| c.value(key).and_then(token_text));
            found.unwrap_or_else(|| default.to_owned())
        };
        let end = token("eos_token", "<|endoftext|>");
        let limits = configs
            .iter()
            .filter_map(|c| c.value("model_max_length")?.as_u64());
        Ok(Self {
            begin: token("bos_token", "<|startoftext|>"),
            pad: token("pad_token", &end),
            end,
            max_tokens: limits.map(|n| n as usize).next(),
        })
    }
}

/// The text of a token, which is a string, or an object with a key `content`.
fn token_text(value: &Value) -> Option<String> {
    let text = value.as_str().or_else(|| value.get("content")?.as_str());
    text.map(str::to_owned)
}

fn broken(files: &ModelFiles, path: &str, why: &str) -> Error {
    Error::model(
        format!("{} is not a usable tokenizer: {why}", files.name(path)),
        "fetch it again from where the model came from",
    )
}
