//! The config and the tokenizer of Stable Diffusion XL's second text encoder, before its weights are loaded.
//! Owns the checks that both text encoders fit together. Never knows a UNet.

use super::component::Component;
use super::config::Config;
use super::files::ModelFiles;
use super::states::SecondEncoder;
use super::text::{TextConfig, TextEncoder};
use super::tokenizer::Tokenizer;
use super::weights::Weights;
use crate::error::{Error, Result};

/// The second text encoder before its weights are loaded.
#[derive(Debug, Clone)]
pub(super) struct SecondEncoderFiles {
    /// The config.
    pub text: TextConfig,
    tokenizer: Tokenizer,
    zeros_for_empty: bool,
}

impl SecondEncoderFiles {
    /// Reads config and tokenizer. `first` is the first tokenizer: both must cut a prompt into the same tokens.
    pub fn open(files: &ModelFiles, index: &Config, first: &Tokenizer) -> Result<Self> {
        let path = Component::TextEncoder2.config();
        if !files.has(&path) {
            return Err(Error::model(
                format!("{} does not exist", files.name(&path)),
                "a UNet of Stable Diffusion XL reads two text encoders: add text_encoder_2/ and tokenizer_2/",
            ));
        }
        let text = TextConfig::parse(&Config::parse(&files.name(&path), &files.read(&path)?)?)?;
        let tokenizer = Tokenizer::load(files, Component::Tokenizer2, text.max_tokens)?;
        if !tokenizer.same_tokens_as(first) {
            return Err(Error::model(
                format!(
                    "{} differs from tokenizer/ in more than its padding token",
                    files.name("tokenizer_2/")
                ),
                "an edit aligns the tokens of both text encoders at once; fetch both folders again",
            ));
        }
        Ok(Self {
            text,
            tokenizer,
            zeros_for_empty: index.bool("force_zeros_for_empty_prompt", true)?,
        })
    }

    /// The text encoder with its weights.
    pub fn load(&self, weights: &Weights) -> Result<SecondEncoder> {
        Ok(SecondEncoder {
            encoder: TextEncoder::load_projected(&self.text, weights)?,
            tokenizer: self.tokenizer.clone(),
            zeros_for_empty: self.zeros_for_empty,
        })
    }
}
