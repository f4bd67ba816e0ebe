//! What a new run can take over from one that has ended: the instances that succeeded, except those
//! whose files are missing or have changed and those that may differ in the new run.

use std::sync::Arc;

use dagrun_core::alike::{self, Origin};
use dagrun_core::engine::{Indices, Past, RunPlan};
use dagrun_core::graph::Graph;
use dagrun_core::ids::{RunId, TaskId, WorkerId};
use dagrun_core::pipeline::Pipeline;
use dagrun_core::status::{RunState, RunStatus};
use dagrun_schema::wire::Submission;
use rusqlite::Row;

use super::damage;
use super::succeeded::{Succeeded, Used, done, outside, without};
use super::{History, HistoryError};
use crate::journal::TakenSpan;
use crate::submission::Checked;

/// What is to run once more.
pub(crate) struct Retry<'a> {
    /// The new run.
    pub(crate) submission: &'a Submission,
    /// The same.
    pub(crate) checked: &'a Checked,
    /// The pipeline of the earlier run and its directory, where the new run has another.
    pub(crate) then: Option<&'a (Submission, Pipeline)>,
    /// Whether all runs that has not succeeded.
    pub(crate) failed: bool,
    /// Instances that run whether they have succeeded or not, by task.
    pub(crate) selected: Vec<Indices>,
}

/// What a new run takes over.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The run that it is taken from.
    pub(crate) from: RunId,
    /// The instances, by task and index.
    pub(crate) spans: Arc<[TakenSpan]>,
    /// Name and host of each worker in `spans`, by row.
    pub(crate) workers: Vec<(i64, String, String)>,
    /// The same for the state machine, without the workers.
    pub(crate) past: Past,
    /// Whether nothing of the run is left to be done.
    pub(crate) whole: bool,
}

/// No worker has this number: a scheduler's workers are numbered from 1.
pub(super) const NOBODY: WorkerId = WorkerId(0);

impl History {
    /// What a new run takes over from one that has ended.
    ///
    /// Takes time in proportion to the instances that succeeded and their files, and memory in
    /// proportion to the gaps between them.
    pub(crate) fn take_over(&self, run: RunId, retry: &Retry<'_>) -> Result<Taken, HistoryError> {
        let Checked { pipeline, plan, .. } = retry.checked;
        let status = self.check_ended(run)?;
        let origins = retry.origins();
        let widths = retry.widths(&origins, &status);
        let used = Used::new(plan);
        let mut found = Vec::with_capacity(plan.tasks.len());
        for (task, origin) in (0..).map(TaskId).zip(&origins) {
            let mut succeeded = Succeeded::new(task, run, retry.submission, pipeline, &used);
            let width = origin.task().and_then(|then| status.tasks.get(then.at()));
            let width = width.map_or(0, |then| then.counts.total());
            let damage = self.read(self.collect(run, origin, width, &mut succeeded))?;
            if let Some(what) = damage.or_else(|| damage::of_indices(&succeeded.had)) {
                return Err(damage::error(run, pipeline, Some(task), what));
            }
            found.push(succeeded);
        }
        let lacking: Vec<Indices> =
            found.iter().zip(&widths).map(|(task, width)| outside(&task.had, *width)).collect();
        let again = retry.again(&origins, &widths, &lacking);
        let left = retry.left(&widths, &again, &lacking);
        found.iter_mut().zip(&again).for_each(|(task, again)| task.leave_out(again));
        drop_oversized(plan, &widths, &mut found);
        while retry.run_again(&widths, &left, &mut found) {}
        let workers = self.read(self.workers_of(&found))?;
        let past = past_of(plan, &widths, &found, left);
        let total: u64 = widths.iter().map(|width| u64::from(*width)).sum();
        let known = |task: &Origin| task.task().is_none_or(|task| is_known(&status, task));
        Ok(Taken {
            from: run,
            // What is not known to be all of it is not all of it.
            whole: past.instances() == total && origins.iter().all(known),
            spans: found.into_iter().flat_map(|task| task.spans).collect(),
            workers,
            past,
        })
    }

    /// The status of a run that has ended.
    pub(crate) fn check_ended(&self, run: RunId) -> Result<RunStatus, HistoryError> {
        match self.status(run)? {
            status if status.state == RunState::Running => {
                Err(HistoryError::NotEnded { run, wish: "retried" })
            }
            status => Ok(status),
        }
    }

    /// Name and host of the workers in the spans.
    fn workers_of(&self, found: &[Succeeded<'_>]) -> rusqlite::Result<Vec<(i64, String, String)>> {
        let spans = found.iter().flat_map(|task| &task.spans);
        let mut rows: Vec<i64> = spans.filter_map(|span| span.worker).collect();
        rows.sort_unstable();
        rows.dedup();
        let sql = "SELECT worker, name, host FROM workers WHERE worker = ?1";
        let mut statement = self.database.prepare_cached(sql)?;
        let worker = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        rows.into_iter().map(|row| statement.query_row([row], worker)).collect()
    }
}

impl Retry<'_> {
    /// Where the instances of each task come from.
    fn origins(&self) -> Vec<Origin> {
        let Checked { pipeline, plan, .. } = self.checked;
        match self.then {
            None => (0..).map(|task| Origin::Same(TaskId(task))).take(plan.tasks.len()).collect(),
            // Relative paths mean others.
            Some((then, _)) if then.base_dir != self.submission.base_dir => {
                vec![Origin::New; plan.tasks.len()]
            }
            Some((_, then)) => match Graph::new(pipeline) {
                Ok(graph) => alike::origins(then, pipeline, &graph),
                Err(_) => vec![Origin::New; plan.tasks.len()],
            },
        }
    }

    /// The number of instances of each task, as far as it is known; otherwise 0.
    fn widths(&self, origins: &[Origin], status: &RunStatus) -> Vec<u32> {
        let widths = self.checked.widths.iter().zip(origins);
        let then = |task: TaskId| status.tasks.get(task.at()).map(|task| task.counts.total());
        let width = |(now, origin): (&Option<u32>, &Origin)| match origin {
            Origin::Same(task) => now.or(then(*task)),
            Origin::New | Origin::Parts(..) => *now,
        };
        widths.map(width).map(Option::unwrap_or_default).collect()
    }

    /// Takes out of what is taken over what must run again for what runs: locks, and what made temporary
    /// outputs that are needed once more. Returns whether there may be more of it.
    fn run_again(&self, widths: &[u32], left: &[Indices], found: &mut [Succeeded<'_>]) -> bool {
        let plan = &self.checked.plan;
        settle(plan, widths, found);
        let runs = |found: &[Succeeded<'_>]| -> Vec<Indices> {
            let tasks = found.iter().zip(widths).zip(left);
            tasks
                .map(|((task, width), left)| without(&outside(&task.spans(), *width), left))
                .collect()
        };
        for task in Past::rerun(plan, &runs(found)) {
            if let Some(task) = found.get_mut(task.at()) {
                task.forget();
            }
        }
        settle(plan, widths, found);
        let hollow: Vec<Indices> =
            found.iter_mut().map(|task| std::mem::take(&mut task.hollow)).collect();
        let needed = Past::with_temporary(plan, &runs(found), &hollow);
        for (task, (needed, hollow)) in found.iter_mut().zip(needed.iter().zip(hollow)) {
            task.leave_out(needed);
            task.hollow = without(&hollow, needed);
        }
        needed.iter().any(|needed| !needed.is_empty())
    }

    /// The instances that run although they may have succeeded.
    fn again(&self, origins: &[Origin], widths: &[u32], lacking: &[Indices]) -> Vec<Indices> {
        let plan = &self.checked.plan;
        let fresh = origins.iter().zip(widths).map(|(origin, width)| origin.fresh(*width));
        // What comes after something that was changed can be another thing now, whatever the way it
        // got there.
        let mut again = Past::with_followers(plan, widths, fresh.collect());
        for (task, again) in again.iter_mut().enumerate() {
            again.extend(self.selected.get(task).into_iter().flatten().cloned());
            if self.failed {
                again.extend(lacking.get(task).into_iter().flatten().cloned());
            }
        }
        Past::with_dependents(plan, widths, again)
    }

    /// The instances that had not succeeded, and do not run this time: they were not selected, have no
    /// data from those that were, and are not needed by them.
    fn left(&self, widths: &[u32], again: &[Indices], lacking: &[Indices]) -> Vec<Indices> {
        if self.failed {
            return vec![Indices::new(); again.len()];
        }
        // What is dragged along had what it needs, or does without.
        let needed = Past::with_needs(&self.checked.plan, widths, self.selected.clone());
        let left = lacking.iter().zip(again).zip(&needed);
        left.map(|((lacking, again), needed)| without(&without(lacking, again), needed)).collect()
    }
}

/// Whether the number of instances of a task was known.
fn is_known(status: &RunStatus, task: TaskId) -> bool {
    status.tasks.get(task.at()).is_none_or(|task| task.width_known)
}

impl Taken {
    /// The same for the state machine; `present` finds workers by name and host.
    pub(crate) fn into_past(self, present: impl Fn(&str, &str) -> Option<WorkerId>) -> Past {
        let find = |row: i64| {
            let (_, name, host) = self.workers.iter().find(|(known, ..)| *known == row)?;
            present(name, host)
        };
        let mut past = self.past;
        for (done, span) in past.done.iter_mut().zip(&*self.spans) {
            done.worker = span.worker.map(|row| find(row).unwrap_or(NOBODY));
        }
        past
    }
}

/// Drops arrays that are too long for one of their scatters: they have failed the run, and their
/// instances must run again.
fn drop_oversized(plan: &RunPlan, widths: &[u32], found: &mut [Succeeded<'_>]) {
    for task in &plan.tasks {
        let Some(scatter) = task.scatter else { continue };
        let (Some(source), Some(width)) =
            (found.get_mut(scatter.from.at()), widths.get(scatter.from.at()))
        else {
            continue;
        };
        let own = u64::from(task.width.each());
        let parts = scatter.split.width(source.items()).saturating_mul(own);
        let too_long = scatter.max_items.is_some_and(|most| source.items() > u64::from(most))
            || u32::try_from(parts).is_err();
        if source.count() == u64::from(*width) && too_long {
            source.forget();
        }
    }
}

/// Drops instances that may differ in the new run.
fn settle(plan: &RunPlan, widths: &[u32], found: &mut [Succeeded<'_>]) {
    let done = done(found);
    for task in Past::unsettled(plan, widths, &done) {
        if let Some(task) = found.get_mut(task.at()) {
            task.forget();
        }
    }
}

fn past_of(plan: &RunPlan, widths: &[u32], found: &[Succeeded<'_>], left: Vec<Indices>) -> Past {
    let is_late = |task: TaskId| plan.tasks.get(task.at()).is_some_and(|task| task.width.is_late());
    let is_left = |task: TaskId| left.get(task.at()).is_some_and(|left| !left.is_empty());
    let late = found
        .iter()
        .filter(|task| is_late(task.task) && (!task.spans.is_empty() || is_left(task.task)));
    let width =
        |task: &Succeeded<'_>| (task.task, widths.get(task.task.at()).copied().unwrap_or(0));
    let items = found.iter().filter(|task| task.scattered);
    Past {
        done: done(found),
        widths: late.map(width).collect(),
        items: items.map(|task| (task.task, task.items())).collect(),
        left: (0..)
            .map(TaskId)
            .zip(left)
            .flat_map(|(task, left)| left.into_iter().map(move |range| (task, range)))
            .collect(),
        resumed: None,
    }
}
