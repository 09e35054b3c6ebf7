//! `unet/config.json`: the sizes of a `UNet2DConditionModel`. Owns which of its keys are supported; a key with
//! another value than the supported one is an error. Never knows a weight.

use super::config::Config;
use crate::error::Result;

/// The sizes of a UNet. Lists have a value per level, from fine to coarse.
#[derive(Debug, Clone, PartialEq)]
pub struct UNetConfig {
    /// Side of the latents that the model was trained on.
    pub sample_size: usize,
    /// Channels of the latents: `in_channels`, and as many `out_channels`.
    pub latent_channels: usize,
    /// Channels of each level.
    pub block_out_channels: Vec<usize>,
    /// Whether the down block of each level has attention.
    pub down_attention: Vec<bool>,
    /// Whether the up block of each level has attention, also from fine to coarse.
    pub up_attention: Vec<bool>,
    /// Residual blocks in the down block of each level; the up block has one more.
    pub layers_per_block: Vec<usize>,
    /// Blocks in each transformer of a level.
    pub transformer_depth: Vec<usize>,
    /// Attention heads of each level.
    pub heads: Vec<usize>,
    /// Channels of the text states.
    pub cross_attention_dim: usize,
    /// Groups of the group norms.
    pub norm_num_groups: usize,
    /// Epsilon of the residual blocks' group norms.
    pub norm_eps: f64,
    /// Whether transformers' projections are stored as linear layers instead of 1x1 convolutions.
    pub use_linear_projection: bool,
    /// Whether cosines come before sines in the time embedding.
    pub flip_sin_to_cos: bool,
    /// Shift of the time embedding's frequencies.
    pub freq_shift: f64,
    /// What Stable Diffusion XL adds to the time embedding.
    pub text_time: Option<TextTime>,
}

/// Sizes of what Stable Diffusion XL adds to the time embedding: pooled embedding and picture sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextTime {
    /// Channels that each picture size becomes.
    pub size_channels: usize,
    /// Channels of pooled embedding and picture sizes together.
    pub input: usize,
}

/// Grids of fewer pixels across than this are too coarse to hold a layout.
const LAYOUT_WIDTH: usize = 16;

/// diffusers' default of `in_channels` and `out_channels`.
const DEFAULT_CHANNELS: usize = 4;

impl UNetConfig {
    /// Reads the config.
    ///
    /// # Errors
    /// [`Error::Model`](crate::error::Error::Model) for missing keys, and values that are not supported.
    pub fn parse(config: &Config) -> Result<Self> {
        refuse_other_architectures(config)?;
        let channels = config.usizes("block_out_channels")?;
        let levels = channels.len();
        let down = config.strings("down_block_types")?;
        let mut up = config.strings("up_block_types")?;
        up.reverse();
        if levels == 0 || down.len() != levels || up.len() != levels {
            return Err(config.error("block_out_channels and block types differ in length"));
        }
        let per_level = |key, default| -> Result<Vec<usize>> {
            let given = config.per_level(key, levels)?;
            Ok(given.unwrap_or(vec![default; levels]))
        };
        // In Stable Diffusion 1.x `attention_head_dim` is the number of heads, whatever its name says.
        let heads = match config.per_level("num_attention_heads", levels)? {
            Some(heads) => heads,
            None => per_level("attention_head_dim", 8)?,
        };
        config.ignore(&["attention_head_dim"]);
        let parsed = Self {
            sample_size: config.required("sample_size", config.usize("sample_size")?)?,
            latent_channels: latent_channels(config)?,
            down_attention: attention(config, &down, "CrossAttnDownBlock2D", "DownBlock2D")?,
            up_attention: attention(config, &up, "CrossAttnUpBlock2D", "UpBlock2D")?,
            layers_per_block: per_level("layers_per_block", 2)?,
            transformer_depth: per_level("transformer_layers_per_block", 1)?,
            heads,
            cross_attention_dim: config.usize("cross_attention_dim")?.unwrap_or(1280),
            norm_num_groups: config.usize("norm_num_groups")?.unwrap_or(32),
            norm_eps: config.f64("norm_eps")?.unwrap_or(1e-5),
            use_linear_projection: config.bool("use_linear_projection", false)?,
            flip_sin_to_cos: config.bool("flip_sin_to_cos", true)?,
            freq_shift: config.f64("freq_shift")?.unwrap_or(0.0),
            text_time: text_time(config)?,
            block_out_channels: channels,
        };
        config.finish()?;
        parsed.check(config)?;
        Ok(parsed)
    }

    /// Checks sizes whose errors would otherwise show only inside a layer.
    fn check(&self, config: &Config) -> Result<()> {
        if self.sample_size == 0 {
            return Err(config.error("sample_size is 0"));
        }
        let groups = self.norm_num_groups;
        for (channels, heads) in self.block_out_channels.iter().zip(&self.heads) {
            for (key, divisor) in [("attention_head_dim", *heads), ("norm_num_groups", groups)] {
                if divisor == 0 || !channels.is_multiple_of(divisor) {
                    let problem = format!("{key} {divisor} does not divide {channels} channels");
                    return Err(config.error(&problem));
                }
            }
        }
        Ok(())
    }

    /// The coarsest downscale with attention, which is the mid block's.
    pub fn coarsest_downscale(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }

    /// The downscale of the grid that holds a picture's layout: the coarsest one with attention in down and up
    /// blocks that is at least 16 pixels wide at the native size, or else the finest one with attention.
    pub fn layout_downscale(&self) -> usize {
        let both = |level: &usize| self.down_attention[*level] && self.up_attention[*level];
        let levels = 0..self.block_out_channels.len();
        let wide = |level: &usize| self.sample_size >> level >= LAYOUT_WIDTH;
        let level = levels.clone().rev().find(|l| both(l) && wide(l));
        1 << level.or_else(|| levels.clone().find(both)).unwrap_or(0)
    }
}

/// Channels of the latents. A UNet that reads more channels than it predicts is one of inpainting, depth or
/// InstructPix2Pix models.
fn latent_channels(config: &Config) -> Result<usize> {
    let read = config.usize("in_channels")?.unwrap_or(DEFAULT_CHANNELS);
    let predicted = config.usize("out_channels")?.unwrap_or(DEFAULT_CHANNELS);
    if read != predicted || read == 0 {
        let problem = format!(
            "in_channels is {read}, out_channels is {predicted}; they must be equal (inpainting models read \
             more channels)"
        );
        return Err(config.error(&problem));
    }
    Ok(read)
}

fn text_time(config: &Config) -> Result<Option<TextTime>> {
    let size_channels = "addition_time_embed_dim";
    let input = "projection_class_embeddings_input_dim";
    match config.string("addition_embed_type")?.as_deref() {
        None => {
            // Without the embedding nothing reads the sizes.
            config.ignore(&[size_channels, input]);
            Ok(None)
        }
        Some("text_time") => Ok(Some(TextTime {
            size_channels: config.required(size_channels, config.usize(size_channels)?)?,
            input: config.required(input, config.usize(input)?)?,
        })),
        Some(other) => Err(config.error(&format!("addition_embed_type {other} is not supported"))),
    }
}

/// Whether each block has attention, told from its type.
fn attention(config: &Config, types: &[String], with: &str, without: &str) -> Result<Vec<bool>> {
    let one = |kind: &String| match kind.as_str() {
        kind if kind == with => Ok(true),
        kind if kind == without => Ok(false),
        other => Err(config.error(&format!("the block type {other} is not supported"))),
    };
    types.iter().map(one).collect()
}

/// Holds every other key that changes what the network computes to its one supported value.
fn refuse_other_architectures(config: &Config) -> Result<()> {
    config.only("act_fn", "silu")?;
    config.only("mid_block_type", "UNetMidBlock2DCrossAttn")?;
    config.only("mid_block_scale_factor", 1)?;
    config.only("downsample_padding", 1)?;
    config.only("conv_in_kernel", 3)?;
    config.only("conv_out_kernel", 3)?;
    config.only("attention_type", "default")?;
    config.only("resnet_time_scale_shift", "default")?;
    config.only("resnet_out_scale_factor", 1)?;
    config.only("time_embedding_type", "positional")?;
    config.off(&[
        "center_input_sample",
        "class_embed_type",
        "class_embeddings_concat",
        "cross_attention_norm",
        "dual_cross_attention",
        "encoder_hid_dim",
        "encoder_hid_dim_type",
        "mid_block_only_cross_attention",
        "num_class_embeds",
        "only_cross_attention",
        "resnet_skip_time_act",
        "reverse_transformer_layers_per_block",
        "time_cond_proj_dim",
        "time_embedding_act_fn",
        "time_embedding_dim",
        "timestep_post_act",
    ])?;
    // These keys are read beside keys that are off only, or are about precision and training.
    config.ignore(&[
        "addition_embed_type_num_heads",
        "upcast_attention",
        "dropout",
    ]);
    Ok(())
}
