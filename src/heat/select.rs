//! From what a user asks for to what a run records: sites in groups, calls in frames, words in columns.
//! All that can be asked for in vain is found here, before anything is drawn.

use std::ops::Range;

use super::{MapSpec, Resolution, Rows, Steps};
use crate::attention::{Kind, Site};
use crate::edit::{Acts, Rules};
use crate::error::{Error, Result};
use crate::job::Prepared;
use crate::prompt::{Tokens, unknown_word};
use crate::sample::{Columns, Heads, Recording, Shown};

/// Self-attention maps with more pixels than this are refused: their square has to be kept.
const MOST_PIXELS: usize = 64 * 64;

/// What to record, and what the sums stand for.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    pub recording: Recording,
    pub groups: Vec<Group>,
    pub frames: Vec<Frame>,
    /// Per row of the run; empty where the row is not shown.
    pub words: Vec<Vec<Word>>,
    /// Per row, the word to find the place of.
    pub located: Vec<Option<Word>>,
}

/// Sites that are averaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
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

/// Tokens that are shown as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Of its first token.
    pub index: usize,
    pub text: String,
    pub tokens: Vec<usize>,
    /// Begin, end or pad: most of all attention goes there.
    pub special: bool,
}

impl Selection {
    /// `sites` are the model's, for the picture's size.
    ///
    /// Errors: usage, where a choice selects nothing.
    pub fn new(spec: &MapSpec, prepared: &Prepared, sites: &[Site]) -> Result<Self> {
        check_idle(spec, prepared)?;
        let groups = groups(spec, prepared, sites)?;
        let frames = frames(spec, prepared)?;
        let (words, located) = words(spec, prepared)?;
        let columns = |(words, located): (&Vec<Word>, &Option<Word>)| match spec.kind {
            _ if words.is_empty() && located.is_none() => Columns::Nothing,
            Kind::SelfAttn => Columns::All,
            Kind::Cross => Columns::These(columns(words.iter().chain(located))),
        };
        let member = |(number, group): (usize, &Group)| -> Vec<(usize, usize)> {
            group.sites.iter().map(|&site| (site, number)).collect()
        };
        let recording = Recording {
            kind: spec.kind,
            sites: groups.iter().enumerate().flat_map(member).collect(),
            frames: frames.iter().map(|frame| frame.calls.clone()).collect(),
            heads: spec.heads,
            shown: spec.shown,
            columns: words.iter().zip(&located).map(columns).collect(),
        };
        Ok(Self {
            recording,
            groups,
            frames,
            words,
            located,
        })
    }

    /// Bytes that the sums take, with the layers' heads.
    pub fn bytes(&self, sites: &[Site]) -> usize {
        let floats = |group: &Group| {
            let site = &sites[group.sites[0]];
            let heads = match self.recording.heads {
                Heads::Each => site.heads,
                _ => 1,
            };
            let columns = self.recording.columns.iter().map(|columns| match columns {
                Columns::Nothing => 0,
                Columns::These(columns) => columns.len(),
                Columns::All => site.queries(),
            });
            heads * site.queries() * columns.sum::<usize>()
        };
        let floats: usize = self.groups.iter().map(floats).sum();
        floats * self.frames.len() * size_of::<f32>()
    }
}

/// A flag that cannot do anything is a mistake, not a wish.
fn check_idle(spec: &MapSpec, prepared: &Prepared) -> Result<()> {
    let cross = spec.kind == Kind::Cross;
    let apart = spec.steps == Steps::Each
        || spec.heads == Heads::Each
        || spec.resolution == Resolution::All;
    let idle = [
        (
            cross && spec.pixel.is_some(),
            "the map of a pixel is self-attention",
            "add --kind self, or leave --at out",
        ),
        (
            !cross && (!spec.words.is_empty() || spec.locate.is_some() || spec.special),
            "self-attention has no words",
            "leave --words, --locate and --special out, or --kind self",
        ),
        (
            spec.locate.is_some() && apart,
            "a word has one place, but steps, heads or resolutions are kept apart",
            "leave --locate out, or --at-steps each, --head all and --res all",
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

/// The tokens of all words, ascending.
pub(super) fn columns<'a>(words: impl IntoIterator<Item = &'a Word>) -> Vec<usize> {
    let tokens = words.into_iter().flat_map(|word| word.tokens.clone());
    let mut columns: Vec<usize> = tokens.collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

fn groups(spec: &MapSpec, prepared: &Prepared, sites: &[Site]) -> Result<Vec<Group>> {
    if let Some(index) = spec.layer {
        return layer(spec, index, sites).map(|group| vec![group]);
    }
    let layout = prepared.controller.layout;
    let wanted = |site: &&Site| {
        let resolution = match spec.resolution {
            Resolution::Layout => site.downscale == layout,
            Resolution::Downscale(downscale) => site.downscale == downscale,
            Resolution::All => true,
            Resolution::Merged => site.downscale < 8,
        };
        let place = spec.places.is_empty() || spec.places.contains(&site.place);
        site.kind == spec.kind && resolution && place
    };
    let mut groups: Vec<Group> = vec![];
    for site in sites.iter().filter(wanted) {
        check(spec, site)?;
        // DAAM enlarges each layer by itself.
        let merged = spec.resolution == Resolution::Merged;
        let same = |g: &&mut Group| !merged && g.downscale == site.downscale;
        match groups.iter_mut().find(same) {
            Some(group) => group.sites.push(site.index),
            None => groups.push(Group {
                label: format!("{}x{}", site.grid.0, site.grid.1),
                downscale: site.downscale,
                sites: vec![site.index],
            }),
        }
    }
    if groups.is_empty() {
        return Err(Error::usage(
            "no attention layer of this model is at this resolution and place",
            "see what there is with p2p sites",
        ));
    }
    groups.sort_by_key(|group| group.downscale);
    Ok(groups)
}

fn layer(spec: &MapSpec, index: usize, sites: &[Site]) -> Result<Group> {
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
    Ok(Group {
        label: format!("layer {index}"),
        downscale: site.downscale,
        sites: vec![index],
    })
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Cross => "cross",
        Kind::SelfAttn => "self",
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
    if spec.kind == Kind::SelfAttn && site.queries() > MOST_PIXELS {
        let (h, w) = site.grid;
        return Err(Error::usage(
            format!("self-attention maps at {h}x{w} are too large to keep"),
            "choose a coarser resolution",
        ));
    }
    Ok(())
}

fn frames(spec: &MapSpec, prepared: &Prepared) -> Result<Vec<Frame>> {
    let clock = &prepared.controller.clock;
    match spec.steps {
        Steps::Each => Ok((0..clock.calls)
            .map(|call| Frame {
                label: format!("step {}", call + 1),
                calls: call..call + 1,
            })
            .collect()),
        Steps::In(window) => {
            let calls = window.calls(clock, Acts::SelfAttn).ok_or_else(|| {
                Error::usage(
                    format!("no step of {} lies in the window {window}", clock.calls),
                    "widen it, or use all",
                )
            })?;
            let (first, last) = (*calls.start(), *calls.end());
            Ok(vec![Frame {
                label: format!("steps {} to {}", first + 1, last + 1),
                calls: first..last + 1,
            }])
        }
    }
}

type Words = (Vec<Vec<Word>>, Vec<Option<Word>>);

/// Per row: what is shown, and what is located.
fn words(spec: &MapSpec, prepared: &Prepared) -> Result<Words> {
    let edits = prepared.edits.len();
    let shown = |row: &usize| match spec.rows {
        Rows::Source => *row == 0,
        Rows::Edited => (1..=edits).contains(row),
        Rows::Both => *row <= edits,
    };
    let prompts: Vec<&Tokens> = prepared.row_prompts().into_iter().map(|r| r.0).collect();
    let rows = 0..prompts.len();
    let looked: Vec<&Tokens> = rows.clone().filter(shown).map(|r| prompts[r]).collect();
    if looked.is_empty() {
        return Err(Error::usage(
            "there is no edited row to show",
            "draw an edit, or show the source",
        ));
    }
    let rules = prepared.controller.rules();
    for word in spec.words.iter().chain(&spec.locate) {
        if looked.iter().all(|p| rules.find(p, word).is_empty()) {
            return Err(unknown_word(word, &looked, "prompt"));
        }
    }
    let words = |row: usize| match shown(&row) {
        false => vec![],
        true if spec.words.is_empty() => units(prompts[row], spec.special),
        true => named(prompts[row], &spec.words, rules),
    };
    let located = |row: usize| {
        let wanted = spec.locate.as_slice();
        named(prompts[row], wanted, rules)
            .pop()
            .filter(|_| shown(&row))
    };
    Ok((
        rows.clone().map(words).collect(),
        rows.map(located).collect(),
    ))
}

fn named(prompt: &Tokens, words: &[String], rules: Rules) -> Vec<Word> {
    let mut named: Vec<Word> = vec![];
    for word in words {
        let tokens = rules.find(prompt, word);
        // "cat" and "Cat" are one word.
        if !tokens.is_empty() && named.iter().all(|known| known.tokens != tokens) {
            named.push(Word {
                index: tokens[0],
                text: word.clone(),
                tokens,
                special: false,
            });
        }
    }
    named
}

/// Tokens one by one, but those of one word together: "lasag" and "ne", not "burger" and ",".
fn units(prompt: &Tokens, special: bool) -> Vec<Word> {
    let letters = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let mut units: Vec<Word> = vec![];
    let mut end = 0;
    for (i, span) in prompt.spans.iter().enumerate() {
        let text = &prompt.text[span.clone()];
        // One sign, such as an emoji, can be several tokens, each standing at all of it.
        let same = span.start < end;
        let touches = span.start == end && letters(text.chars().next());
        let goes_on =
            |last: &&mut Word| same || (touches && letters(last.text.chars().next_back()));
        match units.last_mut().filter(goes_on) {
            Some(word) => {
                word.text.push_str(if same { "" } else { text });
                word.tokens.push(i + 1);
            }
            None => units.push(Word {
                index: i + 1,
                text: text.to_owned(),
                tokens: vec![i + 1],
                special: false,
            }),
        }
        end = span.end;
    }
    if special {
        let first_pad = (prompt.len < prompt.ids.len()).then_some(prompt.len);
        let around = [Some(0), Some(prompt.eos()), first_pad];
        units.extend(around.into_iter().flatten().map(|token| Word {
            index: token,
            text: prompt.label(token),
            tokens: vec![token],
            special: true,
        }));
        units.sort_by_key(|word| word.index);
    }
    units
}
