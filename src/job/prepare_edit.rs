//! Checks one edit of a job and resolves its settings.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::prepare::{Request, negative};
use super::words::{self, EditWords};
use super::{CrossSteps, EditSettings, KindChoice, MaskSource, mask};
use crate::edit::align::{align, equalizer};
use crate::edit::blend::Thresholds;
use crate::edit::diff::changed_tokens;
use crate::edit::{Alignment, EditKind, Region, Window};
use crate::error::Result;
use crate::message::Message;
use crate::prompt::Tokens;

/// The end of the cross-attention window where neither the job nor the model says: the reference's notebooks.
const CROSS_STEPS: f64 = 0.8;
/// The end of the self-attention window, from the same source.
const SELF_STEPS: f64 = 0.4;
/// The start of local blend in the null-text notebook. Before it attention has not settled.
const BLEND_FROM: f64 = 0.2;

/// One edit, aligned to the prompt that it edits.
#[derive(Debug, Clone)]
pub struct PreparedEdit {
    /// The edit's settings with every choice made.
    pub settings: EditSettings,
    /// The tokens of the edited prompt.
    pub tokens: Tokens,
    /// The row that the edit is an edit of: 0 is the source, `i` the `i`-th edit.
    pub base: usize,
    /// The tokens of the edit's negative prompt.
    pub negative: Tokens,
    /// Which token reads which token's attention.
    pub alignment: Alignment,
    /// Who chose the kind.
    pub chosen_by: ChosenBy,
    /// Why the edit is of its kind, for people.
    pub reason: String,
    /// A factor per token, 1 where no weight names it.
    pub factors: Vec<f32>,
    /// Tokens in which the prompts differ, in the prompt that is edited and in the edited prompt.
    pub changed: (Vec<usize>, Vec<usize>),
    /// Where the edit changes the picture: where it is blended, else where its words are.
    pub region: Region,
    /// SHA-256 of the mask's pixels.
    pub mask_sha256: Option<String>,
}

/// Who chose the kind of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChosenBy {
    /// The user.
    User,
    /// The edit's preset.
    Preset,
    /// The two prompts.
    Prompts,
}

impl PreparedEdit {
    /// When the self-attention of the base is injected.
    pub fn self_steps(&self) -> Window {
        self.settings.self_steps.unwrap_or(Window::ALL)
    }
}

impl Request<'_> {
    pub(super) fn edit(&self, i: usize, warnings: &mut Vec<Message>) -> Result<PreparedEdit> {
        let asked = &self.job.edits[i];
        let rules = self.job.rules;
        let (base, tokens) = (self.prompts.base(i), &self.prompts.edits[i]);
        let (kind, chosen_by, reason) = self.kind(asked, base, tokens);
        let changed = changed_tokens(base, tokens);
        let blend = words::region(self.job, i, self.prompts, &changed)?;
        let negative_prompt = asked.negative_prompt.as_ref();
        let negative_prompt = negative_prompt.unwrap_or(&self.job.negative_prompt);
        let own_words = EditWords {
            rules,
            sides: [base, tokens],
        };
        let mut edit = PreparedEdit {
            base: self.prompts.bases[i],
            negative: negative(&self.model.tokenizer, negative_prompt)?,
            alignment: align(kind, base, tokens, rules)?,
            chosen_by,
            reason,
            factors: equalizer(&words::pairs(&asked.weight), tokens, rules),
            changed,
            settings: self.resolve(asked, kind, tokens, &own_words),
            region: blend.region,
            mask_sha256: None,
            tokens: tokens.clone(),
        };
        edit.region.thresholds = thresholds(asked);
        if blend.blends {
            edit.settings.blend_from = Some(self.blend_from(asked));
        }
        if let Some(source) = &asked.mask {
            self.add_mask(source, asked, &mut edit, warnings)?;
        }
        self.resolve_blend(asked, &mut edit, &own_words);
        Ok(edit)
    }

    /// The kind of an edit, who chose it, and why.
    fn kind(
        &self,
        asked: &EditSettings,
        base: &Tokens,
        edited: &Tokens,
    ) -> (EditKind, ChosenBy, String) {
        let by_preset = asked.preset.and_then(|preset| preset.settings().kind);
        match (asked.edit, by_preset) {
            (Some(KindChoice::Kind(kind)), _) => (kind, ChosenBy::User, "as asked".to_owned()),
            (None, Some(kind)) => (kind, ChosenBy::Preset, "the preset's".to_owned()),
            (Some(KindChoice::Auto), _) | (None, None) => {
                let (kind, reason) = EditKind::choose(base, edited, self.job.rules);
                (kind, ChosenBy::Prompts, reason)
            }
        }
    }

    /// The settings with every choice made but that of the blend. The edit's own value wins over the preset's,
    /// the preset's over the model's recommendation.
    fn resolve(
        &self,
        asked: &EditSettings,
        kind: EditKind,
        tokens: &Tokens,
        words: &EditWords,
    ) -> EditSettings {
        let recommended = &self.model.recommended;
        let preset = asked.preset.map(|preset| preset.settings());
        let negative_prompt = asked.negative_prompt.clone();
        let weight = asked.weight.iter().filter(|(word, _)| words.stand(1, word));
        let weight: IndexMap<String, f32> = weight.map(|(w, f)| (w.clone(), *f)).collect();
        let weighs = !weight.is_empty();
        let windows = asked.cross_steps.words.iter();
        let windows = windows.filter(|(word, _)| words.stand(1, word));
        let cross_steps = CrossSteps {
            default: asked
                .cross_steps
                .default
                .or(preset.map(|p| p.cross()))
                .or(Some(Window::until(
                    recommended.cross_steps.unwrap_or(CROSS_STEPS),
                ))),
            words: windows.map(|(w, window)| (w.clone(), *window)).collect(),
        };
        let self_steps = asked.self_steps.or(preset.map(|p| p.self_window()));
        let default = recommended.self_steps.unwrap_or(SELF_STEPS);
        EditSettings {
            dst: Some(tokens.text.clone()),
            of: asked.of,
            negative_prompt: negative_prompt.filter(|own| *own != self.job.negative_prompt),
            preset: asked.preset,
            edit: Some(kind.into()),
            weight_steps: asked.weight_steps.filter(|_| weighs),
            weight,
            cross_steps,
            self_steps: Some(self_steps.unwrap_or(Window::until(default))),
            inject_latents: asked.inject_latents,
            strength: Some(asked.strength()),
            ..EditSettings::default()
        }
    }

    /// When the blend begins. A run of a single step blends after it.
    fn blend_from(&self, asked: &EditSettings) -> f64 {
        let default = if self.calls == 1 { 0.0 } else { BLEND_FROM };
        asked.blend_from.unwrap_or(default)
    }

    fn add_mask(
        &self,
        source: &MaskSource,
        asked: &EditSettings,
        edit: &mut PreparedEdit,
        warnings: &mut Vec<Message>,
    ) -> Result<()> {
        if edit.settings.blend_from.is_none() {
            // A mask alone says where the edit acts. The words of the edit don't.
            edit.region = Region {
                thresholds: edit.region.thresholds,
                ..Region::default()
            };
            edit.settings.blend_from = Some(self.blend_from(asked));
        }
        let mask = mask::load(source, self.latent_size, asked.blend_soft)?;
        let warning = mask.warning.into_iter();
        warning.for_each(|warning| words::push_once(warnings, warning));
        edit.settings.mask = Some(MaskSource::inline(&mask.grid));
        edit.region.mask = Some(mask.grid);
        edit.mask_sha256 = Some(mask.sha256);
        Ok(())
    }

    /// The settings of a blend that acts. Words that are about other edits of the run are left out.
    fn resolve_blend(&self, asked: &EditSettings, edit: &mut PreparedEdit, words: &EditWords) {
        if edit.settings.blend_from.is_none() {
            return;
        }
        let thresholds = edit.region.thresholds;
        edit.settings.blend_soft = thresholds.soft;
        let by_words = edit.region.words.iter().chain(&edit.region.keep);
        if by_words.flatten().next().is_none() {
            return;
        }
        let blend = asked.blend_words().iter();
        edit.settings.blend = blend.filter_map(|said| words.blend(said)).collect();
        let keep = asked.blend_keep.iter();
        let keep = keep.filter(|word| words.stand(0, word) || words.stand(1, word));
        edit.settings.blend_keep = keep.cloned().collect();
        edit.settings.blend_threshold = Some((thresholds.words, thresholds.keep));
    }
}

fn thresholds(asked: &EditSettings) -> Thresholds {
    let default = Thresholds::default();
    let given = asked.blend_threshold;
    let (words, keep) = given.unwrap_or((default.words, default.keep));
    Thresholds {
        words,
        keep,
        soft: asked.blend_soft,
    }
}
