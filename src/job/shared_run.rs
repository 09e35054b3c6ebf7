//! Jobs of one source as rows of one lockstep run: whether they may share it, and which rows belong to which
//! job. A row's result does not depend on the other rows (law 5 of the tests), so each job ends as if it had
//! run alone.

use super::Prepared;
use crate::prompt::Tokens;
use crate::sample::{AttentionObserver, Controller, RowEdit};

/// A job of a shared run, with the observers of its rows.
pub struct Member<'a> {
    /// The job, checked against the model.
    pub prepared: &'a Prepared,
    /// The observers of the job's attention maps.
    pub observers: Vec<&'a mut dyn AttentionObserver>,
}

/// Whether two jobs of one model can be rows of one run: they differ in their edits alone.
pub fn may_share(a: &Prepared, b: &Prepared) -> bool {
    a.run == b.run && a.controller.keep_source == b.controller.keep_source
}

/// The rows of all members in one run.
pub(super) struct Joined<'a> {
    pub controller: Controller,
    /// Prompt and negative prompt of each row.
    pub prompts: Vec<(&'a Tokens, &'a Tokens)>,
    /// The rows of each member in the member's own order: source, edits, baselines.
    pub rows: Vec<Vec<usize>>,
}

/// Puts the members' rows into one run: one source, then the other rows of each member.
pub(super) fn join<'a>(members: &[Member<'a>]) -> Joined<'a> {
    let first = members[0].prepared;
    let mut joined = Joined {
        controller: first.controller.clone(),
        prompts: vec![(&first.source, &first.negative)],
        rows: vec![],
    };
    joined.controller.rows.truncate(1);
    for member in members {
        let before = joined.controller.rows.len() - 1;
        let moved = |row: usize| if row == 0 { 0 } else { row + before };
        let own = &member.prepared.controller.rows;
        joined.rows.push((0..own.len()).map(moved).collect());
        joined.prompts.extend(&member.prepared.row_prompts()[1..]);
        joined.controller.rows.extend(own[1..].iter().map(|row| {
            let edit = row.clone()?;
            Some(RowEdit {
                base: moved(edit.base),
                ..edit
            })
        }));
    }
    joined
}
