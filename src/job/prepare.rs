//! Checks a job against a model before any tensor work: prompts are tokenized and aligned, words are found,
//! windows and sizes are settled. Every mistake of a user is found here. Owns what holds for the whole run;
//! `prepare_edit` owns the checks of one edit.

use super::prepare_edit::PreparedEdit;
use super::words::{self, Prompts};
use super::{Job, RunSettings, rows};
use crate::device::Compute;
use crate::edit::{Clock, Rules};
use crate::error::{Error, Result};
use crate::message;
use crate::message::Message;
use crate::model::{ModelFolder, Tokenizer};
use crate::prompt::Tokens;
use crate::sample::Controller;
use crate::sample::noise::TorchRng;
use crate::setting::Setting;

/// Factors that the paper uses (section 3.2).
const WEIGHTS: std::ops::RangeInclusive<f32> = -2.0..=2.0;
/// The largest side of a picture in pixels. A larger one is more likely a typing error than a wish.
const MAX_SIDE: usize = 4096;

/// A job with every choice made.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The settings of all rows.
    pub run: RunSettings,
    /// The tokens of the source prompt.
    pub source: Tokens,
    /// The tokens of the run's negative prompt.
    pub negative: Tokens,
    /// The edits, each aligned to the prompt that it edits.
    pub edits: Vec<PreparedEdit>,
    /// Whether edits control attention.
    pub control: bool,
    /// Whether the edited prompts are drawn without attention control too.
    pub baseline: bool,
    /// Whether the picture of the source is wanted.
    pub draw_source: bool,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Height and width of the latents.
    pub latent_size: (usize, usize),
    /// What happens to each row at each step.
    pub controller: Controller,
    /// The device and dtype that the model computes with.
    pub compute: Compute,
    /// Notices for the user. The run goes on.
    pub warnings: Vec<Message>,
}

/// What edits are prepared with.
pub(super) struct Request<'a> {
    pub job: &'a Job,
    pub model: &'a ModelFolder,
    pub prompts: &'a Prompts,
    /// Height and width of the latents.
    pub latent_size: (usize, usize),
    /// Denoiser calls.
    pub calls: usize,
}

impl Prepared {
    /// Checks a job and makes every choice that the job leaves open.
    ///
    /// # Errors
    /// Usage, with the setting and the word that are wrong.
    pub fn new(job: &Job, model: &ModelFolder) -> Result<Self> {
        if job.edits.is_empty() && !job.draw_source {
            return Err(Error::usage(
                "neither the source nor an edit is to be drawn",
                "add an edit, or draw the source",
            )
            .about(Setting::Source));
        }
        let run = RunSettings::resolve(job, model)?;
        let latent_size = latent_size(&run, model)?;
        let prompts = prompts(job, &model.tokenizer)?;
        let mut warnings = vec![];
        words::check(job, &prompts, &mut warnings)?;
        for prompt in prompts.edits.iter().chain([&prompts.source]) {
            words::check_vocabulary(prompt, model, &mut warnings);
        }
        warn(job, &run, model, &mut warnings);
        check_steps(&run, model)?;
        model.check_clip_skip(run.clip_skip)?;
        let clock = Clock {
            rules: run.rules,
            steps: run.steps,
            calls: run.scheduler.calls(run.steps),
        };
        let request = Request {
            job,
            model,
            prompts: &prompts,
            latent_size,
            calls: clock.calls,
        };
        let mut edits = vec![];
        for i in 0..job.edits.len() {
            edits.push(request.edit(i, &mut warnings)?);
        }
        if run.rules == Rules::Reference {
            words::first_equalizer_for_all(&mut edits);
        }
        let controller = rows::controller(&request, &run, &edits, clock);
        Ok(Self {
            negative: negative(&model.tokenizer, &run.negative_prompt)?,
            controller,
            source: prompts.source,
            edits,
            control: job.control,
            baseline: job.baseline,
            draw_source: job.draw_source,
            latent_channels: model.unet.latent_channels,
            latent_size,
            compute: model.compute.clone(),
            warnings,
            run,
        })
    }

    /// The prompt and the negative prompt of each row: source, edits, baselines.
    pub fn row_prompts(&self) -> Vec<(&Tokens, &Tokens)> {
        let edits = self.edits.iter().map(|e| (&e.tokens, &e.negative));
        let rows = self.controller.rows.len();
        std::iter::once((&self.source, &self.negative))
            .chain(edits.clone())
            .chain(edits)
            .take(rows)
            .collect()
    }

    /// The prompt that an edit is an edit of.
    pub fn base_of(&self, edit: &PreparedEdit) -> &Tokens {
        match edit.base {
            0 => &self.source,
            row => &self.edits[row - 1].tokens,
        }
    }
}

fn prompts(job: &Job, tokenizer: &Tokenizer) -> Result<Prompts> {
    let mut prompts = Prompts {
        source: encode(tokenizer, Setting::Src, &job.src)?,
        edits: vec![],
        bases: vec![],
    };
    for (i, edit) in job.edits.iter().enumerate() {
        let base = edit.of.map_or(0, |edit| edit + 1);
        if base > i {
            let cause = format!(
                "edit {} is an edit of edit {base}, which does not come before it",
                i + 1
            );
            return Err(Error::usage(cause, "put the edit it starts from first"));
        }
        let tokens = match &edit.dst {
            Some(dst) => {
                let setting = edit.of.map_or(Setting::Dst, |_| Setting::Then);
                encode(tokenizer, setting, dst)?
            }
            None => prompts.row(base).clone(),
        };
        prompts.edits.push(tokens);
        prompts.bases.push(base);
    }
    Ok(prompts)
}

fn encode(tokenizer: &Tokenizer, setting: Setting, text: &str) -> Result<Tokens> {
    if text.trim().is_empty() {
        return Err(Error::usage(
            message!["the prompt of ", setting, " is empty"],
            "write what the picture shows, such as \"a big red bicycle\"",
        )
        .about(setting)
        .word(text));
    }
    let tokens = tokenizer.encode(text);
    tokens.map_err(|error| error.about(setting).word(text))
}

/// Tokens of a negative prompt, which may be empty.
pub(super) fn negative(tokenizer: &Tokenizer, text: &str) -> Result<Tokens> {
    let tokens = tokenizer.encode(text);
    tokens.map_err(|error| {
        let error = error.context(Setting::NegativePrompt);
        error.about(Setting::NegativePrompt).word(text)
    })
}

fn latent_size(run: &RunSettings, model: &ModelFolder) -> Result<(usize, usize)> {
    let factor = model.vae.factor();
    let latents = |setting: Setting, pixels: usize| {
        if pixels > 0 && pixels.is_multiple_of(factor) && pixels <= MAX_SIDE {
            return Ok(pixels / factor);
        }
        let near = (pixels.saturating_add(factor / 2) / factor * factor).clamp(factor, MAX_SIDE);
        let best = model.native_size();
        Err(Error::usage(
            message![
                setting.to(pixels),
                format!(" is not a multiple of {factor} from {factor} to {MAX_SIDE}"),
            ],
            message![
                "the nearest is ",
                setting.to(near),
                format!("; this model draws best at {best}"),
            ],
        )
        .about(setting))
    };
    let width = latents(Setting::Width, run.width)?;
    Ok((latents(Setting::Height, run.height)?, width))
}

/// Checks that the model and the solver can take so many steps, before weights are read.
fn check_steps(run: &RunSettings, model: &ModelFolder) -> Result<()> {
    let trained = model.scheduler.num_train_timesteps;
    if run.steps == 0 || run.steps > trained {
        let of = format!(": the model was trained with {trained} timesteps");
        return Err(Error::usage(
            message![Setting::Steps.to(run.steps), of],
            format!("use 1 to {trained}; 20 to 50 are usual"),
        )
        .about(Setting::Steps));
    }
    let rng = TorchRng::new(run.seed);
    run.scheduler.build(&model.scheduler, run.steps, rng)?;
    Ok(())
}

/// Notices about settings that have no effect, or an unusual one.
fn warn(job: &Job, run: &RunSettings, model: &ModelFolder, warnings: &mut Vec<Message>) {
    for (word, factor) in job.edits.iter().flat_map(|edit| &edit.weight) {
        if !WEIGHTS.contains(factor) {
            let factor = format!("{word}={factor} is outside the paper's range, -2 to 2");
            words::push_once(warnings, factor);
        }
    }
    let dtype = run.dtype.as_str();
    if model.compute.device.is_cpu() && !model.compute.is_plain() {
        warnings.push(message![
            Setting::Dtype.to(dtype),
            " on the CPU halves the memory of the UNet's weights and takes several times as long as f32",
        ]);
    }
    let of_edits = job.edits.iter().filter_map(|e| e.negative_prompt.as_ref());
    let mut negatives = of_edits.chain([&job.negative_prompt]);
    if !run.guided() && negatives.any(|negative| !negative.is_empty()) {
        warnings.push(message![
            Setting::NegativePrompt,
            " has no effect with ",
            Setting::Guidance.to(run.guidance),
            ": guidance is what leads the picture away from it",
        ]);
    }
    let coarsest = model.unet.coarsest_downscale();
    if let Some(wanted) = job.self_res.filter(|wanted| *wanted > coarsest) {
        warnings.push(message![
            Setting::SelfRes.to(wanted),
            format!(": the coarsest attention of this model is at {coarsest}, so no self-attention is injected"),
        ]);
    }
}
