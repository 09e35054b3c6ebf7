//! What happens at each step, as plain data: `Controller::plan(call) -> EditPlan`.
//! Owns the schedule; knows no tensor, so a plan can be printed, compared and tested on paper.

use crate::edit::{Acts, Clock, MapEdit, Region, Rules, TokenMap, Window, windows};

/// The edit of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct RowEdit {
    /// The row it is an edit of: the source, or in a chain an edited row before it.
    pub base: usize,
    /// With every gate open.
    pub edit: MapEdit,
    /// When each token of the edited prompt is edited.
    pub cross: Vec<Window>,
    /// Factors of the tokens that have a window apart from the edit's.
    pub late_factors: Option<LateFactors>,
    /// When the base's self-attention is injected.
    pub self_window: Window,
    /// When the latents are the base's.
    pub latents: Option<Window>,
    /// How much of the difference to the base's guided prediction is kept: 1 is all, 0 none.
    pub strength: f64,
    /// Where it changes the picture, for blending and for telling what it did.
    pub region: Region,
    /// From which part of the run on what lies outside of `region` is put back; `None` is never.
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

    /// The edit of cross-attention at a call: the step gate, and factors that are scheduled apart.
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

/// Factors with a window of their own, per token: of borrowed attention and of the row's own.
#[derive(Debug, Clone, PartialEq)]
pub struct LateFactors {
    pub borrowed: Vec<f32>,
    pub own: Vec<f32>,
    pub window: Window,
}

/// Knows every row's edit and says what to do at a step. Row 0 is the source.
#[derive(Debug, Clone, PartialEq)]
pub struct Controller {
    pub clock: Clock,
    /// Tokens of a padded prompt.
    pub tokens: usize,
    /// The finest downscale at which self-attention is injected: this and coarser.
    pub self_res: usize,
    /// The downscale whose cross-attention says where a word is.
    pub layout: usize,
    /// Per row; `None` is a row that attends by itself (the source, a baseline).
    pub rows: Vec<Option<RowEdit>>,
    /// Whether the source runs to its end though no edit needs it: its picture is wanted, or its maps.
    pub keep_source: bool,
}

/// A sum over rows' maps, each times a number.
pub type Sum<T> = Vec<(usize, T)>;

/// A step's edit of every row's attention.
#[derive(Debug, Clone, PartialEq)]
pub struct EditPlan {
    /// `P'_row = sum P_r . S`
    pub cross: Vec<Sum<TokenMap>>,
    /// `P'_row = sum P_r s`
    pub self_attention: Vec<Sum<f32>>,
    /// The finest downscale at which `self_attention` holds.
    pub self_res: usize,
}

impl EditPlan {
    /// Of these rows alone, counted anew.
    ///
    /// # Panics
    /// Where one of them reads a row that is not among them.
    pub fn of_rows(&self, rows: &[usize]) -> Self {
        fn picked<T: Clone>(sums: &[Sum<T>], rows: &[usize]) -> Vec<Sum<T>> {
            let place = |row: usize| rows.iter().position(|own| *own == row);
            let term = |(row, how): &(usize, T)| (place(*row).expect("a row of them"), how.clone());
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
    /// The row all edits are made from.
    pub const SOURCE: usize = 0;

    /// Rows that nobody edits.
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

    pub fn rules(&self) -> Rules {
        self.clock.rules
    }

    /// The rows that are edited, in order: a row comes after the one it is an edit of.
    pub fn edits(&self) -> impl Iterator<Item = (usize, &RowEdit)> {
        let rows = self.rows.iter().enumerate();
        rows.filter_map(|(row, edit)| Some((row, edit.as_ref()?)))
    }

    /// Denoiser calls that the source takes part in, the first ones: to the last in which an edit of it
    /// needs it. After that it changes no bit of any other row.
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

    /// Whether a row reads the source's attention or latents at a call.
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

    /// Whether it is told where row `row` is edited: that takes the attention of the row it is an edit
    /// of, over the whole run.
    pub fn locates(&self, row: usize) -> bool {
        let whole = |edit: &RowEdit| self.keep_source || edit.base != Self::SOURCE;
        let edit = self.rows[row].as_ref();
        edit.is_some_and(|e| e.region.is_somewhere() && (e.blend.is_some() || whole(e)))
    }

    /// The edit at denoiser call `call`, 0-based. Equal plans are equal values: a run of them is a
    /// segment.
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

    /// What the base's map is made of, each through `B`, and the row's own share.
    fn cross_terms(
        &self,
        so_far: &EditPlan,
        row: usize,
        edit: &RowEdit,
        call: usize,
    ) -> Sum<TokenMap> {
        let MapEdit { borrow, own } = edit.map_edit(call, &self.clock);
        let through = |(map_of, map): &(usize, TokenMap)| match map.is_identity() {
            true => (*map_of, borrow.clone()),
            false => (*map_of, map.then(&borrow)),
        };
        let borrowed = so_far.cross[edit.base].iter().map(through);
        let own = (row, TokenMap::diagonal(&own));
        borrowed
            .chain([own])
            .filter(|(_, map)| !map.is_zero())
            .collect()
    }

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

/// Whether a row other than the source does.
fn reads_source<T>(rows: &[Sum<T>]) -> bool {
    let others = rows.iter().skip(Controller::SOURCE + 1);
    others
        .flatten()
        .any(|(map_of, _)| *map_of == Controller::SOURCE)
}
