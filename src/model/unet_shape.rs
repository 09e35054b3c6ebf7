//! The UNet's parts as flat lists in order of execution, from a config alone: diffusers' names, sizes,
//! and the attention sites, numbered. Loading weights, listing sites and counting work all read it
//! here. It must never know a weight.

use super::resnet::ResnetShape;
use super::transformer::TransformerShape;
use super::unet_config::UNetConfig;
use crate::attention::{AttentionKind, Place, Site};

/// One step of the walk, before it has weights.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerShape {
    /// Where its weights are.
    pub name: String,
    /// Level of what it puts out; 0 is the finest.
    pub level: usize,
    pub sizes: Sizes,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Sizes {
    Resnet(ResnetShape),
    /// With a self- and a cross-attention site per block, whose grids are unknown yet.
    Transformer(TransformerShape, Vec<Site>),
    /// Channels in and out.
    Downsample(usize),
    /// To the size of the next skip connection.
    Upsample(usize),
}

/// A whole UNet but for its first and last layers.
#[derive(Debug, Clone, PartialEq)]
pub struct UNetShape {
    /// Each entry ends by leaving a skip connection.
    pub input: Vec<Vec<LayerShape>>,
    pub middle: Vec<LayerShape>,
    /// Each entry begins by taking the last skip connection.
    pub output: Vec<Vec<LayerShape>>,
}

impl UNetShape {
    pub fn new(config: &UNetConfig) -> Self {
        let mut walk = Walk {
            config,
            next_site: 0,
        };
        // Fields are evaluated as written: in order of execution, which numbers the sites.
        Self {
            input: walk.input(),
            middle: walk.middle(),
            output: walk.output(),
        }
    }

    /// Every part, in order of execution.
    pub fn parts(&self) -> impl Iterator<Item = &LayerShape> {
        let lists = self.input.iter().flatten().chain(&self.middle);
        lists.chain(self.output.iter().flatten())
    }
}

impl LayerShape {
    /// What it puts out for latents of a size: each level halves and keeps the odd pixel.
    pub fn grid(&self, (h, w): (usize, usize)) -> (usize, usize) {
        let downscale = 1 << self.level;
        (h.div_ceil(downscale), w.div_ceil(downscale))
    }

    /// Its attention sites for latents of a size.
    pub fn sites(&self, latent_size: (usize, usize)) -> Vec<Site> {
        let grid = self.grid(latent_size);
        match &self.sizes {
            Sizes::Transformer(_, sites) => sites.iter().map(|&s| Site { grid, ..s }).collect(),
            _ => vec![],
        }
    }
}

impl UNetConfig {
    /// Every attention site for latents of a size, in order of execution. Needs no weights.
    pub fn sites(&self, latent_size: (usize, usize)) -> Vec<Site> {
        let shape = UNetShape::new(self);
        shape.parts().flat_map(|p| p.sites(latent_size)).collect()
    }

    /// Pixels of a level's grid at the size the model was trained at.
    pub fn pixels(&self, level: usize) -> usize {
        self.sample_size.div_ceil(1 << level).pow(2)
    }

    /// Channels of the time embedding.
    pub fn time_channels(&self) -> usize {
        4 * self.block_out_channels[0]
    }
}

/// Goes through the blocks in order of execution, so that sites are numbered as they will run.
struct Walk<'a> {
    config: &'a UNetConfig,
    next_site: usize,
}

impl Walk<'_> {
    fn input(&mut self) -> Vec<Vec<LayerShape>> {
        let mut blocks = vec![];
        let channels = &self.config.block_out_channels;
        for (level, &output) in channels.iter().enumerate() {
            let name = format!("down_blocks.{level}");
            let before = channels[level.saturating_sub(1)];
            for layer in 0..self.config.layers_per_block[level] {
                let input = if layer == 0 { before } else { output };
                let resnet = format!("{name}.resnets.{layer}");
                let mut parts = vec![self.resnet(resnet, level, input)];
                if self.config.down_attention[level] {
                    let name = format!("{name}.attentions.{layer}");
                    parts.push(self.transformer(name, level, Place::Down));
                }
                blocks.push(parts);
            }
            if level + 1 < channels.len() {
                blocks.push(vec![LayerShape {
                    name: format!("{name}.downsamplers.0.conv"),
                    level: level + 1,
                    sizes: Sizes::Downsample(output),
                }]);
            }
        }
        blocks
    }

    fn middle(&mut self) -> Vec<LayerShape> {
        let level = self.config.block_out_channels.len() - 1;
        let c = self.config.block_out_channels[level];
        vec![
            self.resnet("mid_block.resnets.0".into(), level, c),
            self.transformer("mid_block.attentions.0".into(), level, Place::Mid),
            self.resnet("mid_block.resnets.1".into(), level, c),
        ]
    }

    fn output(&mut self) -> Vec<Vec<LayerShape>> {
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
                let mut parts = vec![self.resnet(resnet, level, input + skip)];
                if self.config.up_attention[level] {
                    let name = format!("{name}.attentions.{layer}");
                    parts.push(self.transformer(name, level, Place::Up));
                }
                if layer + 1 == layers && level > 0 {
                    parts.push(LayerShape {
                        name: format!("{name}.upsamplers.0.conv"),
                        level: level - 1,
                        sizes: Sizes::Upsample(output),
                    });
                }
                blocks.push(parts);
            }
        }
        blocks
    }

    fn resnet(&self, name: String, level: usize, input: usize) -> LayerShape {
        let sizes = Sizes::Resnet(ResnetShape {
            input,
            output: self.config.block_out_channels[level],
            time: Some(self.config.time_channels()),
            groups: self.config.norm_num_groups,
            eps: self.config.norm_eps,
            pixels: self.config.pixels(level),
        });
        LayerShape { name, level, sizes }
    }

    fn transformer(&mut self, name: String, level: usize, place: Place) -> LayerShape {
        let shape = TransformerShape {
            channels: self.config.block_out_channels[level],
            context: self.config.cross_attention_dim,
            depth: self.config.transformer_depth[level],
            groups: self.config.norm_num_groups,
            linear_projection: self.config.use_linear_projection,
        };
        let mut sites = vec![];
        for _ in 0..shape.depth {
            sites.extend(
                [AttentionKind::SelfAttn, AttentionKind::Cross]
                    .map(|kind| self.site(level, place, kind)),
            );
        }
        let sizes = Sizes::Transformer(shape, sites);
        LayerShape { name, level, sizes }
    }

    fn site(&mut self, level: usize, place: Place, kind: AttentionKind) -> Site {
        let index = self.next_site;
        self.next_site += 1;
        Site {
            index,
            place,
            kind,
            heads: self.config.heads[level],
            grid: (0, 0),
            downscale: 1 << level,
        }
    }
}
