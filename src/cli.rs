//! The command line as typed: flags, their help, and how they fill a `Job`.
//! Knows no model and does no work; whatever needs the prompt's tokens is checked later.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use prompt_to_prompt::edit::{EditKind, Rules, Window};
use prompt_to_prompt::error::Error;
use prompt_to_prompt::job::{EditSpec, Job, SchedulerName};
use prompt_to_prompt::report::console::Verbosity;

/// Edit generated images by changing words (Prompt-to-Prompt, Hertz et al., ICLR 2023).
#[derive(Debug, Parser)]
#[command(name = "p2p", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Edit(Box<EditArgs>),
}

/// Draw a picture of --src and edit it towards --dst, keeping its layout
///
/// Writes source.png, edited-1.png (one per --dst), strip.png and manifest.json into a new folder
/// and prints their paths. Without --model the embedded model draws: no network, no weights to fetch.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct EditArgs {
    /// The source prompt: what the picture shows before the edit
    #[arg(help_heading = "Edit", long, value_name = "PROMPT")]
    src: String,

    /// An edited prompt; repeat for several edits of one source
    #[arg(help_heading = "Edit", long, value_name = "PROMPT")]
    dst: Vec<String>,

    /// How attention is borrowed: replace where the word counts agree, refine where words were added
    /// or removed; auto chooses
    #[arg(help_heading = "Edit", long, value_enum, default_value_t = KindArg::Auto)]
    edit: KindArg,

    /// Turn a word up or down: red=2, "teddy bear"=-1, cat#2=0 (second occurrence); repeatable.
    /// Without --dst it re-weights the source prompt. The paper uses -2 to 2
    #[arg(
        help_heading = "Edit",
        long,
        value_name = "WORD=FACTOR",
        allow_hyphen_values = true
    )]
    weight: Vec<WeightArg>,

    /// Part of the run in which cross-attention is edited: 0.8, 0.1..0.8, or for one word car=0.4;
    /// repeatable [default: the model's, else 0.8]
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

    /// Finest downscale of the latents at which self-attention is injected: 1, 2, 4, 8
    /// [default: the model's layout grid, 16x16 for Stable Diffusion at 512 px]
    #[arg(help_heading = "Edit", long, value_name = "DOWNSCALE", value_parser = downscale)]
    self_res: Option<usize>,

    /// Seed of the noise, the same picture as in a Python notebook [default: random]
    #[arg(help_heading = "Picture", short, long, value_name = "N", allow_hyphen_values = true, value_parser = seed)]
    seed: Option<u64>,

    /// Denoising steps, 1 to 1000 [default: the model's, else 50]
    #[arg(help_heading = "Picture", long, value_name = "N", allow_hyphen_values = true, value_parser = whole::<1, 1000>)]
    steps: Option<usize>,

    /// Classifier-free guidance scale [default: the model's, else 7.5]
    #[arg(help_heading = "Picture", long, value_name = "SCALE", allow_hyphen_values = true, value_parser = guidance)]
    #[arg(aliases = ["cfg-scale", "guidance-scale"])]
    guidance: Option<f64>,

    /// Pixels, a multiple of 8 [default: the model's native size]
    #[arg(help_heading = "Picture", short = 'W', long, value_name = "PX", allow_hyphen_values = true, value_parser = pixels)]
    width: Option<usize>,

    /// Pixels, a multiple of 8 [default: the model's native size]
    #[arg(help_heading = "Picture", short = 'H', long, value_name = "PX", allow_hyphen_values = true, value_parser = pixels)]
    height: Option<usize>,

    /// What the pictures should not show
    #[arg(
        help_heading = "Picture",
        short,
        long,
        value_name = "PROMPT",
        default_value = "",
        hide_default_value = true
    )]
    negative_prompt: String,

    #[arg(help_heading = "Picture", long, value_name = "NAME", default_value_t, hide_default_value = true, help = schedulers())]
    scheduler: SchedulerName,

    /// Run the edited prompts from the same noise without touching attention (the paper's figure 2)
    #[arg(help_heading = "Edit", long)]
    no_edit_control: bool,

    /// Add the edits without attention control to the strip
    #[arg(help_heading = "Output", long, conflicts_with = "no_edit_control")]
    baseline: bool,

    /// Reproduce another implementation's quirks: those of the paper's own code
    #[arg(help_heading = "Edit", long, value_enum, value_name = "OF")]
    compat: Option<CompatArg>,

    /// A diffusers folder (model_index.json, unet/, vae/, text_encoder/, tokenizer/, scheduler/), or
    /// `storybook`, the embedded model
    #[arg(
        help_heading = "Picture",
        short,
        long,
        value_name = "DIR",
        default_value = "storybook"
    )]
    pub model: String,

    /// Folder to write [default: p2p-out/EDIT-SEED]
    #[arg(help_heading = "Output", short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,

    /// Replace the outputs of an earlier run in an existing folder
    #[arg(help_heading = "Output", long)]
    pub force: bool,

    /// Also write the final latents [1+N, 4, h, w] as safetensors, key `latents`
    #[arg(help_heading = "Output", long, value_name = "FILE")]
    pub save_latents: Option<PathBuf>,

    /// Worker threads [default: all cores]; the pictures don't depend on it
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = whole::<1, 1024>)]
    pub threads: Option<usize>,

    /// Print the manifest on stdout instead of the paths
    #[arg(help_heading = "Output", long)]
    pub json: bool,

    /// Say more
    #[arg(short, long, action = ArgAction::SetTrue, conflicts_with = "quiet")]
    verbose: bool,

    /// Say only warnings and errors
    #[arg(short, long)]
    quiet: bool,
}

const EXAMPLES: &str = "\
Examples:
  # swap a word
  p2p edit --src \"a big red bicycle\" --dst \"a big red car\"
  # add a phrase
  p2p edit --src \"a castle\" --dst \"a pencil sketch of a castle\" --cross-steps 0.5
  # turn a word down
  p2p edit --src \"a fluffy dog\" --weight fluffy=-1
  # free the new word's shape early
  p2p edit --src \"a dog\" --dst \"a house\" --cross-steps 1 --cross-steps house=0.4
  # several edits of one source
  p2p edit --src \"a cat\" --dst \"a dog\" --dst \"a lion\" --seed 3

Exit codes: 0 done, 1 the run failed, 2 wrong usage, 130 interrupted.";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum KindArg {
    Auto,
    Replace,
    Refine,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CompatArg {
    Reference,
}

#[derive(Debug, Clone)]
struct WeightArg(String, f32);

impl FromStr for WeightArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, factor) = split_word(text).ok_or("write WORD=FACTOR, such as red=2")?;
        let factor: f32 = factor
            .trim()
            .parse()
            .map_err(|_| format!("\"{factor}\" is not a number; write one such as 2 or -0.5"))?;
        if !factor.is_finite() {
            return Err("the factor must be finite; write one from -2 to 2".to_owned());
        }
        Ok(Self(word.to_owned(), factor))
    }
}

#[derive(Debug, Clone)]
enum CrossArg {
    Default(Window),
    Of(String, Window),
}

impl FromStr for CrossArg {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Ok(match split_word(text) {
            Some((word, window)) => Self::Of(word.to_owned(), window.parse()?),
            None => Self::Default(text.parse()?),
        })
    }
}

/// `WORD=VALUE`; the word may hold a `=` of its own.
fn split_word(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once('=')
        .filter(|(word, _)| !word.trim().is_empty())
}

/// A whole number from `MIN` to `MAX`. The error says what to write, where the standard parser would
/// say what it tripped over.
fn whole<const MIN: usize, const MAX: usize>(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (MIN..=MAX).contains(&n) => Ok(n),
        _ => Err(format!("use a whole number from {MIN} to {MAX}")),
    }
}

/// The help of --scheduler: every name with its phrase.
fn schedulers() -> String {
    let line = |s: SchedulerName| match s == SchedulerName::default() {
        true => format!("\n- {s}: {}; the default", s.about()),
        false => format!("\n- {s}: {}", s.about()),
    };
    let lines = SchedulerName::ALL.map(line).concat();
    format!("The solver, under this name or diffusers':{lines}")
}

fn seed(text: &str) -> Result<u64, String> {
    let range = format!("use a whole number from 0 to {}", u64::MAX);
    text.parse().map_err(|_| range)
}

/// Which multiples are drawn is the model's to say.
fn pixels(text: &str) -> Result<usize, String> {
    let wanted = "use a whole number of pixels, a multiple of 8 such as 128";
    text.parse().map_err(|_| wanted.to_owned())
}

fn guidance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if (0.0..=100.0).contains(&scale) => Ok(scale),
        _ => Err("use a number from 0 to 100; 7.5 is usual".to_owned()),
    }
}

fn downscale(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(scale) if [1, 2, 4, 8].contains(&scale) => Ok(scale),
        _ => Err("use 1, 2, 4 or 8: how much coarser than the latents".to_owned()),
    }
}

impl EditArgs {
    /// The job these flags ask for; `seed` is used where no --seed was given.
    pub fn job(&self, seed: u64) -> Result<Job, Error> {
        if self.dst.is_empty() && self.weight.is_empty() {
            return Err(Error::usage(
                "there is nothing to edit: neither --dst nor --weight is given",
                "add an edited prompt, --dst \"a big red car\", or a factor, --weight red=2",
            ));
        }
        self.check_repeats()?;
        if self.no_edit_control && self.dst.is_empty() {
            return Err(Error::usage(
                "--no-edit-control without --dst would draw the source twice",
                "add an edited prompt, --dst \"a big red car\", or leave --no-edit-control out",
            ));
        }
        let dsts = self.dst.iter().cloned().map(Some);
        let dsts: Vec<_> = if self.dst.is_empty() {
            vec![None]
        } else {
            dsts.collect()
        };
        Ok(Job {
            src: self.src.clone(),
            edits: dsts
                .into_iter()
                .map(|dst| EditSpec {
                    dst,
                    ..self.edit_spec()
                })
                .collect(),
            negative_prompt: self.negative_prompt.clone(),
            seed: self.seed.unwrap_or(seed),
            steps: self.steps,
            guidance: self.guidance,
            width: self.width,
            height: self.height,
            scheduler: self.scheduler,
            self_res: self.self_res,
            rules: match self.compat {
                Some(CompatArg::Reference) => Rules::Reference,
                None => Rules::Ours,
            },
            control: !self.no_edit_control,
            baseline: self.baseline,
        })
    }

    /// Which of two would win is nothing to guess at.
    fn check_repeats(&self) -> Result<(), Error> {
        let weights = self.weight.iter().map(|w| Some(w.0.as_str())).collect();
        let windows = self.cross_steps.iter().map(|arg| match arg {
            CrossArg::Default(_) => None,
            CrossArg::Of(word, _) => Some(word.as_str()),
        });
        let twice = |flag: &str, mut keys: Vec<Option<&str>>| {
            keys.sort_unstable();
            let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) else {
                return Ok(());
            };
            let what = pair[0].map_or("a default".to_owned(), |word| format!("\"{word}\""));
            Err(Error::usage(
                format!("{flag} gives {what} twice"),
                "leave one of them out",
            ))
        };
        twice("--weight", weights)?;
        twice("--cross-steps", windows.collect())
    }

    /// The flags that apply to every edit.
    fn edit_spec(&self) -> EditSpec {
        let mut spec = EditSpec {
            dst: None,
            kind: match self.edit {
                KindArg::Auto => None,
                KindArg::Replace => Some(EditKind::Replace),
                KindArg::Refine => Some(EditKind::Refine),
            },
            weights: self.weight.iter().map(|w| (w.0.clone(), w.1)).collect(),
            self_steps: self.self_steps,
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

    pub fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        }
    }
}
