//! From what a user asks for to what a run records: sites in groups, calls in frames, words in columns.
//! All that can be asked for in vain is found here, before anything is drawn.

use std::ops::Range;

use super::daam;
use super::words::{HeatmapWord, Words, columns};
use super::{MapSpec, Resolution, Steps};
use crate::attention::{AttentionKind, Place, Site};
use crate::edit::{Acts, Clock, Window};
use crate::error::{Error, Result};
use crate::job::Prepared;
use crate::sample::{Columns, Heads, Recording, Shown};

/// Self-attention maps with more pixels than this are refused: their square has to be kept.
const MOST_PIXELS: usize = 64 * 64;

/// What to record, and what the sums stand for.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    pub recording: Recording,
    pub groups: Vec<MapGroup>,
    pub frames: Vec<Frame>,
    pub words: Words,
}

/// Sites that are averaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapGroup {
    /// `16x16`, or `layer 7`.
    pub label: String,
    pub downscale: usize,
    pub sites: Vec<usize>,
}

/// Denoiser calls that are averaged, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub label: String,
    pub calls: Range<usize>,
}

impl Selection {
    /// `sites` are the model's, for the picture's size.
    ///
    /// Errors: usage, where a choice selects nothing.
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
        // What is merged later is one group to look at and a sum a layer to record.
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

/// A flag that cannot do anything is a mistake, not a wish.
fn check_idle(spec: &MapSpec, prepared: &Prepared) -> Result<()> {
    let cross = spec.kind == AttentionKind::Cross;
    let merged = spec.resolution == Resolution::Merged;
    let apart = !matches!(spec.steps, Steps::In(_))
        || (spec.heads == Heads::Each && !merged)
        || spec.resolution == Resolution::All;
    let idle = [
        (
            cross && spec.pixel.is_some(),
            "the map of a pixel is self-attention",
            "add --kind self, or leave --at out",
        ),
        (
            !cross && (!spec.words.is_empty() || !spec.locate.is_empty() || spec.special),
            "self-attention has no words",
            "leave --words, --locate and --special out, or --kind self",
        ),
        (
            !spec.locate.is_empty() && apart,
            "a word has one place, but steps, heads or resolutions are kept apart",
            "leave --locate out, or --at-steps each or a list, --head all and --res all",
        ),
        (
            spec.shows_source() && !prepared.controller.keep_source,
            "the source may stop before its maps are whole",
            "keep it, or leave it out with --rows edited",
        ),
        (
            spec.shown == Shown::Own && prepared.edits.is_empty(),
            "nothing is edited, so every map is the row's own",
            "leave --edited-as out, or draw an edit",
        ),
    ];
    match idle.into_iter().find(|(is, ..)| *is) {
        Some((_, cause, cure)) => Err(Error::usage(cause, cure)),
        None => Ok(()),
    }
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
        let (h, w) = match merged {
            true => daam::size(prepared.latent_size),
            false => site.grid,
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

/// Of the kind, and in a part of the UNet that is looked at.
fn placed(spec: &MapSpec, site: &Site) -> bool {
    site.kind == spec.kind && (spec.places.is_empty() || spec.places.contains(&site.place))
}

/// The places hold no such layer, or none at this resolution.
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
    match scales.is_empty() {
        true => Error::usage(
            format!("{places} has no {kind}-attention"),
            "see what there is with p2p sites",
        ),
        false => Error::usage(
            format!("{places} has no {kind}-attention at this resolution"),
            format!(
                "add --res all, or --res {}; p2p sites lists what there is",
                Vec::from_iter(scales.iter().map(usize::to_string)).join(" or --res ")
            ),
        ),
    }
}

fn layer(spec: &MapSpec, index: usize, sites: &[Site]) -> Result<MapGroup> {
    let last = sites.len().saturating_sub(1);
    let site = sites.get(index).ok_or_else(|| {
        Error::usage(
            format!("there is no --layer {index}"),
            format!("use 0 to {last}, as p2p sites lists them"),
        )
    })?;
    if site.kind != spec.kind {
        return Err(Error::usage(
            format!("layer {index} is {}-attention", name(site.kind)),
            format!(
                "add --kind {}, or choose another with p2p sites",
                name(site.kind)
            ),
        ));
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
            format!("layer {} has no --head {head}", site.index),
            format!("use 0 to {}", site.heads - 1),
        ));
    }
    if spec.kind == AttentionKind::SelfAttn && site.queries() > MOST_PIXELS {
        let (h, w) = site.grid;
        return Err(Error::usage(
            format!("self-attention maps at {h}x{w} are too large to keep"),
            "choose a coarser resolution",
        ));
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
            "widen it, or use all",
        )
    })?;
    let (first, last) = (*calls.start(), *calls.end());
    Ok(Frame {
        label: format!("steps {} to {}", first + 1, last + 1),
        calls: first..last + 1,
    })
}
