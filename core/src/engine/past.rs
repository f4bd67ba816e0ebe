//! Taking over what had happened before a run began: instances that an earlier run brought to
//! success, and that are not run again.

use super::plan::{Done, Past};
use super::ready::Span;
use super::run::Run;
use super::turn::{Conclusion, Step, Turn};
use crate::ids::InstanceId;
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
