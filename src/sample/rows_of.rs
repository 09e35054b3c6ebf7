//! Some rows of a run, watched as if they were all of it: jobs that share a run each have watchers of
//! their own, who count rows as if the job ran alone.

use candle_core::Tensor;

use super::lockstep::Watcher;
use super::plan::EditPlan;
use crate::attention::{Site, Tap};
use crate::error::Result;

pub struct RowsOf<'a> {
    watcher: &'a mut dyn Watcher,
    /// The watcher's rows, as the run counts them.
    rows: &'a [usize],
}

impl<'a> RowsOf<'a> {
    /// No row of `rows` may read one that is not among them.
    pub fn new(watcher: &'a mut dyn Watcher, rows: &'a [usize]) -> Self {
        Self { watcher, rows }
    }
}

impl Watcher for RowsOf<'_> {
    fn wants(&self, site: &Site) -> Option<Tap> {
        self.watcher.wants(site)
    }

    fn at(&mut self, call: usize) {
        self.watcher.at(call);
    }

    fn begin(&mut self, plan: &EditPlan) -> Result<()> {
        self.watcher.begin(&plan.of_rows(self.rows))
    }

    fn observe(&mut self, site: &Site, row: usize, map: &Tensor) -> Result<()> {
        match self.rows.iter().position(|own| *own == row) {
            Some(own) => self.watcher.observe(site, own, map),
            None => Ok(()),
        }
    }
}
