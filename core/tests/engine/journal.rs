//! A journal as a list of lines, of which the first ones are on disk; and what a scheduler that goes on
//! after a kill makes of these.

use std::collections::{BTreeMap, BTreeSet};

use dagrun_core::engine::{
    Assignment, Breaks, CancelScope, Cause, Indices, KeptValue, Past, Record, Reopened, Reopening,
    Restore, Row, RunPlan,
};
use dagrun_core::ids::{InstanceId, TaskId, WorkerId};
use dagrun_core::payload;
use dagrun_core::status::{FailureKind, RunState, State};

use crate::rig::at;

#[derive(Clone, Debug)]
pub(crate) enum Line {
    Record(Record),
    /// The number of instances of a task; none when it is to become known again.
    Width(TaskId, u32),
    NoWidth(TaskId),
    Cancel(CancelScope),
    Interrupted,
    /// Gone on with, after a kill or not.
    Resumed(bool),
    Finished(RunState),
    /// The value of an instance is lost: it is open again.
    Reopen(InstanceId),
}

/// Lines with their numbers, and after which ones the disk may have stopped.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) lines: Vec<(i64, Line)>,
    seq: i64,
    commits: BTreeSet<i64>,
    /// So much is on disk, as attempts were started that waited for it.
    least: i64,
    waits: bool,
}

impl Journal {
    pub(crate) fn push(&mut self, line: Line) {
        self.seq += 1;
        self.lines.push((self.seq, line));
    }

    /// What was pushed since the last call goes to disk as a whole.
    pub(crate) fn commit(&mut self) -> i64 {
        self.commits.insert(self.seq);
        if std::mem::take(&mut self.waits) {
            self.least = self.seq;
        }
        self.seq
    }

    /// The place by which what happens now is there.
    pub(crate) fn next(&self) -> i64 {
        self.seq + 1
    }

    /// An attempt that follows another is started when the end of that one is on disk.
    pub(crate) fn dispatch(&mut self, assignment: &Assignment) {
        let mut before = self.lines.iter().rev().filter(|_| assignment.number > 1);
        let last = before.find(|(_, line)| match line {
            Line::Record(record) => {
                record.task == assignment.task
                    && record.attempt > 0
                    && record.first_index == assignment.first_index
            }
            Line::Reopen(instance) => *instance == at(assignment.task.0, assignment.first_index),
            _ => false,
        });
        if let Some((seq, _)) = last {
            let commit = self.commits.range(*seq..).next();
            match commit {
                Some(commit) => self.least = self.least.max(*commit),
                None => self.waits = true,
            }
        }
    }

    /// The places after which the disk may have stopped.
    pub(crate) fn places(&self) -> Vec<i64> {
        self.commits.range(self.least..).copied().collect()
    }

    /// What comes after a place never came to disk.
    pub(crate) fn cut(&mut self, after: i64) {
        self.lines.retain(|(seq, _)| *seq <= after);
        self.commits.retain(|seq| *seq <= after);
        self.seq = after;
    }

    pub(crate) fn finished(&self) -> Option<RunState> {
        match self.lines.last() {
            Some((_, Line::Finished(state))) => Some(*state),
            _ => None,
        }
    }

    /// Whether a user cancelled the run.
    pub(crate) fn is_cancelled(&self) -> bool {
        let whole = |line: &Line| matches!(line, Line::Cancel(CancelScope::Run));
        self.lines.iter().any(|(_, line)| whole(line))
    }

    pub(crate) fn was_interrupted(&self) -> bool {
        self.lines.iter().any(|(_, line)| matches!(line, Line::Interrupted))
    }

    /// Whether workers ever kept values.
    pub(crate) fn keeps_values(&self) -> bool {
        let reopened = Some(Cause::Reopened(Reopening::Lost));
        self.lines.iter().any(|(_, line)| match line {
            Line::Record(record) => record.detail.is_some() || record.cause == reopened,
            _ => false,
        })
    }

    /// How instances have ended.
    pub(crate) fn ends(&self) -> BTreeMap<InstanceId, State> {
        let mut ends = BTreeMap::new();
        for (_, line) in &self.lines {
            if let Line::Reopen(instance) = line {
                assert_eq!(ends.remove(instance), Some(State::Succeeded), "it had succeeded");
            }
            let Line::Record(record) = line else { continue };
            if record.state.is_terminal() {
                let indices = record.first_index..record.first_index + record.count;
                let one = |index| (at(record.task.0, index), record.state);
                let before = ends.len();
                ends.extend(indices.map(one));
                assert_eq!(ends.len(), before + record.count as usize, "an instance ends twice");
            }
        }
        ends
    }

    /// How often an instance failed by itself, as far as that counts.
    pub(crate) fn failures(&self, instance: InstanceId) -> u32 {
        let mut failures = 0;
        for (_, line) in &self.lines {
            if let Line::Reopen(of) = line
                && *of == instance
            {
                failures = 0;
            }
            let Line::Record(record) = line else { continue };
            if (record.task, record.first_index) != (instance.task, instance.index)
                || record.state.is_terminal()
            {
                continue;
            }
            match record.cause {
                Some(Cause::Reopened(why)) if why != Reopening::CutOff => failures = 0,
                Some(Cause::Attempt(FailureKind::Exit(_) | FailureKind::Memory)) => failures += 1,
                _ => {}
            }
        }
        failures
    }

    /// Goes on with the run: what had happened in it. The values that workers kept which are not `present`
    /// are lost.
    pub(crate) fn resume(
        &mut self,
        plan: &RunPlan,
        present: &BTreeSet<WorkerId>,
        items: impl Fn(InstanceId) -> Option<u32>,
    ) -> Past {
        self.reopen();
        let last = |wanted: fn(&Line) -> bool| {
            let found = self.lines.iter().rev().find(|(_, line)| wanted(line));
            found.map(|(seq, _)| *seq)
        };
        let resumed = last(|line| matches!(line, Line::Resumed(_)));
        let interrupted = last(|line| matches!(line, Line::Interrupted));
        let crashes = self.lines.iter().filter(|(_, line)| matches!(line, Line::Resumed(true)));
        let breaks = Breaks {
            interrupted: interrupted.filter(|at| resumed.is_none_or(|resumed| *at > resumed)),
            crashes: crashes.map(|(seq, _)| *seq).collect(),
            crashed: self.finished() != Some(RunState::Interrupted),
        };
        let (begun, crashed) = (breaks.interrupted, breaks.crashed);
        let (mut widths, during) = self.widths(plan, begun);
        let mut restore = Restore::new(plan, breaks);
        let (mut lost, kept) = self.take_rows(plan, &mut restore, present);
        let kept = still_kept(&restore, &widths, kept, &mut lost);
        restore.cut_off(&widths);
        restore.make_again(&widths, &lost);
        let before = widths.clone();
        restore.settle(&mut widths, &during);
        let (items, no_array) = scattered(plan, &restore, items);
        let cancels = self.lines.iter().filter_map(|(_, line)| match line {
            Line::Cancel(scope) => Some(*scope),
            _ => None,
        });
        let marks = vec![u32::MAX; plan.tasks.len()];
        let stays = |kept: &KeptValue| {
            let stay = restore.ended(kept.instance.task, State::Succeeded);
            stay.iter().any(|range| range.contains(&kept.instance.index))
        };
        let values = kept.into_iter().filter(stays).collect();
        let mut resumed = restore.finish(&marks, no_array, cancels.collect());
        resumed.values = values;
        for opened in &resumed.reopened {
            self.rewrite(opened);
        }
        self.push(Line::Resumed(crashed));
        for (task, (before, now)) in (0..).map(TaskId).zip(before.iter().zip(&widths)) {
            if before.is_some() && now.is_none() {
                self.push(Line::NoWidth(task));
            }
        }
        self.commit();
        self.least = self.seq;
        let known = (0..).map(TaskId).zip(widths);
        let widths = known.filter_map(|(task, width)| Some((task, width?))).collect();
        Past { widths, items, resumed: Some(Box::new(resumed)), ..Past::default() }
    }

    /// The number of instances of each task, and whether it became known during the interruption.
    fn widths(&self, plan: &RunPlan, begun: Option<i64>) -> (Vec<Option<u32>>, Vec<bool>) {
        let mut widths: Vec<_> = plan.tasks.iter().map(|task| task.width.known()).collect();
        let mut during = vec![false; widths.len()];
        for (seq, line) in &self.lines {
            match line {
                Line::Width(task, width) => {
                    widths[task.at()] = Some(*width);
                    during[task.at()] = begun.is_some_and(|begun| *seq > begun);
                }
                Line::NoWidth(task) => widths[task.at()] = None,
                _ => {}
            }
        }
        (widths, during)
    }

    /// Has the rows read; returns the instances whose values are lost, and the values that are not.
    fn take_rows(
        &self,
        plan: &RunPlan,
        restore: &mut Restore<'_>,
        present: &BTreeSet<WorkerId>,
    ) -> (Vec<Indices>, Vec<KeptValue>) {
        let mut kept = Vec::new();
        let mut lost = vec![Indices::new(); plan.tasks.len()];
        let records = self.lines.iter().filter_map(|(seq, line)| match line {
            Line::Record(record) => Some((*seq, record)),
            _ => None,
        });
        let mut records: Vec<(i64, &Record)> = records.collect();
        records.sort_by_key(|(seq, record)| (record.task, record.first_index, *seq));
        for (seq, record) in records {
            let worker = record.worker.filter(|_| record.started.0 > 0);
            let row = Row {
                first_index: record.first_index,
                count: record.count,
                seq,
                state: record.state,
                attempt: record.attempt,
                worker,
                finished: record.finished,
                cause: record.cause,
            };
            restore.row(record.task, &row);
            let value = record.detail.as_ref().and_then(|detail| detail.value.as_deref());
            let stored = value.filter(|_| record.state == State::Succeeded).map(payload::stored);
            match (stored.flatten(), record.worker) {
                (Some(stored), Some(worker)) if present.contains(&worker) => {
                    let instance = at(record.task.0, record.first_index);
                    let (bytes, attempt) = (stored.bytes, record.attempt);
                    kept.push(KeptValue { instance, worker, bytes, attempt });
                }
                (Some(_), _) => {
                    lost[record.task.at()].push(record.first_index..record.first_index + 1);
                }
                (None, _) => {}
            }
        }
        for task in (0..).map(TaskId).take(plan.tasks.len()) {
            restore.end_of_task(task);
        }
        (lost, kept)
    }

    /// The rows of what had ended are those of attempts that are followed by others.
    /// What was opened again on disk: its ends before are ends no more.
    fn reopen(&mut self) {
        let reopened = self.lines.iter().filter_map(|(seq, line)| match line {
            Line::Reopen(instance) => Some((*seq, *instance)),
            _ => None,
        });
        for (seq, InstanceId { task, index }) in reopened.collect::<Vec<_>>() {
            let at = self.lines.partition_point(|(of, _)| *of < seq);
            let mut later = self.lines.split_off(at);
            later.retain(|(of, _)| *of != seq);
            let (was, why) = (State::Succeeded, Reopening::Lost);
            self.rewrite(&Reopened { task, first_index: index, count: 1, was, why });
            self.lines.append(&mut later);
        }
    }

    fn rewrite(&mut self, opened: &Reopened) {
        let range = opened.first_index..opened.first_index + opened.count;
        let mut lines = Vec::with_capacity(self.lines.len());
        for (seq, line) in std::mem::take(&mut self.lines) {
            let record = match line {
                Line::Record(record)
                    if record.task == opened.task && record.state == opened.was =>
                {
                    record
                }
                line => {
                    lines.push((seq, line));
                    continue;
                }
            };
            for index in record.first_index..record.first_index + record.count {
                let mut one = Record { first_index: index, count: 1, ..record.clone() };
                if range.contains(&index) {
                    if one.attempt == 0 {
                        continue;
                    }
                    (one.state, one.detail) = (State::Ready, None);
                    one.cause = Some(Cause::Reopened(opened.why));
                }
                lines.push((seq, Line::Record(one)));
            }
        }
        self.lines = lines;
    }
}

/// The values that workers are certain to keep; the others are lost as well. What nobody needed by the
/// ends that are on disk has been released, even if somebody needs it now.
fn still_kept(
    restore: &Restore<'_>,
    widths: &[Option<u32>],
    kept: Vec<KeptValue>,
    lost: &mut [Indices],
) -> Vec<KeptValue> {
    let mut values = vec![Indices::new(); lost.len()];
    for value in &kept {
        values[value.instance.task.at()].push(value.instance.index..value.instance.index + 1);
    }
    let wanted = restore.wanted(widths, &values);
    let is_wanted = |value: &KeptValue| {
        let wanted = &wanted[value.instance.task.at()];
        wanted.iter().any(|range| range.contains(&value.instance.index))
    };
    let (kept, released): (Vec<_>, Vec<_>) = kept.into_iter().partition(is_wanted);
    for value in released {
        let lost = &mut lost[value.instance.task.at()];
        lost.push(value.instance.index..value.instance.index + 1);
        lost.sort_by_key(|range| range.start);
    }
    kept
}

/// How many elements were captured for scatters, and what is no array.
fn scattered(
    plan: &RunPlan,
    restore: &Restore<'_>,
    items: impl Fn(InstanceId) -> Option<u32>,
) -> (Vec<(TaskId, u64)>, Vec<InstanceId>) {
    let (mut sums, mut no_array) = (Vec::new(), Vec::new());
    let sources: BTreeSet<TaskId> =
        plan.tasks.iter().filter_map(|task| Some(task.scatter?.from)).collect();
    for task in sources {
        let mut sum = 0;
        for index in restore.ended(task, State::Succeeded).into_iter().flatten() {
            match items(at(task.0, index)) {
                Some(items) => sum += u64::from(items),
                None => no_array.push(at(task.0, index)),
            }
        }
        sums.push((task, sum));
    }
    (sums, no_array)
}
