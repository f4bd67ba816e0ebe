//! What an outcome means to those downstream: who becomes ready, who can never run.
//!
//! Cascades run over a queue of spans, never by recursion, so that a chain of any length is safe.

use std::collections::VecDeque;

use super::ready::Span;
use super::run::{Edge, Verdict};
use super::{Action, Cause, Engine, Record};
use crate::ids::{InstanceId, RunId, TaskId, Timestamp};
use crate::status::State;

/// Instances that became terminal, all alike.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) task: TaskId,
    pub(super) span: Span,
    pub(super) success: bool,
    /// The instance at the beginning of the chain of causes; the first of the span itself, unless
    /// these were skipped.
    pub(super) root: InstanceId,
}

impl Engine {
    /// Tells all downstream of `ended`, and those downstream of them, and so on.
    pub(super) fn propagate(
        &mut self,
        now: Timestamp,
        id: RunId,
        ended: Ended,
        out: &mut Vec<Action>,
    ) {
        let mut queue = VecDeque::new();
        let mut next = Some(ended);
        while let Some(ended) = next.take().or_else(|| queue.pop_front()) {
            let Some(run) = self.runs.get(&id) else { return };
            for at in run.edges(ended.task) {
                let Some(run) = self.runs.get(&id) else { return };
                match run.edge(at) {
                    Edge::Map { to, factor } => {
                        let span = Span {
                            first: ended.span.first * factor,
                            count: ended.span.count * factor,
                        };
                        if !ended.success {
                            let cause = Cause::Upstream { root: ended.root };
                            self.skip(now, id, to, span, cause, &mut queue, out);
                        } else if self.is_open(id, to) {
                            self.ready_if_blocked(id, to, span);
                        }
                    }
                    Edge::Clause { to, clause } => {
                        self.count_outcome(now, id, ended, to, clause, &mut queue, out);
                    }
                }
            }
        }
        self.note_dirty(id);
    }

    #[allow(clippy::too_many_arguments, reason = "one step of the loop above, apart for reading")]
    fn count_outcome(
        &mut self,
        now: Timestamp,
        id: RunId,
        ended: Ended,
        to: TaskId,
        clause: u32,
        queue: &mut VecDeque<Ended>,
        out: &mut Vec<Action>,
    ) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        match run.count_outcome(to, clause, ended.span.count, ended.success) {
            None | Some(Verdict::Open) => {}
            Some(Verdict::Met) => {
                let task = &mut run.tasks[to.at()];
                task.unmet -= 1;
                if task.unmet == 0 {
                    self.open(id, to);
                }
            }
            Some(Verdict::Dead) => {
                let implied = run.plan.tasks[to.at()].implied;
                let root = ended.root;
                let cause = match clause.checked_sub(implied) {
                    Some(clause) => Cause::After { clause, root },
                    None => Cause::Upstream { root },
                };
                let all = run.all(to);
                self.skip(now, id, to, all, cause, queue, out);
            }
        }
    }

    fn is_open(&self, id: RunId, task: TaskId) -> bool {
        self.runs.get(&id).is_some_and(|run| run.tasks[task.at()].unmet == 0)
    }

    /// All clauses of a task are met: its instances are ready, in a map those whose upstream is done.
    pub(super) fn open(&mut self, id: RunId, task: TaskId) {
        let Some(run) = self.runs.get(&id) else { return };
        let spans = match run.plan.tasks[task.at()].map {
            None => vec![run.all(task)],
            Some(map) => run
                .spans(map.upstream, run.all(map.upstream), |state| state == State::Succeeded)
                .into_iter()
                .map(|span| Span { first: span.first * map.factor, count: span.count * map.factor })
                .collect(),
        };
        for span in spans {
            self.ready_if_blocked(id, task, span);
        }
    }

    fn ready_if_blocked(&mut self, id: RunId, task: TaskId, span: Span) {
        let Some(run) = self.runs.get(&id) else { return };
        for span in run.spans(task, span, |state| state == State::Blocked) {
            self.make_ready(id, task, span);
        }
    }

    /// Skips those instances of the span that are still blocked.
    #[allow(clippy::too_many_arguments, reason = "one step of the loop above, apart for reading")]
    fn skip(
        &mut self,
        now: Timestamp,
        id: RunId,
        task: TaskId,
        span: Span,
        cause: Cause,
        queue: &mut VecDeque<Ended>,
        out: &mut Vec<Action>,
    ) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let (Cause::After { root, .. } | Cause::Upstream { root }) = cause else { return };
        for span in run.spans(task, span, |state| state == State::Blocked) {
            run.transition(task, span, State::Skipped);
            out.push(Action::Record(Record::without_attempt(
                id,
                task,
                span,
                State::Skipped,
                now,
                cause,
            )));
            queue.push_back(Ended { task, span, success: false, root });
        }
    }
}

impl Record {
    /// A record of instances that ended without an attempt.
    pub(super) fn without_attempt(
        run: RunId,
        task: TaskId,
        span: Span,
        state: State,
        now: Timestamp,
        cause: Cause,
    ) -> Record {
        Record {
            run,
            task,
            first_index: span.first,
            count: span.count,
            state,
            attempt: 0,
            worker: None,
            started: Timestamp(0),
            finished: now,
            cause: Some(cause),
            detail: None,
        }
    }
}
