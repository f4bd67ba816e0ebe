//! Taking over what had happened before a run began, instances that an earlier run brought to success
//! and that are not run again; and what had happened in the same run before it was resumed.

use std::ops::Range;

use super::event::Cause;
use super::plan::{Done, Past};
use super::ready::Span;
use super::resumed::{End, KeptValue, Reopened, Resumed, Tried};
use super::run::{History, Run, TaskRun};
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

    /// Goes on with a run whose states have been installed. Must be called when all tasks have begun, and
    /// before their consequences are drawn.
    pub(super) fn go_on(&mut self, past: &Past, resumed: &Resumed) {
        let tasks = self.run.tasks.len();
        for &(task, items) in past.items.iter().filter(|(task, _)| task.at() < tasks) {
            self.run.task_mut(task).rare_mut().items += items;
        }
        for instance in resumed.no_array.iter().filter(|instance| instance.task.at() < tasks) {
            self.run.task_mut(instance.task).rare_mut().no_array.get_or_insert(*instance);
        }
        for tried in resumed.tried.iter().filter(|tried| tried.instance.task.at() < tasks) {
            self.remember(tried);
        }
        for end in resumed.ends.iter().filter(|end| end.task.at() < tasks) {
            self.count_failures(end);
            let End { task, worker, .. } = *end;
            let span = self.run.clamp(task, end.first_index, end.count);
            if span.count == 0 {
                continue;
            }
            let root = end.cause.and_then(Cause::root);
            let root = root.unwrap_or(InstanceId { task, index: span.first });
            let success = end.state == State::Succeeded;
            self.queue.push_back(Step::Ended(Conclusion { task, span, success, root, worker }));
        }
        for kept in &resumed.values {
            self.keep_on(kept);
        }
        // Before any consequence: what was cancelled must not become ready first.
        for scope in &resumed.cancels {
            self.cancel_again(*scope);
        }
        if !self.run.ending && self.run.has_too_many_failures() {
            self.hub.failing.push(self.run.id);
        }
    }

    /// A worker goes on keeping a value, if it has not been lost meanwhile.
    fn keep_on(&mut self, kept: &KeptValue) {
        let KeptValue { instance, worker, bytes, attempt } = *kept;
        let task = self.run.tasks.get(instance.task.at());
        let exists = task.is_some_and(|task| instance.index < task.instances());
        match self.hub.workers.get(worker) {
            _ if !exists => {}
            Some(_) => self.hold(instance, attempt, worker, bytes),
            None => self.note_gone(instance, attempt),
        }
    }

    /// Restores the history of an instance that has not ended.
    fn remember(&mut self, tried: &Tried) {
        let Tried { instance, attempts, known, runs, failed, out_of_memory, lost, waits_since } =
            *tried;
        let former = known.saturating_add(u32::from(!runs))..attempts.saturating_add(1);
        let history =
            History { attempts, known, former, failed, out_of_memory, lost, ..History::default() };
        self.run.histories.insert(instance, history);
        if let Some(since) = waits_since {
            // It may be in the future, when the clock was set meanwhile.
            let due = since.min(self.now).plus(self.wait_after(instance, failed));
            if due > self.now {
                self.run.delayed.insert(instance, due);
            }
        }
    }

    /// The end of instances before the run was resumed counts as it did then.
    fn count_failures(&mut self, end: &End) {
        if self.run.task_plan(end.task).conduct.allow_failure {
            return;
        }
        let (failed, counts) = match (end.state, end.cause) {
            (State::Cancelled, Some(Cause::NotSelected)) => (true, false),
            (State::Failed | State::Cancelled, _) => (true, true),
            (State::Skipped, Some(cause)) if cause.is_a_failure() => (true, true),
            _ => (false, false),
        };
        self.run.failed |= failed;
        self.run.failures += if counts { end.count.into() } else { 0 };
    }

    /// Instances could start, but for waits that began before the run was resumed: these go on.
    pub(super) fn wait_on(&mut self, task: TaskId, span: Span) {
        let at = |index| InstanceId { task, index };
        let delayed = self.run.delayed.range(at(span.first)..at(span.first + span.count));
        let delayed: Vec<_> = delayed.map(|(instance, due)| (*instance, *due)).collect();
        for (instance, due) in delayed {
            self.run.delayed.remove(&instance);
            if due > self.now && self.run.state(task, instance.index) == State::Blocked {
                self.transition(task, Span { first: instance.index, count: 1 }, State::Backoff);
                self.hub.deadlines.retry(due, self.run.id, instance);
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
    /// Writes the states that instances were in before the run was resumed, and opens again what is not
    /// to stay so.
    pub(super) fn install(&mut self, resumed: &Resumed) {
        for end in &resumed.ends {
            let span = self.clamp(end.task, end.first_index, end.count);
            self.transition_all(end.task, span, end.state);
        }
        for opened in &resumed.reopened {
            let Reopened { task, first_index, count, was, .. } = *opened;
            let span = self.clamp(task, first_index, count);
            self.transition_all(task, span, was);
            self.transition_all(task, span, State::Blocked);
        }
        for numbers in &resumed.numbers {
            if let Some(task) = self.tasks.get_mut(numbers.task.at()) {
                task.rare_mut().numbers.push((numbers.range.clone(), numbers.last));
            }
        }
    }

    fn transition_all(&mut self, task: TaskId, span: Span, to: State) {
        if span.count > 0 {
            self.transition(task, span, to);
        }
    }

    /// The instances of a range that exist.
    fn clamp(&self, task: TaskId, first: u32, count: u32) -> Span {
        let instances = self.tasks.get(task.at()).map_or(0, TaskRun::instances);
        let first = first.min(instances);
        Span { first, count: count.min(instances - first) }
    }

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
