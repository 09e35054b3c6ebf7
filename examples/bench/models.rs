//! The models that the works need, and the FLOP of each work. This file never knows how a table is printed.

use candle_core::{DType, Tensor};
use prompt_to_prompt::attention::NoHook;
use prompt_to_prompt::device::{Compute, ComputeChoice};
use prompt_to_prompt::error::Result;
use prompt_to_prompt::kernels::{Conv, ConvWeight, Form, Packing, conv2d, linear};
use prompt_to_prompt::model::{
    Config, Model, ModelFiles, ModelFolder, ModelSource, TextConfig, TextEncoder, UNet, UNetConfig,
    Vae, VaeConfig, Weights,
};

use super::runs::{Run, TOKENS, attention, decode, edit, encode, numbers, recorder, step};
use super::works::{Size, Work};

/// The models. Each one is loaded when a work first needs it. The components of Stable Diffusion 1.5 are loaded
/// separately, so that the peak of memory is the peak of the work.
pub struct Models {
    packing: Packing,
    choice: ComputeChoice,
    compute: Compute,
    /// A folder with a model of the shape of Stable Diffusion 1.5. Without it, the weights are random.
    sd15_folder: Option<String>,
    storybook: Option<(ModelFolder, Model)>,
    unet: Option<UNet>,
    vae: Option<Vae>,
    text: Option<TextEncoder>,
}

impl Models {
    pub fn new(
        sd15_folder: Option<String>,
        packing: Packing,
        choice: ComputeChoice,
    ) -> Result<Self> {
        Ok(Self {
            packing,
            choice,
            compute: choice.open()?,
            sd15_folder,
            storybook: None,
            unet: None,
            vae: None,
            text: None,
        })
    }

    fn storybook(&mut self) -> Result<&(ModelFolder, Model)> {
        if self.storybook.is_none() {
            let folder = ModelFolder::open_source(&ModelSource {
                compute: self.choice,
                ..ModelSource::named("storybook")
            })?;
            let model = folder.load_as(self.packing)?;
            self.storybook = Some((folder, model));
        }
        Ok(self.storybook.as_ref().expect("set above"))
    }

    /// The weights of a component of Stable Diffusion 1.5.
    fn weights(&self, file: &str) -> Result<Weights> {
        let weights = match &self.sd15_folder {
            Some(folder) => Weights::open(&ModelFiles::Folder(folder.into()), file)?,
            None => Weights::random(),
        };
        Ok(weights.packed_as(self.packing))
    }

    fn unet(&mut self, size: Size) -> Result<&UNet> {
        if size == Size::Storybook {
            return Ok(&self.storybook()?.1.unet);
        }
        if self.unet.is_none() {
            let weights = self.weights("unet/diffusion_pytorch_model.safetensors")?;
            let weights = weights.on(&self.compute.device, self.compute.dtype);
            self.unet = Some(UNet::load(&sd15_configs()?.0, &weights)?);
        }
        Ok(self.unet.as_ref().expect("set above"))
    }

    fn vae(&mut self, size: Size) -> Result<&Vae> {
        if size == Size::Storybook {
            return Ok(&self.storybook()?.1.vae);
        }
        if self.vae.is_none() {
            let weights = self.weights("vae/diffusion_pytorch_model.safetensors")?;
            let weights = weights.on(&self.compute.device, DType::F32);
            let vae = Vae::load(&sd15_configs()?.1, &weights)?;
            self.vae = Some(if self.compute.vae_tiling {
                vae.tiled(Vae::BAND)
            } else {
                vae
            });
        }
        Ok(self.vae.as_ref().expect("set above"))
    }

    fn text(&mut self, size: Size) -> Result<&TextEncoder> {
        if size == Size::Storybook {
            return Ok(&self.storybook()?.1.text_encoders.first);
        }
        if self.text.is_none() {
            let weights = self.weights("text_encoder/model.safetensors")?;
            self.text = Some(TextEncoder::load(&sd15_configs()?.2, &weights)?);
        }
        Ok(self.text.as_ref().expect("set above"))
    }

    /// Prepares a work, so that each call of the result runs it once.
    pub fn prepare(&mut self, work: &Work) -> Result<Run<'_>> {
        Ok(match *work {
            Work::Step(size, rows, edited) => step(self.unet(size)?, rows, edited, None)?,
            Work::Recorded(size, rows) => {
                let unet = self.unet(size)?;
                step(unet, rows, false, Some(recorder(unet, rows)))?
            }
            Work::Vae(Size::Storybook) => decode(self.vae(Size::Storybook)?, 16)?,
            Work::Vae(Size::Sd15) => decode(self.vae(Size::Sd15)?, 64)?,
            Work::LargeVae(Size::Storybook) => decode(self.vae(Size::Storybook)?, 32)?,
            Work::LargeVae(Size::Sd15) => decode(self.vae(Size::Sd15)?, 128)?,
            Work::Text(size) => encode(self.text(size)?),
            Work::Attention(shape) => attention(shape)?,
            Work::Linear(m, k, n) => {
                let layer = ConvWeight::from_linear(&numbers(&[n, k], 8)?, None)?;
                let x = numbers(&[1, m, k], 9)?;
                Box::new(move || linear(&x, &layer, None).map(|_| ()))
            }
            Work::Conv(side, c_in, c_out) => {
                let weight = numbers(&[c_out, c_in, 3, 3], 8)?;
                let layer = ConvWeight::from_conv(&weight, None, side * side, self.packing)?;
                let x = numbers(&[2, side, side, c_in], 9)?;
                Box::new(move || conv2d(&x, &layer, Conv::default()).map(|_| ()))
            }
            Work::Edit(edits, steps) => {
                let (folder, model) = self.storybook()?;
                edit(folder, model, edits, steps)?
            }
        })
    }

    /// The FLOP of a work, as counted by `model::Work`, or 0 if a work has no single number.
    pub fn flop(&self, work: &Work) -> f64 {
        let of = |size: Size| match (size, sd15_configs()) {
            (Size::Storybook, _) => self
                .storybook
                .as_ref()
                .map(|(folder, _)| folder.work((16, 16))),
            (Size::Sd15, Ok((unet, vae, text))) => {
                let side = unet.sample_size;
                Some(prompt_to_prompt::model::Work::count(
                    &unet,
                    &vae,
                    &[&text],
                    TOKENS,
                    (side, side),
                ))
            }
            _ => None,
        };
        match *work {
            Work::Step(size, rows, _) | Work::Recorded(size, rows) => {
                of(size).map_or(0.0, |w| rows as f64 * w.unet_row)
            }
            Work::Vae(size) => of(size).map_or(0.0, |w| w.vae_decode),
            Work::LargeVae(_) => 0.0,
            Work::Text(size) => of(size).map_or(0.0, |w| w.text),
            Work::Attention(shape) => {
                // One product for the scores, and one for the values of each row.
                let products = if shape.injected { 3.0 } else { 2.0 };
                products * 2.0 * (shape.queries * shape.keys * shape.heads * shape.d) as f64
            }
            Work::Linear(m, k, n) => 2.0 * (m * k * n) as f64,
            Work::Conv(side, c_in, c_out) => 2.0 * (2 * side * side * 9 * c_in * c_out) as f64,
            Work::Edit(..) => 0.0,
        }
    }
}

/// Compares a UNet in `folder` with the output of diffusers for the same inputs (`golden.safetensors`).
pub fn check(folder: &str, packing: Packing, compute: &Compute) -> Result<()> {
    let files = ModelFiles::Folder(folder.into());
    let weights =
        Weights::open(&files, "unet/diffusion_pytorch_model.safetensors")?.packed_as(packing);
    let weights = weights.on(&compute.device, compute.dtype);
    let unet = UNet::load(&sd15_configs()?.0, &weights)?;
    let golden = Weights::open(&files, "golden.safetensors")?;
    let latents = golden.get((1, 4, 64, 64), "latents")?;
    let text = unet.read(&golden.get((1, TOKENS, 768), "text")?)?;
    let expected = golden.get((1, 4, 64, 64), "eps")?;
    let eps = unet.forward(&latents, 500, &text, &mut NoHook)?;
    let norm = |x: &Tensor| -> Result<f32> { Ok(x.sqr()?.sum_all()?.to_scalar::<f32>()?.sqrt()) };
    let off = norm(&(&eps - &expected)?)? / norm(&expected)?;
    println!("relative rms {off:.2e} in {}", Form::current().name());
    Ok(())
}

/// The configs of Stable Diffusion 1.5.
fn sd15_configs() -> Result<(UNetConfig, VaeConfig, TextConfig)> {
    let unet = r#"{"_class_name": "UNet2DConditionModel", "sample_size": 64, "in_channels": 4, "out_channels": 4,
        "block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2, "cross_attention_dim": 768,
        "attention_head_dim": 8,
        "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"]}"#;
    let vae = r#"{"_class_name": "AutoencoderKL", "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2,
        "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]}"#;
    let text = r#"{"vocab_size": 49408, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
        "num_attention_heads": 12, "max_position_embeddings": 77, "hidden_act": "quick_gelu"}"#;
    let parse = |json: &str| Config::parse("bench", json.as_bytes());
    Ok((
        UNetConfig::parse(&parse(unet)?)?,
        VaeConfig::parse(&parse(vae)?, 64)?,
        TextConfig::parse(&parse(text)?)?,
    ))
}
