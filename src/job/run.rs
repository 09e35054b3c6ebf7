//! Carries out a prepared job: text states, noise, the lockstep run, pictures.
//! Owns the order of the work and its timings; writes no file.

use std::time::Instant;

use candle_core::{Device, Tensor};
use image::RgbImage;

use super::{Job, Manifest, Prepared, Timings};
use crate::edit::Rules;
use crate::error::Result;
use crate::model::Model;
use crate::prompt::Tokens;
use crate::report::picture::{Rounding, to_rgb};
use crate::sample::noise::TorchRng;
use crate::sample::{Conditioning, Sampler, lockstep};

/// One row of a run, drawn.
#[derive(Debug, Clone)]
pub struct Picture {
    /// File name without its extension: `source`, `edited-1`, `baseline-1`.
    pub name: String,
    /// What it is, for people.
    pub label: String,
    /// Its prompt, and its weights where it has some.
    pub caption: String,
    pub image: RgbImage,
}

/// What a run made.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Source, edits in order, baselines in order.
    pub pictures: Vec<Picture>,
    /// Final latents of source and edits, `[1 + N, 4, h, w]` f32.
    pub latents: Tensor,
    pub manifest: Manifest,
}

/// Runs a job. `after_step` is told each finished step, counted from 1, and may end the run by an
/// error.
pub fn run(
    job: &Job,
    prepared: &Prepared,
    model: &Model,
    after_step: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<Outcome> {
    let mut clock = Clock::start();
    let conditioning = conditioning(prepared, model)?;
    let text_s = clock.lap();
    let (noise, rng) = draw_noise(job, prepared)?;
    let mut scheduler = job.scheduler.build(&model.scheduler, prepared.steps, rng)?;
    let guidance = prepared.guidance;
    let sampler = Sampler::new(
        &model.unet,
        &mut *scheduler,
        &conditioning,
        guidance,
        &noise,
    )?;
    let latents = lockstep(sampler, &prepared.controller, None, &mut |step, _| {
        after_step(step)
    })?;
    let denoise_s = clock.lap();
    let pictures = pictures(job, prepared, model, &latents)?;
    let timings = Timings {
        load_s: 0.0,
        text_s,
        denoise_s,
        decode_s: clock.lap(),
    };
    let manifest = Manifest::new(job, prepared, model, scheduler.name(), &pictures, timings);
    let latents = latents
        .narrow(0, 0, 1 + prepared.edits.len())?
        .contiguous()?;
    Ok(Outcome {
        pictures,
        latents,
        manifest,
    })
}

/// The one noise that all rows start from, `[1, 4, h, w]`.
pub fn starting_noise(job: &Job, prepared: &Prepared) -> Result<Tensor> {
    Ok(draw_noise(job, prepared)?.0)
}

/// The start noise, and the generator where it left off: a solver that needs noise draws on.
fn draw_noise(job: &Job, prepared: &Prepared) -> Result<(Tensor, TorchRng)> {
    let (h, w) = prepared.latent_size;
    let mut rng = TorchRng::new(job.seed);
    let noise = rng.randn(4 * h * w);
    Ok((Tensor::from_vec(noise, (1, 4, h, w), &Device::Cpu)?, rng))
}

/// Text states of every row. Each prompt is encoded alone, so they don't depend on its neighbours.
pub fn conditioning(prepared: &Prepared, model: &Model) -> Result<Conditioning> {
    let encode = |tokens: &Tokens| model.text_encoder.encode(&tokens.ids);
    let rows = prepared
        .row_prompts()
        .into_iter()
        .map(encode)
        .collect::<Result<Vec<_>>>()?;
    let cond = Tensor::cat(&rows, 0)?;
    // At guidance 1 the unconditional half cancels.
    let uncond = match prepared.guidance {
        1.0 => None,
        _ => Some(
            encode(&prepared.negative)?
                .broadcast_as(cond.shape())?
                .contiguous()?,
        ),
    };
    Ok(Conditioning { cond, uncond })
}

fn pictures(
    job: &Job,
    prepared: &Prepared,
    model: &Model,
    latents: &Tensor,
) -> Result<Vec<Picture>> {
    let rounding = match job.rules {
        Rules::Ours => Rounding::Nearest,
        Rules::Reference => Rounding::Truncate,
    };
    let edits = prepared.edits.len();
    let mut pictures = vec![];
    for (row, prompt) in prepared.row_prompts().iter().enumerate() {
        let decoded = model.vae.decode(&latents.narrow(0, row, 1)?)?;
        let (name, label) = match row {
            0 => ("source".to_owned(), "source".to_owned()),
            r if r <= edits && !job.control => {
                (format!("edited-{r}"), "without control".to_owned())
            }
            r if r <= edits && edits == 1 => ("edited-1".to_owned(), "edited".to_owned()),
            r if r <= edits => (format!("edited-{r}"), format!("edit {r}")),
            r => (
                format!("baseline-{}", r - edits),
                "without control".to_owned(),
            ),
        };
        let image = to_rgb(&decoded.get(0)?, rounding)?;
        let caption = caption(job, prepared, row, &prompt.text);
        pictures.push(Picture {
            name,
            label,
            caption,
            image,
        });
    }
    Ok(pictures)
}

/// The prompt, with the factors of its words: without them a re-weighted prompt looks unedited.
fn caption(job: &Job, prepared: &Prepared, row: usize, prompt: &str) -> String {
    let edit = row.checked_sub(1).and_then(|i| prepared.edits.get(i));
    let weights = edit
        .filter(|_| job.control)
        .map_or(&[][..], |edit| &edit.weights);
    let shown: Vec<String> = weights.iter().map(|(w, f)| format!("{w}={f}")).collect();
    if shown.is_empty() {
        return prompt.to_owned();
    }
    format!("{prompt} ({})", shown.join(", "))
}

struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since the last lap.
    fn lap(&mut self) -> f64 {
        let elapsed = self.0.elapsed().as_secs_f64();
        self.0 = Instant::now();
        elapsed
    }
}
