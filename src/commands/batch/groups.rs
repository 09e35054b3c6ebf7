//! Which tasks are drawn together, and what that takes.

use prompt_to_prompt::job::may_share;

use super::task::Task;

/// Tasks of one lockstep run, by their place in the list.
pub struct SharedRun {
    pub model: usize,
    pub tasks: Vec<usize>,
    /// The source included.
    pub rows: usize,
}

/// Each pending task in the first run that it may share, in the order of the file but one model after
/// the other.
///
/// A run never has more than `most` rows, unless a single task does.
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
    // Looking at heads changes how the means of heads are summed.
    let heads = a.checked.looks_at_heads() || b.checked.looks_at_heads();
    !heads && may_share(&a.checked.prepared, &b.checked.prepared)
}
