//! An observer of some rows of a run. Jobs that share a run have observers of their own, which number
//! rows as if their job ran alone. Owns that numbering; it must never know jobs.

use candle_core::Tensor;

use super::lockstep::AttentionObserver;
use super::plan::EditPlan;
use crate::attention::{Site, Tap};
use crate::error::Result;

/// Passes the maps of some rows on to an observer, with the rows numbered anew.
pub struct RowsOf<'a> {
    observer: &'a mut dyn AttentionObserver,
    /// The observer's rows, as the run numbers them.
    rows: &'a [usize],
}

impl<'a> RowsOf<'a> {
    /// `rows` are the observer's rows, as the run numbers them. They may read each other only:
    /// [`begin`](AttentionObserver::begin) panics otherwise.
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
