//! What determines one picture, and nothing else: every choice made, in the vocabulary of the flags.
//! Owns the way from a run's row to its settings. Where the picture lies, who asked for it, beside
//! which others and how quickly it was drawn is not in it, so that a picture is the same, byte for
//! byte, whatever it was drawn along with.

use candle_core::DType;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{BlendWords, EditSpec, Job, MaskSource, Prepared, PreparedEdit};
use crate::edit::Rules;
use crate::prompt::Tokens;

/// What a picture is in its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PictureRole {
    Source,
    Edited,
    /// Of an edited prompt, drawn without control.
    Baseline,
}

/// One picture's settings. Keys are the flags' names with underscores; what has no effect on the
/// picture is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub src: String,
    #[serde(default)]
    pub negative_prompt: String,
    pub seed: u64,
    pub steps: usize,
    pub guidance: f64,
    pub width: usize,
    pub height: usize,
    pub scheduler: String,
    /// Left out where nothing is injected, and where the reference's own rule chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_res: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compat: Option<String>,
    #[serde(default)]
    pub fast: bool,
    /// The numbers that the UNet was computed in; left out for f32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub vae_tiling: bool,
    /// Left out where there is no edit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit_control: Option<bool>,
    /// The picture is the last of these, else the source.
    pub edit: Vec<EditSettings>,
}

/// One edit on the way to a picture.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EditSettings {
    /// The edited prompt, of an edit of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dst: Option<String>,
    /// The edited prompt, of an edit of the edit before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub then: Option<String>,
    /// Where it is another than the source's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_prompt: Option<String>,
    /// Where it sets what no flag does: the window of all new words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit: Option<String>,
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub weight: IndexMap<String, f32>,
    /// Windows are written as they are typed: `0..0.8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_steps: Option<String>,
    /// `default`, and words that have their own.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub cross_steps: IndexMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_steps: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inject_latents: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    /// As it is typed: `cat:dog`, `auto`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blend: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blend_keep: Vec<String>,
    /// Of the words, and of those that are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blend_threshold: Option<[f32; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blend_from: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub blend_soft: bool,
    /// Inline, at the latents' size: a `data:` URI of a PNG.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<String>,
}

impl EditSettings {
    /// The edited prompt.
    pub fn prompt(&self) -> &str {
        let prompt = self.dst.as_ref().or(self.then.as_ref());
        prompt.map_or("", |prompt| prompt)
    }
}

impl Settings {
    /// As JSON, each number as short as it is written.
    pub fn to_map(&self) -> Map<String, Value> {
        let json = serde_json::to_string(self).expect("plain data with string keys");
        serde_json::from_str(&json).expect("an object")
    }

    /// The picture's own prompt.
    pub fn prompt(&self) -> &str {
        self.edit.last().map_or(&self.src, |edit| edit.prompt())
    }

    /// The picture's own negative prompt.
    pub fn own_negative_prompt(&self) -> &str {
        let own = self
            .edit
            .last()
            .and_then(|edit| edit.negative_prompt.as_ref());
        own.unwrap_or(&self.negative_prompt)
    }

    /// Those of a row: the source, edits in order, baselines in order.
    pub(super) fn of(job: &Job, prepared: &Prepared, row: usize) -> (PictureRole, Self) {
        let edits = prepared.edits.len();
        let (role, edit) = match row.checked_sub(1) {
            None => (PictureRole::Source, vec![]),
            Some(i) if i < edits && job.control => (PictureRole::Edited, chain(job, prepared, i)),
            Some(i) => (
                PictureRole::Baseline,
                vec![plain(job, &prepared.edits[i % edits])],
            ),
        };
        let reference = job.rules == Rules::Reference;
        let settings = Self {
            src: prepared.source.text.clone(),
            negative_prompt: job.negative_prompt.clone(),
            seed: job.seed,
            steps: prepared.steps,
            guidance: prepared.guidance,
            width: prepared.width,
            height: prepared.height,
            scheduler: prepared.scheduler.name().to_owned(),
            self_res: match (role, reference) {
                (PictureRole::Edited, true) => job.self_res,
                (PictureRole::Edited, false) => Some(prepared.controller.self_res),
                _ => None,
            },
            compat: reference.then(|| "reference".to_owned()),
            fast: job.fast,
            dtype: Some(prepared.compute.dtype)
                .filter(|dtype| *dtype != DType::F32)
                .map(|dtype| dtype.as_str().to_owned()),
            vae_tiling: prepared.compute.vae_tiling,
            edit_control: (role != PictureRole::Source).then_some(role == PictureRole::Edited),
            edit,
        };
        (role, settings)
    }
}

/// An edit and those it is an edit of, the first of them first.
fn chain(job: &Job, prepared: &Prepared, i: usize) -> Vec<EditSettings> {
    let mut links = vec![i];
    while let Some(before) = prepared.edits[links[0]].base.checked_sub(1) {
        links.insert(0, before);
    }
    let entry = |(place, &i): (usize, &usize)| edit(job, prepared, i, place > 0);
    let mut entries: Vec<EditSettings> = links.iter().enumerate().map(entry).collect();
    // Odd in the reference: factors are looked up in the first edit of the run, whatever it is.
    let weighs = |i: &usize| !job.edits[*i].weights.is_empty();
    if job.rules == Rules::Reference && links[0] > 0 && links.iter().any(weighs) {
        entries.insert(0, edit(job, prepared, 0, false));
    }
    entries
}

/// An edit without control: its prompts are all that counts.
fn plain(job: &Job, edit: &PreparedEdit) -> EditSettings {
    let negative = &edit.negative.text;
    EditSettings {
        dst: Some(edit.tokens.text.clone()),
        negative_prompt: (*negative != job.negative_prompt).then(|| negative.clone()),
        ..EditSettings::default()
    }
}

fn edit(job: &Job, prepared: &Prepared, i: usize, chained: bool) -> EditSettings {
    let (spec, edit) = (&job.edits[i], &prepared.edits[i]);
    let words = Words {
        rules: job.rules,
        sides: [prepared.base_of(edit), &edit.tokens],
    };
    let prompt = plain(job, edit);
    let weight: IndexMap<String, f32> = spec
        .weights
        .iter()
        .filter(|(word, _)| words.stands(1, word))
        .cloned()
        .collect();
    let settings = EditSettings {
        dst: prompt.dst.clone().filter(|_| !chained),
        then: prompt.dst.clone().filter(|_| chained),
        preset: edit
            .cross
            .changed
            .and(spec.preset)
            .map(|preset| preset.name().to_owned()),
        edit: Some(edit.alignment.kind.name().to_owned()),
        weight_steps: edit
            .weight_steps
            .filter(|_| !weight.is_empty())
            .map(|window| window.to_string()),
        weight,
        cross_steps: cross_steps(edit, &words),
        self_steps: Some(edit.self_window.to_string()),
        inject_latents: edit.latents.map(|window| window.to_string()),
        strength: Some(edit.strength),
        ..prompt
    };
    match edit.blend {
        Some(from) => blend(settings, spec, edit, from, &words),
        None => settings,
    }
}

fn cross_steps(edit: &PreparedEdit, words: &Words) -> IndexMap<String, String> {
    let own = edit.cross.words.iter();
    let own = own.filter(|(word, _)| words.stands(1, word));
    // A prompt may hold the word "default"; words are found whatever their case.
    let key = |word: &str| match word {
        "default" => "Default".to_owned(),
        word => word.to_owned(),
    };
    let default = ("default".to_owned(), edit.cross.default.to_string());
    std::iter::once(default)
        .chain(own.map(|(word, window)| (key(word), window.to_string())))
        .collect()
}

fn blend(
    settings: EditSettings,
    spec: &EditSpec,
    edit: &PreparedEdit,
    from: f64,
    words: &Words,
) -> EditSettings {
    // A mask that no words go with: they are about other edits, and confine nothing here.
    let by_words = edit.region.words.iter().chain(&edit.region.keep);
    let by_words = by_words.flatten().next().is_some();
    let said = spec.blend_words().iter().filter(|_| by_words);
    let keep = spec.blend.keep.iter().filter(|_| by_words);
    let thresholds = edit.region.thresholds;
    EditSettings {
        blend: said
            .filter_map(|said| words.blend(said))
            .map(|said| said.to_string())
            .collect(),
        blend_keep: keep
            .filter(|word| words.stands(0, word) || words.stands(1, word))
            .cloned()
            .collect(),
        blend_threshold: by_words.then_some([thresholds.words, thresholds.keep]),
        blend_from: Some(from),
        blend_soft: thresholds.soft,
        mask: edit
            .region
            .mask
            .as_ref()
            .map(|grid| MaskSource::inline(grid).to_string()),
        ..settings
    }
}

/// Which of a run's words are about this edit: others are for its other edits. The reference passes
/// over a word that it doesn't find, so there they may stay.
struct Words<'a> {
    rules: Rules,
    /// Of the prompt that is edited, and of the edited one.
    sides: [&'a Tokens; 2],
}

impl Words<'_> {
    fn stands(&self, side: usize, word: &str) -> bool {
        self.rules == Rules::Reference || !self.rules.find(self.sides[side], word).is_empty()
    }

    /// The part of it that is about this edit.
    fn blend(&self, words: &BlendWords) -> Option<BlendWords> {
        let of = |side: usize, words: &[String]| -> Vec<String> {
            let standing = words.iter().filter(|word| self.stands(side, word));
            standing.cloned().collect()
        };
        match words {
            BlendWords::Changed => Some(BlendWords::Changed),
            BlendWords::Either(either) => {
                let stands = |word: &&String| self.stands(0, word) || self.stands(1, word);
                let standing: Vec<String> = either.iter().filter(stands).cloned().collect();
                (!standing.is_empty()).then_some(BlendWords::Either(standing))
            }
            BlendWords::Pair(base, edited) => {
                let (from, to) = (of(0, base), of(1, edited));
                let whole =
                    from.is_empty() == base.is_empty() && to.is_empty() == edited.is_empty();
                whole.then_some(BlendWords::Pair(from, to))
            }
        }
    }
}
