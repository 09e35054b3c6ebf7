//! Draws one group of jobs after the other. The files of a group are complete on disk before the next group starts.
//! A job that fails is reported, and the other jobs are drawn all the same. Owns the loop; it must never know what a
//! job draws.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::format;
use prompt_to_prompt::job::{Member, Outcome, run_together};
use prompt_to_prompt::kernels::Packing;
use prompt_to_prompt::message::Flags;
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
use crate::commands::interrupt::{check_interrupted, interrupt_flag};
use crate::commands::messages::{print_changes, print_model};
use crate::commands::outputs::Latents;

/// Default maximum number of rows in one run. More rows save little time, because the shared source is already a small
/// part of the work, and an interrupted run loses all its rows.
const ROWS: usize = 16;

/// A run of many jobs.
pub struct Run<'a> {
    /// The jobs.
    pub tasks: &'a Tasks,
    /// The texts of the job files, for messages.
    pub sources: &'a Sources,
    /// The flags of the run.
    pub args: &'a RunArgs,
    /// The output folder.
    pub out: &'a Path,
    /// Where messages go.
    pub console: &'a Console,
    /// Where events go.
    pub events: Events,
}

/// The number of jobs by outcome.
#[derive(Default)]
struct Count {
    drawn: usize,
    skipped: usize,
    failed: usize,
}

/// The model in memory.
struct Loaded {
    /// Its index in [`Tasks::models`].
    model: usize,
    packing: Packing,
    components: Box<dyn Components>,
}

impl Run<'_> {
    /// Draws all jobs that are not finished, or prints the plan of a dry run.
    ///
    /// # Errors
    /// [`Error::SomeFailed`] if jobs failed, [`Error::Interrupted`] if the user ended the run, a usage error if the
    /// folder is in use, a run error if it cannot be written.
    pub fn execute(&self) -> Result<()> {
        let tasks = &self.tasks.tasks;
        let all: Vec<usize> = (0..tasks.len()).collect();
        let (skipped, pending): (Vec<usize>, Vec<usize>) =
            all.into_iter().partition(|i| finished(&tasks[*i]));
        let groups = groups(tasks, &pending, |task| self.most_rows(task));
        let mut count = Count::default();
        self.tasks.print_warnings(self.console);
        self.print_failures(&mut count)?;
        if self.args.dry_run {
            self.tasks.print_missing_weights(self.console);
            super::plan::print_plan(self, &groups, skipped.len())?;
            return self.failed(&count);
        }
        let stop = interrupt_flag(self.console);
        let lock = OutputLock::take(self.out)?;
        let queued: Vec<&Task> = pending.iter().map(|i| &tasks[*i]).collect();
        self.events.queued(&queued);
        for i in &skipped {
            self.events.skipped(&tasks[*i]);
        }
        count.skipped = skipped.len();
        let mut loaded = None;
        let ended = groups.iter().enumerate().try_for_each(|(i, group)| {
            let label = format!("run {} of {}", i + 1, groups.len());
            self.draw(group, &label, &lock, &mut loaded, &stop, &mut count)
        });
        if count.drawn + count.skipped > 0 {
            self.report();
        }
        self.sum_up(&count, tasks.len() + self.tasks.failures.len(), ended)
    }

    /// Writes the report. A report that cannot be written is only a warning, because all pictures are there.
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

    /// The maximum number of rows of one run: `--max-rows`, else what fits into memory. A single job may have more
    /// rows; it was checked before.
    fn most_rows(&self, task: &Task) -> usize {
        let fits = || {
            let memory = task.checked.prepared.compute.memory()?;
            // A fifth of the memory is left to other programs.
            Some(task.footprint?.rows_in(memory.available / 5 * 4))
        };
        let fitting = || fits().unwrap_or(ROWS).clamp(2, ROWS);
        self.args.max_rows.unwrap_or_else(fitting)
    }

    /// Reports the jobs that cannot be drawn, before anything is drawn.
    fn print_failures(&self, count: &mut Count) -> Result<()> {
        let mut printed = vec![];
        for failure in &self.tasks.failures {
            let problem = &failure.problem;
            // The cells of a sweep often share a problem, which has no position in a file.
            if problem.place.is_some() || !printed.contains(&problem) {
                self.console.block(&self.picture(failure));
                printed.push(problem);
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
                    "correct it, or leave --fail-fast out",
                ));
            }
        }
        Ok(())
    }

    /// The problem with its position in the job file. A problem without a position begins with the jobs' names.
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

    /// Draws a group. If it fails, each of its jobs is drawn alone, so that one job does not fail the others.
    fn draw(
        &self,
        group: &SharedRun,
        label: &str,
        lock: &OutputLock,
        loaded: &mut Option<Loaded>,
        stop: &Arc<AtomicBool>,
        count: &mut Count,
    ) -> Result<()> {
        let tasks: Vec<&Task> = group.tasks.iter().map(|i| &self.tasks.tasks[*i]).collect();
        match self.draw_together(&tasks, label, lock, loaded, stop) {
            Ok(()) => {
                count.drawn += tasks.len();
                return Ok(());
            }
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) if tasks.len() == 1 => self.print_failure(tasks[0], &error, count)?,
            Err(_) => {
                for task in tasks {
                    match self.draw_together(&[task], label, lock, loaded, stop) {
                        Ok(()) => count.drawn += 1,
                        Err(Error::Interrupted) => return Err(Error::Interrupted),
                        Err(error) => self.print_failure(task, &error, count)?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Reports a job that failed. With `--fail-fast` the run ends.
    fn print_failure(&self, task: &Task, error: &Error, count: &mut Count) -> Result<()> {
        let (cause, cure) = error.parts(&Flags);
        self.console
            .block(&format!("error: {}: {cause}\n  {cure}", task.name));
        self.events.failed(&task.name, &cause, &cure, None);
        count.failed += 1;
        if self.args.fail_fast {
            Err(Error::some_failed(
                format!("{} failed", task.name),
                "correct it, or leave --fail-fast out",
            ))
        } else {
            Ok(())
        }
    }

    /// Draws tasks in one run and writes their files.
    fn draw_together(
        &self,
        tasks: &[&Task],
        label: &str,
        lock: &OutputLock,
        loaded: &mut Option<Loaded>,
        stop: &Arc<AtomicBool>,
    ) -> Result<()> {
        check_interrupted(stop)?;
        // The outputs are created first, so that an unwritable folder is reported before the work starts.
        let outputs: Result<Vec<OutputFolder>> = tasks
            .iter()
            .map(|task| OutputFolder::create_in(&task.folder, lock.staging()))
            .collect();
        let outputs = outputs?;
        let start = Instant::now();
        let model = self.model(tasks[0], loaded)?;
        let (mut outcomes, recorders) = self.compute(tasks, label, model, stop)?;
        check_interrupted(stop)?;
        let seconds = start.elapsed().as_secs_f64();
        let drawn = tasks.iter().zip(outputs).zip(&mut outcomes).zip(&recorders);
        for (((task, output), outcome), recorder) in drawn {
            let request = &task.checked.request;
            let fingerprint = task.fingerprint.clone();
            outcome.manifest.fingerprint = fingerprint.expect("the model was loaded");
            let latents = request.save_latents.as_deref();
            let latents = latents.map(|file| Latents::at(file, &output)).transpose()?;
            let of = format!("{}: ", task.name);
            print_changes(self.console, &of, &task.checked.prepared, outcome);
            let (files, _) = task
                .checked
                .write(outcome, recorder.as_ref(), output, latents)?;
            self.events.finished(task, &files, seconds);
        }
        Ok(())
    }

    /// Draws tasks in one run, with a progress bar. Returns their outcomes and recorded heatmaps.
    fn compute(
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
            check_interrupted(stop)
        })?;
        Ok((outcomes, recorders))
    }

    /// The model of a task. Only one model is in memory at a time.
    fn model<'m>(&self, task: &Task, loaded: &'m mut Option<Loaded>) -> Result<&'m dyn Components> {
        let packing = Packing {
            large_tiles: task.checked.prepared.run.fast,
            on_demand: self.args.low_memory,
        };
        let is_loaded = loaded
            .as_ref()
            .is_some_and(|loaded| (loaded.model, loaded.packing) == (task.model, packing));
        if !is_loaded {
            *loaded = None;
            let folder = self.tasks.models[task.model].folder();
            print_model(self.console, folder);
            *loaded = Some(Loaded {
                model: task.model,
                packing,
                components: folder.open_components(packing, false)?,
            });
        }
        Ok(&*loaded.as_ref().expect("loaded above").components)
    }

    /// Prints how many jobs were drawn, and returns the error of the run.
    fn sum_up(&self, count: &Count, all: usize, ended: Result<()>) -> Result<()> {
        let Count {
            drawn,
            skipped,
            failed,
        } = *count;
        self.events.done(drawn, skipped, failed, ended.is_ok());
        let mut parts = vec![format!("{drawn} drawn")];
        if skipped > 0 {
            parts.push(format!("{skipped} already finished"));
        }
        if failed > 0 {
            parts.push(format!("{failed} failed"));
        }
        let summary = format!("{}: {}", format::count(all, "job"), parts.join(", "));
        self.console.note(&summary);
        if matches!(ended, Err(Error::Interrupted)) {
            self.console
                .note("run the same command again to draw the rest");
        }
        ended?;
        self.failed(count)?;
        self.events.end()
    }

    /// The error if some jobs failed.
    fn failed(&self, count: &Count) -> Result<()> {
        let all = self.tasks.tasks.len() + self.tasks.failures.len();
        match count.failed {
            0 => Ok(()),
            failed => Err(Error::some_failed(
                format!("{failed} of {} failed", format::count(all, "job")),
                "correct them and run the same command again: finished jobs are skipped",
            )),
        }
    }
}
