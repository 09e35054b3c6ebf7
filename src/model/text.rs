//! The CLIP text encoder: a prompt's token ids to the text states that cross-attention reads. It runs once
//! per prompt; its attention is causal and has no hook. Never knows what a state is used for.

use std::num::NonZeroUsize;

use candle_core::Tensor;

use super::config::Config;
use super::layers::{LayerNorm, Linear};
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::kernels::{causal_attention, quick_gelu};
use crate::message;
use crate::setting::Setting;

/// `text_encoder/config.json` (transformers' `CLIPTextConfig`).
#[derive(Debug, Clone)]
pub struct TextConfig {
    /// How many tokens the embedding table has.
    pub vocab_size: usize,
    /// Channels of a text state.
    pub hidden_size: usize,
    /// Channels inside the feed-forward layers.
    pub intermediate_size: usize,
    /// How many transformer layers there are.
    pub layers: usize,
    /// Attention heads of a layer.
    pub heads: usize,
    /// Positions, that is tokens of a padded prompt.
    pub max_tokens: usize,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
    /// The activation of the feed-forward layers.
    pub activation: Activation,
    /// Channels of the pooled embedding.
    pub projection: usize,
    /// The token whose state becomes the pooled embedding.
    eos_token_id: usize,
}

/// The activation of the feed-forward layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(1.702 x)`
    QuickGelu,
    /// GELU in its exact form, with the error function.
    Gelu,
}

impl TextConfig {
    /// Reads the config.
    ///
    /// # Errors
    /// [`Error::Model`] for missing keys, and values that are not supported.
    pub fn parse(config: &Config) -> Result<Self> {
        let size = |key: &str| config.required(key, config.usize(key)?);
        let activation = config.string("hidden_act")?;
        let parsed = Self {
            vocab_size: size("vocab_size")?,
            hidden_size: size("hidden_size")?,
            intermediate_size: size("intermediate_size")?,
            layers: size("num_hidden_layers")?,
            heads: size("num_attention_heads")?,
            max_tokens: size("max_position_embeddings")?,
            projection: config.usize("projection_dim")?.unwrap_or(512),
            eos_token_id: config.usize("eos_token_id")?.unwrap_or(49407),
            layer_norm_eps: config.f64("layer_norm_eps")?.unwrap_or(1e-5),
            activation: match activation.as_deref().unwrap_or("quick_gelu") {
                "quick_gelu" => Activation::QuickGelu,
                "gelu" => Activation::Gelu,
                other => {
                    return Err(config.error(&format!("hidden_act {other} is not supported")));
                }
            },
        };
        config.only("model_type", "clip_text_model")?;
        // These keys are about training, precision or generation.
        config.ignore(&["architectures", "attention_dropout", "dropout"]);
        config.ignore(&["bos_token_id", "pad_token_id", "transformers_version"]);
        config.ignore(&["dtype", "torch_dtype"]);
        config.ignore(&["initializer_factor", "initializer_range"]);
        config.finish()?;
        let (hidden, heads) = (parsed.hidden_size, parsed.heads);
        if hidden == 0 || heads == 0 || !hidden.is_multiple_of(heads) {
            let problem = format!("num_attention_heads {heads} does not divide {hidden} channels");
            return Err(config.error(&problem));
        }
        Ok(parsed)
    }
}

/// Checks that a text encoder has enough layers for a clip skip.
///
/// # Errors
/// [`Error::Usage`] about the clip skip.
pub(super) fn check_clip_skip(clip_skip: Option<NonZeroUsize>, layers: usize) -> Result<()> {
    let Some(clip_skip) = clip_skip.filter(|skip| skip.get() > layers) else {
        return Ok(());
    };
    let cause = message![
        Setting::ClipSkip.to(clip_skip),
        format!(" skips too much: the text encoder has {layers} layers"),
    ];
    let cure = format!("use a number from 1 (the last layer) to {layers} (the first)");
    Err(Error::usage(cause, cure).about(Setting::ClipSkip))
}

/// A CLIP text encoder (transformers' `CLIPTextModel`).
#[derive(Debug, Clone)]
pub struct TextEncoder {
    tokens: Tensor,    // [vocab, hidden]
    positions: Tensor, // [max_tokens, hidden]
    layers: Vec<Layer>,
    final_norm: LayerNorm,
    /// From the last state to the pooled embedding.
    projection: Option<Linear>,
    config: TextConfig,
}

/// The value in older configs of an end token id that was never read: the end token is then the highest id.
const LEGACY_EOS: usize = 2;

impl TextEncoder {
    /// Loads the weights. Names begin with `text_model.` in files of older tools.
    ///
    /// # Errors
    /// [`Error::Model`] for missing weights and wrong shapes.
    pub fn load(config: &TextConfig, w: &Weights) -> Result<Self> {
        let prefixed = w.pp("text_model");
        let w = if prefixed.has("final_layer_norm.weight") {
            prefixed
        } else {
            w.clone()
        };
        let (hidden, embeddings) = (config.hidden_size, w.pp("embeddings"));
        let layer = |i| Layer::load(config, &w.pp("encoder.layers").pp(i));
        let eps = config.layer_norm_eps;
        Ok(Self {
            tokens: embeddings.get((config.vocab_size, hidden), "token_embedding.weight")?,
            positions: embeddings.get((config.max_tokens, hidden), "position_embedding.weight")?,
            layers: (0..config.layers).map(layer).collect::<Result<_>>()?,
            final_norm: LayerNorm::load(&w.pp("final_layer_norm"), hidden, eps)?,
            projection: None,
            config: config.clone(),
        })
    }

    /// Loads the weights with the projection (transformers' `CLIPTextModelWithProjection`).
    ///
    /// # Errors
    /// See [`load`](Self::load).
    pub fn load_projected(config: &TextConfig, w: &Weights) -> Result<Self> {
        let (hidden, pooled) = (config.hidden_size, config.projection);
        let projection = Linear::load_no_bias(&w.pp("text_projection"), hidden, pooled)?;
        Ok(Self {
            projection: Some(projection),
            ..Self::load(config, w)?
        })
    }

    /// Channels of a text state.
    pub fn channels(&self) -> usize {
        self.config.hidden_size
    }

    /// Channels of the pooled embedding.
    pub fn pooled_channels(&self) -> usize {
        self.config.projection
    }

    /// How many layers there are.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// The last hidden state after the final norm, `[1, tokens, hidden]`.
    ///
    /// # Errors
    /// [`Error::Model`] for a token id that the embedding table lacks.
    pub fn encode(&self, ids: &[u32]) -> Result<Tensor> {
        self.normed_states(ids, NonZeroUsize::MIN)
    }

    /// The hidden state of the layer that a clip skip counts from the end, after the final norm:
    /// `[1, tokens, hidden]`. 1 is the last layer.
    ///
    /// # Errors
    /// See [`encode`](Self::encode).
    pub fn normed_states(&self, ids: &[u32], clip_skip: NonZeroUsize) -> Result<Tensor> {
        self.final_norm.forward(&self.states(ids, clip_skip)?)
    }

    /// The hidden state of the layer that a clip skip counts from the end, without a norm:
    /// `[1, tokens, hidden]`. A skip of more layers than there are gives the embeddings.
    ///
    /// # Errors
    /// See [`encode`](Self::encode).
    pub fn states(&self, ids: &[u32], clip_skip: NonZeroUsize) -> Result<Tensor> {
        let (before, _) = self.layers.split_at(self.layers_until(clip_skip));
        forward_all(before, self.embed(ids)?)
    }

    /// The hidden state as [`states`](Self::states) gives it, and the pooled embedding `[1, pooled]`, which
    /// comes from the last layer whatever the skip.
    ///
    /// # Errors
    /// See [`encode`](Self::encode).
    pub fn states_and_pooled(
        &self,
        ids: &[u32],
        clip_skip: NonZeroUsize,
    ) -> Result<(Tensor, Tensor)> {
        let states = self.states(ids, clip_skip)?;
        let (_, after) = self.layers.split_at(self.layers_until(clip_skip));
        let last = forward_all(after, states.clone())?;
        let end = last.narrow(1, self.end(ids), 1)?;
        let end = self.final_norm.forward(&end)?;
        let pooled = match &self.projection {
            Some(projection) => projection.forward(&end)?,
            None => end,
        };
        Ok((states, pooled.squeeze(1)?))
    }

    fn layers_until(&self, clip_skip: NonZeroUsize) -> usize {
        self.layers.len().saturating_sub(clip_skip.get() - 1)
    }

    /// The position of the first end token. With older configs that is the first of the highest id.
    fn end(&self, ids: &[u32]) -> usize {
        let wanted = match self.config.eos_token_id {
            LEGACY_EOS => ids.iter().max().copied().unwrap_or(0),
            eos => eos as u32,
        };
        ids.iter().position(|id| *id == wanted).unwrap_or(0)
    }

    fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        let vocab = self.tokens.dim(0)?;
        if let Some(id) = ids.iter().find(|id| **id as usize >= vocab) {
            return Err(Error::model(
                format!("the tokenizer gave id {id}, the text encoder knows {vocab} tokens"),
                "tokenizer/ and text_encoder/ are not of one model; fetch both again",
            ));
        }
        let ids = Tensor::new(ids, self.tokens.device())?;
        let embedded = self.tokens.index_select(&ids, 0)?;
        let positions = self.positions.narrow(0, 0, embedded.dim(0)?)?;
        Ok((embedded + positions)?.unsqueeze(0)?)
    }
}

/// `x` `[1, tokens, hidden]` after some layers.
fn forward_all(layers: &[Layer], x: Tensor) -> Result<Tensor> {
    layers.iter().try_fold(x, |x, layer| layer.forward(&x))
}

#[derive(Debug, Clone)]
struct Layer {
    heads: usize,
    norm1: LayerNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    activation: Activation,
}

impl Layer {
    fn load(config: &TextConfig, w: &Weights) -> Result<Self> {
        let (c, inner) = (config.hidden_size, config.intermediate_size);
        let linear = |name: &str, a, b| Linear::load(&w.pp(name), a, b);
        let norm = |name: &str| LayerNorm::load(&w.pp(name), c, config.layer_norm_eps);
        Ok(Self {
            heads: config.heads,
            norm1: norm("layer_norm1")?,
            q: linear("self_attn.q_proj", c, c)?,
            k: linear("self_attn.k_proj", c, c)?,
            v: linear("self_attn.v_proj", c, c)?,
            out: linear("self_attn.out_proj", c, c)?,
            norm2: norm("layer_norm2")?,
            fc1: linear("mlp.fc1", c, inner)?,
            fc2: linear("mlp.fc2", inner, c)?,
            activation: config.activation,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let attended = self.attend(&self.norm1.forward(x)?)?;
        let x = self.out.forward_onto(&attended, x)?;
        let h = self.fc1.forward(&self.norm2.forward(&x)?)?;
        let h = match self.activation {
            Activation::QuickGelu => quick_gelu(&h)?,
            Activation::Gelu => h.gelu_erf()?,
        };
        self.fc2.forward_onto(&h, &x)
    }

    fn attend(&self, x: &Tensor) -> Result<Tensor> {
        let (q, k, v) = (self.q.forward(x)?, self.k.forward(x)?, self.v.forward(x)?);
        causal_attention(&q, &k, &v, self.heads)
    }
}
