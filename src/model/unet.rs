//! The denoising UNet (diffusers' `UNet2DConditionModel`): one flat list of layers with a stack of skip
//! connections. Attention goes through the hook's interface; nothing here knows what a hook does.

use candle_core::{DType, Device, Tensor};

use super::layers::{Conv3x3, GroupNorm};
use super::resnet::Resnet;
use super::states::{AddedConditions, PromptStates};
use super::time_embedding::TimeEmbedding;
use super::transformer::{TextKeyValues, Transformer};
use super::unet_config::UNetConfig;
use super::unet_shape::{LayerShape, Sizes, UNetShape};
use super::weights::Weights;
use super::work::unet_work;
use crate::attention::{AttentionHook, NoHook, Site};
use crate::error::Result;
use crate::kernels::{Padding, concat_channels, silu};

/// One step of a forward pass.
#[derive(Debug, Clone)]
enum Layer {
    Resnet(Resnet),
    Transformer(Transformer),
    Downsample(Conv3x3),
    /// Upsamples to the size of the next skip connection. On odd grids that is not twice the size.
    Upsample(Conv3x3),
    /// Pushes the activations onto the stack of skip connections.
    PushSkip,
    /// Pops the last skip connection and appends its channels.
    PopSkip,
}

impl Layer {
    fn load(shape: &LayerShape, config: &UNetConfig, w: &Weights) -> Result<Self> {
        let w = w.pp(&shape.name);
        Ok(match &shape.sizes {
            Sizes::Resnet(shape) => Layer::Resnet(Resnet::load(&w, *shape)?),
            Sizes::Transformer(shape, sites) => {
                Layer::Transformer(Transformer::load(&w, *shape, sites)?)
            }
            Sizes::Downsample(c) => Layer::Downsample(Conv3x3::load_strided(&w, *c)?),
            Sizes::Upsample(c) => {
                Layer::Upsample(Conv3x3::load(&w, *c, *c, config.pixels(shape.level))?)
            }
        })
    }
}

/// A UNet with its weights.
#[derive(Debug, Clone)]
pub struct UNet {
    config: UNetConfig,
    /// Where and in which dtype layers compute. Inputs and outputs of a forward pass are f32 on the CPU.
    device: Device,
    dtype: DType,
    time: TimeEmbedding,
    conv_in: Conv3x3,
    layers: Vec<Layer>,
    norm_out: GroupNorm,
    conv_out: Conv3x3,
}

/// FLOP of a row below which both halves of classifier-free guidance run at once. Threads then get more done
/// with a half each than by sharing every small operation.
const SMALL: f64 = 2e10;

impl UNet {
    /// Loads the weights.
    ///
    /// # Errors
    /// [`Error::Model`](crate::error::Error::Model) for missing weights and wrong shapes.
    pub fn load(config: &UNetConfig, w: &Weights) -> Result<Self> {
        let first = config.block_out_channels[0];
        let (channels, pixels) = (config.latent_channels, config.pixels(0));
        let (groups, eps) = (config.norm_num_groups, config.norm_eps);
        let (device, dtype) = w.placement();
        Ok(Self {
            device,
            dtype,
            time: TimeEmbedding::load(config, w)?,
            conv_in: Conv3x3::load(&w.pp("conv_in"), channels, first, pixels)?,
            layers: load_layers(config, w)?,
            norm_out: GroupNorm::load(&w.pp("conv_norm_out"), first, groups, eps)?,
            conv_out: Conv3x3::load(&w.pp("conv_out"), first, channels, pixels)?,
            config: config.clone(),
        })
    }

    /// Computes what the UNet needs of the prompts: keys and values of every cross-attention site for text
    /// states `[rows, tokens, cross_attention_dim]`, and what is added to the time embedding. Steps with the
    /// same prompts can share the result.
    ///
    /// # Errors
    /// [`Error::Model`](crate::error::Error::Model) for a model of Stable Diffusion XL without pooled
    /// embeddings.
    pub fn read(&self, prompts: impl Into<PromptStates>) -> Result<TextKeyValues> {
        let PromptStates { context, added } = prompts.into();
        let context = self.placed(&context)?;
        let mut text = TextKeyValues::default();
        text.added = self.embed_added(added.as_ref())?;
        for layer in &self.layers {
            if let Layer::Transformer(transformer) = layer {
                transformer.read_text(&context, &mut text)?;
            }
        }
        Ok(text)
    }

    /// Predicts the noise, or v for a model that was trained to predict it.
    ///
    /// `latents` are `[rows, channels, h, w]`, `timestep` counts training steps, `text` has as many rows;
    /// the result is `[rows, channels, h, w]`. Every row is computed by the same operations whatever the
    /// other rows are.
    ///
    /// # Errors
    /// Fails for other shapes, and when the hook fails.
    pub fn forward(
        &self,
        latents: &Tensor,
        timestep: usize,
        text: &TextKeyValues,
        hook: &mut dyn AttentionHook,
    ) -> Result<Tensor> {
        self.begin(latents, timestep)?.finish(text, hook)
    }

    /// Predicts both halves of classifier-free guidance: `(uncond, cond)`, each `[rows, channels, h, w]`. The
    /// hook sees the conditional half only. Everything before the first text is the same in both halves and
    /// computed once.
    ///
    /// # Errors
    /// See [`forward`](Self::forward).
    pub fn forward_guided(
        &self,
        latents: &Tensor,
        timestep: usize,
        uncond: &TextKeyValues,
        cond: &TextKeyValues,
        hook: &mut dyn AttentionHook,
    ) -> Result<(Tensor, Tensor)> {
        let mut pass = self.begin(latents, timestep)?;
        // With pooled embeddings, every layer after the first depends on the prompt.
        if !self.time.has_added() {
            pass.until_text(hook)?;
        }
        let other = pass.clone();
        let plain = || other.finish(uncond, &mut NoHook);
        let hooked = || pass.finish(cond, hook);
        let (_, _, h, w) = latents.dims4()?;
        let (flop, _) = unet_work(&self.config, cond.tokens(), (h, w));
        let (uncond, cond) = if flop < SMALL && self.device.is_cpu() {
            rayon::join(plain, hooked)
        } else {
            (plain(), hooked())
        };
        Ok((uncond?, cond?))
    }

    fn begin(&self, latents: &Tensor, timestep: usize) -> Result<Pass<'_>> {
        let x = latents.permute((0, 2, 3, 1))?.contiguous()?; // [rows, h, w, channels]
        let embedding = self
            .time
            .embed(timestep, |sinusoids| self.placed(sinusoids))?;
        Ok(Pass {
            unet: self,
            time: silu(&embedding)?,
            embedding,
            x: self.conv_in.forward(&self.placed(&x)?)?,
            skips: vec![],
            next: 0,
            entered: None,
        })
    }

    /// The tensor on the UNet's device, in its dtype.
    fn placed(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.to_device(&self.device)?.to_dtype(self.dtype)?)
    }

    fn embed_added(&self, added: Option<&AddedConditions>) -> Result<Option<Tensor>> {
        self.time.embed_added(added, |x| self.placed(x))
    }

    /// Every attention site for latents of `(height, width)`, in order of execution.
    pub fn sites(&self, latent_size: (usize, usize)) -> Vec<Site> {
        self.config.sites(latent_size)
    }

    /// The config.
    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// The dtype in which layers compute.
    pub fn dtype(&self) -> DType {
        self.dtype
    }
}

/// The layers between the first and the last convolution, in order of execution.
fn load_layers(config: &UNetConfig, w: &Weights) -> Result<Vec<Layer>> {
    let shape = UNetShape::new(config);
    let mut layers = vec![Layer::PushSkip];
    let load = |shapes: &[LayerShape], layers: &mut Vec<Layer>| -> Result<()> {
        for shape in shapes {
            layers.push(Layer::load(shape, config, w)?);
        }
        Ok(())
    };
    for shapes in &shape.input {
        load(shapes, &mut layers)?;
        layers.push(Layer::PushSkip);
    }
    load(&shape.middle, &mut layers)?;
    for shapes in &shape.output {
        layers.push(Layer::PopSkip);
        load(shapes, &mut layers)?;
    }
    Ok(layers)
}

/// A forward pass in progress. A clone is cheap: tensors are shared.
#[derive(Clone)]
struct Pass<'a> {
    unet: &'a UNet,
    /// The embedding of the timestep alone, `[1, 1, time]`.
    embedding: Tensor,
    /// The embedding with what the prompts add, after SiLU: `[1 or rows, 1, time]`.
    time: Tensor,
    /// `[rows, h, w, channels]`
    x: Tensor,
    skips: Vec<Tensor>,
    /// The index of the next layer.
    next: usize,
    /// Where the next layer is a transformer: its tokens before any text, if they are computed already.
    entered: Option<Tensor>,
}

impl Pass<'_> {
    /// Goes on until a layer reads text or `hook` acts.
    fn until_text(&mut self, hook: &dyn AttentionHook) -> Result<()> {
        let unet = self.unet;
        while let Some(layer) = unet.layers.get(self.next) {
            if let Layer::Transformer(transformer) = layer {
                self.entered = transformer.before_text(&self.x, hook)?;
                return Ok(());
            }
            self.step(layer, &TextKeyValues::default(), &mut NoHook)?;
        }
        Ok(())
    }

    /// Goes on to the end, and returns the prediction `[rows, channels, h, w]` as f32 on the CPU.
    fn finish(mut self, text: &TextKeyValues, hook: &mut dyn AttentionHook) -> Result<Tensor> {
        let unet = self.unet;
        if let Some(added) = &text.added {
            self.time = silu(&added.broadcast_add(&self.embedding)?)?;
        }
        while let Some(layer) = unet.layers.get(self.next) {
            self.step(layer, text, hook)?;
        }
        let x = unet.norm_out.forward_silu(&self.x)?;
        let x = unet.conv_out.forward(&x)?;
        let x = x.to_dtype(DType::F32)?.to_device(&Device::Cpu)?;
        Ok(x.permute((0, 3, 1, 2))?.contiguous()?)
    }

    fn step(
        &mut self,
        layer: &Layer,
        text: &TextKeyValues,
        hook: &mut dyn AttentionHook,
    ) -> Result<()> {
        self.next += 1;
        self.x = match layer {
            Layer::Resnet(resnet) => resnet.forward(&self.x, Some(&self.time))?,
            Layer::Transformer(t) => t.forward(&self.x, self.entered.take(), text, hook)?,
            Layer::Downsample(conv) => conv.downsample(&self.x, Padding::Symmetric)?,
            Layer::Upsample(conv) => {
                let skip = self.skips.last().expect("a finer level has skips left");
                let (_, h, w, _) = skip.dims4()?;
                conv.upsample(&self.x, (h, w))?
            }
            Layer::PushSkip => {
                self.skips.push(self.x.clone());
                return Ok(());
            }
            Layer::PopSkip => {
                let skip = self.skips.pop().expect("every pop follows a push");
                concat_channels(&self.x, &skip)?
            }
        };
        Ok(())
    }
}
