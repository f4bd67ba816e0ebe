//! Values that are made again: those that died with their worker and are still needed.
//!
//! The instance that made the value is open again and runs under a new number. It has succeeded before, so
//! that nothing follows from its success a second time but this: who waits for the value goes on. What
//! consumes the value waits meanwhile, whatever it waited for before, and costs no attempt. If the value
//! cannot be made again, its consumers that have not run are skipped.

use super::attempts::Attempt;
use super::held::HeldValues;
use super::plan::Consumed;
use super::ready::Span;
use super::strain::pause;
use super::turn::{Conclusion, Turn};
use super::{Action, Cause, Engine};
use crate::ids::{InstanceId, RunId, TaskId};
use crate::status::{FailureKind, State};

/// An instance that could not get its inputs so often fails.
const MOST_VAIN: u32 = 20;

impl Turn<'_> {
    fn held(&self) -> Option<&HeldValues> {
        self.hub.held.get(&self.run.id)
    }

    /// Whether any value of the run is being made again.
    pub(super) fn makes_values_again(&self) -> bool {
        self.held().is_some_and(|held| !held.remade.open.is_empty())
    }

    /// Whether the value of this instance is being made again.
    pub(super) fn is_made_again(&self, instance: InstanceId) -> bool {
        self.held().is_some_and(|held| held.remade.is_open(instance))
    }

    /// The instances of a task whose values are being made again.
    pub(super) fn made_again_of(&self, task: TaskId) -> Vec<u32> {
        let of = self.held().and_then(|held| held.remade.open.get(&task));
        of.map_or_else(Vec::new, |of| of.iter().copied().collect())
    }

    /// Whether an instance has to wait for values that are made again.
    pub(super) fn lacks_values(&self, instance: InstanceId) -> bool {
        let held = self.held().filter(|held| !held.remade.open.is_empty());
        held.is_some_and(|held| !held.lacks(self.run, instance).is_empty())
    }

    /// An instance that no worker holds waits for values that are made again.
    pub(super) fn wait_for_values(&mut self, instance: InstanceId) {
        let InstanceId { task, index } = instance;
        match self.run.state(task, index) {
            State::Backoff => {}
            State::Ready => {
                self.delist(task);
                self.run.task_mut(task).unready(index);
                self.transition(task, alone(instance), State::Backoff);
                self.enlist(task);
            }
            _ => self.transition(task, alone(instance), State::Backoff),
        }
        if let Some(held) = self.hub.held.get_mut(&self.run.id) {
            held.remade.waiting.insert(instance);
        }
    }

    /// It does something else now.
    pub(super) fn waits_no_more(&mut self, instance: InstanceId) {
        if let Some(held) = self.hub.held.get_mut(&self.run.id) {
            held.remade.waiting.remove(&instance);
        }
    }

    /// Values have died with their worker: those that something needs which has not been handed out are
    /// made again. What has been handed out may have them already, and says so if not.
    pub(super) fn make_again_if_wanted(&mut self, mut values: Vec<InstanceId>) {
        let Some(held) = self.hub.held.get(&self.run.id) else { return };
        values.retain(|value| held.is_wanted(self.run, *value));
        self.make_again(values);
    }

    /// Opens instances again whose values are lost, and those whose values these need in turn. One that
    /// cannot be opened, as the number of its last attempt is not known, stays what it is.
    fn make_again(&mut self, mut values: Vec<InstanceId>) {
        let mut opened = Vec::new();
        while let Some(instance) = values.pop() {
            let InstanceId { task, index } = instance;
            if self.run.state(task, index) != State::Succeeded {
                continue;
            }
            let Some(held) = self.hub.held.get_mut(&self.run.id) else { return };
            let Some(number) = held.forget(instance) else { continue };
            values.extend(held.open_again(self.run, instance));
            held.remade.open.entry(task).or_default().insert(index);
            let history = self.run.history(instance);
            history.attempts = history.attempts.max(number);
            self.transition(task, alone(instance), State::Blocked);
            self.out.push(Action::Reopen { run: self.run.id, instance });
            opened.push(instance);
        }
        // Those that are needed first come first.
        for instance in opened.iter().rev().copied() {
            self.make_ready(instance.task, alone(instance));
            let consumers = self.held().map(|held| held.consumers(self.run, instance));
            for (edge, span) in consumers.unwrap_or_default() {
                let ready = self.run.spans(edge.to, span, |state| state == State::Ready);
                for index in ready.iter().flat_map(|span| span.first..span.first + span.count) {
                    self.wait_for_values(InstanceId { task: edge.to, index });
                }
            }
        }
    }

    /// Instances have ended; those among them that were made again had done so before. Returns the others.
    pub(super) fn made_again(&mut self, ended: Conclusion) -> Vec<Conclusion> {
        let Some(held) = self.hub.held.get_mut(&self.run.id) else { return vec![ended] };
        let Conclusion { task, span, .. } = ended;
        let (mut others, mut again): (Vec<Span>, Vec<u32>) = (Vec::new(), Vec::new());
        for index in span.first..span.first + span.count {
            if held.remade.close(InstanceId { task, index }) {
                again.push(index);
                continue;
            }
            match others.last_mut() {
                Some(last) if last.first + last.count == index => last.count += 1,
                _ => others.push(Span { first: index, count: 1 }),
            }
        }
        for index in again.iter().copied() {
            let span = Span { first: index, count: 1 };
            let one = Conclusion { span, ..ended };
            match ended.success {
                true => self.remove_unneeded(one),
                false => self.is_not_made_again(one),
            }
        }
        if !again.is_empty() {
            self.wake_who_waited();
        }
        others.into_iter().map(|span| Conclusion { span, ..ended }).collect()
    }

    /// A value cannot be made again: what consumes it and has not run never will.
    fn is_not_made_again(&mut self, ended: Conclusion) {
        let instance = InstanceId { task: ended.task, index: ended.span.first };
        if let Some(held) = self.hub.held.get_mut(&self.run.id) {
            held.remade.given_up.insert(instance);
        }
        let consumers = self.held().map(|held| held.consumers(self.run, instance));
        for (edge, span) in consumers.unwrap_or_default() {
            if edge.of == Consumed::Gathered && self.does_without(edge.to, instance) {
                continue;
            }
            self.skip(edge.to, span, Cause::Upstream { root: ended.root });
        }
    }

    /// Whether enough is left of what a task gathers, now that an instance has failed after all.
    fn does_without(&mut self, to: TaskId, instance: InstanceId) -> bool {
        let plan = std::sync::Arc::clone(&self.run.plan);
        let Some(gather) = plan.tasks.get(to.at()).and_then(|task| task.gather.as_ref()) else {
            return false;
        };
        let group = match &gather.groups {
            None => 0,
            Some(groups) => match groups.get(instance.index as usize) {
                Some(group) => *group,
                None => return true,
            },
        };
        let groups = &mut self.run.task_mut(to).rare_mut().groups;
        let Some(state) = groups.get_mut(group as usize) else { return false };
        state.succeeded -= 1;
        state.failed += 1;
        let total = state.pending + state.succeeded + state.failed;
        gather.min_success.is_some_and(|min| state.succeeded + state.pending >= min.of(total))
    }

    /// Those that lack nothing any more could start.
    fn wake_who_waited(&mut self) {
        let Some(held) = self.hub.held.get_mut(&self.run.id) else { return };
        let waiting = std::mem::take(&mut held.remade.waiting);
        for instance in waiting {
            if self.run.state(instance.task, instance.index) != State::Backoff {
                continue;
            }
            if self.lacks_values(instance) {
                self.wait_for_values(instance);
                continue;
            }
            self.make_ready(instance.task, alone(instance));
            self.stand_apart(instance);
            if !self.run.was_tried(instance) {
                self.bound_wait(instance.task, alone(instance));
            }
        }
    }

    /// A worker could not get the value of an instance for an attempt: it waits until the value is made
    /// again, or can be had where it is.
    pub(super) fn lacks_value(&mut self, attempt: Attempt, of: InstanceId) {
        let instance = attempt.instance;
        let reason = attempt.detail.as_ref().map(|detail| detail.reason.clone());
        let is_input = self.run.tasks.get(of.task.at()).is_some_and(|task| {
            of.index < task.instances()
                && self
                    .run
                    .plan
                    .values
                    .iter()
                    .any(|edge| edge.from == of.task && edge.to == instance.task)
        });
        if !is_input {
            self.fail(attempt, FailureKind::Start, 0);
            return;
        }
        let history = self.run.history(instance);
        history.refusals += 1;
        history.refused = reason.unwrap_or_default();
        let vain = history.refusals;
        if self.is_made_again(of) {
            self.wait_for_values(instance);
            return;
        }
        let is_held = self.held().is_some_and(|held| held.holder(of).is_some());
        if !is_held {
            self.make_again(vec![of]);
            if self.is_made_again(of) {
                self.wait_for_values(instance);
                return;
            }
        }
        if !is_held || vain > MOST_VAIN {
            self.fail(attempt, FailureKind::Start, 0);
            return;
        }
        // Its worker is there, as far as is known, or will be lost.
        self.transition(instance.task, attempt.span(), State::Backoff);
        self.hub.deadlines.retry(self.now.plus(pause(vain)), self.run.id, instance);
    }
}

impl Engine {
    /// Whether an instance waits for values that are made again.
    pub(super) fn waits_for_values(&self, run: RunId, instance: InstanceId) -> bool {
        self.hub.held.get(&run).is_some_and(|held| held.remade.waiting.contains(&instance))
    }

    /// The instances whose values are made again and that an instance waits for.
    pub(super) fn lacking_values(&self, run: RunId, instance: InstanceId) -> Vec<InstanceId> {
        let (Some(held), Some(run)) = (self.hub.held.get(&run), self.runs.get(&run)) else {
            return Vec::new();
        };
        held.lacks(run, instance)
    }
}

fn alone(instance: InstanceId) -> Span {
    Span { first: instance.index, count: 1 }
}
