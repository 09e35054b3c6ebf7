//! The flags that say how an edit is made, which a job file may give each edit of its own.

use clap::{Args, ValueEnum, ValueHint};

use prompt_to_prompt::edit::{EditKind, Window};
use prompt_to_prompt::error::Error;
use prompt_to_prompt::job::{BlendSpec, EditSpec, MaskSource, Preset};

use super::map_values::word;
use super::prompts::EditedPrompts;
use super::values::{BlendArg, CrossArg, ThresholdArg, WeightArg, fraction, strength};

/// What may differ from edit to edit of one source; on the command line it is said once for all.
#[derive(Debug, Args)]
pub struct EachEditArgs {
    #[command(flatten)]
    edited: EditedPrompts,

    /// Settings of a kind of edit, listed by `p2p presets`; explicit flags win
    #[arg(help_heading = "Edit", long, value_enum, value_name = "NAME")]
    preset: Option<PresetArg>,

    /// How attention is borrowed: replace where words were swapped one for one, refine where some were added
    /// or removed, mixed where both [default: the preset's, else auto, which chooses]
    #[arg(help_heading = "Edit", long, value_enum)]
    edit: Option<KindArg>,

    /// Turn a word up or down: red=2, "teddy bear"=-1, cat#2=0 (second occurrence); repeatable.
    /// Without --dst it re-weights the source prompt. The paper uses -2 to 2
    #[arg(
        help_heading = "Edit",
        long,
        value_name = "WORD=FACTOR",
        allow_hyphen_values = true
    )]
    weight: Vec<WeightArg>,

    /// Part of the run in which the factors of --weight act
    /// [default: with the edit, while --cross-steps are open]
    #[arg(
        help_heading = "Edit",
        long,
        value_name = "WINDOW",
        allow_hyphen_values = true
    )]
    weight_steps: Option<Window>,

    /// Part of the run in which cross-attention is edited: 0.8, 0.1..0.8, fading out 0.6~0.8, in steps
    /// steps:10..40 (from 0, the end not included), or for one word car=0.4; repeatable [default: the model's, else 0.8]
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

    /// Part of the run in which the latents are the source's: the strongest hold on layout, 0.2
    #[arg(
        help_heading = "Edit",
        long,
        value_name = "WINDOW",
        allow_hyphen_values = true
    )]
    inject_latents: Option<Window>,

    /// How much of the edit is done: 0 is the source, 1 the edit, and most happens below 0.2. Several
    /// draw a morph: 0.02,0.05,0.1,0.2,1
    #[arg(
        help_heading = "Edit",
        long,
        value_name = "S",
        value_delimiter = ',',
        allow_hyphen_values = true,
        value_parser = strength
    )]
    strength: Vec<f64>,

    /// Change the picture only where these words are: bicycle:car (source:edit), one side for either,
    /// commas for several, auto for the words that differ; repeatable
    #[arg(help_heading = "Blend", long, value_name = "WORDS")]
    blend: Vec<BlendArg>,

    /// Words whose places stay as they are; commas for several
    #[arg(
        help_heading = "Blend",
        long,
        value_name = "WORDS",
        value_delimiter = ',',
        value_parser = word
    )]
    blend_keep: Vec<String>,

    /// Attention, as a share of its peak, above which a place belongs to the words; a second number
    /// for --blend-keep [default: 0.3]
    #[arg(
        help_heading = "Blend",
        long,
        value_name = "T[,T]",
        allow_hyphen_values = true
    )]
    blend_threshold: Option<ThresholdArg>,

    /// Where in the run it begins: from then on the rest of the picture is put back [default: 0.2]
    #[arg(help_heading = "Blend", long, value_name = "FRACTION", allow_hyphen_values = true, value_parser = fraction)]
    blend_from: Option<f64>,

    /// Fade the edges of the mask
    #[arg(help_heading = "Blend", long)]
    blend_soft: bool,

    /// A mask of your own: a PNG, white may change; together with --blend both must agree
    #[arg(help_heading = "Blend", long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    mask: Option<MaskSource>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum KindArg {
    Auto,
    Replace,
    Refine,
    Mixed,
}

#[derive(Debug, Clone, Copy)]
struct PresetArg(Preset);

impl ValueEnum for PresetArg {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [PresetArg; Preset::ALL.len()] = {
            let mut all = [PresetArg(Preset::Swap); Preset::ALL.len()];
            let mut i = 0;
            while i < all.len() {
                all[i] = PresetArg(Preset::ALL[i]);
                i += 1;
            }
            all
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.0.name()))
    }
}

impl EachEditArgs {
    /// Whether there is a prompt to edit towards.
    pub fn has_prompts(&self) -> bool {
        !self.edited.is_empty()
    }

    /// The first flag that is nothing without attention control.
    pub fn needs_control(&self) -> Option<&'static str> {
        let flags = [
            ("--blend", !self.blend.is_empty()),
            ("--blend-keep", !self.blend_keep.is_empty()),
            ("--mask", self.mask.is_some()),
            ("--strength", !self.strength.is_empty()),
            ("--inject-latents", self.inject_latents.is_some()),
        ];
        let given = flags.into_iter().find(|(_, given)| *given);
        given.map(|(flag, _)| flag)
    }

    /// One edit a prompt and strength.
    pub fn specs(&self) -> Result<Vec<EditSpec>, Error> {
        self.check()?;
        let prompts = self.edited.0.iter().zip(self.edited.bases());
        let prompted = prompts.map(|(edited, of)| (Some(edited.prompt.clone()), of));
        let prompted: Vec<(Option<String>, Option<usize>)> = match self.edited.is_empty() {
            true => vec![(None, None)],
            false => prompted.collect(),
        };
        let strengths: Vec<Option<f64>> = match self.strength.is_empty() {
            true => vec![None],
            false => self.strength.iter().copied().map(Some).collect(),
        };
        let edit = |(dst, of): &(Option<String>, Option<usize>), strength: Option<f64>| EditSpec {
            dst: dst.clone(),
            of: *of,
            strength,
            ..self.spec()
        };
        let edits = prompted.iter().flat_map(|prompted| {
            let strengths = strengths.iter();
            strengths.map(|strength| edit(prompted, *strength))
        });
        Ok(edits.collect())
    }

    /// What can be seen to be wrong without a model.
    fn check(&self) -> Result<(), Error> {
        if self.edited.is_empty() && self.weight.is_empty() {
            return Err(Error::usage(
                "there is nothing to edit: neither --dst nor --weight is given",
                "add an edited prompt, --dst \"a big red car\", or a factor, --weight red=2",
            ));
        }
        if self.edited.0.first().is_some_and(|prompt| prompt.chained) {
            return Err(Error::usage(
                "--then has no edit before it",
                "give an edited prompt first: --dst \"a dog\" --then \"a fluffy dog\"",
            ));
        }
        if self.strength.len() > 1 && self.edited.0.iter().any(|prompt| prompt.chained) {
            return Err(Error::usage(
                "several --strength make several edits, and --then would not know of which",
                "give one --strength, or leave --then out",
            ));
        }
        self.check_idle()?;
        self.check_repeats()
    }

    /// A flag that cannot do anything is a mistake, not a wish.
    fn check_idle(&self) -> Result<(), Error> {
        if self.weight_steps.is_some() && self.weight.is_empty() {
            return Err(Error::usage(
                "--weight-steps without --weight does nothing",
                "give a factor, such as --weight red=2",
            ));
        }
        if self.blend.is_empty() && self.blend_keep.is_empty() && self.mask.is_none() {
            let idle = [
                ("--blend-threshold", self.blend_threshold.is_some()),
                ("--blend-from", self.blend_from.is_some()),
                ("--blend-soft", self.blend_soft),
            ];
            let blends = self.preset.is_some_and(|p| p.0.settings().blend);
            if let Some((flag, _)) = idle.into_iter().find(|(_, given)| *given && !blends) {
                return Err(Error::usage(
                    format!("{flag} without --blend, --blend-keep or --mask does nothing"),
                    "say where to blend, such as --blend auto",
                ));
            }
        }
        Ok(())
    }

    /// Which of two would win is nothing to guess at.
    fn check_repeats(&self) -> Result<(), Error> {
        let weights = self
            .weight
            .iter()
            .map(|w| Some(w.0.to_lowercase()))
            .collect();
        let windows = self.cross_steps.iter().map(|arg| match arg {
            CrossArg::Default(_) => None,
            CrossArg::Of(word, _) => Some(word.to_lowercase()),
        });
        let twice = |flag: &str, mut keys: Vec<Option<String>>| {
            keys.sort_unstable();
            let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) else {
                return Ok(());
            };
            let what = pair[0]
                .as_ref()
                .map_or("a default".to_owned(), |word| format!("\"{word}\""));
            Err(Error::usage(
                format!("{flag} gives {what} twice"),
                "leave one of them out",
            ))
        };
        twice("--weight", weights)?;
        twice("--cross-steps", windows.collect())
    }

    /// What is the same for all of them.
    fn spec(&self) -> EditSpec {
        let mut spec = EditSpec {
            dst: None,
            kind: match self.edit {
                None | Some(KindArg::Auto) => None,
                Some(KindArg::Replace) => Some(EditKind::Replace),
                Some(KindArg::Refine) => Some(EditKind::Refine),
                Some(KindArg::Mixed) => Some(EditKind::Mixed),
            },
            auto_kind: matches!(self.edit, Some(KindArg::Auto)),
            preset: self.preset.map(|preset| preset.0),
            weights: self.weight.iter().map(|w| (w.0.clone(), w.1)).collect(),
            weight_steps: self.weight_steps,
            self_steps: self.self_steps,
            inject_latents: self.inject_latents,
            blend: BlendSpec {
                words: self.blend.iter().map(|arg| arg.0.clone()).collect(),
                keep: self.blend_keep.clone(),
                threshold: self.blend_threshold.map(|t| (t.0, t.1)),
                from: self.blend_from,
                soft: self.blend_soft,
                mask: self.mask.clone(),
            },
            ..EditSpec::default()
        };
        for arg in &self.cross_steps {
            match arg {
                CrossArg::Default(window) => spec.cross_steps = Some(*window),
                CrossArg::Of(word, window) => spec.cross_steps_of.push((word.clone(), *window)),
            }
        }
        spec
    }
}
