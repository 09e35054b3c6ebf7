//! `unet/config.json`: the sizes of a `UNet2DConditionModel`, and every key of it that is held to the
//! one value we implement.

use super::config::Config;
use crate::error::Result;

/// Levels from fine to coarse; per-level lists have a number for each.
#[derive(Debug, Clone, PartialEq)]
pub struct UNetConfig {
    /// Latent side the model was trained at.
    pub sample_size: usize,
    pub latent_channels: usize,
    pub block_out_channels: Vec<usize>,
    /// Whether the down block of a level has attention.
    pub down_attention: Vec<bool>,
    /// The same for up blocks, also from fine to coarse.
    pub up_attention: Vec<bool>,
    pub layers_per_block: Vec<usize>,
    pub transformer_depth: Vec<usize>,
    pub heads: Vec<usize>,
    pub cross_attention_dim: usize,
    pub norm_num_groups: usize,
    pub norm_eps: f64,
    pub use_linear_projection: bool,
    pub flip_sin_to_cos: bool,
    pub freq_shift: f64,
    pub text_time: Option<TextTime>,
}

/// What Stable Diffusion XL adds to the time embedding: the prompt as a whole and the picture's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextTime {
    /// Channels that each of the sizes becomes.
    pub size_channels: usize,
    /// Channels of all of it.
    pub input: usize,
}

/// Grids of fewer pixels across than this are too coarse to hold a layout.
const LAYOUT_WIDTH: usize = 16;

impl UNetConfig {
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
        // diffusers' name: in Stable Diffusion 1.x `attention_head_dim` is the number of heads.
        let heads = match config.per_level("num_attention_heads", levels)? {
            Some(heads) => heads,
            None => config
                .per_level("attention_head_dim", levels)?
                .unwrap_or(vec![8; levels]),
        };
        config.ignore(&["attention_head_dim"]);
        let one_each = |key, default| -> Result<Vec<usize>> {
            Ok(config
                .per_level(key, levels)?
                .unwrap_or(vec![default; levels]))
        };
        let parsed = Self {
            sample_size: config.needed("sample_size", config.usize("sample_size")?)?,
            latent_channels: config.usize("in_channels")?.unwrap_or(4),
            down_attention: attention(config, &down, "CrossAttnDownBlock2D", "DownBlock2D")?,
            up_attention: attention(config, &up, "CrossAttnUpBlock2D", "UpBlock2D")?,
            layers_per_block: one_each("layers_per_block", 2)?,
            transformer_depth: one_each("transformer_layers_per_block", 1)?,
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

    /// Sizes that cannot be divided would only fail deep inside a layer.
    fn check(&self, config: &Config) -> Result<()> {
        if self.latent_channels != 4 {
            return Err(config.error("in_channels must be 4 (inpainting models have more)"));
        }
        if self.sample_size == 0 {
            return Err(config.error("sample_size is 0"));
        }
        let groups = self.norm_num_groups;
        for (channels, heads) in self.block_out_channels.iter().zip(&self.heads) {
            for (key, parts) in [("attention_head_dim", *heads), ("norm_num_groups", groups)] {
                if parts == 0 || !channels.is_multiple_of(parts) {
                    let problem = format!("{key} {parts} does not divide {channels} channels");
                    return Err(config.error(&problem));
                }
            }
        }
        Ok(())
    }

    /// The coarsest downscale with attention: that of the mid block.
    pub fn coarsest_downscale(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }

    /// The grid that holds a picture's layout: the coarsest downscale with attention in down and up
    /// blocks that is still at least 16 wide at the native size; else the finest with attention.
    pub fn layout_downscale(&self) -> usize {
        let both = |level: &usize| self.down_attention[*level] && self.up_attention[*level];
        let levels = 0..self.block_out_channels.len();
        let wide = |level: &usize| self.sample_size >> level >= LAYOUT_WIDTH;
        let level = levels.clone().rev().find(|l| both(l) && wide(l));
        1 << level.or_else(|| levels.clone().find(both)).unwrap_or(0)
    }
}

fn text_time(config: &Config) -> Result<Option<TextTime>> {
    // Without an embedding the sizes are read by nobody.
    let [size_channels, input] = [
        "addition_time_embed_dim",
        "projection_class_embeddings_input_dim",
    ];
    match config.string("addition_embed_type")?.as_deref() {
        None => {
            config.ignore(&[size_channels, input]);
            Ok(None)
        }
        Some("text_time") => Ok(Some(TextTime {
            size_channels: config.needed(size_channels, config.usize(size_channels)?)?,
            input: config.needed(input, config.usize(input)?)?,
        })),
        Some(other) => {
            Err(config.error(&format!("addition_embed_type {other} is not implemented")))
        }
    }
}

fn attention(config: &Config, types: &[String], with: &str, without: &str) -> Result<Vec<bool>> {
    let one = |kind: &String| match kind.as_str() {
        kind if kind == with => Ok(true),
        kind if kind == without => Ok(false),
        other => Err(config.error(&format!("the block type {other} is not implemented"))),
    };
    types.iter().map(one).collect()
}

/// Every other key that changes what the network computes, at its only implemented value.
fn refuse_other_architectures(config: &Config) -> Result<()> {
    config.only("act_fn", "silu")?;
    config.only("mid_block_type", "UNetMidBlock2DCrossAttn")?;
    config.only("mid_block_scale_factor", 1)?;
    config.only("downsample_padding", 1)?;
    config.only("conv_in_kernel", 3)?;
    config.only("conv_out_kernel", 3)?;
    config.only("out_channels", 4)?;
    config.only("attention_type", "default")?;
    config.only("resnet_time_scale_shift", "default")?;
    config.only("resnet_out_scale_factor", 1)?;
    config.only("time_embedding_type", "positional")?;
    config.off(&[
        "center_input_sample",
        "dual_cross_attention",
        "only_cross_attention",
    ])?;
    config.off(&[
        "class_embed_type",
        "num_class_embeds",
        "class_embeddings_concat",
    ])?;
    config.off(&["encoder_hid_dim", "encoder_hid_dim_type"])?;
    config.off(&[
        "time_cond_proj_dim",
        "time_embedding_act_fn",
        "timestep_post_act",
    ])?;
    config.off(&[
        "time_embedding_dim",
        "cross_attention_norm",
        "resnet_skip_time_act",
    ])?;
    config.off(&[
        "mid_block_only_cross_attention",
        "reverse_transformer_layers_per_block",
    ])?;
    // Read only beside keys that are off, or about precision and training.
    config.ignore(&[
        "addition_embed_type_num_heads",
        "upcast_attention",
        "dropout",
    ]);
    Ok(())
}
