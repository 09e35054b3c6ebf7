//! Attention maps of a run as pictures need them: sums over steps, sites and heads (paper fig. 4).
//!
//! Every edit is linear in the maps, so a row's map *as used* is a sum of rows' own maps through token
//! maps, and only the columns that somebody will look at go through: what is kept grows with
//! (tokens looked at) x (pixels), never with steps or heads unless asked for. It never holds a map for
//! longer than a call.

use candle_core::{Device, Tensor};

use super::lockstep::{AttentionObserver, head_mean};
use super::plan::EditPlan;
use crate::attention::{AttentionKind, Site, Tap};
use crate::edit::TokenMap;
use crate::error::Result;

/// Which heads of a site are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heads {
    Mean,
    One(usize),
    Each,
}

/// Whose attention an edited row shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// What it was made to attend to: the map after the edit.
    Used,
    /// What it would attend to by itself: computed for the look alone where the edit doesn't need it.
    Own,
}

/// What to keep.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    pub kind: AttentionKind,
    /// Indices of sites, each with the group that it is summed in.
    pub sites: Vec<(usize, usize)>,
    /// Ranges of denoiser calls that are summed apart: half-open, from 0.
    pub frames: Vec<std::ops::Range<usize>>,
    pub heads: Heads,
    pub shown: Shown,
    /// Per row what to keep of its map.
    pub columns: Vec<Columns>,
}

/// Columns of a map: tokens of cross-attention, pixels of self-attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Columns {
    /// The row is left out.
    Nothing,
    These(Vec<usize>),
    All,
}

impl Recording {
    /// The mean cross-attention of all tokens at one downscale, over the whole run, of every row.
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

/// One sum.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub frame: usize,
    pub group: usize,
    pub row: usize,
    /// `None` is the mean over heads, or the one that was asked for.
    pub head: Option<usize>,
    pub grid: (usize, usize),
    /// Maps in the sum.
    pub count: usize,
    /// `[n, columns]`
    pub sum: Tensor,
}

impl Recorded {
    /// Mean over steps and sites, `[h, w, columns]`.
    pub fn mean(&self) -> Result<Tensor> {
        let (h, w) = self.grid;
        Ok((&self.sum / self.count as f64)?.reshape((h, w, self.sum.dim(1)?))?)
    }
}

/// Watches a run and keeps what a [`Recording`] asks for.
#[derive(Debug)]
pub struct Recorder {
    recording: Recording,
    /// The frame of this call.
    frame: Option<usize>,
    /// Per row: the rows whose maps make up what it shows, and how.
    reads: Vec<Vec<(usize, Reads)>>,
    /// The finest downscale at which self-attention is injected.
    self_res: usize,
    kept: Vec<Recorded>,
}

#[derive(Debug, Clone)]
enum Reads {
    /// Through a token map's columns, `[t, columns]`.
    Through(Tensor),
    /// As it is, times a number.
    Share(f32),
}

impl Recorder {
    pub fn new(recording: Recording) -> Self {
        Self {
            recording,
            frame: None,
            reads: vec![],
            self_res: 0,
            kept: vec![],
        }
    }

    /// Everything that was seen, in the order in which it was first seen.
    pub fn recorded(&self) -> &[Recorded] {
        &self.kept
    }

    /// What row `row` shows under a plan.
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

    /// `[t, columns]`
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

    /// `counts`: a map of its own, not a further term of one.
    fn keep(
        &mut self,
        (frame, group, row, head): (usize, usize, usize, Option<usize>),
        grid: (usize, usize),
        part: Tensor,
        counts: bool,
    ) -> Result<()> {
        let key = (frame, group, row, head);
        let same = |r: &&mut Recorded| (r.frame, r.group, r.row, r.head) == key;
        match self.kept.iter_mut().find(same) {
            Some(kept) => {
                kept.sum = (&kept.sum + part)?;
                kept.count += usize::from(counts);
            }
            None => self.kept.push(Recorded {
                frame,
                group,
                row,
                head,
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
        // Finer self-attention than the plan injects is each row's own.
        let own = site.kind == AttentionKind::SelfAttn && site.downscale < self.self_res;
        for shown in 0..self.reads.len() {
            let reads = match own && !self.reads[shown].is_empty() {
                true => vec![(shown, Reads::Share(1.0))],
                false => self.reads[shown].clone(),
            };
            for (term, (_, reads)) in reads.iter().enumerate().filter(|(_, r)| r.0 == row) {
                for (head, map) in &maps {
                    let part = match reads {
                        Reads::Through(columns) => map.matmul(&columns.to_device(map.device())?)?,
                        Reads::Share(share) => (map * f64::from(*share))?,
                    };
                    // A map of several terms is one map.
                    let key = (frame, group, shown, *head);
                    self.keep(key, site.grid, part, term == 0)?;
                }
            }
        }
        Ok(())
    }
}
