//! What a UNet reads of a prompt: text states of one text encoder or of two side by side, and the pooled
//! embedding and picture sizes that Stable Diffusion XL adds. Owns how text encoders are combined; it must
//! never know which row of a run a prompt belongs to.

use std::num::NonZeroUsize;

use candle_core::{DType, Device, Tensor};

use super::text::{TextEncoder, check_clip_skip};
use super::tokenizer::Tokenizer;
use crate::error::Result;
use crate::prompt::Tokens;

/// The text states of one prompt or several, a row each.
#[derive(Debug, Clone)]
pub struct PromptStates {
    /// What cross-attention reads: `[rows, tokens, channels]`.
    pub context: Tensor,
    /// What is added to the time embedding. `None` for a model without this input.
    pub added: Option<AddedConditions>,
}

/// The conditions that Stable Diffusion XL adds to the time embedding (diffusers' `added_cond_kwargs`).
#[derive(Debug, Clone)]
pub struct AddedConditions {
    /// The pooled embedding of each prompt: `[rows, channels]`.
    pub pooled: Tensor,
    /// Pixels: height and width of the original picture, top and left of the crop, height and width of the
    /// crop (diffusers' `add_time_ids`). All rows share them.
    pub sizes: [usize; Self::SIZES],
}

impl From<Tensor> for PromptStates {
    /// Text states of a model with one text encoder: `[rows, tokens, channels]`.
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
    /// How many prompts there are.
    ///
    /// # Errors
    /// Fails when `context` is a scalar.
    pub fn rows(&self) -> Result<usize> {
        Ok(self.context.dim(0)?)
    }

    /// Joins the rows of several. All must be of one model and one picture size.
    ///
    /// # Errors
    /// Fails when shapes differ, or there is nothing to join.
    pub fn cat(all: &[Self]) -> Result<Self> {
        let contexts: Vec<&Tensor> = all.iter().map(|s| &s.context).collect();
        let added: Vec<&AddedConditions> = all.iter().filter_map(|s| s.added.as_ref()).collect();
        let pooled: Vec<&Tensor> = added.iter().map(|a| &a.pooled).collect();
        Ok(Self {
            context: Tensor::cat(&contexts, 0)?,
            added: match added.first() {
                None => None,
                Some(first) => Some(AddedConditions {
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
    /// The text encoder of every model.
    pub first: TextEncoder,
    /// The second text encoder of Stable Diffusion XL.
    pub second: Option<SecondEncoder>,
}

/// The second text encoder of Stable Diffusion XL.
#[derive(Debug, Clone)]
pub struct SecondEncoder {
    /// The text encoder with its projection.
    pub encoder: TextEncoder,
    /// The tokenizer. It differs from the first one in the padding token, and in prompts that contain the
    /// text of a padding token.
    pub tokenizer: Tokenizer,
    /// Whether an empty negative prompt becomes zeros instead of the text states of no words.
    pub zeros_for_empty: bool,
}

/// The layer that Stable Diffusion XL reads where no clip skip is given: the penultimate one.
const SDXL_CLIP_SKIP: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

impl TextEncoders {
    /// Encodes a prompt for a picture of `(height, width)` pixels.
    ///
    /// `clip_skip` counts layers from the end, as A1111 and ComfyUI do: 1 reads the last layer, 2 the
    /// penultimate one. diffusers' `clip_skip` is one less, for Stable Diffusion XL two less
    /// (`findings/clip-skip-counts-differ-by-family.sh`). `None` is the model's default:
    ///
    /// - Stable Diffusion 1 and 2: 1. The final layer norm follows whatever layer is read. diffusers' folders of
    ///   Stable Diffusion 2 lack the text encoder's very last layer, so 1 is OpenCLIP's penultimate layer there.
    /// - Stable Diffusion XL: 2. No layer norm follows. Both text encoders skip alike, as in ComfyUI's
    ///   `CLIPSetLastLayer`; the pooled embedding always comes from the last layer.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::error::Error::Usage) about the clip skip, where a text encoder has fewer layers.
    pub fn read(
        &self,
        tokens: &Tokens,
        size: (usize, usize),
        clip_skip: Option<NonZeroUsize>,
    ) -> Result<PromptStates> {
        self.check_clip_skip(clip_skip)?;
        let Some(second) = &self.second else {
            let clip_skip = clip_skip.unwrap_or(NonZeroUsize::MIN);
            return Ok(self.first.normed_states(&tokens.ids, clip_skip)?.into());
        };
        let clip_skip = clip_skip.unwrap_or(SDXL_CLIP_SKIP);
        let ids = second.tokenizer.encode(&tokens.text)?.ids;
        let first = self.first.states(&tokens.ids, clip_skip)?;
        let (states, pooled) = second.encoder.states_and_pooled(&ids, clip_skip)?;
        Ok(PromptStates {
            context: Tensor::cat(&[first, states], 2)?,
            added: Some(AddedConditions::uncropped(pooled, size)),
        })
    }

    fn check_clip_skip(&self, clip_skip: Option<NonZeroUsize>) -> Result<()> {
        let second = self.second.as_ref().map(|second| &second.encoder);
        let encoders = [Some(&self.first), second].into_iter().flatten();
        encoders
            .map(TextEncoder::layers)
            .try_for_each(|layers| check_clip_skip(clip_skip, layers))
    }

    /// Encodes a negative prompt. Some models of Stable Diffusion XL read zeros where it is empty.
    ///
    /// # Errors
    /// See [`read`](Self::read).
    pub fn read_negative(
        &self,
        tokens: &Tokens,
        size: (usize, usize),
        clip_skip: Option<NonZeroUsize>,
    ) -> Result<PromptStates> {
        let second = self.second.as_ref().filter(|s| s.zeros_for_empty);
        let Some(second) = second.filter(|_| tokens.text.trim().is_empty()) else {
            return self.read(tokens, size, clip_skip);
        };
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu);
        let channels = self.first.channels() + second.encoder.channels();
        let pooled = zeros(&[1, second.encoder.pooled_channels()])?;
        Ok(PromptStates {
            context: zeros(&[1, tokens.ids.len(), channels])?,
            added: Some(AddedConditions::uncropped(pooled, size)),
        })
    }
}

impl AddedConditions {
    /// How many sizes there are.
    pub const SIZES: usize = 6;

    /// The conditions of a picture that is not a crop.
    fn uncropped(pooled: Tensor, (height, width): (usize, usize)) -> Self {
        Self {
            pooled,
            sizes: [height, width, 0, 0, height, width],
        }
    }
}
