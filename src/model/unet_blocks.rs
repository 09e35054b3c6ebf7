//! The UNet's parts as flat lists, in the order of execution, and their loading from diffusers' names.
//! Numbers the attention sites; the forward pass is in `unet.rs`.

use super::layers::Conv3x3;
use super::resnet::{Resnet, ResnetShape};
use super::transformer::{Transformer, TransformerShape};
use super::unet_config::UNetConfig;
use super::weights::Weights;
use crate::attention::{Kind, Place, Site};
use crate::error::Result;

/// One step of the walk.
#[derive(Debug, Clone)]
pub enum Part {
    Resnet(Resnet),
    Transformer(Transformer),
    Downsample(Conv3x3),
    /// To the size of the next skip connection.
    Upsample(Conv3x3),
}

/// Loads parts in order of execution, so that sites are numbered as they will run.
pub struct Loader<'a> {
    pub config: &'a UNetConfig,
    pub weights: &'a Weights,
    pub time_channels: usize,
    pub next_site: usize,
}

impl Loader<'_> {
    /// Each entry ends by leaving a skip connection.
    pub fn input(&mut self) -> Result<Vec<Vec<Part>>> {
        let mut blocks = vec![];
        let channels = &self.config.block_out_channels;
        for (level, &output) in channels.iter().enumerate() {
            let name = format!("down_blocks.{level}");
            let before = channels[level.saturating_sub(1)];
            for layer in 0..self.config.layers_per_block[level] {
                let input = if layer == 0 { before } else { output };
                let mut parts =
                    vec![self.resnet(&format!("{name}.resnets.{layer}"), input, output)?];
                if self.config.down_attention[level] {
                    let name = format!("{name}.attentions.{layer}");
                    parts.push(self.transformer(&name, level, Place::Down)?);
                }
                blocks.push(parts);
            }
            if level + 1 < channels.len() {
                let w = self.weights.pp(format!("{name}.downsamplers.0.conv"));
                blocks.push(vec![Part::Downsample(Conv3x3::load(
                    &w, output, output, 2,
                )?)]);
            }
        }
        Ok(blocks)
    }

    pub fn middle(&mut self) -> Result<Vec<Part>> {
        let level = self.config.block_out_channels.len() - 1;
        let c = self.config.block_out_channels[level];
        Ok(vec![
            self.resnet("mid_block.resnets.0", c, c)?,
            self.transformer("mid_block.attentions.0", level, Place::Mid)?,
            self.resnet("mid_block.resnets.1", c, c)?,
        ])
    }

    /// Each entry begins by taking the last skip connection.
    pub fn output(&mut self) -> Result<Vec<Vec<Part>>> {
        let mut blocks = vec![];
        let channels = &self.config.block_out_channels;
        let levels = channels.len();
        for (i, level) in (0..levels).rev().enumerate() {
            let name = format!("up_blocks.{i}");
            let output = channels[level];
            let (below, skip) = (
                channels[(level + 1).min(levels - 1)],
                channels[level.saturating_sub(1)],
            );
            let layers = self.config.layers_per_block[level] + 1;
            for layer in 0..layers {
                let input = if layer == 0 { below } else { output };
                let skip = if layer + 1 == layers { skip } else { output };
                let resnet = format!("{name}.resnets.{layer}");
                let mut parts = vec![self.resnet(&resnet, input + skip, output)?];
                if self.config.up_attention[level] {
                    let name = format!("{name}.attentions.{layer}");
                    parts.push(self.transformer(&name, level, Place::Up)?);
                }
                if layer + 1 == layers && level > 0 {
                    let w = self.weights.pp(format!("{name}.upsamplers.0.conv"));
                    parts.push(Part::Upsample(Conv3x3::load(&w, output, output, 1)?));
                }
                blocks.push(parts);
            }
        }
        Ok(blocks)
    }

    fn resnet(&self, name: &str, input: usize, output: usize) -> Result<Part> {
        let shape = ResnetShape {
            input,
            output,
            time: Some(self.time_channels),
            groups: self.config.norm_num_groups,
            eps: self.config.norm_eps,
        };
        Ok(Part::Resnet(Resnet::load(&self.weights.pp(name), shape)?))
    }

    fn transformer(&mut self, name: &str, level: usize, place: Place) -> Result<Part> {
        let shape = TransformerShape {
            channels: self.config.block_out_channels[level],
            context: self.config.cross_attention_dim,
            depth: self.config.transformer_depth[level],
            groups: self.config.norm_num_groups,
            linear_projection: self.config.use_linear_projection,
        };
        let mut sites = vec![];
        for _ in 0..shape.depth {
            sites.extend([Kind::SelfAttn, Kind::Cross].map(|kind| self.site(level, place, kind)));
        }
        Ok(Part::Transformer(Transformer::load(
            &self.weights.pp(name),
            shape,
            &sites,
        )?))
    }

    fn site(&mut self, level: usize, place: Place, kind: Kind) -> Site {
        let index = self.next_site;
        self.next_site += 1;
        let heads = self.config.heads[level];
        Site {
            index,
            place,
            kind,
            heads,
            grid: (0, 0),
            downscale: 1 << level,
        }
    }
}
