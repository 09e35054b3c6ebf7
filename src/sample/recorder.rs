//! Sums of cross-attention maps over steps and sites, for heatmaps and masks (paper fig. 4).
//!
//! Taking the mean over heads commutes with every edit, so the recorder keeps the rows' *own* means
//! per schedule segment and folds the edited maps from them afterwards. It never holds a map per
//! head or per step.

use candle_core::Tensor;

use super::lockstep::Watcher;
use super::plan::EditPlan;
use crate::attention::{Kind, Site};
use crate::edit::TokenMap;
use crate::error::Result;

/// Records the cross-attention sites at one downscale.
#[derive(Debug)]
pub struct Recorder {
    downscale: usize,
    grid: Option<(usize, usize)>,
    /// How the maps of this segment are used.
    plan: Option<EditPlan>,
    /// Per row, since the segment began: sum of head means, `[n, t]`.
    segment: Vec<Option<Tensor>>,
    /// Per row, of finished segments: sum of the maps as used (after the edit), `[n, t]`.
    used: Vec<Option<Tensor>>,
    /// Sites times steps seen.
    count: usize,
}

impl Recorder {
    pub fn new(rows: usize, downscale: usize) -> Self {
        Self {
            downscale,
            grid: None,
            plan: None,
            segment: vec![None; rows],
            used: vec![None; rows],
            count: 0,
        }
    }

    /// Mean over steps, heads and sites of each row's maps as they were used (for an edited row:
    /// after the edit), `[h, w, t]`. `None` for a row that used no map at all.
    pub fn mean_maps(&self) -> Result<Vec<Option<Tensor>>> {
        let Some((h, w)) = self.grid else {
            return Ok(vec![None; self.used.len()]);
        };
        let mean = |sum: &Tensor| -> Result<Tensor> {
            Ok((sum / self.count as f64)?.reshape((h, w, sum.dim(1)?))?)
        };
        let used = self.folded()?;
        used.iter()
            .map(|sum| sum.as_ref().map(mean).transpose())
            .collect()
    }

    /// `used`, and what was seen since the segment began turned into maps as used.
    fn folded(&self) -> Result<Vec<Option<Tensor>>> {
        let mut used = self.used.clone();
        for (row, terms) in self
            .plan
            .iter()
            .flat_map(|plan| plan.cross.iter().enumerate())
        {
            for (map_of, map) in terms {
                if let Some(sum) = &self.segment[*map_of] {
                    add(&mut used[row], through(sum, map)?)?;
                }
            }
        }
        Ok(used)
    }
}

impl Watcher for Recorder {
    fn wants(&self, site: &Site) -> bool {
        site.kind == Kind::Cross && site.downscale == self.downscale
    }

    fn begin(&mut self, plan: &EditPlan) -> Result<()> {
        self.used = self.folded()?;
        self.segment.fill(None);
        self.plan = Some(plan.clone());
        Ok(())
    }

    fn observe(&mut self, site: &Site, row: usize, head_mean: &Tensor) -> Result<()> {
        self.grid = Some(site.grid);
        // The source's map is read at every site, if only by the source itself.
        self.count += usize::from(row == 0);
        add(&mut self.segment[row], head_mean.clone())
    }
}

fn add(sum: &mut Option<Tensor>, map: Tensor) -> Result<()> {
    *sum = Some(match sum.take() {
        None => map,
        Some(sum) => (sum + map)?,
    });
    Ok(())
}

/// `P . S`
fn through(sum: &Tensor, map: &TokenMap) -> Result<Tensor> {
    let s = Tensor::from_slice(map.weights(), (map.n(), map.n()), sum.device())?;
    Ok(sum.matmul(&s)?)
}
