//! Jobs of one source as rows of one lockstep run: whether they may share it, and whose row is whose.
//! What a row becomes does not depend on its neighbours (law 5), so each job ends as if it had run
//! alone.

use super::{Job, Prepared};
use crate::prompt::Tokens;
use crate::sample::{AttentionObserver, Controller, RowEdit};

/// A job of a run, and who looks at its rows.
pub struct Member<'a> {
    pub job: &'a Job,
    pub prepared: &'a Prepared,
    pub observers: Vec<&'a mut dyn AttentionObserver>,
}

/// Whether two jobs of one model can be rows of one run: all but their edits is the same.
pub fn may_share((job, prepared): (&Job, &Prepared), (other, theirs): (&Job, &Prepared)) -> bool {
    let settings = |job: &Job| (job.seed, job.rules, job.fast);
    let run = |p: &Prepared| (p.steps, p.scheduler, p.width, p.height, p.guidance);
    let controller = |p: &Prepared| {
        let c = &p.controller;
        (c.self_res, c.layout, c.keep_source)
    };
    settings(job) == settings(other)
        && run(prepared) == run(theirs)
        && controller(prepared) == controller(theirs)
        && prepared.source.text == theirs.source.text
        && prepared.negative.text == theirs.negative.text
}

/// Members' rows in one run.
pub(super) struct Joined<'a> {
    pub controller: Controller,
    /// Prompt and negative prompt of each row.
    pub prompts: Vec<(&'a Tokens, &'a Tokens)>,
    /// Per member its rows, in its own order: source, edits, baselines.
    pub rows: Vec<Vec<usize>>,
}

/// One source, then each member's other rows.
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
