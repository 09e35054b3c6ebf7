//! The transformer blocks of the UNet: pixels attend to pixels (self-attention) and to text
//! (cross-attention). The one place in a model that calls an attention hook. Never knows what a hook is for.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::Tensor;

use super::layers::{GegluLinear, GroupNorm, LayerNorm, Linear, by_row};
use super::weights::Weights;
use crate::attention::{AttentionHook, NoHook, Site, hooked, untouched};
use crate::error::Result;

/// diffusers hard-codes these for transformers, whatever the config's `norm_eps` says.
const GROUP_NORM_EPS: f64 = 1e-6;
const LAYER_NORM_EPS: f64 = 1e-5;

/// Sizes of a transformer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TransformerShape {
    /// Channels of a pixel.
    pub channels: usize,
    /// Channels of the text states.
    pub context: usize,
    /// How many blocks there are.
    pub depth: usize,
    /// Groups of the group norm.
    pub groups: usize,
    /// Whether `proj_in` and `proj_out` are stored as linear layers instead of 1x1 convolutions.
    pub linear_projection: bool,
}

/// Blocks of attention between two projections (diffusers' `Transformer2DModel`).
#[derive(Debug, Clone)]
pub struct Transformer {
    norm: GroupNorm,
    proj_in: Linear,
    blocks: Vec<Block>,
    proj_out: Linear,
}

impl Transformer {
    /// Loads the weights. `sites` has a self-attention and a cross-attention site per block, in order.
    ///
    /// # Errors
    /// Fails for missing weights and wrong shapes.
    pub fn load(w: &Weights, shape: TransformerShape, sites: &[Site]) -> Result<Self> {
        let c = shape.channels;
        let projection = |name: &str| {
            if shape.linear_projection {
                Linear::load(&w.pp(name), c, c)
            } else {
                Linear::load_conv1x1(&w.pp(name), c, c)
            }
        };
        let block = |(i, pair): (usize, &[Site])| {
            let w = w.pp("transformer_blocks").pp(i);
            Block::load(&w, c, shape.context, [pair[0], pair[1]])
        };
        let blocks = sites.chunks_exact(2).enumerate().map(block);
        Ok(Self {
            norm: GroupNorm::load(&w.pp("norm"), c, shape.groups, GROUP_NORM_EPS)?,
            proj_in: projection("proj_in")?,
            blocks: blocks.collect::<Result<_>>()?,
            proj_out: projection("proj_out")?,
        })
    }

    /// Adds the keys and values of every cross-attention site to `text`, for text states
    /// `[rows, tokens, context]`.
    ///
    /// # Errors
    /// Fails when `context` has another width.
    pub fn read_text(&self, context: &Tensor, text: &mut TextKeyValues) -> Result<()> {
        for block in &self.blocks {
            let cross = &block.cross_attention;
            let key_values = KeyValues {
                keys: cross.to_k.forward(context)?,
                values: cross.to_v.forward(context)?,
            };
            text.sites.insert(cross.site.index, key_values);
        }
        Ok(())
    }

    /// The tokens `[rows, h * w, channels]` after everything that comes before the first cross-attention.
    /// `None` where `hook` acts on the first self-attention.
    ///
    /// # Errors
    /// Fails when `x` `[rows, h, w, channels]` has another shape.
    pub fn before_text(&self, x: &Tensor, hook: &dyn AttentionHook) -> Result<Option<Tensor>> {
        let (_, h, w, _) = x.dims4()?;
        let grid = (h, w);
        let Some(first) = self.blocks.first() else {
            return Ok(None);
        };
        let site = Site {
            grid,
            ..first.self_attention.site
        };
        if !untouched(&site, hook) {
            return Ok(None);
        }
        let tokens = first.attend_to_self(self.enter(x)?, grid, &mut NoHook)?;
        Ok(Some(tokens))
    }

    fn enter(&self, x: &Tensor) -> Result<Tensor> {
        let (rows, h, w, c) = x.dims4()?;
        self.proj_in
            .forward(&self.norm.forward(x)?.reshape((rows, h * w, c))?)
    }

    /// The whole transformer on `x` `[rows, h, w, channels]`. `entered` is the result of
    /// [`before_text`](Self::before_text), where that was computed.
    ///
    /// # Errors
    /// Fails for other shapes, for text that lacks a site, and when the hook fails.
    pub fn forward(
        &self,
        x: &Tensor,
        entered: Option<Tensor>,
        text: &TextKeyValues,
        hook: &mut dyn AttentionHook,
    ) -> Result<Tensor> {
        let (rows, h, w, c) = x.dims4()?;
        let first_is_done = entered.is_some();
        let mut tokens = entered.map_or_else(|| self.enter(x), Ok)?;
        for (i, block) in self.blocks.iter().enumerate() {
            if i > 0 || !first_is_done {
                tokens = block.attend_to_self(tokens, (h, w), hook)?;
            }
            tokens = block.attend_to_text(tokens, (h, w), text, hook)?;
        }
        let x = x.reshape((rows, h * w, c))?;
        Ok(self
            .proj_out
            .forward_onto(&tokens, &x)?
            .reshape((rows, h, w, c))?)
    }
}

/// What a UNet has read of the prompts: keys and values of every cross-attention site, by the site's index.
#[derive(Debug, Clone, Default)]
pub struct TextKeyValues {
    sites: BTreeMap<usize, KeyValues>,
    /// What is added to the time embedding, `[rows, 1, time]`. `None` for a model without this input.
    pub(super) added: Option<Tensor>,
}

impl TextKeyValues {
    fn dim(&self, dim: usize) -> usize {
        let first = self.sites.values().next();
        first.map_or(0, |text| text.keys.dims()[dim])
    }

    /// Tokens of a prompt; 0 for a model without cross-attention.
    pub fn tokens(&self) -> usize {
        self.dim(1)
    }

    /// How many prompts there are; 0 for a model without cross-attention.
    pub fn rows(&self) -> usize {
        self.dim(0)
    }

    /// A range of the prompts.
    ///
    /// # Errors
    /// Fails when there are fewer prompts.
    pub fn narrow(&self, rows: Range<usize>) -> Result<Self> {
        let narrow = |x: &Tensor| x.narrow(0, rows.start, rows.len());
        let some = |(site, text): (&usize, &KeyValues)| {
            let (keys, values) = (narrow(&text.keys)?, narrow(&text.values)?);
            Ok((*site, KeyValues { keys, values }))
        };
        let added = self.added.as_ref().map(narrow).transpose()?;
        Ok(Self {
            sites: self.sites.iter().map(some).collect::<Result<_>>()?,
            added,
        })
    }
}

/// Both `[rows, tokens, heads * d]`.
#[derive(Debug, Clone)]
struct KeyValues {
    keys: Tensor,
    values: Tensor,
}

/// Self-attention, cross-attention, feed-forward.
#[derive(Debug, Clone)]
struct Block {
    norm1: LayerNorm,
    self_attention: Attention,
    norm2: LayerNorm,
    cross_attention: Attention,
    norm3: LayerNorm,
    ff_in: GegluLinear,
    ff_out: Linear,
}

impl Block {
    fn load(w: &Weights, c: usize, context: usize, sites: [Site; 2]) -> Result<Self> {
        let norm = |name: &str| LayerNorm::load(&w.pp(name), c, LAYER_NORM_EPS);
        let [self_site, cross_site] = sites;
        Ok(Self {
            norm1: norm("norm1")?,
            self_attention: Attention::load(&w.pp("attn1"), c, c, self_site)?,
            norm2: norm("norm2")?,
            cross_attention: Attention::load(&w.pp("attn2"), c, context, cross_site)?,
            norm3: norm("norm3")?,
            ff_in: GegluLinear::load(&w.pp("ff.net.0.proj"), c, 4 * c)?,
            ff_out: Linear::load(&w.pp("ff.net.2"), 4 * c, c)?,
        })
    }

    /// Self-attention on `x` `[rows, h * w, c]`, row by row where the hook leaves the site alone.
    fn attend_to_self(
        &self,
        x: Tensor,
        grid: (usize, usize),
        hook: &mut dyn AttentionHook,
    ) -> Result<Tensor> {
        let site = Site {
            grid,
            ..self.self_attention.site
        };
        if untouched(&site, hook) {
            by_row(&x, |x, _| self.attend_to_self_with(x, grid, &mut NoHook))
        } else {
            self.attend_to_self_with(&x, grid, hook)
        }
    }

    fn attend_to_self_with(
        &self,
        x: &Tensor,
        grid: (usize, usize),
        hook: &mut dyn AttentionHook,
    ) -> Result<Tensor> {
        let (attention, h) = (&self.self_attention, self.norm1.forward(x)?);
        let values = attention.to_v.forward(&h)?;
        attention.forward(x, grid, &values, hook, |rows| {
            let h = select(&h, rows)?;
            Ok((attention.to_q.forward(&h)?, attention.to_k.forward(&h)?))
        })
    }

    /// Cross-attention and feed-forward on `x` `[rows, h * w, c]`.
    fn attend_to_text(
        &self,
        x: Tensor,
        grid: (usize, usize),
        text: &TextKeyValues,
        hook: &mut dyn AttentionHook,
    ) -> Result<Tensor> {
        let (attention, h) = (&self.cross_attention, self.norm2.forward(&x)?);
        let Some(text) = text.sites.get(&attention.site.index) else {
            let missing = format!("no text was read for site {}", attention.site.index);
            return Err(candle_core::Error::Msg(missing).into());
        };
        let x = attention.forward(&x, grid, &text.values, hook, |rows| {
            let queries = attention.to_q.forward(&select(&h, rows)?)?;
            Ok((queries, select(&text.keys, rows)?))
        })?;
        by_row(&x, |x, _| {
            let h = self.ff_in.forward(&self.norm3.forward(x)?)?;
            self.ff_out.forward_onto(&h, x)
        })
    }
}

/// The projections around one attention site.
#[derive(Debug, Clone)]
struct Attention {
    /// The site. Each forward pass fills in the grid.
    site: Site,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
}

impl Attention {
    /// `c` channels of queries and output; keys and values are made of `context` channels.
    fn load(w: &Weights, c: usize, context: usize, site: Site) -> Result<Self> {
        Ok(Self {
            site,
            to_q: Linear::load_no_bias(&w.pp("to_q"), c, c)?,
            to_k: Linear::load_no_bias(&w.pp("to_k"), context, c)?,
            to_v: Linear::load_no_bias(&w.pp("to_v"), context, c)?,
            to_out: Linear::load(&w.pp("to_out.0"), c, c)?,
        })
    }

    /// Attention to `values` `[rows, t, c]`, added to `x` `[rows, n, c]`. `project` makes queries and keys of
    /// the rows whose map is read.
    fn forward(
        &self,
        x: &Tensor,
        grid: (usize, usize),
        values: &Tensor,
        hook: &mut dyn AttentionHook,
        project: impl FnOnce(&[usize]) -> Result<(Tensor, Tensor)>,
    ) -> Result<Tensor> {
        let site = Site { grid, ..self.site };
        self.to_out
            .forward_onto(&hooked(&site, hook, values, project)?, x)
    }
}

/// Some rows of a tensor. All rows cost no copy.
fn select(x: &Tensor, rows: &[usize]) -> Result<Tensor> {
    if rows.len() == x.dim(0)? {
        return Ok(x.clone());
    }
    let index: Vec<u32> = rows.iter().map(|&r| r as u32).collect();
    Ok(x.index_select(&Tensor::from_vec(index, rows.len(), x.device())?, 0)?)
}
