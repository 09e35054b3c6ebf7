//! The works that are measured, and the models they need.

use candle_core::{DType, Device, Tensor};
use prompt_to_prompt::attention::{AttentionKind, Carry, NoHook, SitePlan, Term, attend};
use prompt_to_prompt::device::{Compute, ComputeChoice};
use prompt_to_prompt::edit::{MapEdit, TokenMap, Window};
use prompt_to_prompt::error::Result;
use prompt_to_prompt::job::{EditSettings, Job, Prepared, run};
use prompt_to_prompt::kernels::{Conv, ConvWeight, Form, Packing, conv2d, linear};
use prompt_to_prompt::model::{
    Conditioning, Config, Denoiser, DenoiserCall, Model, ModelFiles, ModelFolder, ModelSource,
    TextConfig, TextEncoder, UNet, UNetConfig, UNetDenoiser, Vae, VaeConfig, Weights,
};
use prompt_to_prompt::sample::noise::randn;
use prompt_to_prompt::sample::{
    AttentionObserver, Columns, Controller, Heads, Lockstep, Recorder, Recording, RowEdit, Shown,
    StepPlan,
};

const TOKENS: usize = 77;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Size {
    Storybook,
    Sd15,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Work {
    /// A denoising step of so many rows, both halves counted; edited or not.
    Step(Size, usize, bool),
    /// A step whose cross-attention is recorded for heatmaps, at every resolution.
    Recorded(Size, usize),
    Vae(Size),
    /// Of a picture of four times the native size.
    LargeVae(Size),
    Text(Size),
    /// Tokens, text tokens or the same, heads, channels of a head, and whether an edited row rides along.
    Attention(usize, usize, usize, usize, bool),
    /// Lines, channels in and out.
    Linear(usize, usize, usize),
    /// Two rows of a side, channels in and out.
    Conv(usize, usize, usize),
    /// Edits of one source, steps.
    Edit(usize, usize),
}

pub fn all() -> Vec<Work> {
    let mut all = vec![];
    for size in [Size::Storybook, Size::Sd15] {
        all.extend([1, 2, 4, 10].map(|rows| Work::Step(size, rows, false)));
        all.push(Work::Step(size, 4, true));
        all.push(Work::Recorded(size, 2));
        all.push(Work::Vae(size));
        all.push(Work::LargeVae(size));
        all.push(Work::Text(size));
    }
    for (n, t, d) in [
        (4096, 4096, 40),
        (1024, 1024, 80),
        (256, 256, 160),
        (4096, 77, 40),
    ] {
        all.extend([false, true].map(|edited| Work::Attention(n, t, 8, d, edited)));
    }
    let linears = [
        (8192, 320, 320),
        (8192, 320, 2560),
        (8192, 1280, 320),
        (2048, 640, 5120),
        (512, 1280, 10240),
        (512, 5120, 1280),
        (128, 1280, 1280),
        (77, 768, 1280),
    ];
    all.extend(linears.map(|(m, k, n)| Work::Linear(m, k, n)));
    let convs = [
        (64, 320, 320),
        (64, 960, 320),
        (32, 640, 640),
        (32, 1920, 640),
        (16, 1280, 1280),
        (16, 2560, 1280),
        (8, 1280, 1280),
        (8, 2560, 1280),
    ];
    all.extend(convs.map(|(side, c_in, c_out)| Work::Conv(side, c_in, c_out)));
    all.extend([Work::Edit(1, 30), Work::Edit(1, 50), Work::Edit(4, 30)]);
    all
}

impl Work {
    pub fn name(&self) -> String {
        let of = |size: &Size| match size {
            Size::Storybook => "storybook",
            Size::Sd15 => "sd15",
        };
        match self {
            Work::Step(size, rows, false) => format!("{} step, {rows} rows", of(size)),
            Work::Step(size, rows, true) => format!("{} edited step, {rows} rows", of(size)),
            Work::Recorded(size, rows) => format!("{} recorded step, {rows} rows", of(size)),
            Work::Vae(size) => format!("{} vae", of(size)),
            Work::LargeVae(size) => format!("{} large vae", of(size)),
            Work::Text(size) => format!("{} text", of(size)),
            Work::Attention(n, t, _, d, false) => format!("attention {n}x{t}, d {d}"),
            Work::Attention(n, t, _, d, true) => format!("injected attention {n}x{t}, d {d}"),
            Work::Linear(m, k, n) => format!("linear {m}x{k}x{n}"),
            Work::Conv(side, c_in, c_out) => format!("conv {c_in}->{c_out} at {side}x{side}"),
            Work::Edit(edits, steps) => format!("storybook run, {edits} edits, {steps} steps"),
        }
    }
}

/// What is timed.
pub type Run<'a> = Box<dyn FnMut() -> Result<()> + Send + 'a>;

/// The models, loaded when a work first asks for them: of Stable Diffusion 1.5 each part by itself, so
/// that the peak of memory is that of the work.
pub struct Models {
    packing: Packing,
    choice: ComputeChoice,
    compute: Compute,
    /// A folder of Stable Diffusion 1.5's shape in place of random weights.
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

    /// Of Stable Diffusion 1.5's shape.
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
            self.vae = Some(match self.compute.vae_tiling {
                true => vae.tiled(Vae::BAND),
                false => vae,
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
            Work::Attention(n, t, heads, d, edited) => attention(n, t, heads, d, edited)?,
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

    /// Of a work, as `model::Work` counts; 0 where that isn't one number.
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
            Work::Attention(n, t, heads, d, false) => 4.0 * (n * t * heads * d) as f64,
            Work::Attention(n, t, heads, d, true) => 6.0 * (n * t * heads * d) as f64,
            Work::Linear(m, k, n) => 2.0 * (m * k * n) as f64,
            Work::Conv(side, c_in, c_out) => 2.0 * (2 * side * side * 9 * c_in * c_out) as f64,
            Work::Edit(..) => 0.0,
        }
    }
}

fn numbers(shape: &[usize], seed: u64) -> Result<Tensor> {
    let len = shape.iter().product();
    Ok(Tensor::from_vec(randn(seed, len), shape, &Device::Cpu)?)
}

/// Keeps all cross-attention of a prompt of ten words.
fn recorder(unet: &UNet, rows: usize) -> Recorder {
    let side = unet.config().sample_size;
    let sites = unet.config().sites((side, side));
    let cross = sites
        .iter()
        .filter(|site| site.kind == AttentionKind::Cross);
    Recorder::new(Recording {
        kind: AttentionKind::Cross,
        sites: cross.map(|site| (site.index, site.downscale)).collect(),
        frames: std::iter::once(0..1).collect(),
        heads: Heads::Mean,
        shown: Shown::Used,
        columns: vec![Columns::These((1..11).collect()); rows.div_ceil(2)],
    })
}

fn step(unet: &UNet, rows: usize, edited: bool, mut recorder: Option<Recorder>) -> Result<Run<'_>> {
    let (side, width) = (unet.config().sample_size, unet.config().cross_attention_dim);
    let cond = rows.div_ceil(2);
    let text = |seed| numbers(&[cond, TOKENS, width], seed);
    let uncond = if rows > 1 {
        Some(text(2)?.into())
    } else {
        None
    };
    let mut denoiser = UNetDenoiser::new(
        unet,
        &Conditioning {
            cond: text(1)?.into(),
            uncond,
        },
    )?;
    let latents = numbers(&[cond, 4, side, side], 3)?;
    let mut controller = Controller::plain(cond, 1, TOKENS);
    if edited {
        controller.self_res = unet.config().layout_downscale();
        let replace = MapEdit::replace(TokenMap::identity(TOKENS));
        for row in &mut controller.rows[1..] {
            let windows = vec![Window::ALL; TOKENS];
            *row = Some(RowEdit::new(replace.clone(), windows, Window::ALL));
        }
    }
    let plan = StepPlan::lower(&controller.plan(0), 0, &Device::Cpu)?;
    if let Some(recorder) = &mut recorder {
        recorder.at(0);
        recorder.begin(&controller.plan(0))?;
    }
    Ok(Box::new(move || {
        let watcher = recorder
            .as_mut()
            .map(|recorder| recorder as &mut dyn AttentionObserver);
        let mut watchers = Vec::from_iter(watcher);
        let call = DenoiserCall {
            index: 0,
            timestep: 500,
            rows: 0..cond,
            latents: &latents,
        };
        denoiser.eps(&call, &mut Lockstep::new(&plan, &mut watchers))?;
        Ok(())
    }))
}

fn decode(vae: &Vae, side: usize) -> Result<Run<'_>> {
    let latents = numbers(&[1, 4, side, side], 4)?;
    Ok(Box::new(move || vae.decode(&latents).map(|_| ())))
}

fn encode(text: &TextEncoder) -> Run<'_> {
    let ids: Vec<u32> = (0..TOKENS as u32).collect();
    Box::new(move || text.encode(&ids).map(|_| ()))
}

fn attention(n: usize, t: usize, heads: usize, d: usize, edited: bool) -> Result<Run<'static>> {
    let rows = 1 + usize::from(edited);
    let (q, k) = (
        numbers(&[1, n, heads * d], 5)?,
        numbers(&[1, t, heads * d], 6)?,
    );
    let v = numbers(&[rows, t, heads * d], 7)?;
    let from_first = |_| {
        vec![Term {
            map_of: 0,
            carry: Carry::Same,
        }]
    };
    let mix: Vec<Vec<Term>> = (0..rows).map(from_first).collect();
    Ok(Box::new(move || {
        attend(&q, &k, &v, heads, &SitePlan::Mix(&mix), None).map(|_| ())
    }))
}

fn edit<'a>(folder: &ModelFolder, model: &'a Model, edits: usize, steps: usize) -> Result<Run<'a>> {
    let things = ["car", "train", "boat", "bus"];
    let edit = |thing: &&str| EditSettings {
        dst: Some(format!("a big red {thing}")),
        ..EditSettings::default()
    };
    let job = Job {
        steps: Some(steps),
        seed: 4,
        ..Job::new(
            "a big red bicycle",
            things[..edits].iter().map(edit).collect(),
        )
    };
    let prepared = Prepared::new(&job, folder)?;
    Ok(Box::new(move || {
        run(&prepared, model, &mut [], &mut |_| Ok(())).map(|_| ())
    }))
}

/// A UNet in `folder` against what diffusers made of the same inputs (`golden.safetensors`).
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
