//! What happens to attention at each step, as plain data: `Controller::plan(step) -> EditPlan`.
//! Owns the schedule; knows no tensor, so a plan can be printed, compared and tested on paper.

use crate::edit::{MapEdit, Rules, TokenMap, Window, windows};

/// The edit of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct RowEdit {
    /// With every gate open.
    pub edit: MapEdit,
    /// When each token of the edited prompt is edited.
    pub cross: Vec<Window>,
    /// When the source's self-attention is injected.
    pub self_window: Window,
}

/// Knows every row's edit and says what to do at a step. Row 0 is the source.
#[derive(Debug, Clone, PartialEq)]
pub struct Controller {
    /// What windows are fractions of: the denoiser calls of the run.
    pub steps: usize,
    /// Tokens of a padded prompt.
    pub tokens: usize,
    pub rules: Rules,
    /// The finest downscale at which self-attention is injected: this and coarser.
    pub self_res: usize,
    /// Per row; `None` is a row that attends by itself (the source, a baseline).
    pub rows: Vec<Option<RowEdit>>,
}

/// A step's edit of every row.
#[derive(Debug, Clone, PartialEq)]
pub struct EditPlan {
    /// Per row the sum of (row whose map is read, token map): `P'_row = sum P_r . S`.
    pub cross: Vec<Vec<(usize, TokenMap)>>,
    /// Per row: the row whose self-attention map it uses.
    pub self_map_of: Vec<usize>,
    /// The finest downscale at which `self_map_of` holds.
    pub self_res: usize,
}

impl Controller {
    /// The row all edits are made from.
    pub const SOURCE: usize = 0;

    /// Rows that nobody edits.
    pub fn plain(rows: usize, steps: usize, tokens: usize) -> Self {
        let rows = vec![None; rows];
        Self {
            steps,
            tokens,
            rules: Rules::Ours,
            self_res: usize::MAX,
            rows,
        }
    }

    /// The edit at `step`, 0-based. Equal plans are equal values: a run of them is a segment.
    pub fn plan(&self, step: usize) -> EditPlan {
        let rows = 0..self.rows.len();
        EditPlan {
            cross: rows
                .clone()
                .map(|row| self.cross_terms(row, step))
                .collect(),
            self_map_of: rows.map(|row| self.self_map_of(row, step)).collect(),
            self_res: self.self_res,
        }
    }

    fn cross_terms(&self, row: usize, step: usize) -> Vec<(usize, TokenMap)> {
        let MapEdit { borrow, own } = match &self.rows[row] {
            Some(r) => r
                .edit
                .clone()
                .gate(&windows::gate(&r.cross, step, self.steps, self.rules)),
            None => MapEdit::none(self.tokens),
        };
        let terms = [(Self::SOURCE, borrow), (row, TokenMap::diagonal(&own))];
        terms
            .into_iter()
            .filter(|(_, map)| !map.is_zero())
            .collect()
    }

    fn self_map_of(&self, row: usize, step: usize) -> usize {
        match &self.rows[row] {
            Some(r) if r.self_window.self_open(step, self.steps, self.rules) => Self::SOURCE,
            _ => row,
        }
    }
}
