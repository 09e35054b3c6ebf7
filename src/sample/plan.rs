//! The edit of each step as plain data: `Controller::plan(call) -> EditPlan`.
//! Owns the schedule of all edits. It must never know a tensor, so a plan can be printed, compared and
//! tested on paper.

use crate::edit::{Acts, Clock, MapEdit, Region, Rules, TokenMap, Window, windows};

/// The edit of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct RowEdit {
    /// The row that this row edits: the source, or in a chain an edited row before it.
    pub base: usize,
    /// The edit of cross-attention, with every gate open.
    pub edit: MapEdit,
    /// For each token of the edited prompt the window of its edit.
    pub cross: Vec<Window>,
    /// Factors of tokens with a window of their own.
    pub late_factors: Option<LateFactors>,
    /// The window in which the base's self-attention is injected.
    pub self_window: Window,
    /// The window in which the latents are copied from the base.
    pub latents: Option<Window>,
    /// The share of the difference to the base's guided prediction that is kept: 1 is all, 0 none.
    pub strength: f64,
    /// The region of the picture that the edit changes, for local blend and for the report.
    pub region: Region,
    /// The fraction of the run from which on local blend restores the base outside of `region`; `None`
    /// is no local blend.
    pub blend: Option<f64>,
}

impl RowEdit {
    /// An edit of the source by attention alone.
    pub fn new(edit: MapEdit, cross: Vec<Window>, self_window: Window) -> Self {
        Self {
            base: Controller::SOURCE,
            edit,
            cross,
            late_factors: None,
            self_window,
            latents: None,
            strength: 1.0,
            region: Region::default(),
            blend: None,
        }
    }

    /// The edit of cross-attention at a call: gated by the windows, with the late factors of that call.
    fn map_edit(&self, call: usize, clock: &Clock) -> MapEdit {
        let gated = self
            .edit
            .clone()
            .gate(&windows::gate(&self.cross, call, clock));
        let Some(late) = &self.late_factors else {
            return gated;
        };
        let open = late.window.gate(call, clock, Acts::Cross);
        let now = |factors: &[f32]| -> Vec<f32> {
            factors.iter().map(|f| 1.0 + open * (f - 1.0)).collect()
        };
        gated.reweight_apart(&now(&late.borrowed), &now(&late.own))
    }
}

/// Factors of tokens with a window of their own, apart from the edit's.
#[derive(Debug, Clone, PartialEq)]
pub struct LateFactors {
    /// A factor for each token's attention that is borrowed from the base.
    pub borrowed: Vec<f32>,
    /// A factor for each token's attention of the row itself.
    pub own: Vec<f32>,
    /// The window in which the factors apply.
    pub window: Window,
}

/// The edits of all rows and their schedule. Row 0 is the source.
#[derive(Debug, Clone, PartialEq)]
pub struct Controller {
    /// Steps and denoiser calls of the run.
    pub clock: Clock,
    /// Tokens of a padded prompt.
    pub tokens: usize,
    /// The finest downscale at which self-attention is injected; it is injected there and at all coarser
    /// ones.
    pub self_res: usize,
    /// The downscale whose cross-attention locates words.
    pub layout: usize,
    /// The edit of each row; `None` for a row that attends by itself (the source, a baseline).
    pub rows: Vec<Option<RowEdit>>,
    /// Whether the source runs to its end even if no edit needs it: for its picture or its maps.
    pub keep_source: bool,
}

/// A sum over the maps of rows: each row with the factor, or the token map, that its map is multiplied
/// by.
pub type Sum<T> = Vec<(usize, T)>;

/// The edit of every row's attention at one step.
#[derive(Debug, Clone, PartialEq)]
pub struct EditPlan {
    /// Cross-attention of each row: `P'_row = sum P_r . S`.
    pub cross: Vec<Sum<TokenMap>>,
    /// Self-attention of each row: `P'_row = sum P_r s`.
    pub self_attention: Vec<Sum<f32>>,
    /// The finest downscale at which `self_attention` applies. At finer ones a row attends by itself.
    pub self_res: usize,
}

impl EditPlan {
    /// The plan of some rows, numbered by their place in `rows`.
    ///
    /// # Panics
    /// If one of the rows reads a row that is not in `rows`.
    pub fn of_rows(&self, rows: &[usize]) -> Self {
        fn picked<T: Clone>(sums: &[Sum<T>], rows: &[usize]) -> Vec<Sum<T>> {
            let place = |row: usize| rows.iter().position(|own| *own == row);
            let term = |(row, how): &(usize, T)| {
                (
                    place(*row).expect("the rows read each other only"),
                    how.clone(),
                )
            };
            rows.iter()
                .map(|row| sums[*row].iter().map(term).collect())
                .collect()
        }
        Self {
            cross: picked(&self.cross, rows),
            self_attention: picked(&self.self_attention, rows),
            self_res: self.self_res,
        }
    }
}

impl Controller {
    /// The row of the source.
    pub const SOURCE: usize = 0;

    /// A controller for rows without edits.
    pub fn plain(rows: usize, steps: usize, tokens: usize) -> Self {
        Self {
            clock: Clock::new(steps),
            tokens,
            self_res: usize::MAX,
            layout: usize::MAX,
            rows: vec![None; rows],
            keep_source: true,
        }
    }

    /// The rules of the run.
    pub fn rules(&self) -> Rules {
        self.clock.rules
    }

    /// The edited rows in order. A row comes after its base.
    pub fn edits(&self) -> impl Iterator<Item = (usize, &RowEdit)> {
        let rows = self.rows.iter().enumerate();
        rows.filter_map(|(row, edit)| Some((row, edit.as_ref()?)))
    }

    /// The number of denoiser calls after which the source stops: no later call of an edit needs it, so
    /// no bit of any other row changes.
    pub fn source_calls(&self) -> usize {
        let mut edits = self.edits_of_source();
        if self.keep_source || edits.any(|edit| edit.blend.is_some() || edit.strength != 1.0) {
            return self.clock.calls;
        }
        let last = (0..self.clock.calls).rfind(|call| self.needs_source(*call));
        last.map_or(0, |call| call + 1)
    }

    fn edits_of_source(&self) -> impl Iterator<Item = &RowEdit> {
        let edits = self.edits().map(|(_, edit)| edit);
        edits.filter(|edit| edit.base == Self::SOURCE)
    }

    /// Whether any row reads the source's attention or latents at a call.
    fn needs_source(&self, call: usize) -> bool {
        let plan = self.plan(call);
        let copies = |edit: &RowEdit| {
            let window = edit.latents.as_ref();
            window.is_some_and(|w| w.gate(call, &self.clock, Acts::Latents) > 0.0)
        };
        reads_source(&plan.cross)
            || reads_source(&plan.self_attention)
            || self.edits_of_source().any(copies)
    }

    /// Whether the region of row `row`'s edit is known at the end. It takes the attention of the base
    /// over the whole run.
    pub fn locates(&self, row: usize) -> bool {
        let whole = |edit: &RowEdit| self.keep_source || edit.base != Self::SOURCE;
        let edit = self.rows[row].as_ref();
        edit.is_some_and(|e| e.region.is_somewhere() && (e.blend.is_some() || whole(e)))
    }

    /// The edit at denoiser call `call`, counted from 0. The loop compares plans and prepares tensors only
    /// when the plan changes.
    pub fn plan(&self, call: usize) -> EditPlan {
        let mut plan = EditPlan {
            cross: vec![],
            self_attention: vec![],
            self_res: self.self_res,
        };
        for (row, edit) in self.rows.iter().enumerate() {
            let (cross, self_attention) = match edit {
                Some(edit) => (
                    self.cross_terms(&plan, row, edit, call),
                    self.self_terms(&plan, row, edit, call),
                ),
                None => (
                    vec![(row, TokenMap::identity(self.tokens))],
                    vec![(row, 1.0)],
                ),
            };
            plan.cross.push(cross);
            plan.self_attention.push(self_attention);
        }
        plan
    }

    /// The terms of the base's map, each through `B`, and the row's own map times `o`.
    fn cross_terms(
        &self,
        so_far: &EditPlan,
        row: usize,
        edit: &RowEdit,
        call: usize,
    ) -> Sum<TokenMap> {
        let MapEdit { borrow, own } = edit.map_edit(call, &self.clock);
        let through = |(map_of, map): &(usize, TokenMap)| {
            let is_plain = map.is_identity();
            let map = if is_plain {
                borrow.clone()
            } else {
                map.then(&borrow)
            };
            (*map_of, map)
        };
        let borrowed = so_far.cross[edit.base].iter().map(through);
        let own = (row, TokenMap::diagonal(&own));
        borrowed
            .chain([own])
            .filter(|(_, map)| !map.is_zero())
            .collect()
    }

    /// The terms of the base's map times the gate, and the row's own map times the rest.
    fn self_terms(&self, so_far: &EditPlan, row: usize, edit: &RowEdit, call: usize) -> Sum<f32> {
        let open = edit.self_window.gate(call, &self.clock, Acts::SelfAttn);
        let borrowed = so_far.self_attention[edit.base].iter();
        let borrowed = borrowed.map(|(map_of, share)| (*map_of, share * open));
        borrowed
            .chain([(row, 1.0 - open)])
            .filter(|(_, share)| *share != 0.0)
            .collect()
    }
}

/// Whether a row other than the source reads the source's map.
fn reads_source<T>(rows: &[Sum<T>]) -> bool {
    let others = rows.iter().skip(Controller::SOURCE + 1);
    others
        .flatten()
        .any(|(map_of, _)| *map_of == Controller::SOURCE)
}
