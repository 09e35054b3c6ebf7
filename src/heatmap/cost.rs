//! What heatmaps take beyond the picture: computing twice, memory, files, disk. Known before the first
//! step, so that it can be said before it is spent.

use super::pixels::COMPONENTS;
use super::{Look, MapSpec, Resolution, Selection, daam};
use crate::attention::{AttentionKind, Site};
use crate::format;
use crate::job::Prepared;
use crate::sample::{Columns, Heads};

/// Bytes a pixel of a heatmap and its overlay take together as PNG, about, as measured.
const BYTES_PER_PIXEL: f64 = 2.0;
/// From here on it is worth saying, whatever was asked for.
const MANY_FILES: usize = 500;
const MUCH_MEMORY: usize = 100_000_000;

#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// Layers whose attention is computed once more, since their heads are kept apart.
    pub twice: usize,
    /// That the sums take.
    pub bytes: usize,
    /// Below `attn/`.
    pub files: usize,
    /// Bytes of these files, about.
    pub disk: f64,
    /// Steps or heads are shown apart.
    apart: bool,
}

impl Cost {
    /// `sites` are the model's, for the picture's size.
    pub fn of(
        spec: &MapSpec,
        look: &Look,
        selection: &Selection,
        prepared: &Prepared,
        sites: &[Site],
    ) -> Self {
        let recording = &selection.recording;
        let bytes = bytes(selection, sites);
        let merged = spec.resolution == Resolution::Merged;
        let raw = match (look.raw, merged) {
            (false, _) => 0,
            (true, true) => {
                let (h, w) = daam::size(prepared.latent_size);
                let columns = recording.columns.iter().map(|c| columns(c, h * w));
                h * w * columns.sum::<usize>() * size_of::<f32>()
            }
            (true, false) => bytes,
        };
        let maps = maps(spec, selection, sites);
        let masks = selection.words.located.iter().flatten().count();
        let pixels = (prepared.run.width * prepared.run.height) as f64;
        let heads_apart = recording.heads != Heads::Mean;
        Self {
            twice: if heads_apart {
                recording.sites.len()
            } else {
                0
            },
            bytes,
            // The grid, the index and perhaps the numbers.
            files: 2 * maps + masks + 2 + usize::from(look.raw),
            disk: maps as f64 * pixels * BYTES_PER_PIXEL + raw as f64,
            apart: selection.frames.len() > 1 || (recording.heads == Heads::Each && !merged),
        }
    }

    /// To be said where it is more than a user would expect.
    pub fn note(&self) -> Option<String> {
        let mut costs = vec![];
        if self.twice > 0 {
            costs.push(format!(
                "the attention of {} layers is computed twice",
                self.twice
            ));
        }
        if self.apart || self.bytes >= MUCH_MEMORY {
            costs.push(format!(
                "the maps take {} of memory",
                format::bytes(self.bytes as u64)
            ));
        }
        if self.apart || self.files >= MANY_FILES {
            let disk = format::bytes(self.disk as u64);
            costs.push(format!("{} files in attn/ take about {disk}", self.files));
        }
        (!costs.is_empty()).then(|| costs.join("; "))
    }
}

/// Bytes of all sums.
fn bytes(selection: &Selection, sites: &[Site]) -> usize {
    let recording = &selection.recording;
    let mut first: Vec<(usize, usize)> = recording.sites.clone();
    first.sort_by_key(|(_, group)| *group);
    first.dedup_by_key(|(_, group)| *group);
    let floats = |(index, _): &(usize, usize)| {
        let site = &sites[*index];
        let columns = recording.columns.iter().map(|c| columns(c, site.queries()));
        heads(selection, site) * site.queries() * columns.sum::<usize>()
    };
    let floats: usize = first.iter().map(floats).sum();
    floats * selection.frames.len() * size_of::<f32>()
}

fn columns(columns: &Columns, all: usize) -> usize {
    match columns {
        Columns::Nothing => 0,
        Columns::These(columns) => columns.len(),
        Columns::All => all,
    }
}

fn heads(selection: &Selection, site: &Site) -> usize {
    match selection.recording.heads {
        Heads::Each => site.heads,
        _ => 1,
    }
}

/// How many pictures of maps there will be.
fn maps(spec: &MapSpec, selection: &Selection, sites: &[Site]) -> usize {
    let words = &selection.words;
    let here = |site: &Site| match (spec.kind, spec.pixel) {
        (AttentionKind::Cross, _) => words.shown.iter().flatten().count(),
        (AttentionKind::SelfAttn, pixel) => {
            let rows = words.shown.iter().filter(|words| !words.is_empty()).count();
            rows * pixel.map_or(COMPONENTS.min(site.queries()), |_| 1)
        }
    };
    let maps = selection.groups.iter().map(|group| {
        let site = &sites[group.sites[0]];
        match spec.resolution {
            Resolution::Merged => here(site),
            _ => here(site) * heads(selection, site),
        }
    });
    maps.sum::<usize>() * selection.frames.len()
}
