//! Cancelling: waiting instances end at once, running attempts are revoked from their workers.

use rustc_hash::FxHashMap;

use super::ready::Span;
use super::run::Run;
use super::turn::{Step, Turn};
use super::{Action, CancelScope, Cause, RevokeMode};
use crate::ids::{AttemptId, InstanceId, TaskId, WorkerId};
use crate::status::{RunState, State};

impl CancelScope {
    fn covers(self, run: &Run, instance: InstanceId) -> bool {
        match self {
            CancelScope::Run | CancelScope::Interruption => {
                !run.task_plan(instance.task).conduct.always
            }
            CancelScope::Task(task) => instance.task == task,
            CancelScope::Instance(one) => instance == one,
        }
    }
}

impl Turn<'_> {
    pub(super) fn cancel(mut self, scope: CancelScope) {
        if self.run.state != RunState::Running || !self.run.knows(scope) {
            self.hub.stale += 1;
            return;
        }
        self.run.cancelled |= scope == CancelScope::Run;
        self.run.interrupted |= scope == CancelScope::Interruption;
        self.end_all(scope);
        self.settle();
    }

    /// Too many instances failed for good: the rest of the run ends.
    pub(super) fn fail_fast(mut self) {
        if self.run.state == RunState::Running && !self.run.ending {
            self.end_all(CancelScope::Run);
            self.settle();
        }
    }

    /// Cancels what a user had cancelled before the run was resumed.
    pub(super) fn cancel_again(&mut self, scope: CancelScope) {
        if self.run.knows(scope) {
            self.run.cancelled |= scope == CancelScope::Run;
            self.end_all(scope);
        }
    }

    /// Ends everything in scope, without drawing consequences.
    fn end_all(&mut self, scope: CancelScope) {
        self.run.ending |= scope.is_whole();
        // End all of them before drawing consequences: otherwise the end of one would start the
        // next.
        for (task, span) in self.run.parts(scope) {
            self.cancel_waiting(task, span);
        }
        self.revoke(scope);
    }

    fn cancel_waiting(&mut self, task: TaskId, span: Span) {
        if self.run.task(task).width.is_none() {
            self.fails(task, 1);
            self.run.task_mut(task).rare_mut().doomed = Some(Cause::Cancelled);
            if self.run.task_plan(task).map.is_none() {
                self.queue.push_back(Step::Width(task, 1));
            }
            return;
        }
        let count = self.withdraw(task, span, State::waits, State::Cancelled, Cause::Cancelled);
        if count > 0 {
            self.fails(task, count);
        }
    }

    fn revoke(&mut self, scope: CancelScope) {
        let mut by_worker: FxHashMap<WorkerId, Vec<AttemptId>> = FxHashMap::default();
        for (worker, held) in self.hub.workers.iter() {
            for (attempt, lease) in &held.leases {
                let ours = lease.run == self.run.id && !lease.cancelled;
                if ours && scope.covers(self.run, lease.instance) {
                    by_worker.entry(worker).or_default().push(*attempt);
                }
            }
        }
        let mut by_worker: Vec<_> = by_worker.into_iter().collect();
        by_worker.sort_unstable();
        for (worker, mut attempts) in by_worker {
            attempts.sort_unstable();
            self.hub.workers.update(worker, |held| {
                for attempt in &attempts {
                    if let Some(lease) = held.leases.get_mut(attempt) {
                        lease.cancelled = true;
                    }
                }
            });
            self.out.push(Action::Revoke { worker, attempts, mode: RevokeMode::Cancel });
        }
    }
}

impl Run {
    fn knows(&self, scope: CancelScope) -> bool {
        match scope {
            CancelScope::Run | CancelScope::Interruption => true,
            CancelScope::Task(task) => task.at() < self.tasks.len(),
            CancelScope::Instance(instance) => self
                .tasks
                .get(instance.task.at())
                .is_some_and(|task| instance.index < task.instances()),
        }
    }

    fn parts(&self, scope: CancelScope) -> Vec<(TaskId, Span)> {
        match scope {
            CancelScope::Run | CancelScope::Interruption => {
                let tasks = self.ids().filter(|task| !self.task_plan(*task).conduct.always);
                tasks.map(|task| (task, self.all(task))).collect()
            }
            CancelScope::Task(task) if self.task(task).width.is_none() => {
                vec![(task, self.all(task))]
            }
            // One by one, so that those downstream of each name it as their root.
            CancelScope::Task(task) => (0..self.task(task).instances())
                .map(|index| (task, Span { first: index, count: 1 }))
                .collect(),
            CancelScope::Instance(instance) => {
                vec![(instance.task, Span { first: instance.index, count: 1 })]
            }
        }
    }
}
