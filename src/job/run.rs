//! Carries out a prepared job: text states, noise, the lockstep run, pictures.
//! Owns the order of the work and its timings; writes no file.

use std::time::Instant;

use candle_core::{Device, Tensor};
use image::{GrayImage, RgbImage};

use super::{Change, Job, Manifest, Prepared, PreparedEdit, Timings};
use crate::edit::{Grid, Rules};
use crate::error::Result;
use crate::model::Model;
use crate::prompt::Tokens;
use crate::report::picture::{Rounding, to_rgb};
use crate::sample::noise::TorchRng;
use crate::sample::{Conditioning, Prompted, Sampler, Watcher, lockstep};

/// One row of a run, drawn.
#[derive(Debug, Clone)]
pub struct Picture {
    pub row: usize,
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
    /// Source, edits in order, baselines in order. The source is left out where it has stopped before.
    pub pictures: Vec<Picture>,
    /// Final latents of source and edits, `[1 + N, 4, h, w]` f32; of the edits alone where the job
    /// doesn't draw the source.
    pub latents: Tensor,
    /// Per edit, where it was made: white may have changed. `None` where nothing says so.
    pub masks: Vec<Option<GrayImage>>,
    pub manifest: Manifest,
}

impl Outcome {
    /// A row's picture, if it was drawn.
    pub fn picture(&self, row: usize) -> Option<&RgbImage> {
        picture(&self.pictures, row)
    }
}

fn picture(pictures: &[Picture], row: usize) -> Option<&RgbImage> {
    let found = pictures.iter().find(|picture| picture.row == row);
    found.map(|picture| &picture.image)
}

/// Runs a job. `watchers` see the rows' attention, the source's as long as it runs. `after_step` is
/// told each finished step, counted from 1, and may end the run by an error.
pub fn run(
    job: &Job,
    prepared: &Prepared,
    model: &Model,
    watchers: &mut [&mut dyn Watcher],
    after_step: &mut (dyn FnMut(usize) -> Result<()> + Send),
) -> Result<Outcome> {
    let mut clock = Clock::start();
    let prompted = Prompted::new(&model.unet, &conditioning(prepared, model)?)?;
    let text_s = clock.lap();
    let (noise, rng) = draw_noise(job, prepared)?;
    let mut scheduler = job.scheduler.build(&model.scheduler, prepared.steps, rng)?;
    let guidance = prepared.guidance;
    let sampler = Sampler::new(&prompted, &mut *scheduler, guidance, &noise)?;
    let finished = lockstep(sampler, &prepared.controller, watchers, &mut |step, _| {
        after_step(step)
    })?;
    let latents = finished.latents;
    let denoise_s = clock.lap();
    let pictures = pictures(job, prepared, model, &latents)?;
    let timings = Timings {
        load_s: 0.0,
        text_s,
        denoise_s,
        decode_s: clock.lap(),
    };
    let masks = masks(prepared, &finished.regions);
    let changes = changes(prepared, &pictures, &masks);
    let manifest = Manifest::new(job, prepared, model, scheduler.name(), changes, timings);
    let first = usize::from(!job.draw_source);
    let rows = 1 + prepared.edits.len() - first;
    let latents = latents.narrow(0, first, rows)?.contiguous()?;
    Ok(Outcome {
        pictures,
        latents,
        masks,
        manifest,
    })
}

/// Per edit, where it was made.
fn masks(prepared: &Prepared, regions: &[Option<Grid>]) -> Vec<Option<GrayImage>> {
    let size = (prepared.width as u32, prepared.height as u32);
    let mask = |row: usize| Some(mask_picture(regions[row].as_ref()?, size));
    (1..=prepared.edits.len()).map(mask).collect()
}

/// Per edit, what it did to the picture that it is an edit of.
fn changes(
    prepared: &Prepared,
    pictures: &[Picture],
    masks: &[Option<GrayImage>],
) -> Vec<Option<Change>> {
    let edits = prepared.edits.iter().zip(masks).enumerate();
    let change = |(i, (edit, mask)): (usize, (&PreparedEdit, &Option<GrayImage>))| {
        let (base, edited) = (picture(pictures, edit.base)?, picture(pictures, i + 1)?);
        Some(Change::measure(base, edited, mask.as_ref()))
    };
    edits.map(change).collect()
}

/// White where the mask is 1, of the picture's size.
fn mask_picture(mask: &Grid, (width, height): (u32, u32)) -> GrayImage {
    let full = mask.nearest((height as usize, width as usize));
    let bytes = full
        .values
        .iter()
        .map(|v| (v * 255.0).round() as u8)
        .collect();
    GrayImage::from_raw(width, height, bytes).expect("a value per pixel")
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
    let (mut cond, mut uncond) = (vec![], vec![]);
    for (prompt, negative) in prepared.row_prompts() {
        cond.push(encode(prompt)?);
        // At guidance 1 the unconditional half cancels.
        if prepared.guidance != 1.0 {
            uncond.push(encode(negative)?);
        }
    }
    Ok(Conditioning {
        cond: Tensor::cat(&cond, 0)?,
        uncond: match uncond.is_empty() {
            true => None,
            false => Some(Tensor::cat(&uncond, 0)?),
        },
    })
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
    let first = usize::from(!prepared.controller.keep_source);
    for (row, (prompt, _)) in prepared.row_prompts().iter().enumerate().skip(first) {
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
            row,
            name,
            label,
            caption,
            image,
        });
    }
    Ok(pictures)
}

/// The prompt, with the factors of its words and its strength: without them it looks unedited.
fn caption(job: &Job, prepared: &Prepared, row: usize, prompt: &str) -> String {
    let edit = row.checked_sub(1).and_then(|i| prepared.edits.get(i));
    let Some(edit) = edit.filter(|_| job.control) else {
        return prompt.to_owned();
    };
    let mut settings: Vec<String> = edit
        .weights
        .iter()
        .map(|(w, f)| format!("{w}={f}"))
        .collect();
    if edit.strength != 1.0 {
        settings.push(format!("strength {}", edit.strength));
    }
    match settings.is_empty() {
        true => prompt.to_owned(),
        false => format!("{prompt} ({})", settings.join(", ")),
    }
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
