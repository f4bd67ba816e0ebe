//! What had happened in a run that is to be gone on with: its rows, folded into spans, and which of its
//! outputs and values are no longer there.

use std::collections::BTreeSet;

use dagrun_core::engine::{
    Breaks, CancelScope, Indices, KeptValue, Past, Reopened, Reopening, Restore, Row as Line,
    RunPlan, TaskPlan,
};
use dagrun_core::ids::{InstanceId, RunId, TaskId, Timestamp, WorkerId};
use dagrun_core::payload::{self, Stored, Whereabouts};
use dagrun_core::recipe::count_items;
use dagrun_core::status::{Failure, RunState, State};
use dagrun_schema::wire::Submission;
use rusqlite::{Row, params};

use super::damage::{self, Damage};
use super::past::NOBODY;
use super::succeeded::{REFERENCE, Succeeded, Used, is_lost};
use super::{History, HistoryError};
use crate::journal::Note;
use crate::journal::rows::decode_cause;
use crate::submission::Checked;

/// Failures that are remembered for who follows the run.
const FAILURES: u32 = 16;

/// What had happened in a run.
#[derive(Debug)]
pub(crate) struct Restored {
    /// For the state machine; workers are rows of the journal.
    pub(crate) past: Past,
    /// What is known of each of these.
    workers: Vec<WorkerRow>,
    /// Tasks whose number of instances is to become known again.
    pub(crate) unknown: Vec<TaskId>,
    /// Whether its scheduler was killed.
    pub(crate) crashed: bool,
    /// The index below which attempts of each task may have been made.
    pub(crate) marks: Vec<u32>,
    pub(crate) failures: Vec<Failure>,
    /// When it was submitted.
    pub(crate) started: Timestamp,
}

impl Restored {
    /// What had ended and is open again.
    pub(crate) fn reopened(&self) -> Vec<Reopened> {
        self.past.resumed.as_ref().map(|resumed| resumed.reopened.clone()).unwrap_or_default()
    }

    /// The past for the state machine; `present` finds workers by name, host and uid.
    pub(crate) fn into_past(self, present: impl Fn(&str, &str, &str) -> Option<WorkerId>) -> Past {
        let find = |row: WorkerId| {
            let row = i64::from(row.0);
            let (_, name, host, uid) = self.workers.iter().find(|(known, ..)| *known == row)?;
            present(name, host, uid)
        };
        let mut past = self.past;
        for end in past.resumed.iter_mut().flat_map(|resumed| &mut resumed.ends) {
            end.worker = end.worker.map(|row| find(row).unwrap_or(NOBODY));
        }
        past
    }
}

/// The row of a worker: its number, name, host and uid.
type WorkerRow = (i64, String, String, String);

/// The rows of tasks and of the run as a whole.
struct Whole {
    widths: Vec<Option<u32>>,
    /// Where each width became known.
    widened: Vec<i64>,
    marks: Vec<u32>,
    breaks: Breaks,
    cancels: Vec<CancelScope>,
    /// The places of what happened to the run as a whole.
    noted: Vec<i64>,
    /// Whether there are rows of tasks that the run does not have.
    has_others: bool,
}

impl Whole {
    /// What is wrong with these rows, if they cannot be those of a run with this plan.
    fn damage(&self, plan: &RunPlan) -> Option<Damage> {
        let fits = |(width, task): (&Option<u32>, &TaskPlan)| match (task.width.known(), task.map) {
            (Some(known), _) => *width == Some(known),
            // A map has as many instances as that which it maps.
            (None, Some(map)) if width.is_some() => {
                let upstream = self.widths.get(map.upstream.at()).copied().flatten();
                upstream.is_some_and(|of| of.checked_mul(map.factor).or(Some(1)) == *width)
            }
            (None, _) => true,
        };
        let others = self.has_others || self.widths.len() != plan.tasks.len();
        if others || !self.widths.iter().zip(&plan.tasks).all(fits) {
            return Some("its tasks are not those of its pipeline");
        }
        self.noted.iter().chain(&self.widened).find_map(|seq| damage::of_place(*seq))
    }
}

/// What is no longer there.
struct Gone {
    /// Instances without outputs that are to last, by task.
    outputs: Vec<Indices>,
    /// Instances without temporary outputs.
    temporary: Vec<Indices>,
    /// Instances without values.
    values: Vec<Indices>,
    /// Values that workers may keep which are present.
    kept: Vec<KeptValue>,
    /// How many elements instances captured for scatters, if they captured arrays.
    items: Vec<(InstanceId, Option<u32>)>,
}

impl History {
    /// What had happened in a run that has not ended, and that no process runs but this one.
    ///
    /// Takes time in proportion to the rows of its journal and the files of what succeeded, and memory in
    /// proportion to the gaps between instances that ended alike.
    pub(crate) fn restore(
        &self,
        run: RunId,
        submission: &Submission,
        checked: &Checked,
        keepers: &BTreeSet<WorkerId>,
    ) -> Result<Restored, HistoryError> {
        let Checked { pipeline, plan, .. } = checked;
        let status = self.whole_status(run)?;
        let mut whole = self.read(self.whole(run, plan, status.state))?;
        if let Some(what) = whole.damage(plan) {
            return Err(damage::error(run, pipeline, None, what));
        }
        let mut restore = Restore::new(plan, whole.breaks.clone());
        let used = Used::new(plan);
        let none = || vec![Indices::new(); plan.tasks.len()];
        let mut gone = Gone {
            outputs: none(),
            temporary: none(),
            values: none(),
            kept: Vec::new(),
            items: Vec::new(),
        };
        for task in (0..).map(TaskId).take(plan.tasks.len()) {
            let files = Succeeded::new(task, run, submission, pipeline, &used);
            let width = whole.widths.get(task.at()).copied().flatten().unwrap_or(0);
            let damage =
                self.read(self.fold(run, &files, width, &mut restore, &mut gone, keepers))?;
            restore.end_of_task(task);
            if let Some(what) = damage.or_else(|| damage::of_ends(&restore, task)) {
                return Err(damage::error(run, pipeline, Some(task), what));
            }
        }
        let kept = gone.still_kept(&restore, &whole.widths);
        let before = whole.widths.clone();
        restore.cut_off(&whole.widths);
        open_what_is_gone(plan, &mut restore, &mut whole, &gone);
        let unknown = before.iter().zip(&whole.widths).zip(0..);
        let unknown = unknown.filter(|((before, now), _)| before.is_some() && now.is_none());
        let unknown = unknown.map(|(_, task)| TaskId(task)).collect();
        let crashed = whole.breaks.crashed;
        let past = past_of(plan, restore, &whole, &gone.items, kept);
        Ok(Restored {
            workers: self.read(self.workers_in(&past))?,
            past,
            unknown,
            crashed,
            marks: whole.marks,
            failures: self.failures(run, FAILURES)?,
            started: status.started,
        })
    }

    fn whole(&self, run: RunId, plan: &RunPlan, state: RunState) -> rusqlite::Result<Whole> {
        let id = run.0.cast_signed();
        let (mut resumed, mut interrupted) = (0, None);
        let (mut crashes, mut cancels, mut noted) = (Vec::new(), Vec::new(), Vec::new());
        let sql = "SELECT kind, task, first_index, seq FROM notes WHERE run = ?1 ORDER BY seq";
        let mut notes = self.database.prepare_cached(sql)?;
        let mut notes = notes.query([id])?;
        while let Some(row) = notes.next()? {
            let seq = row.get(3)?;
            noted.push(seq);
            match Note::read((row.get(0)?, row.get(1)?, row.get(2)?)) {
                Some(Note::Interrupted) => interrupted = Some(seq),
                Some(Note::Resumed { crashed }) => {
                    resumed = seq;
                    crashes.extend(crashed.then_some(seq));
                }
                Some(Note::Cancelled(scope)) => cancels.push(scope),
                None => {}
            }
        }
        let mut interrupted = interrupted.filter(|at| *at > resumed);
        let crashed = state != RunState::Interrupted;
        if !crashed && interrupted.is_none() {
            // It was interrupted by an earlier version, which did not note where.
            let first = "SELECT min(seq) - 1 FROM events WHERE run = ?1 AND state = ?2";
            let parameters = params![id, State::Cancelled as u8];
            interrupted = self.database.query_row(first, parameters, |row| row.get(0))?;
        }
        let breaks = Breaks { interrupted, crashes, crashed };
        let tasks = plan.tasks.len();
        let mut whole = Whole {
            widths: Vec::with_capacity(tasks),
            widened: Vec::with_capacity(tasks),
            marks: Vec::with_capacity(tasks),
            breaks,
            cancels,
            noted,
            has_others: self.has_other_tasks(id, tasks)?,
        };
        let sql = "SELECT width, known, widened, leased FROM tasks WHERE run = ?1 ORDER BY task";
        let mut rows = self.database.prepare_cached(sql)?;
        let mut rows = rows.query([id])?;
        while let Some(row) = rows.next()? {
            let (width, known): (u32, bool) = (row.get(0)?, row.get(1)?);
            whole.widths.push(known.then_some(width));
            whole.widened.push(row.get(2)?);
            whole.marks.push(row.get(3)?);
            #[cfg(feature = "simulation")]
            if crate::planted::is_planted(crate::planted::Planted::NumbersTwice) {
                whole.marks.fill(0);
            }
        }
        Ok(whole)
    }

    /// Whether a run has rows in the journal of other tasks than the first so many.
    fn has_other_tasks(&self, run: i64, tasks: usize) -> rusqlite::Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM events WHERE run = ?1 AND task < 0)
            OR EXISTS (SELECT 1 FROM events WHERE run = ?1 AND task >= ?2)";
        let tasks = i64::try_from(tasks).unwrap_or(i64::MAX);
        self.database.prepare_cached(sql)?.query_row([run, tasks], |row| row.get(0))
    }

    /// Has the rows of a task folded, and notes what is no longer there. Ends early at a row that is damaged,
    /// with what is wrong with it.
    fn fold(
        &self,
        run: RunId,
        files: &Succeeded<'_>,
        width: u32,
        restore: &mut Restore<'_>,
        gone: &mut Gone,
        keepers: &BTreeSet<WorkerId>,
    ) -> rusqlite::Result<Option<Damage>> {
        let task = files.task;
        let value = if files.scattered { "value" } else { REFERENCE };
        let outputs = if files.has_files() { "outputs" } else { "NULL" };
        let mut statement = self.database.prepare_cached(&format!(
            "SELECT first_index, count, seq, state, attempt, started, finished, worker, cause, code,
                root_task, root_index, {outputs}, CASE WHEN state = 4 THEN {value} END
             FROM events WHERE run = ?1 AND task = ?2 ORDER BY first_index, seq"
        ))?;
        let mut rows = statement.query(params![run.0.cast_signed(), task.0])?;
        while let Some(row) = rows.next()? {
            let line = read(row)?;
            let damage = damage::of_line(&line, width);
            if damage.is_some() {
                return Ok(damage);
            }
            restore.row(task, &line);
            if line.state == State::Succeeded {
                gone.note(files, &line, row, keepers)?;
            }
        }
        Ok(None)
    }

    /// Name, host and uid of the workers in the ends.
    fn workers_in(&self, past: &Past) -> rusqlite::Result<Vec<WorkerRow>> {
        let ends = past.resumed.iter().flat_map(|resumed| &resumed.ends);
        let mut rows: Vec<WorkerId> = ends.filter_map(|end| end.worker).collect();
        rows.sort_unstable();
        rows.dedup();
        let sql = "SELECT worker, name, host, ifnull(uid, '') FROM workers WHERE worker = ?1";
        let mut statement = self.database.prepare_cached(sql)?;
        let worker = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        rows.into_iter().map(|row| statement.query_row([row.0], worker)).collect()
    }
}

impl Gone {
    /// Looks for what instances that succeeded had.
    fn note(
        &mut self,
        files: &Succeeded<'_>,
        line: &Line,
        row: &Row<'_>,
        keepers: &BTreeSet<WorkerId>,
    ) -> rusqlite::Result<()> {
        let (first, end) = (line.first_index, line.first_index.saturating_add(line.count));
        let value: Option<Vec<u8>> = row.get(13)?;
        let at = files.task.at();
        let stored = value.as_deref().and_then(payload::stored);
        match (stored, self.values.get_mut(at)) {
            (Some(Stored { place: Whereabouts::Worker(worker, instance), bytes, .. }), _)
                if keepers.contains(&worker) =>
            {
                self.kept.push(KeptValue { instance, worker, bytes, attempt: line.attempt });
            }
            (Some(stored), Some(values)) if is_lost(&stored) => values.push(first..end),
            _ => {}
        }
        if files.scattered {
            let items = value.as_deref().and_then(count_items);
            let instance = |index| InstanceId { task: files.task, index };
            self.items.extend((first..end).map(|index| (instance(index), items)));
        }
        if files.has_files() {
            let outputs: Option<Vec<u8>> = row.get(12)?;
            let lacking = files.lacking(first..end, &outputs.unwrap_or_default());
            if let (Some(outputs), Some(temporary)) =
                (self.outputs.get_mut(at), self.temporary.get_mut(at))
            {
                outputs.extend(lacking.lasting);
                temporary.extend(lacking.temporary);
            }
        }
        Ok(())
    }
}

impl Gone {
    /// The values that workers are certain to keep; the others are gone as well. What nobody needed by the
    /// ends that are on disk has been released, even if somebody needs it when more is open again.
    fn still_kept(&mut self, restore: &Restore<'_>, widths: &[Option<u32>]) -> Vec<KeptValue> {
        let kept = std::mem::take(&mut self.kept);
        if kept.is_empty() {
            return kept;
        }
        let mut values = vec![Indices::new(); self.values.len()];
        for value in &kept {
            let InstanceId { task, index } = value.instance;
            if let Some(of) = values.get_mut(task.at()) {
                of.push(index..index.saturating_add(1));
            }
        }
        let wanted = restore.wanted(widths, &values);
        let is_wanted = |value: &KeptValue| {
            let InstanceId { task, index } = value.instance;
            let wanted = wanted.get(task.at()).map_or(&[][..], Vec::as_slice);
            let at = wanted.partition_point(|range| range.end <= index);
            wanted.get(at).is_some_and(|range| range.contains(&index))
        };
        let (kept, released): (Vec<KeptValue>, Vec<KeptValue>) =
            kept.into_iter().partition(is_wanted);
        for value in released {
            let InstanceId { task, index } = value.instance;
            if let Some(lost) = self.values.get_mut(task.at()) {
                lost.push(index..index.saturating_add(1));
            }
        }
        self.values.iter_mut().for_each(|lost| lost.sort_unstable_by_key(|range| range.start));
        kept
    }
}

/// A row as the fold takes it.
fn read(row: &Row<'_>) -> rusqlite::Result<Line> {
    let state: u8 = row.get(3)?;
    let cause = match row.get(8)? {
        None => None,
        cause => decode_cause((cause, row.get(9)?, row.get(10)?, row.get(11)?)),
    };
    let (started, worker): (i64, Option<u32>) = (row.get(5)?, row.get(7)?);
    Ok(Line {
        first_index: row.get(0)?,
        count: row.get(1)?,
        seq: row.get(2)?,
        state: State::from_u8(state).unwrap_or(State::Blocked),
        attempt: row.get(4)?,
        // What was taken over ran as well.
        worker: worker.filter(|_| started > 0 || state == State::Succeeded as u8).map(WorkerId),
        finished: super::time(row.get(6)?),
        cause,
    })
}

/// Opens the instances whose outputs and values are gone, as far as these are needed, and what cannot stay
/// then.
fn open_what_is_gone(plan: &RunPlan, restore: &mut Restore<'_>, whole: &mut Whole, gone: &Gone) {
    let begun = whole.breaks.interrupted;
    let during: Vec<bool> =
        whole.widened.iter().map(|at| begun.is_some_and(|begun| *at > begun)).collect();
    for (task, outputs) in (0..).map(TaskId).zip(&gone.outputs) {
        restore.reopen(task, outputs, Reopening::Lost);
    }
    let mut before = None;
    loop {
        restore.make_again(&whole.widths, &gone.values);
        restore.settle(&mut whole.widths, &during);
        let widths = (0..).map(TaskId).zip(&whole.widths);
        let open: Vec<Indices> = widths.map(|(task, width)| restore.open(task, *width)).collect();
        if before.as_ref() == Some(&open) {
            return;
        }
        let again = Past::with_temporary(plan, &open, &gone.temporary);
        for (task, again) in (0..).map(TaskId).zip(&again) {
            restore.reopen(task, again, Reopening::Lost);
        }
        before = Some(open);
    }
}

fn past_of(
    plan: &RunPlan,
    restore: Restore<'_>,
    whole: &Whole,
    captured: &[(InstanceId, Option<u32>)],
    kept: Vec<KeptValue>,
) -> Past {
    let (mut items, mut no_array): (Vec<(TaskId, u64)>, _) = (Vec::new(), Vec::new());
    for of_task in captured.chunk_by(|a, b| a.0.task == b.0.task) {
        let task = of_task[0].0.task;
        let stay = restore.ended(task, State::Succeeded);
        let stays = |index: u32| {
            let at = stay.partition_point(|range| range.end <= index);
            stay.get(at).is_some_and(|range| range.contains(&index))
        };
        let of_task = of_task.iter().filter(|(instance, _)| stays(instance.index));
        let mut sum = 0;
        for (instance, count) in of_task {
            match count {
                Some(count) => sum += u64::from(*count),
                None => no_array.push(*instance),
            }
        }
        items.push((task, sum));
    }
    let late = (0..).map(TaskId).zip(&plan.tasks).filter(|(_, task)| task.width.is_late());
    let width = |(task, _): (TaskId, _)| {
        let width = whole.widths.get(task.at()).copied().flatten();
        width.map(|width| (task, width))
    };
    let widths = late.filter_map(width).collect();
    let stays = |value: &KeptValue| {
        let stay = restore.ended(value.instance.task, State::Succeeded);
        let at = stay.partition_point(|range| range.end <= value.instance.index);
        stay.get(at).is_some_and(|range| range.contains(&value.instance.index))
    };
    let values = kept.into_iter().filter(stays).collect();
    let mut resumed = restore.finish(&whole.marks, no_array, whole.cancels.clone());
    resumed.values = values;
    Past { widths, items, resumed: Some(Box::new(resumed)), ..Past::default() }
}
