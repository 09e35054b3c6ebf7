//! Flags of heatmaps: under their own names for `p2p heatmap`, with the prefix `map-` for `p2p edit`.
//! clap's derive knows no prefixes, so the flags are listed here by hand, once.

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use prompt_to_prompt::message::Flags;

use prompt_to_prompt::error::Error;
use prompt_to_prompt::heatmap::{Look, MapSpec};

use super::map_values::{
    COLORMAP, ENLARGE, KIND, LIKE, ROWS, SCALE, SHOWN, heads, layer, pixel, places, resolution,
    steps, threshold, words,
};

/// What to keep of the maps, and how to show it.
#[derive(Debug, Clone, Default)]
pub struct MapArgs {
    pub spec: MapSpec,
    pub look: Look,
    /// In the terminal too.
    pub show: bool,
    prefixed: bool,
}

impl MapArgs {
    /// An error that names flags, with their names as they are typed here.
    pub fn as_typed(&self, error: Error) -> Error {
        if self.prefixed && matches!(error, Error::Usage(_)) {
            let (cause, cure) = error.parts(&Flags);
            let typed = |text: &str| text.replace("--", "--map-");
            return Error::usage(typed(&cause), typed(&cure));
        }
        error
    }
}

/// The same, each flag beginning with `map-`.
#[derive(Debug, Clone, Default)]
pub struct Prefixed(pub MapArgs);

/// A flag under both names, its parser, and what it says of itself.
struct Flag {
    names: [&'static str; 2],
    value: &'static str,
    help: &'static str,
    parser: fn() -> ValueParser,
}

macro_rules! flag {
    ($name:literal, $value:literal, $parser:expr, $help:literal) => {
        Flag {
            names: [$name, concat!("map-", $name)],
            value: $value,
            help: $help,
            parser: || ValueParser::new($parser),
        }
    };
}

const FLAGS: [Flag; 16] = [
    flag!(
        "words",
        "WORDS",
        words,
        "Only these words; commas for several [default: every token]"
    ),
    flag!(
        "rows",
        "ROWS",
        ROWS,
        "Whose maps: source, edited or both [default: both]"
    ),
    flag!(
        "res",
        "DOWNSCALE",
        resolution,
        "Resolution, by how much coarser than the latents: 1, 2, 4, 8 or all [default: where words are located]"
    ),
    flag!(
        "place",
        "PLACES",
        places,
        "Parts of the UNet: down, mid, up; commas for several [default: all]"
    ),
    flag!(
        "layer",
        "INDEX",
        layer,
        "One layer, as `p2p sites` lists them"
    ),
    flag!(
        "head",
        "HEAD",
        heads,
        "One head by its number, mean or all [default: mean]"
    ),
    flag!(
        "at-steps",
        "STEPS",
        steps,
        "Steps to average, such as 0..0.5 or all; or apart, a column of the figure each: a list of fractions of the run such as 0,0.5,0.9, or each [default: all]"
    ),
    flag!(
        "kind",
        "KIND",
        KIND,
        "cross: pixels look at words; self: pixels look at pixels [default: cross]"
    ),
    flag!(
        "at",
        "X,Y",
        pixel,
        "With --kind self: where the pixel at these shares of width and height looks, 0.5,0.5"
    ),
    flag!(
        "edited-as",
        "HOW",
        SHOWN,
        "injected: what an edit was made to attend to; own: what it would by itself [default: injected]"
    ),
    flag!(
        "scale",
        "SCALE",
        SCALE,
        "shared: one scale for all words; token: each its own [default: shared]"
    ),
    flag!(
        "colormap",
        "NAME",
        COLORMAP,
        "viridis, turbo, inferno or gray [default: viridis]"
    ),
    flag!(
        "enlarge",
        "HOW",
        ENLARGE,
        "bicubic or nearest [default: bicubic]"
    ),
    flag!(
        "locate",
        "WORDS",
        words,
        "Also write where these words are: for each a mask, and in the index the box of the part of it that holds the peak; commas for several"
    ),
    flag!(
        "threshold",
        "T",
        threshold,
        "Share of the peak above which --locate counts [default: 0.3]"
    ),
    flag!(
        "like",
        "TOOL",
        LIKE,
        "daam: as that tool has it, for comparison. Each head of each layer (but the middle block and an eighth of the latents) summed over all steps, enlarged to 64x64 by PyTorch's bicubic, cut below zero, and the mean of these; each word from its own least to its own peak. --raw writes these 64x64 maps"
    ),
];

const SWITCHES: [([&str; 2], &str); 3] = [
    (
        ["special", "map-special"],
        "Show begin, end and the pads too (all pads as one, their sum); what is beyond the words' scale has its own, given below it",
    ),
    (
        ["raw", "map-raw"],
        "Also write the numbers: attn/maps.safetensors, a tensor [steps, heads, tokens, h, w] for each row and resolution",
    ),
    (
        ["show", "map-show"],
        "Print the grid in the terminal: as a picture in kitty, iTerm2 and with sixel, else in half-blocks",
    ),
];

/// What a flag cannot stand beside, and what it is nothing without.
fn relations(name: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match name {
        "layer" => (&["res", "place"], &[]),
        "like" => (
            &["kind", "res", "place", "layer", "head", "at-steps", "scale"],
            &[],
        ),
        "threshold" => (&[], &["locate"]),
        _ => (&[], &[]),
    }
}

/// A flag's name under a prefix.
fn prefixed(name: &str, prefix: usize) -> &'static str {
    let flag = FLAGS.iter().find(|flag| flag.names[0] == name);
    flag.expect("one of the flags").names[prefix]
}

fn augment(command: Command, prefix: usize, switch: Option<&'static str>) -> Command {
    // Help that names another flag names it as it is typed here.
    let help = |text: &str| match prefix {
        0 => text.to_owned(),
        _ => text.replace("--", "--map-"),
    };
    let arg = |names: &[&'static str; 2], text: &str| {
        let name = names[prefix];
        let arg = Arg::new(name).long(name).help(help(text));
        let arg = arg.help_heading("Heatmaps");
        match switch {
            Some(switch) => arg.requires(switch),
            None => arg,
        }
    };
    let flags = FLAGS.iter().map(|flag| {
        let (beside, needs) = relations(flag.names[0]);
        arg(&flag.names, flag.help)
            .value_name(flag.value)
            .value_parser((flag.parser)())
            .hide_possible_values(true)
            .allow_hyphen_values(true)
            .conflicts_with_all(beside.iter().map(|name| prefixed(name, prefix)))
            .requires_all(needs.iter().map(|name| prefixed(name, prefix)))
    });
    let switches = SWITCHES
        .iter()
        .map(|(names, text)| arg(names, text).action(ArgAction::SetTrue));
    command.args(flags.chain(switches))
}

/// A flag's value, whatever its prefix.
fn value<T: Clone + Send + Sync + 'static>(
    matches: &ArgMatches,
    prefix: usize,
    name: &str,
) -> Option<T> {
    matches.get_one::<T>(prefixed(name, prefix)).cloned()
}

fn read(matches: &ArgMatches, prefix: usize) -> MapArgs {
    let default = MapSpec::default();
    let on = |i: usize| matches.get_flag(SWITCHES[i].0[prefix]);
    let spec = MapSpec {
        kind: value(matches, prefix, "kind").unwrap_or(default.kind),
        words: value(matches, prefix, "words").unwrap_or_default(),
        rows: value(matches, prefix, "rows").unwrap_or_default(),
        resolution: value(matches, prefix, "res").unwrap_or_default(),
        places: value(matches, prefix, "place").unwrap_or_default(),
        layer: value(matches, prefix, "layer"),
        heads: value(matches, prefix, "head").unwrap_or(default.heads),
        steps: value(matches, prefix, "at-steps").unwrap_or(default.steps),
        shown: value(matches, prefix, "edited-as").unwrap_or(default.shown),
        locate: value(matches, prefix, "locate").unwrap_or_default(),
        pixel: value(matches, prefix, "at"),
        special: on(0),
    };
    let look = Look {
        scale: value(matches, prefix, "scale").unwrap_or_default(),
        colormap: value(matches, prefix, "colormap").unwrap_or_default(),
        enlarge: value(matches, prefix, "enlarge").unwrap_or_default(),
        threshold: value(matches, prefix, "threshold").unwrap_or(0.3),
        raw: on(1),
    };
    let (show, prefixed) = (on(2), prefix > 0);
    match value::<()>(matches, prefix, "like") {
        Some(()) => MapArgs {
            spec: spec.like_daam(),
            look: look.like_daam(),
            show,
            prefixed,
        },
        None => MapArgs {
            spec,
            look,
            show,
            prefixed,
        },
    }
}

impl Args for MapArgs {
    fn augment_args(command: Command) -> Command {
        augment(command, 0, None)
    }

    fn augment_args_for_update(command: Command) -> Command {
        augment(command, 0, None)
    }
}

impl FromArgMatches for MapArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(read(matches, 0))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = read(matches, 0);
        Ok(())
    }
}

impl Args for Prefixed {
    fn augment_args(command: Command) -> Command {
        augment(command, 1, Some("heatmaps"))
    }

    fn augment_args_for_update(command: Command) -> Command {
        augment(command, 1, Some("heatmaps"))
    }
}

impl FromArgMatches for Prefixed {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(read(matches, 1)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0 = read(matches, 1);
        Ok(())
    }
}
