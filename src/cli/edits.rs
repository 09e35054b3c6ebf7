//! The flags that say how an edit is made. In a job file each edit may have its own.

use clap::{Args, ValueHint};

use prompt_to_prompt::edit::Window;
use prompt_to_prompt::error::Error;
use prompt_to_prompt::job::{BlendWords, CrossSteps, EditSettings, KindChoice, MaskSource, Preset};
use prompt_to_prompt::message;
use prompt_to_prompt::setting::Setting;

use super::prompts::EditedPrompts;
use super::values::{CrossArg, ThresholdArg, WeightArg, WordArg, fraction, kind, preset, strength};

/// The settings that may differ between the edits of one source. On the command line they hold for all.
#[derive(Debug, Args)]
pub struct EachEditArgs {
    #[command(flatten)]
    edited: EditedPrompts,

    /// Use the settings of a preset, see `p2p presets`; explicit flags win
    #[arg(help_heading = "Edit", long, value_parser = preset(), value_name = "NAME")]
    preset: Option<Preset>,

    /// How attention is borrowed from the source: `replace` for words swapped one for one, `refine` for words
    /// added or removed, `mixed` for both, `auto` to decide by the prompts [default: the preset's, else auto]
    #[arg(help_heading = "Edit", long, value_parser = kind())]
    edit: Option<KindChoice>,

    /// Turn a word up or down: red=2, "teddy bear"=-1, cat#2=0 for the second cat; repeatable.
    /// Without --dst the source prompt is re-weighted. The paper uses factors from -2 to 2
    #[arg(
        help_heading = "Edit",
        long,
        value_name = "WORD=FACTOR",
        allow_hyphen_values = true
    )]
    weight: Vec<WeightArg>,

    /// Part of the run in which the factors of --weight act [default: the windows of --cross-steps]
    #[arg(
        help_heading = "Edit",
        long,
        value_name = "WINDOW",
        allow_hyphen_values = true
    )]
    weight_steps: Option<Window>,

    /// Part of the run in which cross-attention is edited: 0.8 for the first 80 %, 0.1..0.8, 0.6~0.8 to fade out,
    /// steps:10..40 for steps 10 to 39, or car=0.4 for one word; repeatable [default: the model's, else 0.8]
    #[arg(
        help_heading = "Edit",
        long,
        value_name = "[WORD=]WINDOW",
        allow_hyphen_values = true
    )]
    #[arg(alias = "cross-replace-steps")]
    cross_steps: Vec<CrossArg>,

    /// Part of the run in which the source's self-attention is injected: 0.4 or 0.1..0.4
    /// [default: the model's, else 0.4]
    #[arg(
        help_heading = "Edit",
        long,
        value_name = "WINDOW",
        allow_hyphen_values = true
    )]
    #[arg(alias = "self-replace-steps")]
    self_steps: Option<Window>,

    /// Part of the run in which the latents are copied from the source: 0.2. Nothing keeps the layout more firmly
    #[arg(
        help_heading = "Edit",
        long,
        value_name = "WINDOW",
        allow_hyphen_values = true
    )]
    inject_latents: Option<Window>,

    /// How much of the edit is done: 0 is the source, 1 the edit, up to 4 exaggerates. Most of the change happens
    /// below 0.2. Several values draw a morph: 0.02,0.05,0.1,0.2,1
    #[arg(
        help_heading = "Edit",
        long,
        value_name = "S",
        value_delimiter = ',',
        allow_hyphen_values = true,
        value_parser = strength
    )]
    strength: Vec<f64>,

    /// Change the picture only where these words are: bicycle:car (source:edit), one side for either prompt,
    /// commas for several words, auto for the words that differ; repeatable
    #[arg(help_heading = "Blend", long, value_name = "WORDS")]
    blend: Vec<BlendWords>,

    /// Leave the places of these words unchanged; commas for several
    #[arg(
        help_heading = "Blend",
        long,
        value_name = "WORDS",
        value_delimiter = ','
    )]
    blend_keep: Vec<WordArg>,

    /// Share of the peak attention above which a place belongs to the words; a second number
    /// for --blend-keep [default: 0.3]
    #[arg(
        help_heading = "Blend",
        long,
        value_name = "T[,T]",
        allow_hyphen_values = true
    )]
    blend_threshold: Option<ThresholdArg>,

    /// Fraction of the run after which the rest of the picture is restored [default: 0.2]
    #[arg(help_heading = "Blend", long, value_name = "FRACTION", allow_hyphen_values = true, value_parser = fraction)]
    blend_from: Option<f64>,

    /// Fade the edges of the mask
    #[arg(help_heading = "Blend", long)]
    blend_soft: bool,

    /// Your own mask: a PNG picture whose white may change. With --blend, both must agree
    #[arg(help_heading = "Blend", long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    mask: Option<MaskSource>,
}

impl EachEditArgs {
    /// Whether there is a prompt to edit towards.
    pub fn has_prompts(&self) -> bool {
        !self.edited.is_empty()
    }

    /// The first setting that has no effect without attention control.
    pub fn needs_control(&self) -> Option<Setting> {
        let given = [
            (Setting::Blend, !self.blend.is_empty()),
            (Setting::BlendKeep, !self.blend_keep.is_empty()),
            (Setting::Mask, self.mask.is_some()),
            (Setting::Strength, !self.strength.is_empty()),
            (Setting::InjectLatents, self.inject_latents.is_some()),
        ];
        first(given)
    }

    /// One edit for each prompt and strength.
    pub fn edits(&self) -> Result<Vec<EditSettings>, Error> {
        self.check()?;
        let prompts = self.edited.0.iter().zip(self.edited.bases());
        let prompted = prompts.map(|(edited, of)| (Some(edited.prompt.clone()), of));
        let mut prompted: Vec<(Option<String>, Option<usize>)> = prompted.collect();
        if prompted.is_empty() {
            prompted.push((None, None));
        }
        let mut strengths: Vec<Option<f64>> = self.strength.iter().copied().map(Some).collect();
        if strengths.is_empty() {
            strengths.push(None);
        }
        let edit =
            |(dst, of): &(Option<String>, Option<usize>), strength: Option<f64>| EditSettings {
                dst: dst.clone(),
                of: *of,
                strength,
                ..self.shared()
            };
        let edits = prompted.iter().flat_map(|prompted| {
            let strengths = strengths.iter();
            strengths.map(|strength| edit(prompted, *strength))
        });
        Ok(edits.collect())
    }

    /// Finds what is wrong whatever the model is.
    fn check(&self) -> Result<(), Error> {
        if self.edited.is_empty() && self.weight.is_empty() {
            return Err(Error::usage(
                message![
                    "there is nothing to edit: neither ",
                    Setting::Dst,
                    " nor ",
                    Setting::Weight,
                    " is given",
                ],
                message![
                    "add an edited prompt, ",
                    Setting::Dst.to("a big red car"),
                    ", or a factor, ",
                    Setting::Weight.of("red", 2),
                ],
            ));
        }
        if self.edited.0.first().is_some_and(|prompt| prompt.chained) {
            return Err(Error::usage(
                message![Setting::Then, " has no edit before it"],
                message![
                    "give an edited prompt first: ",
                    Setting::Dst.to("a dog"),
                    " ",
                    Setting::Then.to("a fluffy dog"),
                ],
            )
            .about(Setting::Then));
        }
        if self.strength.len() > 1 && self.edited.0.iter().any(|prompt| prompt.chained) {
            return Err(Error::usage(
                message![
                    "several ",
                    Setting::Strength,
                    " make several edits, and ",
                    Setting::Then,
                    " does not say which of them it edits",
                ],
                message![
                    "give one ",
                    Setting::Strength,
                    ", or leave ",
                    Setting::Then,
                    " out"
                ],
            )
            .about(Setting::Strength));
        }
        self.check_idle()?;
        self.check_repeats()
    }

    /// A setting that cannot do anything is a mistake.
    fn check_idle(&self) -> Result<(), Error> {
        if self.weight_steps.is_some() && self.weight.is_empty() {
            return Err(Error::usage(
                message![
                    Setting::WeightSteps,
                    " without ",
                    Setting::Weight,
                    " has no effect"
                ],
                message!["give a factor, such as ", Setting::Weight.of("red", 2)],
            )
            .about(Setting::WeightSteps));
        }
        let blends = self.preset.is_some_and(|preset| preset.settings().blend)
            || !self.blend.is_empty()
            || !self.blend_keep.is_empty()
            || self.mask.is_some();
        let idle = first([
            (Setting::BlendThreshold, self.blend_threshold.is_some()),
            (Setting::BlendFrom, self.blend_from.is_some()),
            (Setting::BlendSoft, self.blend_soft),
        ]);
        match idle.filter(|_| !blends) {
            None => Ok(()),
            Some(setting) => Err(Error::usage(
                message![
                    setting,
                    " without ",
                    Setting::Blend,
                    ", ",
                    Setting::BlendKeep,
                    " or ",
                    Setting::Mask,
                    " has no effect",
                ],
                message!["say where to blend, such as ", Setting::Blend.to("auto")],
            )
            .about(setting)),
        }
    }

    /// Two values for one word are a mistake: nobody knows which one is meant.
    fn check_repeats(&self) -> Result<(), Error> {
        let weights = self.weight.iter().map(|w| Some(w.0.to_lowercase()));
        twice(Setting::Weight, weights)?;
        let windows = self.cross_steps.iter().map(|arg| match arg {
            CrossArg::Default(_) => None,
            CrossArg::Of(word, _) => Some(word.to_lowercase()),
        });
        twice(Setting::CrossSteps, windows)
    }

    /// The settings that all edits have in common.
    fn shared(&self) -> EditSettings {
        let mut cross_steps = CrossSteps::default();
        for arg in &self.cross_steps {
            match arg {
                CrossArg::Default(window) => cross_steps.default = Some(*window),
                CrossArg::Of(word, window) => {
                    cross_steps.words.insert(word.clone(), *window);
                }
            }
        }
        EditSettings {
            preset: self.preset,
            edit: self.edit,
            weight: self.weight.iter().map(|w| (w.0.clone(), w.1)).collect(),
            weight_steps: self.weight_steps,
            cross_steps,
            self_steps: self.self_steps,
            inject_latents: self.inject_latents,
            blend: self.blend.clone(),
            blend_keep: self.blend_keep.iter().map(|word| word.0.clone()).collect(),
            blend_threshold: self.blend_threshold.map(|t| (t.0, t.1)),
            blend_from: self.blend_from,
            blend_soft: self.blend_soft,
            mask: self.mask.clone(),
            ..EditSettings::default()
        }
    }
}

/// The first setting that is given.
fn first<const N: usize>(settings: [(Setting, bool); N]) -> Option<Setting> {
    let given = settings.into_iter().find(|(_, given)| *given);
    given.map(|(setting, _)| setting)
}

/// Refuses two values for one key; the key `None` stands for all words.
fn twice(setting: Setting, keys: impl Iterator<Item = Option<String>>) -> Result<(), Error> {
    let mut keys: Vec<Option<String>> = keys.collect();
    keys.sort_unstable();
    let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) else {
        return Ok(());
    };
    let key = pair[0].as_ref();
    let what = key.map_or("a default".to_owned(), |word| format!("\"{word}\""));
    Err(Error::usage(
        message![setting, format!(" gives {what} twice")],
        "leave one of them out",
    )
    .about(setting))
}
