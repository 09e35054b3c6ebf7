//! Decides which tasks are drawn together in one run. Owns the order of runs; it must never draw anything.

use prompt_to_prompt::job::may_share;

use super::task::Task;

/// Tasks that are drawn together.
pub struct SharedRun {
    /// The index of their model in `Tasks::models`.
    pub model: usize,
    /// The indices of the tasks in `Tasks::tasks`.
    pub tasks: Vec<usize>,
    /// The number of rows, including the source.
    pub rows: usize,
}

/// Puts each pending task into the first run that it may share. Runs keep the order of the file, but all runs of one
/// model come before those of the next, so that each model is loaded once.
///
/// A run has at most `most` rows. A single task with more rows has a run of its own.
pub fn groups(tasks: &[Task], pending: &[usize], most: impl Fn(&Task) -> usize) -> Vec<SharedRun> {
    let mut groups: Vec<SharedRun> = vec![];
    for &index in pending {
        let task = &tasks[index];
        let rows = task.checked.prepared.controller.rows.len() - 1;
        let most = most(task);
        let fits = |group: &&mut SharedRun| {
            group.model == task.model
                && group.rows + rows <= most
                && shares(&tasks[group.tasks[0]], task)
        };
        match groups.iter_mut().find(fits) {
            Some(group) => {
                group.tasks.push(index);
                group.rows += rows;
            }
            None => groups.push(SharedRun {
                model: task.model,
                tasks: vec![index],
                rows: 1 + rows,
            }),
        }
    }
    groups.sort_by_key(|group| group.model);
    groups
}

fn shares(a: &Task, b: &Task) -> bool {
    // Recording single heads changes the order in which means over heads are summed, and so the last bits.
    let heads = a.checked.looks_at_heads() || b.checked.looks_at_heads();
    !heads && may_share(&a.checked.prepared, &b.checked.prepared)
}
