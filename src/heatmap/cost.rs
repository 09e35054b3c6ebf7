//! Estimates what heatmaps cost: attention that is computed twice, memory, files and disk space. The estimate
//! needs no recorded values, so it is printed before the first step. It must never know how maps are drawn.

use super::pixels::COMPONENTS;
use super::{Look, MapSpec, Resolution, Selection, daam};
use crate::attention::{AttentionKind, Site};
use crate::format;
use crate::job::Prepared;
use crate::sample::{Columns, Heads};

/// Measured size of a heatmap and its overlay as PNG files, in bytes per pixel of the picture.
const BYTES_PER_PIXEL: f64 = 2.0;
/// Number of files from which on they are always mentioned.
const MANY_FILES: usize = 500;
/// Bytes of memory from which on they are always mentioned.
const MUCH_MEMORY: usize = 100_000_000;

/// The estimated cost of a selection.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// Number of layers whose attention is computed a second time, because heads are recorded separately.
    pub twice: usize,
    /// Memory that the recorded sums take, in bytes.
    pub bytes: usize,
    /// Number of files in `attn/`.
    pub files: usize,
    /// Approximate size of these files in bytes.
    pub disk: f64,
    /// Whether steps or heads have maps of their own.
    apart: bool,
}

impl Cost {
    /// The cost of the heatmaps of a run. `sites` are the model's attention layers at the picture's size.
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
            // Besides maps and masks: the grid, the index and, if wanted, the raw tensors.
            files: 2 * maps + masks + 2 + usize::from(look.raw),
            disk: maps as f64 * pixels * BYTES_PER_PIXEL + raw as f64,
            apart: selection.frames.len() > 1 || (recording.heads == Heads::Each && !merged),
        }
    }

    /// The cost as text, if it is more than a user would expect.
    pub fn note(&self) -> Option<String> {
        let mut costs = vec![];
        if self.twice > 0 {
            costs.push(format!(
                "the attention of {} is computed twice",
                format::count(self.twice, "layer")
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
            costs.push(format!(
                "{} in attn/ take about {disk}",
                format::count(self.files, "file")
            ));
        }
        (!costs.is_empty()).then(|| costs.join("; "))
    }
}

/// Memory that all sums take, in bytes.
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

/// Number of heatmaps that will be drawn.
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
