//! The transformer blocks of the UNet, where pixels attend to pixels and to text. The one place in a
//! model that meets a hook.

use candle_core::Tensor;

use super::layers::{GroupNorm, LayerNorm, Linear};
use super::weights::Weights;
use crate::attention::{AttentionHook, Site, hooked};
use crate::error::Result;
use crate::kernels::geglu;

/// diffusers hard-codes these for transformers, whatever the config's `norm_eps` says.
const GROUP_NORM_EPS: f64 = 1e-6;
const LAYER_NORM_EPS: f64 = 1e-5;

/// Sizes of a transformer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TransformerShape {
    pub channels: usize,
    /// Channels of the text states.
    pub context: usize,
    pub depth: usize,
    pub groups: usize,
    /// Whether `proj_in` and `proj_out` are stored as linear layers rather than 1x1 convolutions.
    pub linear_projection: bool,
}

/// diffusers' `Transformer2DModel`.
#[derive(Debug, Clone)]
pub struct Transformer {
    norm: GroupNorm,
    proj_in: Linear,
    blocks: Vec<Block>,
    proj_out: Linear,
}

impl Transformer {
    /// `sites`: a self- and a cross-attention site per block, in order.
    pub fn load(w: &Weights, shape: TransformerShape, sites: &[Site]) -> Result<Self> {
        let c = shape.channels;
        let projection = |name: &str| match shape.linear_projection {
            true => Linear::load(&w.pp(name), c, c),
            false => Linear::load_conv1x1(&w.pp(name), c, c),
        };
        let block = |(i, pair): (usize, &[Site])| {
            Block::load(
                &w.pp("transformer_blocks").pp(i),
                c,
                shape.context,
                [pair[0], pair[1]],
            )
        };
        Ok(Self {
            norm: GroupNorm::load(&w.pp("norm"), c, shape.groups, GROUP_NORM_EPS)?,
            proj_in: projection("proj_in")?,
            blocks: sites
                .chunks_exact(2)
                .enumerate()
                .map(block)
                .collect::<Result<_>>()?,
            proj_out: projection("proj_out")?,
        })
    }

    /// `x` `[rows, h, w, channels]`, `context` `[rows, tokens, context]`.
    pub fn forward(
        &self,
        x: &Tensor,
        context: &Tensor,
        hook: &mut dyn AttentionHook,
    ) -> Result<Tensor> {
        let (rows, h, w, c) = x.dims4()?;
        let tokens = self.norm.forward(x)?.reshape((rows, h * w, c))?;
        let mut tokens = self.proj_in.forward(&tokens)?;
        for block in &self.blocks {
            tokens = block.forward(tokens, (h, w), context, hook)?;
        }
        Ok((self.proj_out.forward(&tokens)?.reshape((rows, h, w, c))? + x)?)
    }
}

/// Self-attention, cross-attention, feed-forward.
#[derive(Debug, Clone)]
struct Block {
    norm1: LayerNorm,
    to_itself: Attention,
    norm2: LayerNorm,
    to_text: Attention,
    norm3: LayerNorm,
    ff_in: Linear,
    ff_out: Linear,
}

impl Block {
    fn load(w: &Weights, c: usize, context: usize, sites: [Site; 2]) -> Result<Self> {
        let norm = |name: &str| LayerNorm::load(&w.pp(name), c, LAYER_NORM_EPS);
        Ok(Self {
            norm1: norm("norm1")?,
            to_itself: Attention::load(&w.pp("attn1"), c, c, sites[0])?,
            norm2: norm("norm2")?,
            to_text: Attention::load(&w.pp("attn2"), c, context, sites[1])?,
            norm3: norm("norm3")?,
            ff_in: Linear::load(&w.pp("ff.net.0.proj"), c, 8 * c)?,
            ff_out: Linear::load(&w.pp("ff.net.2"), 4 * c, c)?,
        })
    }

    fn forward(
        &self,
        x: Tensor,
        grid: (usize, usize),
        context: &Tensor,
        hook: &mut dyn AttentionHook,
    ) -> Result<Tensor> {
        let h = self.norm1.forward(&x)?;
        let x = (self.to_itself.forward(&h, &h, grid, hook)? + x)?;
        let h = self.norm2.forward(&x)?;
        let x = (self.to_text.forward(&h, context, grid, hook)? + x)?;
        let h = self.ff_in.forward(&self.norm3.forward(&x)?)?;
        Ok((self.ff_out.forward(&geglu(&h)?)? + x)?)
    }
}

/// Projections around the attention seam.
#[derive(Debug, Clone)]
struct Attention {
    /// Its grid is filled in per forward pass.
    site: Site,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
}

impl Attention {
    fn load(w: &Weights, c: usize, looked_at: usize, site: Site) -> Result<Self> {
        Ok(Self {
            site,
            to_q: Linear::load_no_bias(&w.pp("to_q"), c, c)?,
            to_k: Linear::load_no_bias(&w.pp("to_k"), looked_at, c)?,
            to_v: Linear::load_no_bias(&w.pp("to_v"), looked_at, c)?,
            to_out: Linear::load(&w.pp("to_out.0"), c, c)?,
        })
    }

    /// Queries from `x` `[rows, n, c]`, keys and values from `seen` `[rows, t, looked_at]`.
    fn forward(
        &self,
        x: &Tensor,
        seen: &Tensor,
        grid: (usize, usize),
        hook: &mut dyn AttentionHook,
    ) -> Result<Tensor> {
        let site = Site { grid, ..self.site };
        let v = self.to_v.forward(seen)?;
        let out = hooked(&site, hook, &v, |rows| {
            let q = self.to_q.forward(&select(x, rows)?)?;
            Ok((q, self.to_k.forward(&select(seen, rows)?)?))
        })?;
        self.to_out.forward(&out)
    }
}

/// Some rows of a tensor; all of them cost nothing.
fn select(x: &Tensor, rows: &[usize]) -> Result<Tensor> {
    if rows.len() == x.dim(0)? {
        return Ok(x.clone());
    }
    let index: Vec<u32> = rows.iter().map(|&r| r as u32).collect();
    Ok(x.index_select(&Tensor::from_vec(index, rows.len(), x.device())?, 0)?)
}
