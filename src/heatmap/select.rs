//! Turns a [`MapSpec`] into a recording: sites become groups, denoiser calls become frames, words become
//! columns. Owns the check that the request selects something, before anything is drawn. It must never know
//! the recorded values or how they are shown.

use std::ops::Range;

use super::daam;
use super::words::{HeatmapWord, Words, columns};
use super::{MapSpec, Resolution, Steps};
use crate::attention::{AttentionKind, Place, Site};
use crate::edit::{Acts, Clock, Window};
use crate::error::{Error, Result};
use crate::job::Prepared;
use crate::message;
use crate::message::Message;
use crate::sample::{Columns, Heads, Recording, Shown};
use crate::setting::Setting;

/// Largest number of pixels of a self-attention map. A map of `n` pixels keeps `n * n` values.
const MOST_PIXELS: usize = 64 * 64;

/// What a run records for its heatmaps, and what the recorded sums mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// What the recorder keeps.
    pub recording: Recording,
    /// The layers that are averaged together, by their downscale.
    pub groups: Vec<MapGroup>,
    /// The denoiser calls that are averaged together, in the order of the run.
    pub frames: Vec<Frame>,
    /// The words whose maps are shown or located, per row of the run.
    pub words: Words,
}

/// Attention layers whose maps are averaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapGroup {
    /// The group's name in figures and files: `16x16`, or `layer 7`.
    pub label: String,
    /// How much coarser than the latents the layers' grids are.
    pub downscale: usize,
    /// Indices of the layers, as `p2p sites` lists them.
    pub sites: Vec<usize>,
}

/// Denoiser calls whose maps are averaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The frame's name in figures and in the index: `step 3`, `steps 1 to 50`.
    pub label: String,
    /// The calls, counted from 0.
    pub calls: Range<usize>,
}

impl Selection {
    /// The selection for a prepared run. `sites` are the model's attention layers at the picture's size.
    ///
    /// # Errors
    ///
    /// A usage error if a setting has no effect, or if a choice selects nothing.
    pub fn new(spec: &MapSpec, prepared: &Prepared, sites: &[Site]) -> Result<Self> {
        check_idle(spec, prepared)?;
        let groups = groups(spec, prepared, sites)?;
        let frames = frames(spec, &prepared.controller.clock)?;
        let words = Words::new(spec, prepared)?;
        let columns = |words: Vec<&HeatmapWord>| match spec.kind {
            _ if words.is_empty() => Columns::Nothing,
            AttentionKind::SelfAttn => Columns::All,
            AttentionKind::Cross => Columns::These(columns(words)),
        };
        // Merging needs the sum of each layer, although the result is one group.
        let merged = spec.resolution == Resolution::Merged;
        let member = |(number, group): (usize, &MapGroup)| -> Vec<(usize, usize)> {
            let sum = |(i, &site): (usize, &usize)| (site, if merged { i } else { number });
            group.sites.iter().enumerate().map(sum).collect()
        };
        let recording = Recording {
            kind: spec.kind,
            sites: groups.iter().enumerate().flat_map(member).collect(),
            frames: frames.iter().map(|frame| frame.calls.clone()).collect(),
            heads: spec.heads,
            shown: spec.shown,
            columns: words.rows().map(|row| columns(row.collect())).collect(),
        };
        Ok(Self {
            recording,
            groups,
            frames,
            words,
        })
    }
}

/// A combination of settings in which one has no effect.
struct Idle {
    /// Whether the request is such a combination.
    found: bool,
    about: Setting,
    cause: &'static str,
    cure: Message,
}

/// Refuses settings that have no effect together with the others: they are mistakes.
fn check_idle(spec: &MapSpec, prepared: &Prepared) -> Result<()> {
    let mut idle = idle_kinds(spec)
        .into_iter()
        .chain(idle_rows(spec, prepared));
    match idle.find(|idle| idle.found) {
        Some(idle) => Err(Error::usage(idle.cause, idle.cure).about(idle.about)),
        None => Ok(()),
    }
}

/// Settings that do not fit the kind of attention, or each other.
fn idle_kinds(spec: &MapSpec) -> [Idle; 3] {
    use Setting::{MapAt, MapAtSteps, MapHead, MapKind, MapLocate, MapRes, MapSpecial, MapWords};
    let cross = spec.kind == AttentionKind::Cross;
    let apart = !matches!(spec.steps, Steps::In(_))
        || (spec.heads == Heads::Each && spec.resolution != Resolution::Merged)
        || spec.resolution == Resolution::All;
    let (words, and) = (message![MapWords, ", ", MapLocate], " and ");
    let words = words.then(message![and, MapSpecial]);
    let separate = message![MapAtSteps, ", ", MapHead, and, MapRes];
    [
        Idle {
            found: cross && spec.pixel.is_some(),
            about: MapAt,
            cause: "the map of a pixel is self-attention",
            cure: message!["add ", MapKind.to("self"), ", or leave ", MapAt, " out"],
        },
        Idle {
            found: !cross && (!spec.words.is_empty() || !spec.locate.is_empty() || spec.special),
            about: MapKind,
            cause: "self-attention has no words",
            cure: message![" out, or leave ", MapKind.to("self"), " out"]
                .after(words)
                .after("leave "),
        },
        Idle {
            found: !spec.locate.is_empty() && apart,
            about: MapLocate,
            cause: "a word has one place, but steps, heads or resolutions are kept apart",
            cure: message!["leave ", MapLocate, " out, or keep nothing apart with "].then(separate),
        },
    ]
}

/// Settings that do not fit the rows of the run.
fn idle_rows(spec: &MapSpec, prepared: &Prepared) -> [Idle; 2] {
    use Setting::{MapEditedAs, MapRows};
    let cure = "keep the source, or leave its maps out with ";
    [
        Idle {
            found: spec.shows_source() && !prepared.controller.keep_source,
            about: MapRows,
            cause: "the source may stop before its maps are complete",
            cure: message![cure, MapRows.to("edited")],
        },
        Idle {
            found: spec.shown == Shown::Own && prepared.edits.is_empty(),
            about: MapEditedAs,
            cause: "nothing is edited, so every map is the row's own",
            cure: message!["leave ", MapEditedAs, " out, or draw an edit"],
        },
    ]
}

fn groups(spec: &MapSpec, prepared: &Prepared, sites: &[Site]) -> Result<Vec<MapGroup>> {
    if let Some(index) = spec.layer {
        return layer(spec, index, sites).map(|group| vec![group]);
    }
    let layout = prepared.controller.layout;
    let resolution = |site: &Site| match spec.resolution {
        Resolution::Layout => site.downscale == layout,
        Resolution::Downscale(downscale) => site.downscale == downscale,
        Resolution::All => true,
        Resolution::Merged => daam::looks_at(site),
    };
    let merged = spec.resolution == Resolution::Merged;
    let mut groups: Vec<MapGroup> = vec![];
    for site in sites.iter().filter(|s| placed(spec, s) && resolution(s)) {
        check(spec, site)?;
        let same = |g: &&mut MapGroup| merged || g.downscale == site.downscale;
        let (h, w) = if merged {
            daam::size(prepared.latent_size)
        } else {
            site.grid
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.sites.push(site.index),
            None => groups.push(MapGroup {
                label: format!("{h}x{w}"),
                downscale: site.downscale,
                sites: vec![site.index],
            }),
        }
    }
    if groups.is_empty() {
        return Err(nothing_here(spec, sites));
    }
    groups.sort_by_key(|group| group.downscale);
    Ok(groups)
}

/// Whether the layer has the kind of attention and the place in the UNet that the user chose.
fn placed(spec: &MapSpec, site: &Site) -> bool {
    site.kind == spec.kind && (spec.places.is_empty() || spec.places.contains(&site.place))
}

/// The error for places that have no such layer, or none at this resolution.
fn nothing_here(spec: &MapSpec, sites: &[Site]) -> Error {
    let place = |place: &Place| match place {
        Place::Down => "down",
        Place::Mid => "mid",
        Place::Up => "up",
    };
    let places = match spec.places.as_slice() {
        [] => "this model".to_owned(),
        places => Vec::from_iter(places.iter().map(place)).join(" and "),
    };
    let kind = name(spec.kind);
    let found = sites.iter().filter(|site| placed(spec, site));
    let mut scales: Vec<usize> = found.map(|site| site.downscale).collect();
    scales.sort_unstable();
    scales.dedup();
    if scales.is_empty() {
        let cause = format!("{places} has no {kind}-attention");
        return Error::usage(cause, "see the model's layers with p2p sites")
            .about(Setting::MapPlace);
    }
    let choices = scales
        .iter()
        .map(|scale| message![" or ", Setting::MapRes.to(scale)]);
    let cure = message!["use ", Setting::MapRes.to("all")];
    let cure = choices.fold(cure, Message::then);
    Error::usage(
        format!("{places} has no {kind}-attention at this resolution"),
        cure.then("; p2p sites lists the model's layers"),
    )
    .about(Setting::MapRes)
}

fn layer(spec: &MapSpec, index: usize, sites: &[Site]) -> Result<MapGroup> {
    let last = sites.len().saturating_sub(1);
    let site = sites.get(index).ok_or_else(|| {
        Error::usage(
            message!["there is no ", Setting::MapLayer.to(index)],
            format!("use 0 to {last}, as p2p sites lists them"),
        )
        .about(Setting::MapLayer)
    })?;
    if site.kind != spec.kind {
        return Err(Error::usage(
            format!("layer {index} is {}-attention", name(site.kind)),
            message![
                "add ",
                Setting::MapKind.to(name(site.kind)),
                ", or choose another layer: p2p sites lists them",
            ],
        )
        .about(Setting::MapLayer));
    }
    check(spec, site)?;
    Ok(MapGroup {
        label: format!("layer {index}"),
        downscale: site.downscale,
        sites: vec![index],
    })
}

fn name(kind: AttentionKind) -> &'static str {
    match kind {
        AttentionKind::Cross => "cross",
        AttentionKind::SelfAttn => "self",
    }
}

fn check(spec: &MapSpec, site: &Site) -> Result<()> {
    if let Heads::One(head) = spec.heads
        && head >= site.heads
    {
        return Err(Error::usage(
            message![
                format!("layer {} has no ", site.index),
                Setting::MapHead.to(head),
            ],
            format!("use 0 to {}", site.heads - 1),
        )
        .about(Setting::MapHead));
    }
    if spec.kind == AttentionKind::SelfAttn && site.queries() > MOST_PIXELS {
        let (h, w) = site.grid;
        return Err(Error::usage(
            format!("self-attention maps at {h}x{w} are too large to keep"),
            message!["choose a coarser resolution with ", Setting::MapRes],
        )
        .about(Setting::MapRes));
    }
    Ok(())
}

fn frames(spec: &MapSpec, clock: &Clock) -> Result<Vec<Frame>> {
    let step = |call: usize| Frame {
        label: format!("step {}", call + 1),
        calls: call..call + 1,
    };
    Ok(match &spec.steps {
        Steps::Each => (0..clock.calls).map(step).collect(),
        Steps::At(fractions) => {
            let call = |f: &f64| ((f * clock.calls as f64) as usize).min(clock.calls - 1);
            let mut calls: Vec<usize> = fractions.iter().map(call).collect();
            calls.sort_unstable();
            calls.dedup();
            calls.into_iter().map(step).collect()
        }
        Steps::In(window) => vec![within(window, clock)?],
    })
}

fn within(window: &Window, clock: &Clock) -> Result<Frame> {
    let calls = window.calls(clock, Acts::SelfAttn).ok_or_else(|| {
        Error::usage(
            format!("no step of {} lies in the window {window}", clock.calls),
            message!["widen the window, or use ", Setting::MapAtSteps.to("all")],
        )
        .about(Setting::MapAtSteps)
    })?;
    let (first, last) = (*calls.start(), *calls.end());
    Ok(Frame {
        label: format!("steps {} to {}", first + 1, last + 1),
        calls: first..last + 1,
    })
}
