//! How much a model computes, from its configs alone. Owns the counts, and which of a row's attention can be
//! skipped or repeated. Never knows which rows a run has, nor how long anything takes.
//!
//! All counts are in FLOP, two per multiply-add. Convolutions, linear layers and the two products of attention
//! count. Norms, activations, softmax, additions and resizing do not: they are few, and PyTorch's counter, which
//! the tests compare with, leaves them out too.

use super::resnet::ResnetShape;
use super::text::TextConfig;
use super::transformer::TransformerShape;
use super::unet_config::UNetConfig;
use super::unet_shape::{LayerShape, Sizes, UNetShape};
use super::vae_config::VaeConfig;
use crate::attention::{AttentionKind, Site};

/// FLOP of a model for latents of one size.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// One row of a UNet forward pass without a hook, `sites` included. The time embedding is included too,
    /// although the rows of a pass share it: it is a thousandth at most at the native size of known models.
    pub unet_row: f64,
    /// The attention sites in order of execution.
    pub sites: Vec<SiteWork>,
    /// Decoding one picture.
    pub vae_decode: f64,
    /// Encoding one prompt with all text encoders.
    pub text: f64,
}

/// FLOP of one row at one attention site. A row without an edit computes all three once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SiteWork {
    /// The site.
    pub site: Site,
    /// The row's own attention map: queries, keys and their product. It is skipped where nothing reads the map.
    pub map: f64,
    /// A map times the row's values, once per term of the row's output. A token map on the values is
    /// `tokens / queries` of this and not counted.
    pub term: f64,
    /// The projections to values and of the output, which every plan needs.
    pub projections: f64,
}

impl Work {
    /// Counts for latents of `(height, width)`, prompts of `tokens` tokens with padding, and one text encoder or
    /// two.
    pub fn count(
        unet: &UNetConfig,
        vae: &VaeConfig,
        text_encoders: &[&TextConfig],
        tokens: usize,
        latent_size: (usize, usize),
    ) -> Self {
        let (unet_row, sites) = unet_work(unet, tokens, latent_size);
        let text = text_encoders.iter().map(|text| text_work(text, tokens));
        Self {
            unet_row,
            sites,
            vae_decode: vae_work(vae, latent_size.0 * latent_size.1),
            text: text.sum(),
        }
    }
}

impl SiteWork {
    /// `context` says how many tokens of how many channels give keys and values.
    fn new(site: Site, channels: usize, context: (usize, usize)) -> Self {
        let (n, (t, width)) = (site.queries(), context);
        Self {
            site,
            map: product(n, channels, channels)
                + product(t, width, channels)
                + product(n, channels, t),
            term: product(n, t, channels),
            projections: product(t, width, channels) + product(n, channels, channels),
        }
    }
}

/// The product of `[n, k]` and `[k, m]`: a product of attention, or a linear layer on `n` pixels or tokens.
fn product(n: usize, k: usize, m: usize) -> f64 {
    2.0 * n as f64 * k as f64 * m as f64
}

fn conv3x3(pixels: usize, input: usize, output: usize) -> f64 {
    product(pixels, 9 * input, output)
}

/// A row of the UNet, and its attention sites, which the row's FLOP include.
pub(super) fn unet_work(
    unet: &UNetConfig,
    tokens: usize,
    latent_size: (usize, usize),
) -> (f64, Vec<SiteWork>) {
    let shape = UNetShape::new(unet);
    let layers = shape.layers();
    let (flop, sites): (Vec<f64>, Vec<_>) = layers
        .map(|layer| layer_work(layer, tokens, latent_size))
        .unzip();
    let ends = unet_ends(unet, latent_size.0 * latent_size.1);
    (
        ends + flop.iter().sum::<f64>(),
        sites.into_iter().flatten().collect(),
    )
}

/// The first and the last convolution and the time embedding, with what a prompt adds to it.
fn unet_ends(config: &UNetConfig, pixels: usize) -> f64 {
    let (first, time) = (config.block_out_channels[0], config.time_channels());
    2.0 * conv3x3(pixels, config.latent_channels, first)
        + product(1, first, time)
        + product(1, time, time)
        + config.text_time.map_or(0.0, |of| {
            product(1, of.input, time) + product(1, time, time)
        })
}

/// A layer of the UNet, and its attention sites, which the layer's FLOP include.
fn layer_work(
    layer: &LayerShape,
    tokens: usize,
    latent_size: (usize, usize),
) -> (f64, Vec<SiteWork>) {
    let (h, w) = layer.grid(latent_size);
    match &layer.sizes {
        Sizes::Resnet(shape) => (resnet(shape, h * w), vec![]),
        Sizes::Downsample(c) | Sizes::Upsample(c) => (conv3x3(h * w, *c, *c), vec![]),
        Sizes::Transformer(shape, _) => transformer(shape, h * w, tokens, layer.sites(latent_size)),
    }
}

fn resnet(shape: &ResnetShape, pixels: usize) -> f64 {
    let (input, output) = (shape.input, shape.output);
    let shortcut = if input == output {
        0.0
    } else {
        product(pixels, input, output)
    };
    conv3x3(pixels, input, output)
        + conv3x3(pixels, output, output)
        + shape.time.map_or(0.0, |time| product(1, time, output))
        + shortcut
}

fn transformer(
    shape: &TransformerShape,
    n: usize,
    tokens: usize,
    sites: Vec<Site>,
) -> (f64, Vec<SiteWork>) {
    let c = shape.channels;
    let context = |kind| match kind {
        AttentionKind::SelfAttn => (n, c),
        AttentionKind::Cross => (tokens, shape.context),
    };
    let site = |site: Site| SiteWork::new(site, c, context(site.kind));
    let sites: Vec<_> = sites.into_iter().map(site).collect();
    let attention: f64 = sites.iter().map(|s| s.map + s.term + s.projections).sum();
    let feed_forward = product(n, c, 8 * c) + product(n, 4 * c, c);
    let in_and_out = 2.0 * product(n, c, c);
    let flop = attention + shape.depth as f64 * feed_forward + in_and_out;
    (flop, sites)
}

/// Decoding a picture, from latents of `pixels` pixels.
fn vae_work(config: &VaeConfig, pixels: usize) -> f64 {
    let (latent, middle) = (config.latent_channels, config.middle());
    let c = middle.input;
    let mut flop = conv3x3(pixels, latent, c) + 2.0 * resnet(&middle, pixels);
    if config.use_post_quant_conv {
        flop += product(pixels, latent, latent);
    }
    if config.mid_block_add_attention {
        flop += attention(pixels, c);
    }
    let levels = config.levels();
    for (i, level) in levels.iter().enumerate() {
        let pixels = pixels << (2 * i); // each level doubles both sides
        flop += level.iter().map(|shape| resnet(shape, pixels)).sum::<f64>();
        if i + 1 < levels.len() {
            flop += conv3x3(4 * pixels, level[0].output, level[0].output);
        }
    }
    let factor = config.factor();
    flop + conv3x3(
        factor * factor * pixels,
        config.block_out_channels[0],
        config.picture_channels,
    )
}

fn text_work(config: &TextConfig, tokens: usize) -> f64 {
    let mlp = 2.0 * product(tokens, config.hidden_size, config.intermediate_size);
    config.layers as f64 * (attention(tokens, config.hidden_size) + mlp)
}

/// Self-attention without a hook: four projections and two products.
fn attention(tokens: usize, channels: usize) -> f64 {
    4.0 * product(tokens, channels, channels) + 2.0 * product(tokens, channels, tokens)
}
