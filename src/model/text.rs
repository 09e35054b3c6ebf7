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
        // About training, precision, generation, or the projection that Stable Diffusion leaves out.
        config.ignore(&[
            "architectures",
            "attention_dropout",
            "dropout",
            "projection_dim",
        ]);
        config.ignore(&[
            "bos_token_id",
            "eos_token_id",
            "pad_token_id",
            "transformers_version",
        ]);
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
}

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
        })
    }

    /// The last hidden state after the final norm, `[1, tokens, hidden]`.
    pub fn encode(&self, ids: &[u32]) -> Result<Tensor> {
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
        let mut x = (embedded + positions)?.unsqueeze(0)?;
        for layer in &self.layers {
            x = layer.forward(&x)?;
        }
        self.final_norm.forward(&x)
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
