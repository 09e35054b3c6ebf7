//! What an edit would do, as plain data, before any weights are read: which token reads which and
//! when, what else is injected, the layers it touches, the work it is. How it reads as text is `text`.

mod text;

use std::ops::RangeInclusive;

use serde::Serialize;

use super::{Job, Prepared, PreparedEdit};
use crate::attention::{AttentionKind, Site};
use crate::edit::{Acts, Clock, EditKind, Region, Rules, Window};
use crate::model::{ModelFolder, SiteWork, Work};
use crate::prompt::Tokens;
use crate::sample::{EditPlan, RowEdit};

/// A job's plan, for people and, as JSON, for programs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    pub schema: &'static str,
    pub model: String,
    pub width: usize,
    pub height: usize,
    pub steps: usize,
    pub scheduler: &'static str,
    pub scheduler_calls: usize,
    pub guidance: f64,
    /// `None`: drawn when it runs.
    pub seed: Option<u64>,
    pub negative_prompt: String,
    /// `reference` under `--compat reference`.
    pub compat: Option<&'static str>,
    pub source: String,
    /// `false`: its picture is not drawn.
    pub draw_source: bool,
    /// Denoiser calls that the source takes part in, the first ones.
    pub source_calls: usize,
    /// `false`: the edited prompts are drawn from the same noise and nothing is injected.
    pub edit_control: bool,
    pub edits: Vec<EditExplanation>,
    pub levels: Vec<LayerLevel>,
    pub work: WorkEstimate,
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EditExplanation {
    pub prompt: String,
    /// `None` is the source, else an edit, from 1.
    pub of_edit: Option<usize>,
    pub kind: &'static str,
    pub because: String,
    /// Begin and pads left out, but for the first pad.
    pub tokens: Vec<TokenPlan>,
    pub self_attention: When,
    pub latents: Option<When>,
    pub weights: Option<When>,
    pub strength: f64,
    pub blend: Option<BlendPlan>,
    /// What a reader may wonder at.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenPlan {
    pub token: usize,
    pub text: String,
    /// Tokens whose attention places it; empty where its own does.
    pub reads: Vec<Read>,
    pub factor: f32,
    pub when: When,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Read {
    pub token: usize,
    pub text: String,
    pub weight: f32,
}

/// A window, and the denoiser calls it contains: first and last, from 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct When {
    pub window: String,
    pub steps: Option<[usize; 2]>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BlendPlan {
    /// Words that say where, of the prompt that is edited and of the edited one.
    pub words: [Vec<String>; 2],
    pub keep: [Vec<String>; 2],
    pub threshold: f32,
    pub keep_threshold: f32,
    pub soft: bool,
    pub mask: bool,
    pub when: When,
}

/// The attention layers of one resolution.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerLevel {
    pub downscale: usize,
    /// `[height, width]`
    pub grid: [usize; 2],
    pub cross_layers: usize,
    pub self_layers: usize,
    pub injects_self: bool,
    /// Whether words are located here.
    pub locates: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkEstimate {
    pub conditional_rows: usize,
    pub unconditional_rows: usize,
    /// All denoiser calls.
    pub denoise_gflop: f64,
    /// The same if every row attended by itself, to the end.
    pub plain_gflop: f64,
    pub decode_gflop: f64,
}

impl Explanation {
    /// `seed` as it was given, if it was.
    pub fn new(job: &Job, seed: Option<u64>, prepared: &Prepared, model: &ModelFolder) -> Self {
        let work = model.work(prepared.latent_size);
        let edits = prepared.edits.iter();
        Self {
            schema: "p2p.explain/v1",
            model: model.id.clone(),
            width: prepared.width,
            height: prepared.height,
            steps: prepared.steps,
            scheduler: prepared.scheduler.name(),
            scheduler_calls: prepared.controller.clock.calls,
            guidance: prepared.guidance,
            seed,
            negative_prompt: job.negative_prompt.clone(),
            compat: (job.rules == Rules::Reference).then_some("reference"),
            source: prepared.source.text.clone(),
            draw_source: job.draw_source,
            source_calls: prepared.controller.source_calls(),
            edit_control: job.control,
            edits: edits.map(|edit| explain(edit, prepared)).collect(),
            levels: levels(&work, prepared),
            work: estimate(prepared, &work),
            warnings: prepared.warnings.clone(),
        }
    }

    /// Pretty JSON with a final newline.
    pub fn to_json(&self) -> String {
        let json = serde_json::to_string_pretty(self).expect("plain data with string keys");
        json + "\n"
    }
}

fn explain(edit: &PreparedEdit, prepared: &Prepared) -> EditExplanation {
    let clock = &prepared.controller.clock;
    let base = prepared.base_of(edit);
    let shown = (edit.tokens.len + 1).min(edit.tokens.ids.len());
    let windows = edit
        .cross
        .per_token(&edit.tokens, &edit.changed.1, clock.rules);
    let token = |j: usize| TokenPlan {
        token: j,
        text: edit.tokens.label(j),
        reads: reads(edit, base, j),
        factor: edit.factors[j],
        when: match (edit.weight_steps, edit.alignment.aligned[j] == 0.0) {
            (Some(factors), true) => when(&factors, clock, Acts::Cross),
            _ => when(&windows[j], clock, Acts::Cross),
        },
    };
    let latents = edit.latents.as_ref().map(|w| when(w, clock, Acts::Latents));
    let weights = edit
        .weight_steps
        .as_ref()
        .map(|w| when(w, clock, Acts::Cross));
    let mut explanation = EditExplanation {
        prompt: edit.tokens.text.clone(),
        of_edit: (edit.base > 0).then_some(edit.base),
        kind: edit.alignment.kind.name(),
        because: edit.reason.clone(),
        tokens: (1..shown).map(token).collect(),
        self_attention: when(&edit.self_window, clock, Acts::SelfAttn),
        latents,
        weights,
        strength: edit.strength,
        blend: edit
            .blend
            .map(|from| blend(&edit.region, from, base, edit, clock)),
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

/// The words that tokens stand in, neighbours joined.
fn phrases(prompt: &Tokens, tokens: &[usize]) -> Vec<String> {
    let mut phrases: Vec<String> = vec![];
    let mut last = None;
    for (i, word) in prompt.words().iter().enumerate() {
        if !word.tokens.iter().any(|token| tokens.contains(token)) {
            continue;
        }
        match phrases.last_mut().filter(|_| last == i.checked_sub(1)) {
            Some(phrase) => *phrase = format!("{phrase} {}", word.text),
            None => phrases.push(word.text.to_owned()),
        }
        last = Some(i);
    }
    phrases
}

/// What looks odd and isn't, and what looks fine and isn't.
fn notes(explanation: &EditExplanation, edit: &PreparedEdit, base: &Tokens) -> Vec<String> {
    let mut notes = vec![];
    let alignment = &edit.alignment;
    let same = base.text == edit.tokens.text;
    if same && edit.factors.iter().all(|f| *f == 1.0) {
        notes.push("the prompts are the same and no word has a weight: nothing will change".into());
    }
    let open = explanation
        .tokens
        .iter()
        .any(|token| token.when.steps.is_some());
    let swaps = alignment.kind != EditKind::Refine && !same && open;
    if swaps && alignment.map.is_identity() {
        notes.push(
            "every token is placed by the one that stood there: the map stays, only the values \
             change; that is how a swap works"
                .into(),
        );
    }
    let own: Vec<usize> = (0..edit.tokens.len)
        .filter(|&j| alignment.aligned[j] == 0.0)
        .collect();
    if !own.is_empty() {
        let words = quoted(&phrases(&edit.tokens, &own));
        notes.push(format!("{words}: new, so placed by its own attention"));
    }
    let read = |i: usize| (0..edit.tokens.ids.len()).any(|j| alignment.map.get(i, j) != 0.0);
    let dropped: Vec<usize> = (1..base.eos()).filter(|&i| !read(i)).collect();
    if !dropped.is_empty() {
        let words = quoted(&phrases(base, &dropped));
        notes.push(format!(
            "{words}: placed nothing in the edit; its attention is dropped"
        ));
    }
    let shut = |when: &When| when.steps.is_none();
    if !open {
        notes.push(
            "no step lies in the cross-attention windows: the words' maps stay the edit's own"
                .into(),
        );
    } else {
        for token in explanation.tokens.iter().filter(|t| shut(&t.when)) {
            let (text, window) = (&token.text, &token.when.window);
            notes.push(format!("no step lies in the window {window} of \"{text}\""));
        }
    }
    if shut(&explanation.self_attention) {
        notes.push("no self-attention is injected: the layout may move".into());
    }
    notes
}

fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|w| format!("\"{w}\"")).collect();
    words.join(", ")
}

/// From the finest to the coarsest.
fn levels(work: &Work, prepared: &Prepared) -> Vec<LayerLevel> {
    let controller = &prepared.controller;
    let open =
        |(_, edit): (usize, &RowEdit)| edit.self_window.calls(&controller.clock, Acts::SelfAttn);
    let located = controller.edits().any(|(row, _)| controller.locates(row));
    let injects = controller.edits().filter_map(open).next().is_some();
    let mut levels: Vec<LayerLevel> = vec![];
    for Site {
        kind,
        grid,
        downscale,
        ..
    } in work.sites.iter().map(|s| s.site)
    {
        let known = levels.iter().position(|level| level.downscale == downscale);
        let at = known.unwrap_or_else(|| {
            levels.push(LayerLevel {
                downscale,
                grid: [grid.0, grid.1],
                cross_layers: 0,
                self_layers: 0,
                injects_self: injects && downscale >= controller.self_res,
                locates: located && downscale == controller.layout,
            });
            levels.len() - 1
        });
        match kind {
            AttentionKind::Cross => levels[at].cross_layers += 1,
            AttentionKind::SelfAttn => levels[at].self_layers += 1,
        }
    }
    levels.sort_by_key(|level| level.downscale);
    levels
}

fn estimate(prepared: &Prepared, work: &Work) -> WorkEstimate {
    let controller = &prepared.controller;
    let (rows, calls) = (controller.rows.len(), controller.clock.calls);
    let unconditional = if prepared.guided() { rows } else { 0 };
    let both = (rows + unconditional) as f64;
    let plain = both * calls as f64 * work.unet_row;
    let halves = both / rows as f64;
    let stopped = (calls - controller.source_calls()) as f64 * halves * work.unet_row;
    let drawn = rows - usize::from(!controller.keep_source);
    let mixed = |call| {
        let plan = controller.plan(call);
        let sites = work.sites.iter().map(|site| mix_difference(&plan, site));
        sites.sum::<f64>()
    };
    WorkEstimate {
        conditional_rows: rows,
        unconditional_rows: unconditional,
        denoise_gflop: (plain - stopped + (0..calls).map(mixed).sum::<f64>()) / 1e9,
        plain_gflop: plain / 1e9,
        decode_gflop: drawn as f64 * work.vae_decode / 1e9,
    }
}

/// FLOP that a plan takes at a site beyond those of plain rows.
fn mix_difference(plan: &EditPlan, work: &SiteWork) -> f64 {
    let rows: Vec<Vec<usize>> = match work.site.kind {
        AttentionKind::Cross => plan
            .cross
            .iter()
            .map(|sum| sum.iter().map(|(r, _)| *r).collect())
            .collect(),
        AttentionKind::SelfAttn if work.site.downscale >= plan.self_res => {
            let sums = plan.self_attention.iter();
            sums.map(|sum| sum.iter().map(|(r, _)| *r).collect())
                .collect()
        }
        AttentionKind::SelfAttn => return 0.0,
    };
    let unread = (0..rows.len())
        .filter(|row| !rows.iter().flatten().any(|r| r == row))
        .count();
    let terms: f64 = rows.iter().map(|terms| terms.len() as f64 - 1.0).sum();
    terms * work.term - unread as f64 * work.map
}
