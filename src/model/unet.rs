//! The denoising UNet (diffusers' `UNet2DConditionModel`): a walk over one flat list of parts with a
//! stack of skip connections. Attention goes through the seam; nothing here knows who listens.

use candle_core::{DType, Device, Tensor};

use super::layers::{Conv3x3, GroupNorm, Linear};
use super::resnet::Resnet;
use super::states::{Added, PromptStates};
use super::transformer::{TextKeyValues, Transformer};
use super::unet_config::{TextTime, UNetConfig};
use super::unet_shape::{LayerShape, Sizes, UNetShape};
use super::weights::Weights;
use super::work::unet_work;
use crate::attention::{AttentionHook, NoHook, Site};
use crate::error::{Error, Result};
use crate::kernels::{concat_channels, silu};

/// One step of the walk.
#[derive(Debug, Clone)]
enum Layer {
    Resnet(Resnet),
    Transformer(Transformer),
    Downsample(Conv3x3),
    /// To the size of the next skip connection: on odd grids it is not twice the size.
    Upsample(Conv3x3),
    /// Leaves a skip connection.
    PushSkip,
    /// Takes the last one.
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

#[derive(Debug, Clone)]
pub struct UNet {
    config: UNetConfig,
    /// What it computes with. What goes in and what comes out is f32 on the CPU.
    device: Device,
    dtype: DType,
    time1: Linear,
    time2: Linear,
    text_time: Option<(TextTime, Linear, Linear)>,
    conv_in: Conv3x3,
    parts: Vec<Layer>,
    norm_out: GroupNorm,
    conv_out: Conv3x3,
}

/// FLOP of a row below which both halves of classifier-free guidance are worked on at once: threads
/// then get more done with a half each than by sharing every small operation.
const SMALL: f64 = 2e10;

impl UNet {
    pub fn load(config: &UNetConfig, w: &Weights) -> Result<Self> {
        let first = config.block_out_channels[0];
        let time = config.time_channels();
        let shape = UNetShape::new(config);
        let mut parts = vec![Layer::PushSkip];
        let load = |shapes: &[LayerShape], parts: &mut Vec<Layer>| -> Result<()> {
            for shape in shapes {
                parts.push(Layer::load(shape, config, w)?);
            }
            Ok(())
        };
        for shapes in &shape.input {
            load(shapes, &mut parts)?;
            parts.push(Layer::PushSkip);
        }
        load(&shape.middle, &mut parts)?;
        for shapes in &shape.output {
            parts.push(Layer::PopSkip);
            load(shapes, &mut parts)?;
        }
        let text_time = |of: TextTime| -> Result<_> {
            let w = w.pp("add_embedding");
            let first = Linear::load(&w.pp("linear_1"), of.input, time)?;
            Ok((of, first, Linear::load(&w.pp("linear_2"), time, time)?))
        };
        let (latent, pixels) = (config.latent_channels, config.pixels(0));
        let (groups, eps) = (config.norm_num_groups, config.norm_eps);
        let (device, dtype) = w.place();
        Ok(Self {
            device,
            dtype,
            time1: Linear::load(&w.pp("time_embedding.linear_1"), first, time)?,
            time2: Linear::load(&w.pp("time_embedding.linear_2"), time, time)?,
            text_time: config.text_time.map(text_time).transpose()?,
            conv_in: Conv3x3::load(&w.pp("conv_in"), latent, first, pixels)?,
            parts,
            norm_out: GroupNorm::load(&w.pp("conv_norm_out"), first, groups, eps)?,
            conv_out: Conv3x3::load(&w.pp("conv_out"), first, latent, pixels)?,
            config: config.clone(),
        })
    }

    /// What it takes from the prompts: the keys and values that the cross-attention sites see of text
    /// states `[rows, tokens, cross_attention_dim]`, and what they add to the time. The same at every step.
    ///
    /// Errors: a model that adds a summary of the prompt, without one.
    pub fn read(&self, prompts: impl Into<PromptStates>) -> Result<TextKeyValues> {
        let PromptStates { context, added } = prompts.into();
        let context = self.taken(&context)?;
        let mut text = TextKeyValues::default();
        text.added = self.add(added.as_ref())?;
        for part in &self.parts {
            if let Layer::Transformer(transformer) = part {
                transformer.read(&context, &mut text)?;
            }
        }
        Ok(text)
    }

    /// Predicted noise.
    ///
    /// `latents` `[rows, 4, h, w]`, `timestep` of the training schedule, `text` of as many rows;
    /// returns `[rows, 4, h, w]`. Every row is computed by the same operations whatever the others are.
    pub fn forward(
        &self,
        latents: &Tensor,
        timestep: usize,
        text: &TextKeyValues,
        hook: &mut dyn AttentionHook,
    ) -> Result<Tensor> {
        self.begin(latents, timestep)?.finish(text, hook)
    }

    /// Both halves of classifier-free guidance, `(uncond, cond)`; only the conditional one is hooked.
    /// What comes before any text is the same in both and computed once.
    pub fn forward_guided(
        &self,
        latents: &Tensor,
        timestep: usize,
        uncond: &TextKeyValues,
        cond: &TextKeyValues,
        hook: &mut dyn AttentionHook,
    ) -> Result<(Tensor, Tensor)> {
        let mut walk = self.begin(latents, timestep)?;
        // Where the prompt is in the time embedding, every part but the first sees it.
        if self.text_time.is_none() {
            walk.until_text(hook)?;
        }
        let other = walk.clone();
        let plain = || other.finish(uncond, &mut NoHook);
        let hooked = || walk.finish(cond, hook);
        let (_, _, h, w) = latents.dims4()?;
        let (flop, _) = unet_work(&self.config, cond.tokens(), (h, w));
        let (uncond, cond) = match flop < SMALL && self.device.is_cpu() {
            true => rayon::join(plain, hooked),
            false => (plain(), hooked()),
        };
        Ok((uncond?, cond?))
    }

    fn begin(&self, latents: &Tensor, timestep: usize) -> Result<Walk<'_>> {
        let x = self.taken(&latents.permute((0, 2, 3, 1))?.contiguous()?)?; // [rows, h, w, 4]
        let embedding = self.time_embedding(timestep)?;
        Ok(Walk {
            unet: self,
            time: silu(&embedding)?,
            embedding,
            x: self.conv_in.forward(&x)?,
            skips: vec![],
            next: 0,
            entered: None,
        })
    }

    /// On its device, as its numbers.
    fn taken(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.to_device(&self.device)?.to_dtype(self.dtype)?)
    }

    /// Sinusoids through two layers: `[1, 1, time]`.
    fn time_embedding(&self, timestep: usize) -> Result<Tensor> {
        let sinusoids = self.sinusoids(timestep, self.config.block_out_channels[0]);
        let x = Tensor::new(sinusoids, &Device::Cpu)?;
        let x = self.taken(&x.unsqueeze(0)?.unsqueeze(0)?)?;
        self.time2.forward(&silu(&self.time1.forward(&x)?)?)
    }

    /// The prompts' summaries and the picture's size as an embedding of their own, `[rows, 1, time]`.
    fn add(&self, added: Option<&Added>) -> Result<Option<Tensor>> {
        let Some((of, first, second)) = &self.text_time else {
            return Ok(None);
        };
        let added = added.ok_or_else(|| {
            Error::model(
                "this UNet wants a summary of the prompt",
                "read prompts with TextEncoders::read",
            )
        })?;
        let sizes = added
            .sizes
            .map(|size| self.sinusoids(size, of.size_channels));
        let sizes = Tensor::new(sizes.concat(), added.pooled.device())?;
        let rows = added.pooled.dim(0)?;
        let sizes = sizes
            .unsqueeze(0)?
            .broadcast_as((rows, Added::SIZES * of.size_channels))?;
        let x = Tensor::cat(&[&added.pooled, &sizes.contiguous()?], 1)?;
        let x = self.taken(&x.unsqueeze(1)?)?;
        Ok(Some(second.forward(&silu(&first.forward(&x)?)?)?))
    }

    /// A whole number as sines and cosines of `channels` angles.
    fn sinusoids(&self, number: usize, channels: usize) -> Vec<f32> {
        let half = channels / 2;
        let spread = half as f32 - self.config.freq_shift as f32;
        let angle = |i: usize| {
            // Rounded to f32 where torch does: at timestep 981 the last bit of the exponent shows.
            let exponent = -(10000f64.ln() as f32) * i as f32 / spread;
            f64::from(number as f32 * f64::from(exponent).exp() as f32)
        };
        let sines = (0..half).map(|i| angle(i).sin() as f32);
        let cosines = (0..half).map(|i| angle(i).cos() as f32);
        match self.config.flip_sin_to_cos {
            true => cosines.chain(sines).collect(),
            false => sines.chain(cosines).collect(),
        }
    }

    /// Every attention site for latents of a size, in order of execution.
    pub fn sites(&self, latent_size: (usize, usize)) -> Vec<Site> {
        self.config.sites(latent_size)
    }

    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// The numbers that it computes in.
    pub fn dtype(&self) -> DType {
        self.dtype
    }
}

/// A forward pass on its way. A clone costs nothing: tensors are shared.
#[derive(Clone)]
struct Walk<'a> {
    unet: &'a UNet,
    /// Of the timestep alone, `[1, 1, time]`.
    embedding: Tensor,
    /// With what the prompts add, and the SiLU that every resnet begins with: `[1 or rows, 1, time]`.
    time: Tensor,
    /// `[rows, h, w, channels]`
    x: Tensor,
    skips: Vec<Tensor>,
    /// The part that comes next.
    next: usize,
    /// Of the next part, a transformer, what it makes before it sees any text.
    entered: Option<Tensor>,
}

impl Walk<'_> {
    /// As far as no text is seen and `hook` has no say.
    fn until_text(&mut self, hook: &dyn AttentionHook) -> Result<()> {
        let unet = self.unet;
        while let Some(part) = unet.parts.get(self.next) {
            if let Layer::Transformer(transformer) = part {
                self.entered = transformer.before_text(&self.x, hook)?;
                return Ok(());
            }
            self.step(part, &TextKeyValues::default(), &mut NoHook)?;
        }
        Ok(())
    }

    fn finish(mut self, text: &TextKeyValues, hook: &mut dyn AttentionHook) -> Result<Tensor> {
        let unet = self.unet;
        if let Some(added) = &text.added {
            self.time = silu(&added.broadcast_add(&self.embedding)?)?;
        }
        while let Some(part) = unet.parts.get(self.next) {
            self.step(part, text, hook)?;
        }
        let x = unet
            .conv_out
            .forward(&unet.norm_out.forward_silu(&self.x)?)?;
        let x = x.to_dtype(DType::F32)?.to_device(&Device::Cpu)?;
        Ok(x.permute((0, 3, 1, 2))?.contiguous()?)
    }

    fn step(
        &mut self,
        part: &Layer,
        text: &TextKeyValues,
        hook: &mut dyn AttentionHook,
    ) -> Result<()> {
        self.next += 1;
        self.x = match part {
            Layer::Resnet(resnet) => resnet.forward(&self.x, Some(&self.time))?,
            Layer::Transformer(t) => t.forward(&self.x, self.entered.take(), text, hook)?,
            Layer::Downsample(conv) => conv.downsample(&self.x)?,
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
                let skip = self
                    .skips
                    .pop()
                    .expect("a part that takes per part that leaves");
                concat_channels(&self.x, &skip)?
            }
        };
        Ok(())
    }
}
