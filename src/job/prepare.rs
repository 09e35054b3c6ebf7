//! A job checked against a model, before any tensor work: prompts tokenised and aligned, words found,
//! windows and sizes settled. All that a user can get wrong is found here.

use super::{EditSpec, Job};
use crate::edit::align::{align, equalizer};
use crate::edit::reference;
use crate::edit::{Alignment, CrossWindows, EditKind, Rules, Window};
use crate::error::{Error, Result};
use crate::model::{ModelFolder, Tokenizer};
use crate::prompt::{Tokens, WordRef, find_in_any, nearest, unknown_word};
use crate::sample::noise::TorchRng;
use crate::sample::{Controller, RowEdit};

/// Where neither the job nor the model says: the reference's settings.
const STEPS: usize = 50;
const GUIDANCE: f64 = 7.5;
const CROSS_STEPS: f64 = 0.8;
const SELF_STEPS: f64 = 0.4;
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
    pub steps: usize,
    /// Denoiser calls; some schedulers take more than a call a step.
    pub calls: usize,
    pub guidance: f64,
    /// Pixels.
    pub width: usize,
    pub height: usize,
    /// `(height, width)`
    pub latent_size: (usize, usize),
    pub controller: Controller,
    /// Said to the user; the run goes on.
    pub warnings: Vec<String>,
}

/// One edit, laid against its source.
#[derive(Debug, Clone)]
pub struct PreparedEdit {
    pub tokens: Tokens,
    pub alignment: Alignment,
    /// Why this kind.
    pub reason: String,
    /// The weights whose words this edit has.
    pub weights: Vec<(String, f32)>,
    /// Per token, 1 where no weight names it.
    pub factors: Vec<f32>,
    pub cross: CrossWindows,
    pub self_window: Window,
}

impl Prepared {
    /// Errors: all of them usage errors that name the flag's value and the cure.
    pub fn new(job: &Job, model: &ModelFolder) -> Result<Self> {
        let (width, height) = size(job, model)?;
        let factor = model.vae.factor();
        let latent_size = (height / factor, width / factor);
        let tokenizer = &model.tokenizer;
        let source = encode(tokenizer, "--src", &job.src)?;
        let mut warnings = vec![];
        let mut edits = vec![];
        for spec in &job.edits {
            let text = spec.dst.as_ref().unwrap_or(&job.src);
            let tokens = encode(tokenizer, "--dst", text)?;
            edits.push(prepare_edit(spec, job.rules, &source, tokens, model)?);
        }
        check_words(job, &source, &edits, &mut warnings)?;
        check_weights(job, &mut warnings);
        for prompt in edits.iter().map(|e| &e.tokens).chain([&source]) {
            check_vocabulary(prompt, model, &mut warnings);
        }
        if job.rules == Rules::Reference {
            first_equalizer_for_all(&mut edits);
        }
        let steps = steps(job, model)?;
        check_self_res(job, model, &mut warnings);
        Ok(Self {
            negative: tokenizer.encode(&job.negative_prompt)?,
            controller: controller(job, &edits, &source, steps, model, latent_size),
            source,
            edits,
            steps,
            calls: job.scheduler.calls(steps),
            guidance: job
                .guidance
                .or(model.recommended.guidance)
                .unwrap_or(GUIDANCE),
            width,
            height,
            latent_size,
            warnings,
        })
    }

    /// The prompts of all rows in order: source, edits, baselines.
    pub fn row_prompts(&self) -> Vec<&Tokens> {
        let edits = self.edits.iter().map(|e| &e.tokens);
        let rows = self.controller.rows.len();
        std::iter::once(&self.source)
            .chain(edits.clone())
            .chain(edits)
            .take(rows)
            .collect()
    }
}

impl PreparedEdit {
    /// The edit for people, a line per token: what it reads, times which factor, in which part of
    /// the run. Of the pads only the first is shown.
    pub fn describe(&self, source: &Tokens, rules: Rules) -> String {
        let windows = self.cross.per_token(&self.tokens, rules);
        let shown = (self.tokens.len + 1).min(windows.len());
        let line = |j: usize| {
            let factor = match self.factors[j] {
                1.0 => String::new(),
                factor => format!(", times {factor}"),
            };
            let (text, reads) = (self.tokens.label(j), self.reads(source, j));
            format!("  {text:>16} <- {reads}{factor}, {}\n", window(&windows[j]))
        };
        let tokens: String = (1..shown).map(line).collect();
        format!(
            "{tokens}  self-attention of the source, {}",
            window(&self.self_window)
        )
    }

    fn reads(&self, source: &Tokens, j: usize) -> String {
        if self.alignment.aligned[j] == 0.0 {
            return "its own".to_owned();
        }
        let read = |(i, weight): (usize, f32)| match weight {
            1.0 => source.label(i),
            weight => format!("{weight:.2} {}", source.label(i)),
        };
        let all: Vec<String> = self.alignment.map.column(j).into_iter().map(read).collect();
        if all.is_empty() {
            "nothing".to_owned()
        } else {
            all.join(" + ")
        }
    }
}

fn window(window: &Window) -> String {
    format!("{}..{}", window.from, window.to)
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

fn steps(job: &Job, model: &ModelFolder) -> Result<usize> {
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
    job.scheduler.build(&model.scheduler, steps, rng)?;
    Ok(steps)
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

fn prepare_edit(
    spec: &EditSpec,
    rules: Rules,
    source: &Tokens,
    tokens: Tokens,
    model: &ModelFolder,
) -> Result<PreparedEdit> {
    let (kind, reason) = match spec.kind {
        Some(kind) => (kind, "as asked".to_owned()),
        None => EditKind::choose(source, &tokens),
    };
    let recommended = |value: Option<f64>, default| Window::until(value.unwrap_or(default));
    let cross = recommended(model.recommended.cross_steps, CROSS_STEPS);
    let self_window = recommended(model.recommended.self_steps, SELF_STEPS);
    Ok(PreparedEdit {
        alignment: align(kind, source, &tokens, rules)?,
        reason,
        weights: spec
            .weights
            .iter()
            .filter(|(word, _)| !rules.find(&tokens, word).is_empty())
            .cloned()
            .collect(),
        factors: equalizer(&spec.weights, &tokens, rules),
        cross: CrossWindows {
            default: spec.cross_steps.unwrap_or(cross),
            words: spec.cross_steps_of.clone(),
        },
        self_window: spec.self_steps.unwrap_or(self_window),
        tokens,
    })
}

/// A word counts for the edits that contain it; one that none contains is an error. The reference
/// passes over it in silence: its mode goes on, but says so.
fn check_words(
    job: &Job,
    source: &Tokens,
    edits: &[PreparedEdit],
    warnings: &mut Vec<String>,
) -> Result<()> {
    let prompts: Vec<&Tokens> = edits.iter().map(|e| &e.tokens).collect();
    for spec in &job.edits {
        let weighted = spec.weights.iter().map(|(word, _)| word);
        for word in weighted.chain(spec.cross_steps_of.iter().map(|(word, _)| word)) {
            match job.rules {
                Rules::Ours => check_word(word, &prompts, source)?,
                Rules::Reference if prompts.iter().all(|p| job.rules.find(p, word).is_empty()) => {
                    push_once(
                        warnings,
                        format!("the reference's lookup finds no word \"{word}\""),
                    );
                }
                Rules::Reference => {}
            }
        }
    }
    Ok(())
}

/// The commonest slip is to name the word that was swapped away.
fn check_word(word: &str, edited: &[&Tokens], source: &Tokens) -> Result<()> {
    let missing = |_| -> Error {
        if source.find(&WordRef::new(word)).is_empty() {
            return unknown_word(word, edited);
        }
        Error::usage(
            format!("\"{word}\" stands in the source prompt only"),
            "weights and windows are for words of the edited prompt: name the word that replaced it",
        )
    };
    find_in_any(word, edited).map(|_| ()).map_err(missing)
}

fn check_weights(job: &Job, warnings: &mut Vec<String>) {
    for (word, factor) in job.edits.iter().flat_map(|e| &e.weights) {
        if !WEIGHTS.contains(factor) {
            push_once(
                warnings,
                format!("{word}={factor} is outside the paper's range, -2 to 2"),
            );
        }
    }
}

/// A small model draws something for a word it never saw, and nobody would know why.
fn check_vocabulary(prompt: &Tokens, model: &ModelFolder, warnings: &mut Vec<String>) {
    let known: Vec<&str> = model.recommended.words.iter().map(|w| &**w).collect();
    let is_text = |w: &str| w.chars().any(char::is_alphabetic);
    for text in prompt.words().iter().map(|w| w.text.to_lowercase()) {
        let text = text.trim_matches(|c: char| !c.is_alphanumeric());
        if known.is_empty() || known.contains(&text) || !is_text(text) {
            continue;
        }
        let near = nearest(text, &known).map(|near| format!("; did you mean \"{near}\"?"));
        let near = near.unwrap_or_default();
        let id = &model.id;
        push_once(
            warnings,
            format!("{id} was never taught the word \"{text}\"{near}"),
        );
    }
}

fn push_once(warnings: &mut Vec<String>, warning: String) {
    if !warnings.contains(&warning) {
        warnings.push(warning);
    }
}

/// The reference builds its equalizer from the first edited prompt and applies it to all.
fn first_equalizer_for_all(edits: &mut [PreparedEdit]) {
    if let Some((first, rest)) = edits.split_first_mut() {
        rest.iter_mut().for_each(|edit| {
            edit.factors = first.factors.clone();
            edit.weights = first.weights.clone();
        });
    }
}

fn controller(
    job: &Job,
    edits: &[PreparedEdit],
    source: &Tokens,
    steps: usize,
    model: &ModelFolder,
    latent_size: (usize, usize),
) -> Controller {
    let mut rows = vec![None];
    rows.extend(
        edits
            .iter()
            .map(|edit| job.control.then(|| row_edit(edit, job.rules))),
    );
    if job.baseline {
        rows.extend(edits.iter().map(|_| None));
    }
    let self_res = job.self_res.unwrap_or(match job.rules {
        Rules::Ours => model.unet.layout_downscale(),
        Rules::Reference => reference::self_res(latent_size),
    });
    Controller {
        steps: match job.rules {
            Rules::Ours => job.scheduler.calls(steps),
            // It counts windows in steps, whatever the calls.
            Rules::Reference => steps,
        },
        tokens: source.ids.len(),
        rules: job.rules,
        self_res,
        rows,
    }
}

fn row_edit(edit: &PreparedEdit, rules: Rules) -> RowEdit {
    RowEdit {
        edit: edit.alignment.edit().reweight(&edit.factors),
        cross: edit.cross.per_token(&edit.tokens, rules),
        self_window: edit.self_window,
    }
}
