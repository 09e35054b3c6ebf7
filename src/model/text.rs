//! The CLIP text encoder: a prompt's token ids to the states that cross-attention looks at.
//! Runs once per prompt; its attention is causal and no hook sees it.

use candle_core::Tensor;

use super::config::Config;
use super::layers::{LayerNorm, Linear};
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::kernels::{causal_attention, quick_gelu};

/// `text_encoder/config.json`
#[derive(Debug, Clone)]
pub struct TextConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub layers: usize,
    pub heads: usize,
    pub max_tokens: usize,
    pub layer_norm_eps: f64,
    pub activation: Activation,
    /// Channels of a whole prompt's summary, where a model asks for one.
    pub projection: usize,
    /// At which token a prompt is summed up.
    eos_token_id: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    QuickGelu,
    /// The exact form.
    Gelu,
}

impl TextConfig {
    pub fn parse(config: &Config) -> Result<Self> {
        let size = |key: &str| config.needed(key, config.usize(key)?);
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
                    return Err(config.error(&format!("hidden_act {other} is not implemented")));
                }
            },
        };
        config.only("model_type", "clip_text_model")?;
        // About training, precision or generation.
        config.ignore(&["architectures", "attention_dropout", "dropout"]);
        config.ignore(&["bos_token_id", "pad_token_id", "transformers_version"]);
        config.ignore(&[
            "dtype",
            "torch_dtype",
            "initializer_factor",
            "initializer_range",
        ]);
        config.finish()?;
        let (hidden, heads) = (parsed.hidden_size, parsed.heads);
        if hidden == 0 || heads == 0 || !hidden.is_multiple_of(heads) {
            let problem = format!("num_attention_heads {heads} does not divide {hidden} channels");
            return Err(config.error(&problem));
        }
        Ok(parsed)
    }
}

#[derive(Debug, Clone)]
pub struct TextEncoder {
    tokens: Tensor,    // [vocab, hidden]
    positions: Tensor, // [max_tokens, hidden]
    layers: Vec<Layer>,
    final_norm: LayerNorm,
    /// To a prompt's summary.
    projection: Option<Linear>,
    config: TextConfig,
}

/// What older configs say for whichever token ends the text.
const LEGACY_EOS: usize = 2;

impl TextEncoder {
    /// Weight names may or may not begin with `text_model.`: older and newer tools differ.
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

    /// One that sums prompts up.
    pub fn load_projected(config: &TextConfig, w: &Weights) -> Result<Self> {
        let (hidden, pooled) = (config.hidden_size, config.projection);
        let projection = Linear::load_no_bias(&w.pp("text_projection"), hidden, pooled)?;
        Ok(Self {
            projection: Some(projection),
            ..Self::load(config, w)?
        })
    }

    /// Of its states.
    pub fn channels(&self) -> usize {
        self.config.hidden_size
    }

    /// Of a prompt's summary.
    pub fn pooled_channels(&self) -> usize {
        self.config.projection
    }

    /// The last hidden state after the final norm, `[1, tokens, hidden]`.
    pub fn encode(&self, ids: &[u32]) -> Result<Tensor> {
        let x = self.through(&self.layers, self.embed(ids)?)?;
        self.final_norm.forward(&x)
    }

    /// The hidden state before the last layer, `[1, tokens, hidden]`: no norm follows it.
    pub fn penultimate(&self, ids: &[u32]) -> Result<Tensor> {
        let before = self.layers.len().saturating_sub(1);
        self.through(&self.layers[..before], self.embed(ids)?)
    }

    /// The same, and the prompt's summary, `[1, pooled]`.
    pub fn penultimate_and_pooled(&self, ids: &[u32]) -> Result<(Tensor, Tensor)> {
        let states = self.penultimate(ids)?;
        let before = self.layers.len().saturating_sub(1);
        let last = self.through(&self.layers[before..], states.clone())?;
        let end = self
            .final_norm
            .forward(&last.narrow(1, self.end(ids), 1)?)?;
        let pooled = match &self.projection {
            Some(projection) => projection.forward(&end)?,
            None => end,
        };
        Ok((states, pooled.squeeze(1)?))
    }

    /// Where the text ends: the first end token; by older configs the first of the highest id.
    fn end(&self, ids: &[u32]) -> usize {
        let wanted = match self.config.eos_token_id {
            LEGACY_EOS => ids.iter().max().copied().unwrap_or(0),
            eos => eos as u32,
        };
        ids.iter().position(|id| *id == wanted).unwrap_or(0)
    }

    fn through(&self, layers: &[Layer], x: Tensor) -> Result<Tensor> {
        layers.iter().try_fold(x, |x, layer| layer.forward(&x))
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
        let x = self
            .out
            .forward_onto(&self.attend(&self.norm1.forward(x)?)?, x)?;
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
