//! Runs prepared jobs: text encoding, noise, denoising of all rows in lockstep, decoding. Owns the order of the work and
//! its timings. It must never write a file.

use std::collections::HashMap;
use std::time::Instant;

use candle_core::{Device, Tensor};
use image::{GrayImage, RgbImage};

use super::shared_run::{Joined, Member, join};
use super::{
    Change, Manifest, PictureEntry, PictureRole, PictureSettings, Prepared, PreparedEdit, Timings,
};
use crate::edit::{Grid, Rules};
use crate::error::Result;
use crate::model::{Components, Conditioning, PromptStates};
use crate::picture::rgb::{Rounding, to_rgb};
use crate::prompt::Tokens;
use crate::sample::noise::TorchRng;
use crate::sample::{AttentionObserver, Controller, RowsOf, Sampler, Start, lockstep};

/// The picture of one row.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The row in the job: 0 is the source, then the edits, then the baselines.
    pub row: usize,
    /// File name without its extension: `source`, `edited-1`, `baseline-1`.
    pub name: String,
    /// A short label for people, such as `edit 2`.
    pub label: String,
    /// The prompt, with the weights and the strength of the edit if they are set.
    pub caption: String,
    /// The pixels.
    pub image: RgbImage,
    /// The kind of picture.
    pub role: PictureRole,
    /// All settings that determine the pixels, and no others.
    pub settings: PictureSettings,
}

/// The results of a job.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The source, the edits in order, and the baselines in order. The source is missing if it stopped before the end.
    pub pictures: Vec<Picture>,
    /// Final latents of source and edits, `[1 + N, channels, h, w]` in f32. `[N, channels, h, w]` if the job does not
    /// draw the source.
    pub latents: Tensor,
    /// For each edit its mask, in pixels of the picture: white may have changed. `None` if the edit is not confined.
    pub masks: Vec<Option<GrayImage>>,
    /// The record of the run.
    pub manifest: Manifest,
}

impl Outcome {
    /// The picture of a row, if it was drawn.
    pub fn picture(&self, row: usize) -> Option<&RgbImage> {
        picture(&self.pictures, row)
    }
}

fn picture(pictures: &[Picture], row: usize) -> Option<&RgbImage> {
    let found = pictures.iter().find(|picture| picture.row == row);
    found.map(|picture| &picture.image)
}

/// Runs a job. `observers` receive the attention of all rows, and that of the source until it stops. `after_step` is
/// called with the number of each finished step, from 1. An error from it ends the run.
///
/// # Errors
/// Errors of reading the model's components, of tensor operations, and of `after_step`.
pub fn run(
    prepared: &Prepared,
    model: &dyn Components,
    observers: &mut [&mut dyn AttentionObserver],
    after_step: &mut (dyn FnMut(usize) -> Result<()> + Send),
) -> Result<Outcome> {
    let member = Member {
        prepared,
        observers: observers.iter_mut().map(|w| &mut **w as _).collect(),
    };
    let outcomes = run_together(vec![member], model, after_step)?;
    Ok(outcomes.into_iter().next().expect("one job, one outcome"))
}

/// Runs jobs of one model together, so that their common source is drawn once. The jobs must be able to share a run, see
/// [`may_share`](super::may_share). Except for the timings, each outcome is the same as if the job ran alone.
///
/// # Errors
/// Errors of reading the model's components, of tensor operations, and of `after_step`.
///
/// # Panics
/// If `members` is empty.
pub fn run_together(
    mut members: Vec<Member>,
    model: &dyn Components,
    after_step: &mut (dyn FnMut(usize) -> Result<()> + Send),
) -> Result<Vec<Outcome>> {
    let Joined {
        controller,
        prompts,
        rows,
    } = join(&members);
    let prepared = members[0].prepared;
    let mut clock = Clock::start();
    let states = text_states(&prompts, prepared, model)?;
    let mut denoiser = model.denoiser(&states)?;
    let text_s = clock.lap();
    let (noise, rng) = draw_noise(prepared)?;
    let run = &prepared.run;
    let mut scheduler = run.scheduler.build(model.scheduler(), run.steps, rng)?;
    let start = Start::Noise(noise);
    let sampler = Sampler::new(&mut *denoiser, &mut *scheduler, run.guidance, start)?;
    let watching = members.iter_mut().zip(&rows);
    let mut watching: Vec<RowsOf> = watching
        .flat_map(|(member, rows)| {
            let observers = member.observers.iter_mut();
            observers.map(|observer| RowsOf::new(&mut **observer, rows))
        })
        .collect();
    let mut observers: Vec<&mut dyn AttentionObserver> =
        watching.iter_mut().map(|w| w as _).collect();
    let finished = lockstep(sampler, &controller, &mut observers, &mut |step, _| {
        after_step(step)
    })?;
    let denoise_s = clock.lap();
    drop(denoiser);
    let first = usize::from(!controller.keep_source);
    let images = images(run.rules, model, &finished.latents, first)?;
    let timings = Timings {
        load_s: 0.0,
        text_s,
        denoise_s,
        decode_s: clock.lap(),
    };
    let outcome = |(member, rows): (&Member, &Vec<usize>)| {
        let prepared = member.prepared;
        let pictures = pictures(prepared, rows, &images);
        let masks = masks(prepared, rows, &finished.regions);
        let changes = changes(prepared, &pictures, &masks);
        let first = usize::from(!prepared.draw_source);
        let latents = rows[first..1 + prepared.edits.len()].iter();
        let latents = latents.map(|row| finished.latents.narrow(0, *row, 1));
        let mut manifest = Manifest::new(prepared, model, changes, timings);
        manifest.pictures = entries(prepared, &pictures);
        Ok(Outcome {
            latents: Tensor::cat(&latents.collect::<candle_core::Result<Vec<_>>>()?, 0)?,
            pictures,
            masks,
            manifest,
        })
    };
    members.iter().zip(&rows).map(outcome).collect()
}

/// The entries of the manifest for the pictures.
fn entries(prepared: &Prepared, pictures: &[Picture]) -> Vec<PictureEntry> {
    let edits = prepared.edits.len();
    let entry = |picture: &Picture| PictureEntry {
        file: format!("{}.png", picture.name),
        role: picture.role,
        edit: picture.row.checked_sub(1).map(|i| i % edits + 1),
        settings: picture.settings.clone(),
    };
    // The source may have been drawn only for heatmaps or for other jobs of the run.
    let wanted = |picture: &&Picture| prepared.draw_source || picture.row != Controller::SOURCE;
    pictures.iter().filter(wanted).map(entry).collect()
}

/// The mask of each edit.
fn masks(prepared: &Prepared, rows: &[usize], regions: &[Option<Grid>]) -> Vec<Option<GrayImage>> {
    let size = (prepared.run.width as u32, prepared.run.height as u32);
    let mask = |row: &usize| Some(mask_picture(regions[*row].as_ref()?, size));
    rows[1..=prepared.edits.len()].iter().map(mask).collect()
}

/// The change of each edit, compared with the picture that it edits.
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

/// A mask as a picture of `(width, height)` pixels: white where the mask is 1.
fn mask_picture(mask: &Grid, (width, height): (u32, u32)) -> GrayImage {
    let full = mask.nearest((height as usize, width as usize));
    let bytes = full
        .values
        .iter()
        .map(|v| (v * 255.0).round() as u8)
        .collect();
    GrayImage::from_raw(width, height, bytes).expect("a value per pixel")
}

/// The noise that all rows start from, `[1, 4, h, w]`.
///
/// # Errors
/// An error if the tensor cannot be created.
pub fn starting_noise(prepared: &Prepared) -> Result<Tensor> {
    Ok(draw_noise(prepared)?.0)
}

/// The start noise, and the random number generator after it. Stochastic solvers take their noise from it.
fn draw_noise(prepared: &Prepared) -> Result<(Tensor, TorchRng)> {
    let (h, w) = prepared.latent_size;
    let mut rng = TorchRng::new(prepared.run.seed);
    let noise = rng.randn(4 * h * w);
    Ok((Tensor::from_vec(noise, (1, 4, h, w), &Device::Cpu)?, rng))
}

/// Text states of every row.
///
/// # Errors
/// If the text encoders cannot be read.
pub fn conditioning(prepared: &Prepared, model: &dyn Components) -> Result<Conditioning> {
    text_states(&prepared.row_prompts(), prepared, model)
}

/// Text states of the prompts and negative prompts of rows. Each text is encoded once, and alone: in a batch its states
/// could depend on the other texts.
fn text_states(
    prompts: &[(&Tokens, &Tokens)],
    prepared: &Prepared,
    model: &dyn Components,
) -> Result<Conditioning> {
    let encoders = model.text_encoders()?;
    let size = (prepared.run.height, prepared.run.width);
    let mut known: HashMap<(Vec<u32>, bool), PromptStates> = HashMap::new();
    let mut encode = |tokens: &Tokens, negative: bool| -> Result<PromptStates> {
        let key = (tokens.ids.clone(), negative);
        if let Some(states) = known.get(&key) {
            return Ok(states.clone());
        }
        let states = if negative {
            encoders.read_negative(tokens, size, prepared.run.clip_skip)?
        } else {
            encoders.read(tokens, size, prepared.run.clip_skip)?
        };
        known.insert(key, states.clone());
        Ok(states)
    };
    let (mut cond, mut uncond) = (vec![], vec![]);
    for (prompt, negative) in prompts {
        cond.push(encode(prompt, false)?);
        if prepared.run.guided() {
            uncond.push(encode(negative, true)?);
        }
    }
    Ok(Conditioning {
        cond: PromptStates::cat(&cond)?.into(),
        uncond: if uncond.is_empty() {
            None
        } else {
            Some(PromptStates::cat(&uncond)?.into())
        },
    })
}

/// The decoded pictures of the rows from `first` on.
fn images(
    rules: Rules,
    model: &dyn Components,
    latents: &Tensor,
    first: usize,
) -> Result<Vec<Option<RgbImage>>> {
    let rounding = match rules {
        Rules::Ours => Rounding::Nearest,
        Rules::Reference => Rounding::Truncate,
    };
    let vae = model.vae()?;
    let image = |row| {
        if row < first {
            return Ok(None);
        }
        let decoded = vae.decode(&latents.narrow(0, row, 1)?)?;
        to_rgb(&decoded.get(0)?, rounding).map(Some)
    };
    (0..latents.dim(0)?).map(image).collect()
}

/// The pictures of a job. `rows` maps the rows of the job to those of the run.
fn pictures(prepared: &Prepared, rows: &[usize], images: &[Option<RgbImage>]) -> Vec<Picture> {
    let edits = prepared.edits.len();
    let prompts = prepared.row_prompts();
    let picture = |(row, (prompt, _)): (usize, &(&Tokens, &Tokens))| {
        let image = images[rows[row]].clone()?;
        let (name, label) = match row {
            0 => ("source".to_owned(), "source".to_owned()),
            r if r <= edits && !prepared.control => {
                (format!("edited-{r}"), "without control".to_owned())
            }
            r if r <= edits && edits == 1 => ("edited-1".to_owned(), "edited".to_owned()),
            r if r <= edits => (format!("edited-{r}"), format!("edit {r}")),
            r => (
                format!("baseline-{}", r - edits),
                "without control".to_owned(),
            ),
        };
        let (role, settings) = PictureSettings::of(prepared, row);
        Some(Picture {
            row,
            name,
            label,
            caption: caption(prepared, row, &prompt.text),
            image,
            role,
            settings,
        })
    };
    prompts.iter().enumerate().filter_map(picture).collect()
}

/// The caption of a picture: its prompt, with the factors of its words and its strength. Without these a
/// re-weighted picture looks unedited.
fn caption(prepared: &Prepared, row: usize, prompt: &str) -> String {
    let edit = row.checked_sub(1).and_then(|i| prepared.edits.get(i));
    let Some(edit) = edit.filter(|_| prepared.control) else {
        return prompt.to_owned();
    };
    let weighed = match prepared.run.rules {
        Rules::Ours => edit,
        // The reference applies the factors of the first edit to all.
        Rules::Reference => &prepared.edits[0],
    };
    let weight = weighed.settings.weight.iter();
    let mut settings: Vec<String> = weight.map(|(w, f)| format!("{w}={f}")).collect();
    let strength = edit.settings.strength();
    if strength != 1.0 {
        settings.push(format!("strength {strength}"));
    }
    if settings.is_empty() {
        prompt.to_owned()
    } else {
        format!("{prompt} ({})", settings.join(", "))
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
