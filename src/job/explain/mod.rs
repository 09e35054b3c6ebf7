//! What an edit would do, as plain data, before any weights are read: which token reads which and when, what
//! else is injected, which layers are edited, and how much work it is. `text` owns how people read it.

mod notes;
mod text;
mod work;

use std::ops::RangeInclusive;

use serde::Serialize;
use serde_json::Value;

use notes::{notes, phrases};
use work::{estimate, levels};

use super::rows::cross_windows;
use super::{EditSettings, Prepared, PreparedEdit, RunSettings};
use crate::edit::{Acts, Clock, Region, Window};
use crate::message::Message;
use crate::model::ModelFolder;
use crate::prompt::Tokens;

/// A job's plan, for people and, as JSON, for programs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The form of the JSON: `p2p.explain/v1`.
    pub schema: &'static str,
    /// The model's id.
    pub model: String,
    /// The settings of all rows.
    #[serde(flatten)]
    pub run: RunSettings,
    /// Whether the run draws its seed when it starts. The JSON then has `null` for the seed.
    #[serde(skip)]
    pub seed_is_drawn: bool,
    /// Denoiser calls of the whole run. Some solvers need more calls than steps.
    pub scheduler_calls: usize,
    /// Whether the picture of the source is wanted.
    pub draw_source: bool,
    /// Denoiser calls that the source takes part in, counted from the first.
    pub source_calls: usize,
    /// `false` where the edited prompts are drawn from the same noise without attention control.
    pub edit_control: bool,
    /// The edits in order.
    pub edits: Vec<EditExplanation>,
    /// The attention layers by resolution, the finest first.
    pub levels: Vec<LayerLevel>,
    /// An estimate of the work.
    pub work: WorkEstimate,
    /// Notices about the request.
    pub warnings: Vec<Message>,
}

/// The plan of one edit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EditExplanation {
    /// The edited prompt.
    pub prompt: String,
    /// The edit that this one edits, from 1. `None` is the source.
    pub of_edit: Option<usize>,
    /// The edit's settings.
    pub settings: EditSettings,
    /// Why the edit is of its kind.
    pub because: String,
    /// The tokens of the edited prompt without begin and pads, but with the first pad.
    pub tokens: Vec<TokenPlan>,
    /// When self-attention is injected.
    pub self_attention: When,
    /// When latents are copied.
    pub latents: Option<When>,
    /// When the factors of words act, where they have a window of their own.
    pub weights: Option<When>,
    /// Where the edit acts, where it is confined.
    pub blend: Option<BlendPlan>,
    /// Remarks about what may surprise a reader.
    pub notes: Vec<String>,
}

/// What one token of an edited prompt does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenPlan {
    /// Its index in the prompt.
    pub token: usize,
    /// Its text.
    pub text: String,
    /// The tokens of the base prompt whose attention it reads. Empty where it keeps its own.
    pub reads: Vec<Read>,
    /// The factor of its attention.
    pub factor: f32,
    /// When it is edited.
    pub when: When,
}

/// A token whose attention another token reads.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Read {
    /// Its index in the base prompt.
    pub token: usize,
    /// Its text.
    pub text: String,
    /// The share of its attention that is read.
    pub weight: f32,
}

/// A window and the denoiser calls in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct When {
    /// The window as it is typed.
    pub window: String,
    /// The first and the last denoiser call in it, from 1. `None` where it contains none.
    pub steps: Option<[usize; 2]>,
}

/// Where an edit may act.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BlendPlan {
    /// Words that say where, of the prompt that is edited and of the edited prompt.
    pub words: [Vec<String>; 2],
    /// Words whose places are left alone, of the same two prompts.
    pub keep: [Vec<String>; 2],
    /// The share of the peak attention above which a place belongs to `words`.
    pub threshold: f32,
    /// The share of the peak attention above which a place belongs to `keep`.
    pub keep_threshold: f32,
    /// Whether the mask's edges fade.
    pub soft: bool,
    /// Whether the user gives a mask.
    pub mask: bool,
    /// When the rest of the picture is restored.
    pub when: When,
}

/// The attention layers of one resolution.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerLevel {
    /// How much coarser than the latents the layers are.
    pub downscale: usize,
    /// `[height, width]` of the attention maps.
    pub grid: [usize; 2],
    /// Number of cross-attention layers.
    pub cross_layers: usize,
    /// Number of self-attention layers.
    pub self_layers: usize,
    /// Whether an edit injects self-attention here.
    pub injects_self: bool,
    /// Whether words are located here.
    pub locates: bool,
}

/// The work of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkEstimate {
    /// Rows with a prompt.
    pub conditional_rows: usize,
    /// Rows with a negative prompt.
    pub unconditional_rows: usize,
    /// Work of all denoiser calls in GFLOP.
    pub denoise_gflop: f64,
    /// Work of all denoiser calls if no row were edited, in GFLOP.
    pub plain_gflop: f64,
    /// Work of decoding the pictures in GFLOP.
    pub decode_gflop: f64,
}

impl Explanation {
    /// The plan of a prepared job. `seed_is_drawn` says that nobody has given a seed.
    pub fn new(prepared: &Prepared, model: &ModelFolder, seed_is_drawn: bool) -> Self {
        let work = model.work(prepared.latent_size);
        let edits = prepared.edits.iter();
        Self {
            schema: "p2p.explain/v1",
            model: model.id.clone(),
            run: prepared.run.clone(),
            seed_is_drawn,
            scheduler_calls: prepared.controller.clock.calls,
            draw_source: prepared.draw_source,
            source_calls: prepared.controller.source_calls(),
            edit_control: prepared.control,
            edits: edits.map(|edit| explain(edit, prepared)).collect(),
            levels: levels(&work, prepared),
            work: estimate(prepared, &work),
            warnings: prepared.warnings.clone(),
        }
    }

    /// Pretty JSON with a final newline.
    pub fn to_json(&self) -> String {
        // Through text: a direct conversion widens f32 values to their nearest f64, digits and all.
        let text = serde_json::to_string(self).expect("plain data with string keys");
        let mut json: Value = serde_json::from_str(&text).expect("just written");
        if self.seed_is_drawn {
            json["seed"] = Value::Null;
        }
        format!("{json:#}\n")
    }
}

fn explain(edit: &PreparedEdit, prepared: &Prepared) -> EditExplanation {
    let clock = &prepared.controller.clock;
    let base = prepared.base_of(edit);
    let settings = &edit.settings;
    let shown = (edit.tokens.len + 1).min(edit.tokens.ids.len());
    let windows = cross_windows(edit).per_token(&edit.tokens, &edit.changed.1, clock.rules);
    let token = |j: usize| TokenPlan {
        token: j,
        text: edit.tokens.label(j),
        reads: reads(edit, base, j),
        factor: edit.factors[j],
        when: match (settings.weight_steps, edit.alignment.aligned[j] == 0.0) {
            (Some(factors), true) => when(&factors, clock, Acts::Cross),
            _ => when(&windows[j], clock, Acts::Cross),
        },
    };
    let during = |window: Option<Window>, acts: Acts| window.map(|w| when(&w, clock, acts));
    let blend = |from| blend(&edit.region, from, base, edit, clock);
    let mut explanation = EditExplanation {
        prompt: edit.tokens.text.clone(),
        of_edit: (edit.base > 0).then_some(edit.base),
        settings: settings.clone(),
        because: edit.reason.clone(),
        tokens: (1..shown).map(token).collect(),
        self_attention: when(&edit.self_steps(), clock, Acts::SelfAttn),
        latents: during(settings.inject_latents, Acts::Latents),
        weights: during(settings.weight_steps, Acts::Cross),
        blend: settings.blend_from.map(blend),
        notes: vec![],
    };
    explanation.notes = notes(&explanation, edit, base);
    explanation
}

fn reads(edit: &PreparedEdit, base: &Tokens, j: usize) -> Vec<Read> {
    let column = edit.alignment.map.column(j).into_iter();
    let aligned = column.filter(|_| edit.alignment.aligned[j] != 0.0);
    aligned
        .map(|(i, weight)| Read {
            token: i,
            text: base.label(i),
            weight,
        })
        .collect()
}

fn when(window: &Window, clock: &Clock, acts: Acts) -> When {
    let from_one = |calls: RangeInclusive<usize>| [calls.start() + 1, calls.end() + 1];
    When {
        window: window.to_string(),
        steps: window.calls(clock, acts).map(from_one),
    }
}

fn blend(
    region: &Region,
    from: f64,
    base: &Tokens,
    edit: &PreparedEdit,
    clock: &Clock,
) -> BlendPlan {
    let prompts = [base, &edit.tokens];
    let words = |tokens: &[Vec<usize>; 2]| [0, 1].map(|side| phrases(prompts[side], &tokens[side]));
    let first = (0..clock.calls).find(|call| clock.reached(from, *call));
    BlendPlan {
        words: words(&region.words),
        keep: words(&region.keep),
        threshold: region.thresholds.words,
        keep_threshold: region.thresholds.keep,
        soft: region.thresholds.soft,
        mask: region.mask.is_some(),
        when: When {
            window: format!("{from}..1"),
            steps: first.map(|call| [call + 1, clock.calls]),
        },
    }
}
