//! Time has passed: the next attempts after a wait, and the end of a wait for the first.

use super::deadlines::Due;
use super::ready::Span;
use super::turn::Turn;
use super::{Action, Cause, Engine};
use crate::ids::{InstanceId, TaskId, Timestamp};
use crate::status::State;

impl Turn<'_> {
    /// Instances became ready: their first attempt must start in time, if the task limits the wait.
    pub(super) fn bound_wait(&mut self, task: TaskId, span: Span) {
        if let Some(within) = self.run.task_plan(task).conduct.start_within {
            self.hub.deadlines.start(self.now.plus(within), self.run.id, task, span);
        }
    }

    /// The wait before the next attempt of an instance is over.
    fn try_again(&mut self, instance: InstanceId) {
        let InstanceId { task, index } = instance;
        if self.run.state(task, index) != State::Backoff {
            return;
        }
        if self.lacks_values(instance) {
            self.wait_for_values(instance);
            return;
        }
        let span = Span { first: index, count: 1 };
        self.make_ready(task, span);
        self.stand_apart(instance);
        if !self.run.was_tried(instance) {
            self.bound_wait(task, span);
        }
    }

    /// Fails those of the instances that are ready and have not been tried.
    fn start_overdue(mut self, task: TaskId, span: Span) {
        let mut never = vec![span];
        for index in span.first..span.first + span.count {
            if self.run.was_tried(InstanceId { task, index }) {
                never = never.into_iter().flat_map(|part| part.without(index)).collect();
            }
        }
        let (ready, failed) = (|state| state == State::Ready, State::Failed);
        for span in never {
            let count = self.withdraw(task, span, ready, failed, Cause::NotStartedInTime);
            if count > 0 {
                self.fails(task, count);
            }
        }
        self.settle();
    }
}

impl Engine {
    /// Does all that is due.
    pub(super) fn wake(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        while let Some(due) = self.hub.deadlines.take(now) {
            let Some(id) = due.run() else {
                self.hub.wake_worker(now, due);
                continue;
            };
            // It may have ended and been forgotten meanwhile.
            let Some(mut turn) = self.turn(now, id, out) else { continue };
            match due {
                Due::Retry(_, instance) => turn.try_again(instance),
                Due::Start(_, task, first, count) => {
                    turn.start_overdue(task, Span { first, count });
                }
                Due::Anywhere(_, instance) => turn.go_anywhere(instance),
                Due::Avoided(_, task) => turn.choose_workers(task),
                Due::Strain(_) => {}
            }
        }
    }
}
