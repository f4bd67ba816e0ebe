//! What is due at a time: the next attempt after a wait, the end of a wait for the first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::ready::Span;
use super::turn::Turn;
use super::{Action, Cause, Engine};
use crate::ids::{InstanceId, RunId, TaskId, Timestamp};
use crate::status::State;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// An instance in `backoff` may be tried again.
    Retry(RunId, InstanceId),
    /// Instances whose first attempt should have started: run, task, first, count.
    Start(RunId, TaskId, u32, u32),
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

    /// When an instance in `backoff` is tried again. Takes time for all deadlines.
    pub(super) fn retry_of(&self, run: RunId, instance: InstanceId) -> Option<Timestamp> {
        let wanted = Due::Retry(run, instance);
        let found = self.due.iter().find(|Reverse((_, due))| *due == wanted);
        found.map(|Reverse((at, _))| *at)
    }

    fn take(&mut self, now: Timestamp) -> Option<Due> {
        if self.next()? > now {
            return None;
        }
        self.due.pop().map(|Reverse((_, due))| due)
    }
}

impl Turn<'_> {
    /// Instances became ready: their first attempt must start in time, if the task says so.
    pub(super) fn bound_wait(&mut self, task: TaskId, span: Span) {
        if let Some(within) = self.run.task_plan(task).conduct.start_within {
            let due = Due::Start(self.run.id, task, span.first, span.count);
            self.hub.deadlines.due.push(Reverse((self.now.plus(within), due)));
        }
    }

    /// Those of the instances that are ready, and have not been tried, fail.
    fn start_overdue(mut self, task: TaskId, span: Span) {
        let mut never = vec![span];
        for index in span.first..span.first + span.count {
            if self.run.histories.contains_key(&InstanceId { task, index }) {
                never = never.into_iter().flat_map(|part| part.without(index)).collect();
            }
        }
        let (ready, failed) = (|state| state == State::Ready, State::Failed);
        for span in never {
            if self.withdraw(task, span, ready, failed, Cause::NotStartedInTime) {
                self.fails(task);
            }
        }
        self.settle();
    }
}

impl Engine {
    /// Does all that is due.
    pub(super) fn wake(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        while let Some(due) = self.hub.deadlines.take(now) {
            let (Due::Retry(id, _) | Due::Start(id, ..)) = due;
            // It may have ended and been forgotten meanwhile.
            let Some(mut turn) = self.turn(now, id, out) else { continue };
            match due {
                Due::Retry(_, InstanceId { task, index }) => {
                    if turn.run.state(task, index) == State::Backoff {
                        turn.make_ready(task, Span { first: index, count: 1 });
                    }
                }
                Due::Start(_, task, first, count) => {
                    turn.start_overdue(task, Span { first, count })
                }
            }
        }
    }
}
