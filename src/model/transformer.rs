//! The transformer blocks of the UNet, where pixels attend to pixels and to text. The one place in a
//! model that meets a hook.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::Tensor;

use super::layers::{GegluLinear, GroupNorm, LayerNorm, Linear, in_turn};
use super::weights::Weights;
use crate::attention::{AttentionHook, NoHook, Site, hooked, untouched};
use crate::error::Result;

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

    /// Keys and values of its cross-attention sites, for text states `[rows, tokens, context]`.
    pub fn read(&self, context: &Tensor, text: &mut TextKeyValues) -> Result<()> {
        for block in &self.blocks {
            let to_text = &block.to_text;
            let seen = Seen {
                keys: to_text.to_k.forward(context)?,
                values: to_text.to_v.forward(context)?,
            };
            text.seen.insert(to_text.site.index, seen);
        }
        Ok(())
    }

    /// The tokens `[rows, h * w, channels]` up to the first look at the text; `None` where `hook` has
    /// a say before.
    pub fn before_text(&self, x: &Tensor, hook: &dyn AttentionHook) -> Result<Option<Tensor>> {
        let (_, h, w, _) = x.dims4()?;
        match self.blocks.first() {
            Some(first)
                if untouched(
                    &Site {
                        grid: (h, w),
                        ..first.to_itself.site
                    },
                    hook,
                ) =>
            {
                Ok(Some(first.look_at_itself(
                    self.enter(x)?,
                    (h, w),
                    &mut NoHook,
                )?))
            }
            _ => Ok(None),
        }
    }

    fn enter(&self, x: &Tensor) -> Result<Tensor> {
        let (rows, h, w, c) = x.dims4()?;
        self.proj_in
            .forward(&self.norm.forward(x)?.reshape((rows, h * w, c))?)
    }

    /// `x` `[rows, h, w, channels]`; `entered` is what [`before_text`](Self::before_text) made of it.
    pub fn forward(
        &self,
        x: &Tensor,
        entered: Option<Tensor>,
        text: &TextKeyValues,
        hook: &mut dyn AttentionHook,
    ) -> Result<Tensor> {
        let (rows, h, w, c) = x.dims4()?;
        let looked = entered.is_some();
        let mut tokens = entered.map_or_else(|| self.enter(x), Ok)?;
        for (i, block) in self.blocks.iter().enumerate() {
            if i > 0 || !looked {
                tokens = block.look_at_itself(tokens, (h, w), hook)?;
            }
            tokens = block.cross_attention(tokens, (h, w), text, hook)?;
        }
        let x = x.reshape((rows, h * w, c))?;
        Ok(self
            .proj_out
            .forward_onto(&tokens, &x)?
            .reshape((rows, h, w, c))?)
    }
}

/// What a UNet has read of the prompts: what cross-attention sees, by the sites' index.
#[derive(Debug, Clone, Default)]
pub struct TextKeyValues {
    seen: BTreeMap<usize, Seen>,
    /// What is added to the time embedding, `[rows, 1, time]`, where the model wants it.
    pub(super) added: Option<Tensor>,
}

impl TextKeyValues {
    /// Tokens of a prompt; 0 where the model looks at none.
    pub fn tokens(&self) -> usize {
        self.seen
            .values()
            .next()
            .map_or(0, |seen| seen.keys.dims()[1])
    }

    /// Some of its prompts.
    pub fn narrow(&self, rows: Range<usize>) -> Result<Self> {
        let narrow = |x: &Tensor| x.narrow(0, rows.start, rows.len());
        let some = |(site, seen): (&usize, &Seen)| {
            let (keys, values) = (narrow(&seen.keys)?, narrow(&seen.values)?);
            Ok((*site, Seen { keys, values }))
        };
        let added = self.added.as_ref().map(narrow).transpose()?;
        Ok(Self {
            seen: self.seen.iter().map(some).collect::<Result<_>>()?,
            added,
        })
    }

    /// Prompts; 0 where the model looks at none.
    pub fn rows(&self) -> usize {
        self.seen
            .values()
            .next()
            .map_or(0, |seen| seen.keys.dims()[0])
    }
}

#[derive(Debug, Clone)]
struct Seen {
    /// `[rows, tokens, heads * d]`
    keys: Tensor,
    values: Tensor,
}

/// Self-attention, cross-attention, feed-forward.
#[derive(Debug, Clone)]
struct Block {
    norm1: LayerNorm,
    to_itself: Attention,
    norm2: LayerNorm,
    to_text: Attention,
    norm3: LayerNorm,
    ff_in: GegluLinear,
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
            ff_in: GegluLinear::load(&w.pp("ff.net.0.proj"), c, 4 * c)?,
            ff_out: Linear::load(&w.pp("ff.net.2"), 4 * c, c)?,
        })
    }

    fn look_at_itself(
        &self,
        x: Tensor,
        grid: (usize, usize),
        hook: &mut dyn AttentionHook,
    ) -> Result<Tensor> {
        let site = Site {
            grid,
            ..self.to_itself.site
        };
        match untouched(&site, hook) {
            true => in_turn(&x, |x, _| self.look_at_itself_under(x, grid, &mut NoHook)),
            false => self.look_at_itself_under(&x, grid, hook),
        }
    }

    fn look_at_itself_under(
        &self,
        x: &Tensor,
        grid: (usize, usize),
        hook: &mut dyn AttentionHook,
    ) -> Result<Tensor> {
        let (here, h) = (&self.to_itself, self.norm1.forward(x)?);
        let values = here.to_v.forward(&h)?;
        here.forward(x, grid, &values, hook, |rows| {
            let h = select(&h, rows)?;
            Ok((here.to_q.forward(&h)?, here.to_k.forward(&h)?))
        })
    }

    /// Cross-attention and what follows it.
    fn cross_attention(
        &self,
        x: Tensor,
        grid: (usize, usize),
        text: &TextKeyValues,
        hook: &mut dyn AttentionHook,
    ) -> Result<Tensor> {
        let (here, h) = (&self.to_text, self.norm2.forward(&x)?);
        let Some(seen) = text.seen.get(&here.site.index) else {
            let missing = format!("no text was read for site {}", here.site.index);
            return Err(candle_core::Error::Msg(missing).into());
        };
        let x = here.forward(&x, grid, &seen.values, hook, |rows| {
            Ok((
                here.to_q.forward(&select(&h, rows)?)?,
                select(&seen.keys, rows)?,
            ))
        })?;
        in_turn(&x, |x, _| {
            let h = self.ff_in.forward(&self.norm3.forward(x)?)?;
            self.ff_out.forward_onto(&h, x)
        })
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

    /// Attention to `values` `[rows, t, c]`, added to `x` `[rows, n, c]`.
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

/// Some rows of a tensor; all of them cost nothing.
fn select(x: &Tensor, rows: &[usize]) -> Result<Tensor> {
    if rows.len() == x.dim(0)? {
        return Ok(x.clone());
    }
    let index: Vec<u32> = rows.iter().map(|&r| r as u32).collect();
    Ok(x.index_select(&Tensor::from_vec(index, rows.len(), x.device())?, 0)?)
}
