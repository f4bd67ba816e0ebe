//! Deadlines: the next attempt after a delay, the latest start of a first attempt, the end of a wait
//! for another worker, the end of a worker's rest.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::ready::Span;
use crate::ids::{InstanceId, RunId, TaskId, Timestamp, WorkerId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// An instance in `backoff` may be tried again.
    Retry(RunId, InstanceId),
    /// Instances whose first attempt should have started: run, task, first, count.
    Start(RunId, TaskId, u32, u32),
    /// An instance has waited long enough for a worker on which it has not failed.
    Anywhere(RunId, InstanceId),
    /// Some of the workers that a task avoids may have what it needs by now.
    Avoided(RunId, TaskId),
    /// A worker whose machine was short of something may be given more.
    Strain(WorkerId),
}

impl Due {
    /// The run that it is about, unless it is about a worker.
    pub(super) fn run(self) -> Option<RunId> {
        match self {
            Due::Retry(run, _)
            | Due::Start(run, ..)
            | Due::Anywhere(run, _)
            | Due::Avoided(run, _) => Some(run),
            Due::Strain(_) => None,
        }
    }
}

/// All deadlines, the earliest first.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    due: BinaryHeap<Reverse<(Timestamp, Due)>>,
}

impl Deadlines {
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    pub(super) fn retry(&mut self, at: Timestamp, run: RunId, instance: InstanceId) {
        self.due.push(Reverse((at, Due::Retry(run, instance))));
    }

    /// The first attempts of the instances must have started by then.
    pub(super) fn start(&mut self, at: Timestamp, run: RunId, task: TaskId, span: Span) {
        self.due.push(Reverse((at, Due::Start(run, task, span.first, span.count))));
    }

    /// Something else is due by then.
    pub(super) fn at(&mut self, at: Timestamp, due: Due) {
        self.due.push(Reverse((at, due)));
    }

    /// When an instance in `backoff` is tried again. Takes time for all deadlines.
    pub(super) fn retry_of(&self, run: RunId, instance: InstanceId) -> Option<Timestamp> {
        let wanted = Due::Retry(run, instance);
        let found = self.due.iter().find(|Reverse((_, due))| *due == wanted);
        found.map(|Reverse((at, _))| *at)
    }

    /// What is due, the earliest first.
    pub(super) fn take(&mut self, now: Timestamp) -> Option<Due> {
        if self.next()? > now {
            return None;
        }
        self.due.pop().map(|Reverse((_, due))| due)
    }
}
