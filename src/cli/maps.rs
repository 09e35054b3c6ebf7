//! Flags of heatmaps: under their own names for `p2p heatmap`, with the prefix `map-` for `p2p edit`.
//! Owns the list of these flags and their help. clap's derive has no prefixes, so the list is written by
//! hand. It must never know how heatmaps are computed.

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use prompt_to_prompt::heatmap::{Look, MapSpec};
use prompt_to_prompt::message;
use prompt_to_prompt::message::{Flags, HeatmapFlags, Message, Names};
use prompt_to_prompt::setting::Setting;

use super::map_values::{
    COLORMAP, ENLARGE, KIND, LIKE, ROWS, SCALE, SHOWN, heads, layer, pixel, places, resolution,
    steps, threshold, words,
};

/// Which maps to record, and how to show them.
#[derive(Debug, Clone, Default)]
pub struct MapArgs {
    pub spec: MapSpec,
    pub look: Look,
    /// Whether the grid is printed in the terminal too.
    pub show: bool,
}

/// [`MapArgs`] whose flags begin with `map-`.
#[derive(Debug, Clone, Default)]
pub struct Prefixed(pub MapArgs);

/// A flag with a value.
struct Flag {
    /// Its names for `p2p heatmap` and for `p2p edit`.
    names: [&'static str; 2],
    value: &'static str,
    /// Its help, in which other flags are settings.
    help: fn() -> Message,
    parser: fn() -> ValueParser,
}

/// A flag without a value.
struct Switch {
    names: [&'static str; 2],
    help: &'static str,
}

macro_rules! flag {
    ($name:literal, $value:literal, $parser:expr, $($help:expr),+ $(,)?) => {
        Flag {
            names: [$name, concat!("map-", $name)],
            value: $value,
            help: || message![$($help),+],
            parser: || ValueParser::new($parser),
        }
    };
}

const FLAGS: [Flag; 16] = [
    flag!(
        "words",
        "WORDS",
        words,
        "Show only these words, separated by commas [default: all words]"
    ),
    flag!(
        "rows",
        "ROWS",
        ROWS,
        "Show the maps of source, edited or both [default: both]"
    ),
    flag!(
        "res",
        "DOWNSCALE",
        resolution,
        "Show the layers that are coarser than the latents by this factor: 1, 2, 4, 8 or all [default: the model's layout grid]"
    ),
    flag!(
        "place",
        "PLACES",
        places,
        "Show only these blocks of the UNet: down, mid or up, separated by commas [default: all]"
    ),
    flag!(
        "layer",
        "INDEX",
        layer,
        "Show only this layer, by its number in `p2p sites`"
    ),
    flag!(
        "head",
        "HEAD",
        heads,
        "Show one head by its number, the mean of all heads (mean), or each head (all) [default: mean]"
    ),
    flag!(
        "at-steps",
        "STEPS",
        steps,
        "Average these steps: a range such as 0..0.5, or all. Or show steps separately: fractions of the run such as 0,0.5,0.9, or each [default: all]"
    ),
    flag!(
        "kind",
        "KIND",
        KIND,
        "Kind of attention: cross (from pixels to words) or self (from pixels to pixels) [default: cross]"
    ),
    flag!(
        "at",
        "X,Y",
        pixel,
        "With ",
        Setting::MapKind.to("self"),
        ": show the attention of the pixel at these shares of width and height, such as 0.5,0.5"
    ),
    flag!(
        "edited-as",
        "HOW",
        SHOWN,
        "Show the maps of edits after injection (injected) or before it (own) [default: injected]"
    ),
    flag!(
        "scale",
        "SCALE",
        SCALE,
        "Colour scale: one for all words (shared), or one for each word (token) [default: shared]"
    ),
    flag!(
        "colormap",
        "NAME",
        COLORMAP,
        "Colours: viridis, turbo, inferno or gray [default: viridis]"
    ),
    flag!(
        "enlarge",
        "HOW",
        ENLARGE,
        "How maps are enlarged: bicubic or nearest [default: bicubic]"
    ),
    flag!(
        "locate",
        "WORDS",
        words,
        "Locate these words, separated by commas: write a mask for each, and the box around its peak to the index"
    ),
    flag!(
        "threshold",
        "T",
        threshold,
        "Share of the peak from which on a pixel belongs to the mask of ",
        Setting::MapLocate,
        " [default: 0.3]"
    ),
    flag!(
        "like",
        "TOOL",
        LIKE,
        "Compute the maps like another tool, for comparison: daam. The map of each head of each layer (without the middle block and the layers at an eighth of the latents) is summed over all steps, enlarged to 64x64 with PyTorch's bicubic kernel, and set to 0 where it is negative. The mean of these maps is shown, with a scale for each word. ",
        Setting::MapRaw,
        " writes the 64x64 maps"
    ),
];

const SWITCHES: [Switch; 3] = [
    Switch {
        names: ["special", "map-special"],
        help: "Show the begin token, the end token and the pads too. All pads have one map, their sum. A map beyond the words' scale has a scale of its own, printed below it",
    },
    Switch {
        names: ["raw", "map-raw"],
        help: "Also write the values: attn/maps.safetensors has a tensor [steps, heads, tokens, h, w] for each row and resolution",
    },
    Switch {
        names: ["show", "map-show"],
        help: "Print the grid in the terminal: as a picture in kitty, in iTerm2 and in terminals with sixel, else in half-blocks",
    },
];

/// The flags that conflict with a flag, and the flags that it requires.
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

/// The name of a flag, without (0) or with (1) the prefix.
fn prefixed(name: &str, prefix: usize) -> &'static str {
    let flag = FLAGS.iter().find(|flag| flag.names[0] == name);
    flag.expect("one of the flags").names[prefix]
}

/// Adds the flags to a command. With a prefix they require the flag `switch`.
fn augment(command: Command, prefix: usize, switch: Option<&'static str>) -> Command {
    let spelling: &dyn Names = if prefix == 0 { &HeatmapFlags } else { &Flags };
    let arg = |names: &[&'static str; 2], help: String| {
        let name = names[prefix];
        let arg = Arg::new(name).long(name).help(help);
        let arg = arg.help_heading("Heatmaps");
        match switch {
            Some(switch) => arg.requires(switch),
            None => arg,
        }
    };
    let flags = FLAGS.iter().map(|flag| {
        let (beside, needs) = relations(flag.names[0]);
        arg(&flag.names, (flag.help)().render(spelling))
            .value_name(flag.value)
            .value_parser((flag.parser)())
            .hide_possible_values(true)
            .allow_hyphen_values(true)
            .conflicts_with_all(beside.iter().map(|name| prefixed(name, prefix)))
            .requires_all(needs.iter().map(|name| prefixed(name, prefix)))
    });
    let switches = SWITCHES
        .iter()
        .map(|switch| arg(&switch.names, switch.help.to_owned()).action(ArgAction::SetTrue));
    command.args(flags.chain(switches))
}

/// The value of a flag, if it is given.
fn value<T: Clone + Send + Sync + 'static>(
    matches: &ArgMatches,
    prefix: usize,
    name: &str,
) -> Option<T> {
    matches.get_one::<T>(prefixed(name, prefix)).cloned()
}

fn read(matches: &ArgMatches, prefix: usize) -> MapArgs {
    let default = MapSpec::default();
    let on = |i: usize| matches.get_flag(SWITCHES[i].names[prefix]);
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
    let show = on(2);
    match value::<()>(matches, prefix, "like") {
        Some(()) => MapArgs {
            spec: spec.like_daam(),
            look: look.like_daam(),
            show,
        },
        None => MapArgs { spec, look, show },
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
