//! What is due at a time: the next attempt after a wait, the end of a wait for the first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::cascade::{Cascade, Ended, Step};
use super::ready::Span;
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

impl Engine {
    /// Instances became ready: their first attempt must start in time, if the task says so.
    pub(super) fn bound_wait(&mut self, now: Timestamp, id: RunId, task: TaskId, span: Span) {
        let Some(run) = self.runs.get(&id) else { return };
        if let Some(within) = run.task_plan(task).conduct.start_within {
            let due = Due::Start(id, task, span.first, span.count);
            self.deadlines.due.push(Reverse((now.plus(within), due)));
        }
    }

    /// Does all that is due.
    pub(super) fn wake(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        while let Some(due) = self.deadlines.take(now) {
            match due {
                Due::Retry(id, instance) => {
                    let backoff = self.runs.get(&id).is_some_and(|run| {
                        run.state(instance.task, instance.index) == State::Backoff
                    });
                    if backoff {
                        let span = Span { first: instance.index, count: 1 };
                        self.make_ready(id, instance.task, span);
                    }
                }
                Due::Start(id, task, first, count) => {
                    self.start_overdue(now, id, task, Span { first, count }, out);
                }
            }
        }
    }

    fn start_overdue(
        &mut self,
        now: Timestamp,
        id: RunId,
        task: TaskId,
        span: Span,
        out: &mut Vec<Action>,
    ) {
        let Some(run) = self.runs.get(&id) else { return };
        let tried: Vec<u32> = (span.first..span.first + span.count)
            .filter(|index| run.histories.contains_key(&InstanceId { task, index: *index }))
            .collect();
        let mut cascade = Cascade::new(now, id, out);
        let never = |span: Span| {
            let mut parts = vec![span];
            for index in &tried {
                parts = parts.into_iter().flat_map(|part| part.without(*index)).collect();
            }
            parts
        };
        for span in never(span) {
            let ready = |state| state == State::Ready;
            for span in self.withdraw(id, task, span, ready, State::Failed) {
                cascade.record(task, span, State::Failed, Cause::NotStartedInTime);
                let Some(run) = self.runs.get_mut(&id) else { return };
                run.fails(task, id, &mut self.failing);
                let root = InstanceId { task, index: span.first };
                cascade.queue.push_back(Step::Ended(Ended {
                    task,
                    span,
                    success: false,
                    root,
                    worker: None,
                }));
            }
        }
        self.run_cascade(cascade);
        self.finish_if_done(id, out);
    }
}
