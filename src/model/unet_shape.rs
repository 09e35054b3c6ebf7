//! The UNet's layers as flat lists in order of execution, from a config alone: diffusers' names, sizes, and
//! the numbered attention sites. Loading weights, listing sites and counting work all use these lists. Never
//! knows a weight.

use super::resnet::ResnetShape;
use super::transformer::TransformerShape;
use super::unet_config::UNetConfig;
use crate::attention::{AttentionKind, Place, Site};

/// A layer before its weights are loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerShape {
    /// The prefix of the layer's weights.
    pub name: String,
    /// The level of the output; 0 is the finest.
    pub level: usize,
    /// The kind of layer and its sizes.
    pub sizes: Sizes,
}

/// The kind of a layer and its sizes.
#[derive(Debug, Clone, PartialEq)]
pub enum Sizes {
    /// A residual block.
    Resnet(ResnetShape),
    /// A transformer, with a self-attention and a cross-attention site per block. The sites have no grid yet.
    Transformer(TransformerShape, Vec<Site>),
    /// A convolution that halves the grid; channels of input and output.
    Downsample(usize),
    /// Upsampling to the size of the next skip connection, and a convolution; channels of input and output.
    Upsample(usize),
}

/// All layers of a UNet but the first and the last convolution.
#[derive(Debug, Clone, PartialEq)]
pub struct UNetShape {
    /// The down blocks. Each entry ends with a push of a skip connection.
    pub input: Vec<Vec<LayerShape>>,
    /// The mid block.
    pub middle: Vec<LayerShape>,
    /// The up blocks. Each entry begins with a pop of the last skip connection.
    pub output: Vec<Vec<LayerShape>>,
}

impl UNetShape {
    /// Lists the layers of a config.
    pub fn new(config: &UNetConfig) -> Self {
        let mut builder = Builder {
            config,
            next_site: 0,
        };
        // Rust evaluates fields as written, so sites are numbered in order of execution.
        Self {
            input: builder.input(),
            middle: builder.middle(),
            output: builder.output(),
        }
    }

    /// Every layer in order of execution.
    pub fn layers(&self) -> impl Iterator<Item = &LayerShape> {
        let lists = self.input.iter().flatten().chain(&self.middle);
        lists.chain(self.output.iter().flatten())
    }
}

impl LayerShape {
    /// The grid of the output for latents of `(height, width)`. Each level halves the grid and rounds up.
    pub fn grid(&self, (h, w): (usize, usize)) -> (usize, usize) {
        let downscale = 1 << self.level;
        (h.div_ceil(downscale), w.div_ceil(downscale))
    }

    /// The layer's attention sites for latents of `(height, width)`.
    pub fn sites(&self, latent_size: (usize, usize)) -> Vec<Site> {
        let grid = self.grid(latent_size);
        match &self.sizes {
            Sizes::Transformer(_, sites) => sites.iter().map(|&s| Site { grid, ..s }).collect(),
            _ => vec![],
        }
    }
}

impl UNetConfig {
    /// Every attention site for latents of `(height, width)`, in order of execution.
    pub fn sites(&self, latent_size: (usize, usize)) -> Vec<Site> {
        let shape = UNetShape::new(self);
        let layers = shape.layers();
        layers.flat_map(|layer| layer.sites(latent_size)).collect()
    }

    /// Pixels of a level's grid at the model's native size.
    pub fn pixels(&self, level: usize) -> usize {
        self.sample_size.div_ceil(1 << level).pow(2)
    }

    /// Channels of the time embedding.
    pub fn time_channels(&self) -> usize {
        4 * self.block_out_channels[0]
    }
}

/// Builds the lists in order of execution, and numbers the sites.
struct Builder<'a> {
    config: &'a UNetConfig,
    next_site: usize,
}

impl Builder<'_> {
    fn input(&mut self) -> Vec<Vec<LayerShape>> {
        let mut blocks = vec![];
        let channels = &self.config.block_out_channels;
        for (level, &output) in channels.iter().enumerate() {
            let name = format!("down_blocks.{level}");
            let before = channels[level.saturating_sub(1)];
            for layer in 0..self.config.layers_per_block[level] {
                let input = if layer == 0 { before } else { output };
                let resnet = format!("{name}.resnets.{layer}");
                let mut block = vec![self.resnet(resnet, level, input)];
                if self.config.down_attention[level] {
                    let name = format!("{name}.attentions.{layer}");
                    block.push(self.transformer(name, level, Place::Down));
                }
                blocks.push(block);
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
                let mut block = vec![self.resnet(resnet, level, input + skip)];
                if self.config.up_attention[level] {
                    let name = format!("{name}.attentions.{layer}");
                    block.push(self.transformer(name, level, Place::Up));
                }
                if layer + 1 == layers && level > 0 {
                    block.push(LayerShape {
                        name: format!("{name}.upsamplers.0.conv"),
                        level: level - 1,
                        sizes: Sizes::Upsample(output),
                    });
                }
                blocks.push(block);
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
