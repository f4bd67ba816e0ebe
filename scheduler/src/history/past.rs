//! What a new run can take over from one that has ended: the instances that succeeded, except those
//! whose files are missing or have changed and those that may differ in the new run.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dagrun_core::engine::{Cause, Done, Indices, Past, RunPlan};
use dagrun_core::ids::{RunId, TaskId, WorkerId};
use dagrun_core::output::Stamp;
use dagrun_core::payload::{self, Stored, Whereabouts};
use dagrun_core::pipeline::{Pipeline, RunContext};
use dagrun_core::recipe::{Recipe, count_items};
use dagrun_core::status::{RunState, RunStatus, State};
use dagrun_disk::stamp_of;
use rusqlite::{Row, params};

use super::{History, HistoryError};
use crate::journal::TakenSpan;
use crate::journal::rows::{decode_cause, decode_outputs, decode_stamps};
use crate::submission::Checked;
use dagrun_schema::wire::Submission;

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
const NOBODY: WorkerId = WorkerId(0);

/// The value of a row if its first bytes make it a reference; otherwise NULL.
const REFERENCE: &str = "CASE WHEN substr(value, 1, 2) = x'C172' THEN value END";

/// How to check whether the files of a task still exist.
enum Files<'a> {
    None,
    /// Their paths follow from the index.
    Computed(Box<Recipe>),
    /// Their paths are in the journal, relative to this directory.
    Reported {
        base_dir: &'a Path,
        outputs: usize,
    },
}

/// What succeeded of one task.
struct Succeeded<'a> {
    task: TaskId,
    files: Files<'a>,
    /// Whether its captured arrays are scattered.
    scattered: bool,
    /// Whether other tasks follow it, so that the worker matters.
    followed: bool,
    /// How many elements each instance captured, where they are scattered.
    elements: Vec<(u32, u32)>,
    spans: Vec<TakenSpan>,
    /// The instances that succeeded, whether they can be taken over or not.
    had: Indices,
}

impl History {
    /// What a new run of the same submission takes over from a run that has ended.
    ///
    /// Takes time in proportion to the instances that succeeded and their files, and memory in
    /// proportion to the gaps between them.
    pub(crate) fn take_over(
        &self,
        run: RunId,
        submission: &Submission,
        checked: &Checked,
    ) -> Result<Taken, HistoryError> {
        let Checked { pipeline, plan, .. } = checked;
        let status = self.check_ended(run)?;
        let widths: Vec<u32> = status.tasks.iter().map(|task| task.counts.total()).collect();
        let followed = plan.followed();
        let mut found = Vec::with_capacity(plan.tasks.len());
        for task in (0..).map(TaskId).take(plan.tasks.len()) {
            let mut succeeded = Succeeded {
                task,
                files: files(pipeline, task, run, submission),
                scattered: sources(plan).any(|source| source == task),
                followed: followed[task.at()],
                elements: Vec::new(),
                spans: Vec::new(),
                had: Indices::new(),
            };
            self.read(self.collect(run, &mut succeeded))?;
            found.push(succeeded);
        }
        let lacking = found.iter().zip(&widths).map(|(task, width)| outside(&task.had, *width));
        let again = Past::with_dependents(plan, &widths, lacking.collect());
        found.iter_mut().zip(&again).for_each(|(task, again)| task.leave_out(again));
        drop_oversized(plan, &widths, &mut found);
        settle(plan, &widths, &mut found);
        let workers = self.read(self.workers_of(&found))?;
        let past = past_of(plan, &widths, &found);
        let total: u64 = widths.iter().map(|width| u64::from(*width)).sum();
        Ok(Taken {
            from: run,
            spans: found.into_iter().flat_map(|task| task.spans).collect(),
            workers,
            // What is not known to be all of it is not all of it.
            whole: past.instances() == total && status.tasks.iter().all(|task| task.width_known),
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

    /// Reads what succeeded of a task.
    fn collect(&self, run: RunId, into: &mut Succeeded<'_>) -> rusqlite::Result<()> {
        let outputs = if matches!(into.files, Files::None) { "NULL" } else { "outputs" };
        let value = if into.scattered { "value" } else { REFERENCE };
        let mut statement = self.database.prepare_cached(&format!(
            "SELECT first_index, count, cause, code, worker,
                value IS NOT NULL OR outputs IS NOT NULL, {outputs}, {value}
             FROM events WHERE run = ?1 AND task = ?2 AND state = ?3 ORDER BY first_index"
        ))?;
        let parameters = params![run.0.cast_signed(), into.task.0, State::Succeeded as u8];
        let mut rows = statement.query(parameters)?;
        while let Some(row) = rows.next()? {
            into.add(run, row)?;
        }
        Ok(())
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

impl Succeeded<'_> {
    fn add(&mut self, run: RunId, row: &Row<'_>) -> rusqlite::Result<()> {
        let (first, count): (u32, u32) = (row.get(0)?, row.get(1)?);
        let cause = decode_cause((row.get(2)?, row.get(3)?, None, None));
        let origin = match cause {
            Some(Cause::TakenOver { from }) => from,
            _ => run,
        };
        let worker: Option<i64> = if self.followed { row.get(4)? } else { None };
        let payload = row.get(5)?;
        let value: Option<Vec<u8>> = row.get(7)?;
        let end = first.saturating_add(count);
        if value.as_deref().and_then(payload::stored).is_some_and(|stored| is_lost(&stored)) {
            self.had.push(first..end);
            return Ok(());
        }
        let items = match self.scattered {
            false => 0,
            true => match value.as_deref().and_then(count_items) {
                Some(items) => items,
                // A value that is not an array has failed the run: its instance must run again.
                None => return Ok(()),
            },
        };
        self.had.push(first..end);
        let task = self.task;
        let span = |first, count| TakenSpan { task, first, count, origin, payload, worker };
        let Succeeded { files, spans, elements, .. } = self;
        let mut keep = |span: TakenSpan| {
            if items > 0 {
                elements.push((span.first, items));
            }
            push(spans, span);
        };
        let reported: Option<Vec<u8>> = row.get(6)?;
        let reported = reported.unwrap_or_default();
        let stamps = decode_stamps(&reported);
        match files {
            Files::None => keep(span(first, count)),
            Files::Reported { base_dir, outputs } => {
                let paths = decode_outputs(&reported).into_iter();
                let paths: Vec<_> =
                    paths.map(|path| base_dir.join(OsStr::from_bytes(&path))).collect();
                if paths.len() == *outputs && unchanged(&paths, &stamps) {
                    keep(span(first, count));
                }
            }
            Files::Computed(recipe) => {
                let there = |index: &u32| match recipe.output_paths(*index) {
                    Ok(Some(paths)) => unchanged(&paths, &stamps),
                    Ok(None) | Err(_) => false,
                };
                (first..end).filter(there).for_each(|index| keep(span(index, 1)));
            }
        }
        Ok(())
    }

    fn count(&self) -> u64 {
        self.spans.iter().map(|span| u64::from(span.count)).sum()
    }

    fn items(&self) -> u64 {
        self.elements.iter().map(|(_, items)| u64::from(*items)).sum()
    }

    fn forget(&mut self) {
        self.spans.clear();
        self.elements.clear();
    }

    /// Takes these out of what is taken over.
    fn leave_out(&mut self, again: &Indices) {
        if again.is_empty() {
            return;
        }
        let mut spans = Vec::with_capacity(self.spans.len());
        for span in self.spans.drain(..) {
            let mut rest = span.first..span.first.saturating_add(span.count);
            let from = again.partition_point(|range| range.end <= rest.start);
            for range in again.iter().skip(from).take_while(|range| range.start < rest.end) {
                if rest.start < range.start {
                    let count = range.start - rest.start;
                    spans.push(TakenSpan { first: rest.start, count, ..span });
                }
                rest.start = range.end.min(rest.end);
            }
            if !rest.is_empty() {
                spans.push(TakenSpan { first: rest.start, count: rest.end - rest.start, ..span });
            }
        }
        self.spans = spans;
        self.elements.retain(|(index, _)| {
            let at = again.partition_point(|range| range.end <= *index);
            again.get(at).is_none_or(|range| !range.contains(index))
        });
    }
}

/// The indices below a width that are not among these, which are sorted.
fn outside(had: &Indices, width: u32) -> Indices {
    let (mut next, mut outside) = (0, Indices::new());
    for range in had {
        if next < range.start {
            outside.push(next..range.start);
        }
        next = next.max(range.end);
    }
    if next < width {
        outside.push(next..width);
    }
    outside
}

/// Appends a span, merged into the last one when both are alike.
fn push(spans: &mut Vec<TakenSpan>, span: TakenSpan) {
    match spans.last_mut() {
        Some(last)
            if last.first + last.count == span.first
                && (last.origin, last.payload, last.worker)
                    == (span.origin, span.payload, span.worker) =>
        {
            last.count += span.count;
        }
        _ => spans.push(span),
    }
}

fn files<'a>(
    pipeline: &Pipeline,
    task: TaskId,
    run: RunId,
    submission: &'a Submission,
) -> Files<'a> {
    let outputs = pipeline.tasks.get(task.at()).map_or(0, |task| task.outputs.len());
    if outputs == 0 {
        return Files::None;
    }
    let context = RunContext {
        run: run.0,
        // Paths that contain the run's directory are never computed; they are reported.
        run_dir: PathBuf::new(),
        base_dir: submission.base_dir.clone(),
        seed: submission.seed,
    };
    match Recipe::new(pipeline, task, &context) {
        Ok(recipe) if !recipe.reports_outputs() => Files::Computed(Box::new(recipe)),
        _ => Files::Reported { base_dir: &submission.base_dir, outputs },
    }
}

/// Whether a value is no longer where it was kept: workers keep values only until their run ends.
fn is_lost(stored: &Stored) -> bool {
    match &stored.place {
        Whereabouts::Worker(..) => true,
        Whereabouts::File(path) => !exists(path),
    }
}

/// Whether outputs are what they were when their instance succeeded; where that is not known, whether
/// they exist.
fn unchanged(paths: &[PathBuf], stamps: &[Option<Stamp>]) -> bool {
    paths.iter().enumerate().all(|(at, path)| match stamps.get(at).copied().flatten() {
        Some(then) => stamp_of(path).is_some_and(|now| then.matches(&now)),
        None => exists(path),
    })
}

/// Whether a file exists. An error other than "not found" counts as existing.
fn exists(path: &Path) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    !std::fs::metadata(path).is_err_and(|error| matches!(error.kind(), NotFound | NotADirectory))
}

/// The tasks whose captured arrays are scattered.
fn sources(plan: &RunPlan) -> impl Iterator<Item = TaskId> + '_ {
    plan.tasks.iter().filter_map(|task| Some(task.scatter?.from))
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

fn done(found: &[Succeeded<'_>]) -> Vec<Done> {
    let spans = found.iter().flat_map(|task| &task.spans);
    let done = |span: &TakenSpan| Done {
        task: span.task,
        first_index: span.first,
        count: span.count,
        worker: None,
    };
    spans.map(done).collect()
}

fn past_of(plan: &RunPlan, widths: &[u32], found: &[Succeeded<'_>]) -> Past {
    let is_late = |task: TaskId| plan.tasks.get(task.at()).is_some_and(|task| task.width.is_late());
    let late = found.iter().filter(|task| is_late(task.task) && !task.spans.is_empty());
    let width =
        |task: &Succeeded<'_>| (task.task, widths.get(task.task.at()).copied().unwrap_or(0));
    let items = found.iter().filter(|task| task.scattered);
    Past {
        done: done(found),
        widths: late.map(width).collect(),
        items: items.map(|task| (task.task, task.items())).collect(),
    }
}
