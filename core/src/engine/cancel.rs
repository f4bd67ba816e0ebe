//! Cancelling: what waits ends at once, what runs is taken back from its worker.

use rustc_hash::FxHashMap;

use super::dependencies::Ended;
use super::ready::Span;
use super::{Action, CancelScope, Cause, Engine, Record, RevokeMode};
use crate::ids::{AttemptId, InstanceId, RunId, TaskId, Timestamp, WorkerId};
use crate::status::{RunState, State};

impl CancelScope {
    fn covers(self, instance: InstanceId) -> bool {
        match self {
            CancelScope::Run => true,
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
        match scope {
            CancelScope::Run => run.cancelled = true,
            CancelScope::Task(_) | CancelScope::Instance(_) => {}
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
        let mut ended = Vec::new();
        for (task, span) in self.scope_spans(id, scope) {
            self.cancel_waiting(now, id, task, span, &mut ended, out);
        }
        self.revoke(id, scope, out);
        for span in ended {
            self.propagate(now, id, span, out);
        }
        self.finish_if_done(now, id, out);
    }

    fn scope_spans(&self, id: RunId, scope: CancelScope) -> Vec<(TaskId, Span)> {
        let Some(run) = self.runs.get(&id) else { return Vec::new() };
        match scope {
            CancelScope::Run => {
                (0..).map(TaskId).take(run.tasks.len()).map(|task| (task, run.all(task))).collect()
            }
            // One by one, so that those downstream of each name it as their root.
            CancelScope::Task(task) => (0..run.tasks[task.at()].width)
                .map(|index| (task, Span { first: index, count: 1 }))
                .collect(),
            CancelScope::Instance(instance) => {
                vec![(instance.task, Span { first: instance.index, count: 1 })]
            }
        }
    }

    /// Cancels those instances of the span that are blocked, ready or in backoff.
    fn cancel_waiting(
        &mut self,
        now: Timestamp,
        id: RunId,
        task: TaskId,
        span: Span,
        ended: &mut Vec<Ended>,
        out: &mut Vec<Action>,
    ) {
        let waits = |state| matches!(state, State::Blocked | State::Ready | State::Backoff);
        let Some(run) = self.runs.get(&id) else { return };
        let spans = run.spans(task, span, waits);
        let whole = span == run.all(task);
        self.delist(id, task);
        let Some(run) = self.runs.get_mut(&id) else { return };
        for span in spans {
            if whole {
                run.tasks[task.at()].ready.clear();
            } else {
                for index in span.first..span.first + span.count {
                    run.tasks[task.at()].ready.remove(index);
                }
            }
            for index in span.first..span.first + span.count {
                if run.histories.is_empty() {
                    break;
                }
                run.histories.remove(&InstanceId { task, index });
            }
            run.transition(task, span, State::Cancelled);
            run.failed |= !run.plan.tasks[task.at()].allow_failure;
            out.push(Action::Record(Record::without_attempt(
                id,
                task,
                span,
                State::Cancelled,
                now,
                Cause::Cancelled,
            )));
            let root = InstanceId { task, index: span.first };
            ended.push(Ended { task, span, success: false, root });
        }
        self.enlist(id, task);
    }

    fn revoke(&mut self, id: RunId, scope: CancelScope, out: &mut Vec<Action>) {
        let mut by_worker: FxHashMap<WorkerId, Vec<AttemptId>> = FxHashMap::default();
        for (worker, held) in self.workers.iter() {
            for (attempt, lease) in &held.leases {
                if lease.run == id && !lease.cancelled && scope.covers(lease.instance) {
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

impl super::run::Run {
    fn knows(&self, scope: CancelScope) -> bool {
        match scope {
            CancelScope::Run => true,
            CancelScope::Task(task) => task.at() < self.tasks.len(),
            CancelScope::Instance(instance) => {
                self.tasks.get(instance.task.at()).is_some_and(|task| instance.index < task.width)
            }
        }
    }
}
