//! What a UNet reads of a prompt: the states of one text encoder, or of two side by side with what
//! Stable Diffusion XL adds, a summary of the prompt and the picture's size. Owns how encoders are put
//! together; never knows which prompt is whose.

use candle_core::{DType, Device, Tensor};

use super::text::TextEncoder;
use super::tokenizer::Tokenizer;
use crate::error::Result;
use crate::prompt::Tokens;

/// Of one prompt or several, a row each.
#[derive(Debug, Clone)]
pub struct PromptStates {
    /// What cross-attention looks at: `[rows, tokens, channels]`
    pub context: Tensor,
    /// What goes into the time embedding, in a model that wants it.
    pub added: Option<Added>,
}

/// A prompt as a whole, and the size to draw at.
#[derive(Debug, Clone)]
pub struct Added {
    /// `[rows, channels]`
    pub pooled: Tensor,
    /// Of the picture it is to look like a crop of, height and width; the crop's upper left corner; height
    /// and width of the crop. All rows have the same.
    pub sizes: [usize; Self::SIZES],
}

impl From<Tensor> for PromptStates {
    /// Of a model with a single text encoder.
    fn from(context: Tensor) -> Self {
        Self {
            context,
            added: None,
        }
    }
}

impl From<&Tensor> for PromptStates {
    fn from(context: &Tensor) -> Self {
        context.clone().into()
    }
}

impl PromptStates {
    pub fn rows(&self) -> Result<usize> {
        Ok(self.context.dim(0)?)
    }

    /// Rows of several, one below another. All are of one model and for one size.
    pub fn cat(all: &[Self]) -> Result<Self> {
        let contexts: Vec<&Tensor> = all.iter().map(|s| &s.context).collect();
        let added: Vec<&Added> = all.iter().filter_map(|s| s.added.as_ref()).collect();
        let pooled: Vec<&Tensor> = added.iter().map(|a| &a.pooled).collect();
        Ok(Self {
            context: Tensor::cat(&contexts, 0)?,
            added: match added.first() {
                None => None,
                Some(first) => Some(Added {
                    pooled: Tensor::cat(&pooled, 0)?,
                    sizes: first.sizes,
                }),
            },
        })
    }
}

/// A model's text encoders.
#[derive(Debug, Clone)]
pub struct TextEncoders {
    pub first: TextEncoder,
    pub second: Option<SecondEncoder>,
}

/// The second text encoder of Stable Diffusion XL.
#[derive(Debug, Clone)]
pub struct SecondEncoder {
    pub encoder: TextEncoder,
    /// Differs from the first in its pad, and in what a prompt's own signs like it become.
    pub tokenizer: Tokenizer,
    /// Whether an empty negative prompt is zeros rather than the states of no words.
    pub zeros_for_empty: bool,
}

impl TextEncoders {
    /// For a picture of `(height, width)` pixels.
    pub fn read(&self, tokens: &Tokens, size: (usize, usize)) -> Result<PromptStates> {
        let Some(second) = &self.second else {
            return Ok(self.first.encode(&tokens.ids)?.into());
        };
        let ids = second.tokenizer.encode(&tokens.text)?.ids;
        let first = self.first.penultimate(&tokens.ids)?;
        let (states, pooled) = second.encoder.penultimate_and_pooled(&ids)?;
        Ok(PromptStates {
            context: Tensor::cat(&[first, states], 2)?,
            added: Some(Added::whole(pooled, size)),
        })
    }

    /// The same of a negative prompt, of which an empty one may be no prompt at all.
    pub fn read_negative(&self, tokens: &Tokens, size: (usize, usize)) -> Result<PromptStates> {
        let second = self.second.as_ref().filter(|s| s.zeros_for_empty);
        let Some(second) = second.filter(|_| tokens.text.trim().is_empty()) else {
            return self.read(tokens, size);
        };
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu);
        let channels = self.first.channels() + second.encoder.channels();
        let pooled = zeros(&[1, second.encoder.pooled_channels()])?;
        Ok(PromptStates {
            context: zeros(&[1, tokens.ids.len(), channels])?,
            added: Some(Added::whole(pooled, size)),
        })
    }
}

impl Added {
    pub const SIZES: usize = 6;

    /// Of a picture that is no crop.
    fn whole(pooled: Tensor, (height, width): (usize, usize)) -> Self {
        Self {
            pooled,
            sizes: [height, width, 0, 0, height, width],
        }
    }
}
