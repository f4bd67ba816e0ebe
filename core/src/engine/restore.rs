//! Folds the rows of a run's journal into what had happened before the run was resumed: spans of
//! instances that ended, the attempts of those that have not, and the numbers that were given.
//!
//! Takes memory in proportion to the gaps between instances that ended alike, not to the instances.

use std::cmp::Reverse;
use std::ops::Range;

use super::again::Indices;
use super::cause::{CancelScope, Cause, Reopening};
use super::plan::RunPlan;
use super::resumed::{End, Numbers, Reopened, Resumed, Tried};
use crate::ids::{InstanceId, TaskId, Timestamp, WorkerId};
use crate::status::{FailureKind, State};

/// A row of the journal: a fact about consecutive instances.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The first instance.
    pub first_index: u32,
    /// How many.
    pub count: u32,
    /// Its place in the journal.
    pub seq: i64,
    /// The state that the instances were in then.
    pub state: State,
    /// The number of the attempt; 0 when it is not about one.
    pub attempt: u32,
    /// Where that ran, if it did.
    pub worker: Option<WorkerId>,
    /// When it ended.
    pub finished: Timestamp,
    /// Why.
    pub cause: Option<Cause>,
}

/// Where a run was interrupted and resumed: places in its journal.
#[derive(Clone, Debug, Default)]
pub struct Breaks {
    /// Where it was interrupted by a signal since it began or was resumed last.
    pub interrupted: Option<i64>,
    /// Where it was resumed before, each time after its scheduler had been killed.
    pub crashes: Vec<i64>,
    /// Whether its scheduler was killed now: attempts may have been made that are not in the journal.
    pub crashed: bool,
}

impl Breaks {
    /// How often attempts may have been made since then without a trace.
    fn since(&self, seq: i64) -> u32 {
        let before = self.crashes.iter().filter(|at| **at > seq).count();
        u32::try_from(before).unwrap_or(u32::MAX - 2) + u32::from(self.crashed)
    }

    fn is_during(&self, seq: i64) -> bool {
        self.interrupted.is_some_and(|begun| seq > begun)
    }
}

/// What had happened in a run, while its journal is read.
#[derive(Debug)]
pub struct Restore<'p> {
    pub(super) plan: &'p RunPlan,
    pub(super) breaks: Breaks,
    pub(super) tasks: Vec<OfTask>,
    reopened: Vec<Reopened>,
}

#[derive(Debug, Default)]
pub(super) struct OfTask {
    /// Whether it matters where its instances ran.
    followed: bool,
    /// In the order of indices, disjoint.
    pub(super) ends: Vec<Kept>,
    /// Instances without an end.
    tried: Vec<Tried>,
    /// Instances that ended, of which more is known than their ends say, should they be opened again; and whether these are ends of attempts.
    put_by: Vec<(Tried, bool)>,
    /// The numbers of the last attempts of what is open again.
    numbers: Vec<(Range<u32>, u32)>,
    current: Option<Current>,
    /// Whether attempts that did not end an instance were made while the run was being interrupted.
    tried_during: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) end: End,
    /// Whether they ended while the run was being interrupted.
    pub(super) during: bool,
    /// The number of their last attempt.
    attempt: u32,
}

/// The instance whose rows are being read.
#[derive(Clone, Copy, Debug)]
struct Current {
    tried: Tried,
    end: Option<Kept>,
}

impl<'p> Restore<'p> {
    /// Nothing yet.
    #[must_use]
    pub fn new(plan: &'p RunPlan, breaks: Breaks) -> Restore<'p> {
        let followed = plan.followed().into_iter();
        let tasks = followed.map(|followed| OfTask { followed, ..OfTask::default() }).collect();
        Restore { plan, breaks, tasks, reopened: Vec::new() }
    }

    /// Takes a row of a task. Those of a task must come in the order of their first index, and with the
    /// same one in the order in which they were written.
    pub fn row(&mut self, task: TaskId, row: &Row) {
        let during = self.breaks.is_during(row.seq);
        let lost = self.breaks.since(row.seq);
        let Some(of) = self.tasks.get_mut(task.at()) else { return };
        let end = row.state.is_terminal().then(|| of.end(task, row, during));
        of.tried_during |= during && end.is_none();
        if row.count != 1 {
            of.flush();
            of.ends.extend(end);
            return;
        }
        let instance = InstanceId { task, index: row.first_index };
        if of.current.is_none_or(|current| current.tried.instance != instance) {
            of.flush();
            let tried = untried(instance);
            of.current = Some(Current { tried, end: None });
        }
        if let Some(current) = &mut of.current {
            current.take(row, lost);
            current.end = end.or(current.end);
        }
    }

    /// All rows of a task have been taken.
    pub fn end_of_task(&mut self, task: TaskId) {
        let Some(of) = self.tasks.get_mut(task.at()) else { return };
        of.flush();
        of.ends.sort_by_key(|kept| kept.end.first_index);
        merge(&mut of.ends);
        let OfTask { ends, tried, put_by, .. } = of;
        let open = |tried: &Tried| find(ends, tried.instance.index).is_none();
        let (open, ended): (Vec<Tried>, Vec<Tried>) =
            std::mem::take(tried).into_iter().partition(open);
        *tried = open;
        put_by.extend(ended.into_iter().map(|tried| (tried, false)));
    }

    /// Whether an instance of a task has two ends, which no rows say that were written by a state machine.
    #[must_use]
    pub fn overlaps(&self, task: TaskId) -> bool {
        let ends = self.tasks.get(task.at()).map_or(&[][..], |of| &of.ends);
        ends.windows(2).any(|pair| pair[0].range().end > pair[1].range().start)
    }

    /// Opens instances that had ended; the ranges are sorted and disjoint.
    pub fn reopen(&mut self, task: TaskId, ranges: &Indices, why: Reopening) {
        let Some(of) = self.tasks.get_mut(task.at()).filter(|_| !ranges.is_empty()) else { return };
        let mut rest = Vec::with_capacity(of.ends.len());
        for kept in std::mem::take(&mut of.ends) {
            let mut left = kept.range();
            let from = ranges.partition_point(|range| range.end <= left.start);
            for range in ranges.iter().skip(from).take_while(|range| range.start < left.end) {
                if left.start < range.start {
                    rest.push(kept.part(left.start..range.start));
                }
                let opened = left.start.max(range.start)..left.end.min(range.end);
                left.start = opened.end;
                if kept.attempt > 0 {
                    of.numbers.push((opened.clone(), kept.attempt));
                }
                push_reopened(&mut self.reopened, task, &opened, kept.end.state, why);
            }
            if !left.is_empty() {
                rest.push(kept.part(left));
            }
        }
        of.ends = rest;
        let ends = &of.ends;
        let open = |(tried, _): &(Tried, bool)| find(ends, tried.instance.index).is_none();
        let (open, ended): (Vec<(Tried, bool)>, _) =
            std::mem::take(&mut of.put_by).into_iter().partition(open);
        of.put_by = ended;
        let open = open.into_iter();
        match why {
            Reopening::CutOff => of.tried.extend(open.map(|(tried, _)| tried)),
            // They begin anew, but for the numbers. Those that ended by attempts have theirs already.
            _ => {
                let open = open.filter(|(_, by_attempt)| !by_attempt);
                open.for_each(|(tried, _)| of.number(&tried));
            }
        }
    }

    /// The instances of a task that have ended in a state, sorted.
    #[must_use]
    pub fn ended(&self, task: TaskId, state: State) -> Indices {
        let ends = self.tasks.get(task.at()).map_or(&[][..], |of| &of.ends);
        let mut found = Indices::new();
        for kept in ends.iter().filter(|kept| kept.end.state == state) {
            push_range(&mut found, kept.range());
        }
        found
    }

    /// The instances of a task that have ended in any state, sorted.
    #[must_use]
    pub fn all_ended(&self, task: TaskId) -> Indices {
        let ends = self.tasks.get(task.at()).map_or(&[][..], |of| &of.ends);
        let mut found = Indices::new();
        ends.iter().for_each(|kept| push_range(&mut found, kept.range()));
        found
    }

    /// The instances of a task that have not ended, sorted; of one whose width is not known the first.
    #[must_use]
    pub fn open(&self, task: TaskId, width: Option<u32>) -> Indices {
        let (mut next, mut open) = (0, Indices::new());
        for range in self.all_ended(task) {
            if next < range.start {
                open.push(next..range.start);
            }
            next = next.max(range.end);
        }
        let width = width.unwrap_or(1);
        if next < width {
            open.push(next..width);
        }
        open
    }

    /// Whether instances of a task have ended, or some were tried while the run was being interrupted.
    pub(super) fn knows(&self, task: TaskId) -> bool {
        self.tasks.get(task.at()).is_some_and(|of| !of.ends.is_empty() || of.tried_during)
    }

    /// Forgets the attempts of the instances of a task that have not ended: other instances will be there.
    pub(super) fn forget_attempts(&mut self, task: TaskId) {
        let Some(of) = self.tasks.get_mut(task.at()) else { return };
        std::mem::take(&mut of.tried).iter().for_each(|tried| of.number(tried));
    }

    /// What had happened; `marks` gives the index below which attempts of each task may have been made.
    #[must_use]
    pub fn finish(
        self,
        marks: &[u32],
        no_array: Vec<InstanceId>,
        cancels: Vec<CancelScope>,
    ) -> Resumed {
        let untraced = self.breaks.since(i64::MIN);
        let mut resumed =
            Resumed { no_array, cancels, reopened: self.reopened, ..Resumed::default() };
        for ((task, mut of), below) in (0..).map(TaskId).zip(self.tasks).zip(marks) {
            resumed.ends.extend(of.ends.iter().map(|kept| kept.end));
            of.tried.sort_unstable_by_key(|tried| tried.instance);
            resumed.tried.append(&mut of.tried);
            // Of an instance that is there twice the longer range is as good.
            of.numbers.sort_unstable_by_key(|(range, _)| (range.start, Reverse(range.end)));
            let mut next = 0;
            let mut numbers = |range: Range<u32>, last| {
                if !range.is_empty() && last > 0 {
                    resumed.numbers.push(Numbers { task, range, last });
                }
            };
            for (range, last) in of.numbers {
                numbers(next..range.start.min(*below), untraced);
                numbers(range.start.max(next)..range.end, last);
                next = next.max(range.end);
            }
            numbers(next..*below, untraced);
        }
        resumed
    }
}

impl OfTask {
    fn end(&self, task: TaskId, row: &Row, during: bool) -> Kept {
        let Row { first_index, count, state, attempt, .. } = *row;
        let cause = match (state, row.cause) {
            (State::Skipped, cause) | (State::Cancelled, cause @ Some(Cause::NotSelected)) => cause,
            _ => None,
        };
        let worker = row.worker.filter(|_| self.followed);
        Kept { end: End { task, first_index, count, state, cause, worker }, during, attempt }
    }

    /// What is known of an instance that is open again is but a number.
    fn number(&mut self, tried: &Tried) {
        let index = tried.instance.index;
        self.numbers.push((index..index + 1, tried.attempts));
    }

    fn flush(&mut self) {
        let Some(Current { tried, end }) = self.current.take() else { return };
        match end {
            Some(mut kept) => {
                if kept.attempt > 0 {
                    kept.attempt = kept.attempt.max(tried.attempts);
                }
                // The end may be without an attempt, after others.
                let failed = kept.during && tried.failed + tried.lost > 0;
                if failed || tried.known > 0 && kept.attempt == 0 {
                    self.put_by.push((tried, kept.attempt > 0));
                }
                self.ends.push(kept);
                if let [.., before, last] = &mut self.ends[..]
                    && before.joins(last)
                {
                    before.end.count += last.end.count;
                    self.ends.pop();
                }
            }
            None if tried.known > 0 => self.tried.push(tried),
            None => {}
        }
    }
}

impl Kept {
    pub(super) fn range(&self) -> Range<u32> {
        self.end.first_index..self.end.first_index.saturating_add(self.end.count)
    }

    fn part(&self, range: Range<u32>) -> Kept {
        let end = End { first_index: range.start, count: range.end - range.start, ..self.end };
        Kept { end, ..*self }
    }

    /// Whether the other one follows it and ended alike.
    fn joins(&self, next: &Kept) -> bool {
        let alike = End { first_index: next.end.first_index, count: next.end.count, ..self.end };
        self.range().end == next.end.first_index
            && alike == next.end
            && (self.during, self.attempt) == (next.during, next.attempt)
    }
}

impl Current {
    /// `untraced` is how often an attempt may have been made since the row without a trace.
    fn take(&mut self, row: &Row, untraced: u32) {
        if row.attempt == 0 {
            return;
        }
        let tried = &mut self.tried;
        tried.known = row.attempt;
        tried.runs = row.state == State::Leased;
        tried.waits_since = (row.state == State::Backoff).then_some(row.finished);
        let untraced = match row.state {
            // As long as this one had not ended, no other was made while its scheduler lived.
            State::Leased => untraced.saturating_sub(1),
            // Nothing follows, unless it is opened again.
            state if state.is_terminal() => 0,
            _ => untraced,
        };
        let attempts = row.attempt.saturating_add(untraced);
        tried.attempts = match row.state {
            // It was the last one by then, whatever may have come after earlier rows: it was adopted.
            State::Leased => attempts,
            _ => tried.attempts.max(attempts),
        };
        match row.cause {
            _ if row.state.is_terminal() => {}
            Some(Cause::Attempt(FailureKind::Lost)) => tried.lost += 1,
            // Its worker left, which is nobody's fault.
            Some(Cause::Attempt(FailureKind::Preempted | FailureKind::Unknown)) => {}
            Some(Cause::Attempt(kind)) => {
                tried.failed += 1;
                tried.out_of_memory += u32::from(kind == FailureKind::Memory);
            }
            // What had run only because of the interruption, or is made again, begins anew.
            Some(Cause::Reopened(why)) if why != Reopening::CutOff => {
                (tried.failed, tried.out_of_memory, tried.lost) = (0, 0, 0);
            }
            _ => {}
        }
    }
}

fn untried(instance: InstanceId) -> Tried {
    Tried {
        instance,
        attempts: 0,
        known: 0,
        runs: false,
        failed: 0,
        out_of_memory: 0,
        lost: 0,
        waits_since: None,
    }
}

fn merge(ends: &mut Vec<Kept>) {
    let mut merged: Vec<Kept> = Vec::with_capacity(ends.len());
    for kept in ends.drain(..) {
        match merged.last_mut() {
            Some(last) if last.joins(&kept) => last.end.count += kept.end.count,
            _ => merged.push(kept),
        }
    }
    *ends = merged;
}

/// The end of an instance, if it has one.
pub(super) fn find(ends: &[Kept], index: u32) -> Option<&Kept> {
    let at = ends.partition_point(|kept| kept.range().end <= index);
    ends.get(at).filter(|kept| kept.range().contains(&index))
}

fn push_range(ranges: &mut Indices, range: Range<u32>) {
    match ranges.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}

fn push_reopened(
    reopened: &mut Vec<Reopened>,
    task: TaskId,
    range: &Range<u32>,
    was: State,
    why: Reopening,
) {
    let count = range.end - range.start;
    match reopened.last_mut() {
        Some(last)
            if (last.task, last.was, last.why) == (task, was, why)
                && last.first_index + last.count == range.start =>
        {
            last.count += count;
        }
        _ => reopened.push(Reopened { task, first_index: range.start, count, was, why }),
    }
}
