//! Draws one group of jobs after the other. Each is on disk, complete, before the next begins; a job
//! that fails is said and the rest goes on.

use prompt_to_prompt::message::Flags;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::format;
use prompt_to_prompt::job::{Member, Outcome, run_together};
use prompt_to_prompt::kernels::Packing;
use prompt_to_prompt::model::Components;
use prompt_to_prompt::report::console::Console;
use prompt_to_prompt::report::html;
use prompt_to_prompt::report::output::OutputFolder;
use prompt_to_prompt::sample::{AttentionObserver, Recorder};

use super::events::Events;
use super::groups::{SharedRun, groups};
use super::output_lock::{OutputLock, finished};
use super::task::{Failure, Task, Tasks};
use crate::cli::{Problem, RunArgs, Sources};
use crate::commands::draw::{Latents, go_on, interrupt_flag};
use crate::commands::messages::{tell_changes, tell_model};

/// Rows of one run at most, where nobody says: sharing a source among more gains next to nothing, and
/// a run that is cut off is lost.
const ROWS: usize = 16;

/// A run of many jobs.
pub struct Run<'a> {
    pub tasks: &'a Tasks,
    pub sources: &'a Sources,
    pub args: &'a RunArgs,
    pub out: &'a Path,
    pub console: &'a Console,
    pub events: Events,
}

/// How many of each there were.
#[derive(Default)]
struct Count {
    drawn: usize,
    skipped: usize,
    failed: usize,
}

/// A model in memory, and how it was packed.
type Loaded = Option<(usize, Packing, Box<dyn Components>)>;

impl Run<'_> {
    pub fn go(&self) -> Result<()> {
        let tasks = &self.tasks.tasks;
        let all: Vec<usize> = (0..tasks.len()).collect();
        let (skipped, pending): (Vec<usize>, Vec<usize>) =
            all.into_iter().partition(|i| finished(&tasks[*i]));
        let groups = groups(tasks, &pending, |task| self.most_rows(task));
        let mut count = Count::default();
        self.tasks.tell_warnings(self.console);
        self.tell_failures(&mut count)?;
        if self.args.dry_run {
            self.tasks.tell_missing(self.console);
            super::plan::tell(self, &groups, skipped.len())?;
            return self.failed(&count);
        }
        let stop = interrupt_flag(self.console);
        let place = OutputLock::take(self.out)?;
        let queued: Vec<&Task> = pending.iter().map(|i| &tasks[*i]).collect();
        self.events.queued(&queued);
        for i in &skipped {
            self.events.skipped(&tasks[*i]);
        }
        count.skipped = skipped.len();
        let mut loaded: Loaded = None;
        let ended = groups.iter().enumerate().try_for_each(|(i, group)| {
            let label = format!("run {} of {}", i + 1, groups.len());
            self.draw(group, &label, &place, &mut loaded, &stop, &mut count)
        });
        if count.drawn + count.skipped > 0 {
            self.report();
        }
        self.sum_up(&count, tasks.len() + self.tasks.failures.len(), ended)
    }

    /// The page to look at it all with; that it cannot be written loses no picture.
    fn report(&self) {
        match html::write(self.out, None, false) {
            Ok((path, page)) => {
                page.warnings
                    .iter()
                    .for_each(|warning| self.console.warn(warning));
                self.events.report(&path);
            }
            Err(error) => self.console.warn(&error.parts(&Flags).0),
        }
    }

    /// Rows of one run at most: as asked for, else what memory has room for. A single job has its
    /// rows in any case; whether it fits was checked before.
    fn most_rows(&self, task: &Task) -> usize {
        let fits = || {
            let memory = task.checked.prepared.compute.memory()?;
            // Other programs live too.
            Some(task.footprint?.rows_in(memory.available / 5 * 4))
        };
        let fitting = || fits().unwrap_or(ROWS).clamp(2, ROWS);
        self.args.max_rows.unwrap_or_else(fitting)
    }

    /// Jobs that are known to be impossible before anything is drawn.
    fn tell_failures(&self, count: &mut Count) -> Result<()> {
        let mut said = vec![];
        for failure in &self.tasks.failures {
            let problem = &failure.problem;
            // Of a sweep, whose cells stand in no file, most have what one has.
            if problem.place.is_some() || !said.contains(&problem) {
                self.console.block(&self.picture(failure));
                said.push(problem);
            }
            let Problem {
                place, cause, cure, ..
            } = problem;
            let at = place.as_ref().map(|place| self.sources.position(place));
            self.events
                .failed(&failure.name, cause, cure, at.as_deref());
            count.failed += 1;
            if self.args.fail_fast {
                return Err(Error::some_failed(
                    format!("{} cannot be drawn", failure.name),
                    "mend it, or leave --fail-fast out",
                ));
            }
        }
        Ok(())
    }

    /// What is wrong, in the place where it stands; where it stands nowhere, of whom.
    fn picture(&self, failure: &Failure) -> String {
        let mut problem = failure.problem.clone();
        if problem.place.is_none() {
            let all = self.tasks.failures.iter();
            let cause = match all.filter(|other| other.problem == failure.problem).count() {
                1 => &*failure.name,
                more => &format!("{} and {} more", failure.name, more - 1),
            };
            problem.cause = format!("{cause}: {}", problem.cause);
        }
        self.sources.picture(&problem, self.console.is_colourful())
    }

    /// Draws a group; where it fails, each of it alone, so that one job does not fail the others.
    fn draw(
        &self,
        group: &SharedRun,
        label: &str,
        place: &OutputLock,
        loaded: &mut Loaded,
        stop: &Arc<AtomicBool>,
        count: &mut Count,
    ) -> Result<()> {
        let tasks: Vec<&Task> = group.tasks.iter().map(|i| &self.tasks.tasks[*i]).collect();
        match self.together(&tasks, label, place, loaded, stop) {
            Ok(()) => {
                count.drawn += tasks.len();
                return Ok(());
            }
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) if tasks.len() == 1 => self.tell_failure(tasks[0], &error, count)?,
            Err(_) => {
                for task in tasks {
                    match self.together(&[task], label, place, loaded, stop) {
                        Ok(()) => count.drawn += 1,
                        Err(Error::Interrupted) => return Err(Error::Interrupted),
                        Err(error) => self.tell_failure(task, &error, count)?,
                    }
                }
            }
        }
        Ok(())
    }

    fn tell_failure(&self, task: &Task, error: &Error, count: &mut Count) -> Result<()> {
        let (cause, cure) = error.parts(&Flags);
        self.console
            .block(&format!("error: {}: {cause}\n  {cure}", task.name));
        self.events.failed(&task.name, &cause, &cure, None);
        count.failed += 1;
        match self.args.fail_fast {
            true => Err(Error::some_failed(
                format!("{} failed", task.name),
                "mend it, or leave --fail-fast out",
            )),
            false => Ok(()),
        }
    }

    /// One lockstep run of tasks that may share it, and their files.
    fn together(
        &self,
        tasks: &[&Task],
        label: &str,
        place: &OutputLock,
        loaded: &mut Loaded,
        stop: &Arc<AtomicBool>,
    ) -> Result<()> {
        go_on(stop)?;
        // Where nothing can be written, that shows before the work is done.
        let outputs: Result<Vec<OutputFolder>> = tasks
            .iter()
            .map(|task| OutputFolder::create_in(&task.folder, place.staging()))
            .collect();
        let outputs = outputs?;
        let start = Instant::now();
        let model = self.model(tasks[0], loaded)?;
        let (mut outcomes, recorders) = self.run(tasks, label, model, stop)?;
        go_on(stop)?;
        let seconds = start.elapsed().as_secs_f64();
        let drawn = tasks.iter().zip(outputs).zip(&mut outcomes).zip(&recorders);
        for (((task, output), outcome), recorder) in drawn {
            let request = &task.checked.request;
            let fingerprint = task.fingerprint.clone();
            outcome.manifest.fingerprint = fingerprint.expect("weights were here to draw with");
            let latents = request.save_latents.as_deref();
            let latents = latents.map(|file| Latents::at(file, &output)).transpose()?;
            let of = format!("{}: ", task.name);
            tell_changes(self.console, &of, &task.checked.prepared, outcome);
            let (files, _) = task
                .checked
                .write(outcome, recorder.as_ref(), output, latents)?;
            self.events.finished(task, &files, seconds);
        }
        Ok(())
    }

    fn run(
        &self,
        tasks: &[&Task],
        label: &str,
        model: &dyn Components,
        stop: &Arc<AtomicBool>,
    ) -> Result<(Vec<Outcome>, Vec<Option<Recorder>>)> {
        let mut recorders: Vec<Option<Recorder>> =
            tasks.iter().map(|task| task.checked.recorder()).collect();
        let members = tasks
            .iter()
            .zip(&mut recorders)
            .map(|(task, recorder)| Member {
                prepared: &task.checked.prepared,
                observers: recorder
                    .iter_mut()
                    .map(|r| r as &mut dyn AttentionObserver)
                    .collect(),
            });
        let members: Vec<Member> = members.collect();
        let calls = tasks[0].checked.prepared.controller.clock.calls;
        let rows = tasks
            .iter()
            .map(|task| task.checked.prepared.controller.rows.len() - 1);
        let rows = 1 + rows.sum::<usize>();
        self.events.started(tasks, rows, calls);
        let of = match tasks {
            [task] => task.name.clone(),
            _ => format::count(tasks.len(), "job"),
        };
        let mut progress = self.console.progress(calls, &format!("{label}: {of}"));
        let outcomes = run_together(members, model, &mut |step| {
            progress.step();
            self.events.step(tasks, step, calls);
            go_on(stop)
        })?;
        Ok((outcomes, recorders))
    }

    /// The task's model, loaded unless it is already; one at a time is in memory.
    fn model<'m>(&self, task: &Task, loaded: &'m mut Loaded) -> Result<&'m dyn Components> {
        let packing = Packing {
            large_tiles: task.checked.prepared.run.fast,
            on_demand: self.args.low_memory,
        };
        let there = loaded
            .as_ref()
            .is_some_and(|(model, kept, _)| (*model, *kept) == (task.model, packing));
        if !there {
            *loaded = None;
            let folder = self.tasks.models[task.model].folder();
            tell_model(self.console, folder);
            let model = folder.open_components(packing, false)?;
            *loaded = Some((task.model, packing, model));
        }
        Ok(&*loaded.as_ref().expect("loaded above").2)
    }

    fn sum_up(&self, count: &Count, all: usize, ended: Result<()>) -> Result<()> {
        let Count {
            drawn,
            skipped,
            failed,
        } = *count;
        self.events.done(drawn, skipped, failed, ended.is_ok());
        let mut parts = vec![format!("{drawn} drawn")];
        if skipped > 0 {
            let were = if skipped == 1 { "was" } else { "were" };
            parts.push(format!("{skipped} {were} there already"));
        }
        if failed > 0 {
            parts.push(format!("{failed} failed"));
        }
        let said = format!("{}: {}", format::count(all, "job"), parts.join(", "));
        self.console.note(&said);
        if matches!(ended, Err(Error::Interrupted)) {
            self.console.note("the same command goes on with the rest");
        }
        ended?;
        self.failed(count)?;
        self.events.end()
    }

    /// The error that some failed.
    fn failed(&self, count: &Count) -> Result<()> {
        let all = self.tasks.tasks.len() + self.tasks.failures.len();
        match count.failed {
            0 => Ok(()),
            failed => Err(Error::some_failed(
                format!("{failed} of {} failed", format::count(all, "job")),
                "mend them and give the same command: what is done is not done again",
            )),
        }
    }
}
