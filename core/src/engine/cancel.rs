//! Cancelling: what waits ends at once, what runs is taken back from its worker.

use rustc_hash::FxHashMap;

use super::cascade::{Cascade, Ended, Step};
use super::ready::Span;
use super::run::Run;
use super::{Action, CancelScope, Cause, Engine, RevokeMode};
use crate::ids::{AttemptId, InstanceId, RunId, TaskId, Timestamp, WorkerId};
use crate::status::{RunState, State};

impl CancelScope {
    fn covers(self, run: &Run, instance: InstanceId) -> bool {
        match self {
            CancelScope::Run => !run.task_plan(instance.task).conduct.always,
            CancelScope::Task(task) => instance.task == task,
            CancelScope::Instance(one) => instance == one,
        }
    }
}

impl Engine {
    pub(super) fn cancel(
        &mut self,
        now: Timestamp,
        id: RunId,
        scope: CancelScope,
        out: &mut Vec<Action>,
    ) {
        let Some(run) = self.runs.get_mut(&id) else {
            self.stale += 1;
            return;
        };
        if run.state != RunState::Running || !run.knows(scope) {
            self.stale += 1;
            return;
        }
        if scope == CancelScope::Run {
            run.cancelled = true;
        }
        self.end_all(now, id, scope, out);
    }

    /// Ends everything in scope: used by cancel and by fail-fast.
    pub(super) fn end_all(
        &mut self,
        now: Timestamp,
        id: RunId,
        scope: CancelScope,
        out: &mut Vec<Action>,
    ) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.ending |= scope == CancelScope::Run;
        let parts = run.parts(scope);
        // First all of them, then what follows from it: otherwise one would start the next.
        let mut cascade = Cascade::new(now, id, out);
        for (task, span) in parts {
            self.cancel_waiting(task, span, &mut cascade);
        }
        self.revoke(id, scope, cascade.out);
        self.run_cascade(cascade);
        self.finish_if_done(id, out);
    }

    fn cancel_waiting(&mut self, task: TaskId, span: Span, cascade: &mut Cascade<'_>) {
        let id = cascade.id;
        let Some(run) = self.runs.get_mut(&id) else { return };
        if !run.task(task).known {
            run.fails(task, id, &mut self.failing);
            run.task_mut(task).rare_mut().doomed = Some(Cause::Cancelled);
            if run.task_plan(task).map.is_none() {
                cascade.queue.push_back(Step::Width(task, 1));
            }
            return;
        }
        let waits = |state| matches!(state, State::Blocked | State::Ready | State::Backoff);
        for span in self.withdraw(id, task, span, waits, State::Cancelled) {
            let Some(run) = self.runs.get_mut(&id) else { return };
            run.fails(task, id, &mut self.failing);
            cascade.record(task, span, State::Cancelled, Cause::Cancelled);
            let root = InstanceId { task, index: span.first };
            let ended = Ended { task, span, success: false, root, worker: None };
            cascade.queue.push_back(Step::Ended(ended));
        }
    }

    /// Moves those instances of the span that `wanted` names, and that no worker holds, to their
    /// terminal state; says which.
    pub(super) fn withdraw(
        &mut self,
        id: RunId,
        task: TaskId,
        span: Span,
        wanted: impl Fn(State) -> bool,
        to: State,
    ) -> Vec<Span> {
        let Some(run) = self.runs.get(&id) else { return Vec::new() };
        let spans = run.spans(task, span, wanted);
        if spans.is_empty() {
            return spans;
        }
        let whole = span == run.all(task);
        self.delist(id, task);
        let Some(run) = self.runs.get_mut(&id) else { return Vec::new() };
        if whole {
            // What is ready is among those that end.
            run.task_mut(task).ready.clear();
        }
        for span in &spans {
            for index in span.first..span.first + span.count {
                let queued = !whole && !run.task(task).ready.is_empty();
                if queued {
                    run.task_mut(task).ready.remove(index);
                }
                if !run.histories.is_empty() {
                    run.histories.remove(&InstanceId { task, index });
                } else if !queued {
                    break;
                }
            }
            run.transition(task, *span, to);
        }
        self.enlist(id, task);
        spans
    }

    fn revoke(&mut self, id: RunId, scope: CancelScope, out: &mut Vec<Action>) {
        let Some(run) = self.runs.get(&id) else { return };
        let mut by_worker: FxHashMap<WorkerId, Vec<AttemptId>> = FxHashMap::default();
        for (worker, held) in self.workers.iter() {
            for (attempt, lease) in &held.leases {
                if lease.run == id && !lease.cancelled && scope.covers(run, lease.instance) {
                    by_worker.entry(worker).or_default().push(*attempt);
                }
            }
        }
        let mut by_worker: Vec<_> = by_worker.into_iter().collect();
        by_worker.sort_unstable();
        for (worker, mut attempts) in by_worker {
            attempts.sort_unstable();
            self.workers.update(worker, |held| {
                for attempt in &attempts {
                    if let Some(lease) = held.leases.get_mut(attempt) {
                        lease.cancelled = true;
                    }
                }
            });
            out.push(Action::Revoke { worker, attempts, mode: RevokeMode::Cancel });
        }
    }
}

impl Run {
    fn knows(&self, scope: CancelScope) -> bool {
        match scope {
            CancelScope::Run => true,
            CancelScope::Task(task) => task.at() < self.tasks.len(),
            CancelScope::Instance(instance) => {
                self.tasks.get(instance.task.at()).is_some_and(|task| instance.index < task.width)
            }
        }
    }

    fn parts(&self, scope: CancelScope) -> Vec<(TaskId, Span)> {
        match scope {
            CancelScope::Run => {
                let tasks = self.ids().filter(|task| !self.task_plan(*task).conduct.always);
                tasks.map(|task| (task, self.all(task))).collect()
            }
            CancelScope::Task(task) if !self.task(task).known => vec![(task, self.all(task))],
            // One by one, so that those downstream of each name it as their root.
            CancelScope::Task(task) => (0..self.task(task).width)
                .map(|index| (task, Span { first: index, count: 1 }))
                .collect(),
            CancelScope::Instance(instance) => {
                vec![(instance.task, Span { first: instance.index, count: 1 })]
            }
        }
    }
}
