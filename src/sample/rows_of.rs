//! Some rows of a run, watched as if they were all of it: jobs that share a run each have observers of
//! their own, who count rows as if the job ran alone.

use candle_core::Tensor;

use super::lockstep::AttentionObserver;
use super::plan::EditPlan;
use crate::attention::{Site, Tap};
use crate::error::Result;

pub struct RowsOf<'a> {
    observer: &'a mut dyn AttentionObserver,
    /// The observer's rows, as the run counts them.
    rows: &'a [usize],
}

impl<'a> RowsOf<'a> {
    /// No row of `rows` may read one that is not among them.
    pub fn new(observer: &'a mut dyn AttentionObserver, rows: &'a [usize]) -> Self {
        Self { observer, rows }
    }
}

impl AttentionObserver for RowsOf<'_> {
    fn wants(&self, site: &Site) -> Option<Tap> {
        self.observer.wants(site)
    }

    fn at(&mut self, call: usize) {
        self.observer.at(call);
    }

    fn begin(&mut self, plan: &EditPlan) -> Result<()> {
        self.observer.begin(&plan.of_rows(self.rows))
    }

    fn observe(&mut self, site: &Site, row: usize, map: &Tensor) -> Result<()> {
        match self.rows.iter().position(|own| *own == row) {
            Some(own) => self.observer.observe(site, own, map),
            None => Ok(()),
        }
    }
}
