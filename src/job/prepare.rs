//! A job checked against a model, before any tensor work: prompts tokenised and aligned, words found,
//! windows and sizes settled. All that a user can get wrong is found here.

use super::preset::PresetSettings;
use super::words::{self, Prompts};
use super::{EditSpec, Job, SchedulerName, mask, rows};
use crate::device::Compute;
use crate::edit::align::{align, changed_tokens, equalizer};
use crate::edit::blend::Thresholds;
use crate::edit::{Alignment, Clock, CrossWindows, EditKind, Region, Rules, Window};
use crate::error::{Error, Result};
use crate::message::Flags;
use crate::model::{ModelFolder, Tokenizer};
use crate::prompt::Tokens;
use crate::sample::Controller;
use crate::sample::noise::TorchRng;

/// Where neither the job nor the model says: the reference's settings.
const STEPS: usize = 50;
const GUIDANCE: f64 = 7.5;
const CROSS_STEPS: f64 = 0.8;
const SELF_STEPS: f64 = 0.4;
/// The null-text notebook's; before it attention has not settled.
const BLEND_FROM: f64 = 0.2;
/// The paper's range of factors (section 3.2).
const WEIGHTS: std::ops::RangeInclusive<f32> = -2.0..=2.0;
/// Beyond this a picture is a typing error more often than a wish.
const MAX_SIDE: usize = 4096;

/// A job with every choice made.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub source: Tokens,
    pub negative: Tokens,
    pub edits: Vec<PreparedEdit>,
    /// As asked for.
    pub steps: usize,
    pub guidance: f64,
    pub scheduler: SchedulerName,
    /// Pixels.
    pub width: usize,
    pub height: usize,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// `(height, width)`
    pub latent_size: (usize, usize),
    pub controller: Controller,
    /// What computes it: the model's to say.
    pub compute: Compute,
    /// Said to the user; the run goes on.
    pub warnings: Vec<String>,
}

/// One edit, laid against what it edits.
#[derive(Debug, Clone)]
pub struct PreparedEdit {
    pub tokens: Tokens,
    /// The row it is an edit of: 0 is the source, `i` the `i`-th edit.
    pub base: usize,
    pub negative: Tokens,
    pub alignment: Alignment,
    /// Why this kind.
    pub reason: String,
    /// The weights whose words this edit has.
    pub weights: Vec<(String, f32)>,
    /// Per token, 1 where no weight names it.
    pub factors: Vec<f32>,
    /// When the factors act; `None` is inside the cross-attention windows.
    pub weight_steps: Option<Window>,
    pub cross: CrossWindows,
    /// Tokens in which the prompts differ, of what it edits and of its own.
    pub changed: (Vec<usize>, Vec<usize>),
    pub self_window: Window,
    pub latents: Option<Window>,
    pub strength: f64,
    /// Where it changes the picture: what is blended, else where its words are.
    pub region: Region,
    /// From which part of the run on what lies outside of the region is put back.
    pub blend: Option<f64>,
    /// Of the mask file's pixels.
    pub mask_sha256: Option<String>,
}

impl Prepared {
    /// Errors: all of them usage errors that name the flag's value and the cure.
    pub fn new(job: &Job, model: &ModelFolder) -> Result<Self> {
        if job.edits.is_empty() && !job.draw_source {
            return Err(Error::usage(
                "neither the source nor an edit is to be drawn",
                "add an edit, or draw the source",
            ));
        }
        let (width, height) = size(job, model)?;
        let factor = model.vae.factor();
        let latent_size = (height / factor, width / factor);
        let prompts = prompts(job, &model.tokenizer)?;
        let mut warnings = vec![];
        words::check(job, &prompts, &mut warnings)?;
        check_weights(job, &mut warnings);
        for prompt in prompts.edits.iter().chain([&prompts.source]) {
            words::check_vocabulary(prompt, model, &mut warnings);
        }
        check_compute(&model.compute, &mut warnings);
        let guidance = job
            .guidance
            .or(model.recommended.guidance)
            .unwrap_or(GUIDANCE);
        check_negative(job, guidance, &mut warnings);
        let (steps, scheduler) = solver(job, model)?;
        let clock = Clock {
            rules: job.rules,
            steps,
            calls: scheduler.calls(steps),
        };
        let setting = Setting {
            job,
            model,
            prompts: &prompts,
            latent_size,
            calls: clock.calls,
        };
        let mut edits = vec![];
        for (i, spec) in job.edits.iter().enumerate() {
            edits.push(setting.edit(i, spec, &mut warnings)?);
        }
        if job.rules == Rules::Reference {
            words::first_equalizer_for_all(&mut edits);
        }
        check_self_res(job, model, &mut warnings);
        let controller = rows::controller(job, &edits, clock, model, latent_size);
        Ok(Self {
            negative: negative(&model.tokenizer, &job.negative_prompt)?,
            controller,
            source: prompts.source,
            edits,
            steps,
            scheduler,
            guidance,
            width,
            height,
            latent_channels: model.unet.latent_channels,
            latent_size,
            compute: model.compute.clone(),
            warnings,
        })
    }

    /// Whether there is classifier-free guidance, and so an unconditional half: at 1 it cancels, and 0
    /// is how diffusers' users say that they want none.
    pub fn guided(&self) -> bool {
        is_guided(self.guidance)
    }

    /// Prompt and negative prompt of all rows in order: source, edits, baselines.
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
    let source = encode(tokenizer, "--src", &job.src)?;
    let mut prompts = Prompts {
        source,
        edits: vec![],
        bases: vec![],
    };
    for (i, spec) in job.edits.iter().enumerate() {
        let base = spec.of.map_or(0, |edit| edit + 1);
        if base > i {
            return Err(Error::usage(
                format!(
                    "edit {} is an edit of edit {base}, which does not come before it",
                    i + 1
                ),
                "put the edit it starts from first",
            ));
        }
        let tokens = match &spec.dst {
            Some(dst) => encode(tokenizer, "--dst", dst)?,
            None => prompts.row(base).clone(),
        };
        prompts.edits.push(tokens);
        prompts.bases.push(base);
    }
    Ok(prompts)
}

fn encode(tokenizer: &Tokenizer, flag: &str, text: &str) -> Result<Tokens> {
    if text.trim().is_empty() {
        return Err(Error::usage(
            format!("the prompt of {flag} is empty"),
            "write what the picture shows, such as \"a big red bicycle\"",
        ));
    }
    tokenizer.encode(text)
}

/// It may be empty. Errors say which prompt they are about.
fn negative(tokenizer: &Tokenizer, text: &str) -> Result<Tokens> {
    tokenizer.encode(text).map_err(|error| {
        let (cause, cure) = error.parts(&Flags);
        Error::usage(cause.replacen("the prompt", "the negative prompt", 1), cure)
    })
}

/// What an edit is prepared in.
struct Setting<'a> {
    job: &'a Job,
    model: &'a ModelFolder,
    prompts: &'a Prompts,
    latent_size: (usize, usize),
    /// Denoiser calls.
    calls: usize,
}

impl Setting<'_> {
    fn edit(&self, i: usize, spec: &EditSpec, warnings: &mut Vec<String>) -> Result<PreparedEdit> {
        let (rules, recommended) = (self.job.rules, &self.model.recommended);
        let (base, tokens) = (self.prompts.base(i), &self.prompts.edits[i]);
        let preset = spec.preset.map(|preset| preset.settings());
        let presets_kind = preset.and_then(|p| p.kind).filter(|_| !spec.auto_kind);
        let (kind, reason) = match (spec.kind, presets_kind) {
            (Some(kind), _) => (kind, "as asked".to_owned()),
            (None, Some(kind)) => (kind, "the preset's".to_owned()),
            (None, None) => EditKind::choose(base, tokens, rules),
        };
        let changed = changed_tokens(base, tokens);
        let region = words::region(self.job, i, self.prompts, &changed)?;
        let has = |word: &str| !rules.find(tokens, word).is_empty();
        if !region.blends && !spec.blend_words().is_empty() {
            let about = format!(
                "edit {}: no --blend is about its words, so it is not confined",
                i + 1
            );
            words::push_once(warnings, about);
        }
        let mut edit = PreparedEdit {
            base: self.prompts.bases[i],
            negative: negative(
                &self.model.tokenizer,
                spec.negative_prompt
                    .as_ref()
                    .unwrap_or(&self.job.negative_prompt),
            )?,
            alignment: align(kind, base, tokens, rules)?,
            reason,
            factors: equalizer(&spec.weights, tokens, rules),
            weights: spec
                .weights
                .iter()
                .filter(|(word, _)| has(word))
                .cloned()
                .collect(),
            weight_steps: spec.weight_steps,
            cross: self.cross_windows(spec, preset),
            changed,
            self_window: spec
                .self_steps
                .or(preset.map(|p| p.self_window()))
                .unwrap_or(Window::until(recommended.self_steps.unwrap_or(SELF_STEPS))),
            latents: spec.inject_latents,
            strength: spec.strength.unwrap_or(1.0),
            blend: region.blends.then_some(self.blend_from(spec)),
            region: region.region,
            mask_sha256: None,
            tokens: tokens.clone(),
        };
        self.add_mask(spec, &mut edit, warnings)?;
        Ok(edit)
    }

    /// What is given wins over the preset, the preset over the model's recommendation.
    fn cross_windows(&self, spec: &EditSpec, preset: Option<PresetSettings>) -> CrossWindows {
        let recommended = self.model.recommended.cross_steps;
        CrossWindows {
            default: spec
                .cross_steps
                .or(preset.map(|p| p.cross()))
                .unwrap_or(Window::until(recommended.unwrap_or(CROSS_STEPS))),
            changed: preset
                .and_then(|p| p.cross_steps_changed)
                .map(Window::until),
            words: spec.cross_steps_of.clone(),
        }
    }

    /// A single step is its first and its last: the blend acts after it.
    fn blend_from(&self, spec: &EditSpec) -> f64 {
        let default = if self.calls == 1 { 0.0 } else { BLEND_FROM };
        spec.blend.from.unwrap_or(default)
    }

    fn add_mask(
        &self,
        spec: &EditSpec,
        edit: &mut PreparedEdit,
        warnings: &mut Vec<String>,
    ) -> Result<()> {
        edit.region.thresholds = thresholds(spec);
        let Some(source) = &spec.blend.mask else {
            return Ok(());
        };
        if edit.blend.is_none() {
            // A mask alone says where: the words of the edit don't.
            edit.region = Region {
                thresholds: edit.region.thresholds,
                ..Region::default()
            };
            edit.blend = Some(self.blend_from(spec));
        }
        let mask = mask::load(source, self.latent_size, spec.blend.soft)?;
        mask.warning
            .into_iter()
            .for_each(|warning| words::push_once(warnings, warning));
        edit.region.mask = Some(mask.grid);
        edit.mask_sha256 = Some(mask.sha256);
        Ok(())
    }
}

fn thresholds(spec: &EditSpec) -> Thresholds {
    let default = Thresholds::default();
    let (words, keep) = spec
        .blend
        .threshold
        .unwrap_or((default.words, default.keep));
    Thresholds {
        words,
        keep,
        soft: spec.blend.soft,
    }
}

fn size(job: &Job, model: &ModelFolder) -> Result<(usize, usize)> {
    let check = |flag: &str, pixels: usize| {
        let step = model.vae.factor();
        if pixels == 0 || !pixels.is_multiple_of(step) || pixels > MAX_SIDE {
            let near = (pixels.saturating_add(step / 2) / step * step).clamp(step, MAX_SIDE);
            return Err(Error::usage(
                format!("{flag} {pixels} is not a multiple of {step} from {step} to {MAX_SIDE}"),
                format!(
                    "the nearest is {flag} {near}; this model draws best at {}",
                    model.native_size()
                ),
            ));
        }
        Ok(pixels)
    };
    Ok((
        check("--width", job.width.unwrap_or(model.native_size()))?,
        check("--height", job.height.unwrap_or(model.native_size()))?,
    ))
}

/// How many steps, and of which solver.
fn solver(job: &Job, model: &ModelFolder) -> Result<(usize, SchedulerName)> {
    let own = model.recommended.scheduler.as_deref().map(str::parse);
    let scheduler = job.scheduler.or(own.transpose()?).unwrap_or_default();
    let steps = job.steps.or(model.recommended.steps).unwrap_or(STEPS);
    let trained = model.scheduler.num_train_timesteps;
    if steps == 0 || steps > trained {
        return Err(Error::usage(
            format!("--steps {steps}: the model was trained with {trained} timesteps"),
            format!("use 1 to {trained}; 20 to 50 are usual"),
        ));
    }
    // A solver that cannot take so many says so now, not after the weights are read.
    let rng = TorchRng::new(job.seed);
    scheduler.build(&model.scheduler, steps, rng)?;
    Ok((steps, scheduler))
}

fn check_self_res(job: &Job, model: &ModelFolder, warnings: &mut Vec<String>) {
    let coarsest = model.unet.coarsest_downscale();
    if let Some(wanted) = job.self_res.filter(|wanted| *wanted > coarsest) {
        warnings.push(format!(
            "--self-res {wanted}: the coarsest attention of this model is at {coarsest}, so no \
             self-attention is injected"
        ));
    }
}

fn is_guided(guidance: f64) -> bool {
    ![0.0, 1.0].contains(&guidance)
}

fn check_negative(job: &Job, guidance: f64, warnings: &mut Vec<String>) {
    let of_edits = job
        .edits
        .iter()
        .filter_map(|edit| edit.negative_prompt.as_ref());
    let mut all = of_edits.chain([&job.negative_prompt]);
    if !is_guided(guidance) && all.any(|negative| !negative.is_empty()) {
        warnings.push(format!(
            "--negative-prompt does nothing at --guidance {guidance}: it is what guidance leads away from"
        ));
    }
}

fn check_compute(compute: &Compute, warnings: &mut Vec<String>) {
    if compute.device.is_cpu() && !compute.is_plain() {
        let dtype = compute.dtype.as_str();
        warnings.push(format!(
            "--dtype {dtype} on the CPU halves the memory of the UNet's weights, and takes several times as \
             long as f32"
        ));
    }
}

fn check_weights(job: &Job, warnings: &mut Vec<String>) {
    for (word, factor) in job.edits.iter().flat_map(|e| &e.weights) {
        if !WEIGHTS.contains(factor) {
            words::push_once(
                warnings,
                format!("{word}={factor} is outside the paper's range, -2 to 2"),
            );
        }
    }
}
