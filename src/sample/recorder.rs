//! Attention maps of a run for heatmaps: sums over steps, sites and heads (paper fig. 4). Owns the choice
//! of maps and their sums; it must never know how a heatmap looks.
//!
//! Every edit is linear in the maps, so an edited map is a sum of rows' own maps times token maps. Only the
//! columns that are needed are computed. Memory grows with (tokens kept) x (pixels), and with steps or
//! heads only on request. No map outlives its call.

use candle_core::{Device, Tensor};

use super::lockstep::{AttentionObserver, head_mean};
use super::plan::EditPlan;
use crate::attention::{AttentionKind, Site, Tap};
use crate::edit::TokenMap;
use crate::error::Result;

/// The heads of a site that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heads {
    /// The mean over heads.
    Mean,
    /// One head, counted from 0.
    One(usize),
    /// Each head by itself.
    Each,
}

/// The attention of an edited row that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The map after the edit.
    Used,
    /// The row's own map before the edit. It is computed for the recording if the edit doesn't need it.
    Own,
}

/// The maps that a recorder keeps.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Cross-attention or self-attention.
    pub kind: AttentionKind,
    /// Indices of sites, each with the group in which it is summed.
    pub sites: Vec<(usize, usize)>,
    /// Half-open ranges of denoiser calls, counted from 0. Each range has its own sums.
    pub frames: Vec<std::ops::Range<usize>>,
    /// The heads that are kept.
    pub heads: Heads,
    /// The map of an edited row that is kept.
    pub shown: Shown,
    /// For each row the columns of its map that are kept.
    pub columns: Vec<Columns>,
}

/// Columns of a map: tokens in cross-attention, pixels in self-attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Columns {
    /// No column: the row is left out.
    Nothing,
    /// These columns, in this order.
    These(Vec<usize>),
    /// All columns.
    All,
}

impl Recording {
    /// The mean cross-attention of every row to all tokens, at one downscale and over the whole run.
    pub fn layout(sites: &[Site], downscale: usize, rows: usize) -> Self {
        let here = |site: &&Site| site.kind == AttentionKind::Cross && site.downscale == downscale;
        Self {
            kind: AttentionKind::Cross,
            sites: sites
                .iter()
                .filter(here)
                .map(|site| (site.index, 0))
                .collect(),
            frames: std::iter::once(0..usize::MAX).collect(),
            heads: Heads::Mean,
            shown: Shown::Used,
            columns: vec![Columns::All; rows],
        }
    }

    fn group(&self, site: &Site) -> Option<usize> {
        let found = self.sites.iter().find(|(index, _)| *index == site.index);
        found.map(|(_, group)| *group)
    }
}

/// One sum of maps.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Index into [`Recording::frames`].
    pub frame: usize,
    /// The group of the sites in the sum.
    pub group: usize,
    /// The row of the run.
    pub row: usize,
    /// The head; `None` for the mean over heads, or for the one head of the recording.
    pub head: Option<usize>,
    /// Height and width of the map in pixels of its site.
    pub grid: (usize, usize),
    /// Number of maps in the sum.
    pub count: usize,
    /// The sum, `[n, columns]`.
    pub sum: Tensor,
}

impl Recorded {
    /// The mean over steps and sites, `[h, w, columns]`.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn mean(&self) -> Result<Tensor> {
        let (h, w) = self.grid;
        Ok((&self.sum / self.count as f64)?.reshape((h, w, self.sum.dim(1)?))?)
    }
}

/// The observer that keeps the maps of a [`Recording`].
#[derive(Debug)]
pub struct Recorder {
    recording: Recording,
    /// The frame of the current call.
    frame: Option<usize>,
    /// For each row the rows whose maps make up its map, and how.
    reads: Vec<Vec<(usize, Reads)>>,
    /// The finest downscale at which self-attention is injected.
    self_res: usize,
    kept: Vec<Recorded>,
}

/// How a row's own map enters another row's map.
#[derive(Debug, Clone)]
enum Reads {
    /// Times columns of a token map, `[t, columns]`.
    Through(Tensor),
    /// Times a number.
    Share(f32),
}

/// The identity of a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    frame: usize,
    group: usize,
    row: usize,
    head: Option<usize>,
}

impl Recorded {
    fn key(&self) -> Key {
        Key {
            frame: self.frame,
            group: self.group,
            row: self.row,
            head: self.head,
        }
    }
}

impl Recorder {
    /// A recorder that has seen nothing yet.
    pub fn new(recording: Recording) -> Self {
        Self {
            recording,
            frame: None,
            reads: vec![],
            self_res: 0,
            kept: vec![],
        }
    }

    /// All sums, in the order of their first maps.
    pub fn recorded(&self) -> &[Recorded] {
        &self.kept
    }

    /// The terms of row `row`'s map under a plan.
    fn reads_of(&self, row: usize, plan: &EditPlan) -> Result<Vec<(usize, Reads)>> {
        let own = self.recording.shown == Shown::Own;
        if self.recording.kind == AttentionKind::SelfAttn {
            let used = plan.self_attention[row].clone();
            let terms = if own { vec![(row, 1.0)] } else { used };
            return Ok(terms
                .into_iter()
                .map(|(r, share)| (r, Reads::Share(share)))
                .collect());
        }
        let n = plan.cross[row].first().map_or(0, |(_, map)| map.n());
        let identity = [(row, TokenMap::identity(n))];
        let terms = if own {
            &identity[..]
        } else {
            &plan.cross[row][..]
        };
        let through =
            |(r, map): &(usize, TokenMap)| Ok((*r, Reads::Through(self.columns_of(row, map)?)));
        terms.iter().map(through).collect()
    }

    /// The kept columns of a token map, `[t, columns]`.
    fn columns_of(&self, row: usize, map: &TokenMap) -> Result<Tensor> {
        let n = map.n();
        let columns: Vec<usize> = match &self.recording.columns[row] {
            Columns::These(columns) => columns.clone(),
            _ => (0..n).collect(),
        };
        let cells = (0..n).flat_map(|i| columns.iter().map(move |&j| (i, j)));
        let weights: Vec<f32> = cells.map(|(i, j)| map.get(i, j)).collect();
        Ok(Tensor::from_vec(weights, (n, columns.len()), &Device::Cpu)?)
    }

    /// Adds a term of a map to its sum. `counts` is true for the first term of a map.
    fn keep(&mut self, key: Key, grid: (usize, usize), part: Tensor, counts: bool) -> Result<()> {
        match self.kept.iter_mut().find(|kept| kept.key() == key) {
            Some(kept) => {
                kept.sum = (&kept.sum + part)?;
                kept.count += usize::from(counts);
            }
            None => self.kept.push(Recorded {
                frame: key.frame,
                group: key.group,
                row: key.row,
                head: key.head,
                grid,
                count: usize::from(counts),
                sum: part,
            }),
        }
        Ok(())
    }
}

impl AttentionObserver for Recorder {
    fn wants(&self, site: &Site) -> Option<Tap> {
        let looks = self.frame.is_some() && site.kind == self.recording.kind;
        let here = looks && self.recording.group(site).is_some();
        here.then_some(Tap {
            each_head: self.recording.heads != Heads::Mean,
            unread: self.recording.shown == Shown::Own,
        })
    }

    fn at(&mut self, call: usize) {
        self.frame = self
            .recording
            .frames
            .iter()
            .position(|frame| frame.contains(&call));
    }

    fn begin(&mut self, plan: &EditPlan) -> Result<()> {
        let row = |row: usize| match self.recording.columns.get(row) {
            None | Some(Columns::Nothing) => Ok(vec![]),
            Some(_) => self.reads_of(row, plan),
        };
        self.reads = (0..plan.cross.len()).map(row).collect::<Result<_>>()?;
        self.self_res = plan.self_res;
        Ok(())
    }

    fn observe(&mut self, site: &Site, row: usize, map: &Tensor) -> Result<()> {
        let (Some(frame), Some(group)) = (self.frame, self.recording.group(site)) else {
            return Ok(());
        };
        let maps = match self.recording.heads {
            Heads::Mean => vec![(None, head_mean(map)?)],
            Heads::One(head) => vec![(None, map.get(head)?)],
            Heads::Each => (0..site.heads)
                .map(|h| Ok((Some(h), map.get(h)?)))
                .collect::<Result<_>>()?,
        };
        // At finer sites the plan injects no self-attention: each row attends by itself.
        let own = site.kind == AttentionKind::SelfAttn && site.downscale < self.self_res;
        for shown in 0..self.reads.len() {
            let reads = if own && !self.reads[shown].is_empty() {
                vec![(shown, Reads::Share(1.0))]
            } else {
                self.reads[shown].clone()
            };
            for (term, (_, reads)) in reads.iter().enumerate().filter(|(_, r)| r.0 == row) {
                for (head, map) in &maps {
                    let part = match reads {
                        Reads::Through(columns) => map.matmul(&columns.to_device(map.device())?)?,
                        Reads::Share(share) => (map * f64::from(*share))?,
                    };
                    let key = Key {
                        frame,
                        group,
                        row: shown,
                        head: *head,
                    };
                    // A map of several terms counts once, at its first term.
                    self.keep(key, site.grid, part, term == 0)?;
                }
            }
        }
        Ok(())
    }
}
