//! Taking over what had happened before a run began: instances that an earlier run brought to
//! success, and that are not run again.

use std::ops::Range;

use super::event::Cause;
use super::plan::{Done, Past};
use super::ready::Span;
use super::run::Run;
use super::turn::{Conclusion, Step, Turn};
use crate::ids::{InstanceId, TaskId};
use crate::status::State;

impl Turn<'_> {
    /// Takes over what succeeded before the run. Must be called when all tasks have begun, and
    /// before their consequences are drawn.
    pub(super) fn take_over(&mut self, past: &Past) {
        let tasks = self.run.tasks.len();
        for &(task, width) in past.widths.iter().filter(|(task, _)| task.at() < tasks) {
            self.learn_width(task, width);
        }
        for &(task, items) in past.items.iter().filter(|(task, _)| task.at() < tasks) {
            self.run.task_mut(task).rare_mut().items += items;
        }
        for (task, left) in past.left.iter().filter(|(task, _)| task.at() < tasks) {
            self.leave(*task, left);
        }
        // Write all states before drawing consequences: no consequence may see only some of them.
        for done in &past.done {
            let Done { task, worker, .. } = *done;
            for span in self.run.succeed_at_once(done) {
                let root = InstanceId { task, index: span.first };
                let ended = Conclusion { task, span, success: true, root, worker };
                self.queue.push_back(Step::Ended(ended));
            }
        }
    }

    /// Ends instances that are not to run.
    fn leave(&mut self, task: TaskId, left: &Range<u32>) {
        let instances = self.run.task(task).instances();
        let first = left.start.min(instances);
        let span = Span { first, count: left.end.min(instances).saturating_sub(first) };
        let blocked = |state| state == State::Blocked;
        let count = self.withdraw(task, span, blocked, State::Cancelled, Cause::NotSelected);
        if count > 0 && !self.run.task_plan(task).conduct.allow_failure {
            // The run is not whole; that is no reason to end what was selected.
            self.run.failed = true;
        }
    }
}

impl Run {
    /// Moves to success those of the instances that exist and are blocked; returns which.
    fn succeed_at_once(&mut self, done: &Done) -> Vec<Span> {
        let Some(task) = self.tasks.get(done.task.at()) else { return Vec::new() };
        let first = done.first_index.min(task.instances());
        let within = Span { first, count: done.count.min(task.instances() - first) };
        let spans = self.spans(done.task, within, |state| state == State::Blocked);
        for span in &spans {
            self.transition(done.task, *span, State::Succeeded);
        }
        spans
    }
}
