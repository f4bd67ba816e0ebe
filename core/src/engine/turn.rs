//! A turn: one run, looked up once, and the state that it shares with all others, until all
//! consequences of an event are drawn. The operations that all topics need are here; each topic
//! adds its own in its own file.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::claims::Claims;
use super::deadlines::Deadlines;
use super::held::HeldValues;
use super::needs::Classes;
use super::ready::{ReadyTasks, Span};
use super::run::Run;
use super::scheme::{Scheme, SplitMix};
use super::workers::Workers;
use super::{Action, Cause, Record};
use crate::ids::{InstanceId, RunId, TaskId, Timestamp, WorkerId};
use crate::status::{RunState, State};

/// What all runs share.
#[derive(Debug, Default)]
pub(super) struct Hub {
    pub(super) workers: Workers,
    pub(super) classes: Classes,
    pub(super) ready: ReadyTasks,
    pub(super) deadlines: Deadlines,
    pub(super) scheme: Scheme,
    pub(super) random: SplitMix,
    pub(super) last_attempt: u64,
    pub(super) submitted: u64,
    pub(super) stale: u64,
    /// How many runs have not ended.
    pub(super) live: usize,
    /// Runs with dirty tasks.
    pub(super) dirty: Vec<RunId>,
    /// The values that workers hold, or held, of a run that has not been forgotten.
    pub(super) held: BTreeMap<RunId, HeldValues>,
    /// Runs with fail-fast in which an instance has failed.
    pub(super) failing: Vec<RunId>,
    /// Tasks some of whose instances avoid workers.
    pub(super) choosy: BTreeSet<(RunId, TaskId)>,
    /// Attempts of an earlier scheduler that workers have.
    pub(super) claims: Claims,
}

/// Instances that became terminal, all alike.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conclusion {
    pub(super) task: TaskId,
    pub(super) span: Span,
    pub(super) success: bool,
    /// The instance at the beginning of the chain of causes; the first of the span itself, unless
    /// these were skipped.
    pub(super) root: InstanceId,
    /// Where they ran, if they did.
    pub(super) worker: Option<WorkerId>,
}

/// A change whose consequences have not been drawn yet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Instances became terminal.
    Ended(Conclusion),
    /// All clauses of a task are met.
    Open(TaskId),
    /// A task whose width was unknown has this many instances.
    Width(TaskId, u32),
}

/// The handling of an event for one run.
pub(super) struct Turn<'a> {
    pub(super) now: Timestamp,
    pub(super) run: &'a mut Run,
    pub(super) hub: &'a mut Hub,
    pub(super) out: &'a mut Vec<Action>,
    /// All consequences pass through this queue, never through recursion, so that a chain of any
    /// length is safe.
    pub(super) queue: VecDeque<Step>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(
        now: Timestamp,
        run: &'a mut Run,
        hub: &'a mut Hub,
        out: &'a mut Vec<Action>,
    ) -> Turn<'a> {
        if !std::mem::replace(&mut run.noted, true) {
            hub.dirty.push(run.id);
        }
        Turn { now, run, hub, out, queue: VecDeque::new() }
    }

    /// Draws all consequences, and ends the run if nothing of it is left.
    pub(super) fn settle(mut self) {
        while let Some(step) = self.queue.pop_front() {
            match step {
                Step::Ended(ended) => self.notify_downstream(ended),
                Step::Open(task) => self.open(task),
                Step::Width(task, width) => {
                    self.learn_width(task, width);
                    if width == 0 {
                        // No end of an instance will follow.
                        self.remove_unneeded_by(task);
                    }
                }
            }
        }
        if self.run.open > 0 || self.run.state != RunState::Running {
            return;
        }
        let Turn { run, hub, .. } = &mut self;
        // An interruption that came too late to cut anything off is none.
        let cut = || run.tasks.iter().any(|task| task.counts.of(State::Cancelled) > 0);
        run.state = match (run.cancelled, run.failed) {
            (true, _) => RunState::Cancelled,
            _ if run.interrupted && cut() => RunState::Interrupted,
            (false, true) => RunState::Failed,
            (false, false) => RunState::Succeeded,
        };
        hub.live -= 1;
        if let Some(held) = hub.held.get_mut(&run.id) {
            held.release_all(); // No instance will consume any of its values any more.
        }
        self.remove_rest();
        self.out.push(Action::RunFinished { run: self.run.id, state: self.run.state });
    }

    /// Moves instances to another state.
    pub(super) fn transition(&mut self, task: TaskId, span: Span, to: State) {
        self.run.transition(task, span, to);
        if to.is_terminal()
            && let Some(held) = self.hub.held.get_mut(&self.run.id)
        {
            held.ended(self.run, task, span);
            held.remade.forget(task, span);
        }
    }

    /// So many instances of a task failed for good; too many of them end the rest of the run.
    pub(super) fn fails(&mut self, task: TaskId, count: u64) {
        if self.run.task_plan(task).conduct.allow_failure {
            return;
        }
        self.run.failed = true;
        self.run.failures += count;
        if !self.run.ending && self.run.has_too_many_failures() {
            self.hub.failing.push(self.run.id);
        }
    }

    /// Puts a task into the ready set if it belongs there.
    pub(super) fn enlist(&mut self, task: TaskId) {
        let state = self.run.task(task);
        if state.parked {
            return;
        }
        let key = self.run.key(task);
        if !state.ready.is_empty() {
            self.hub.ready.insert(state.listed, key);
        }
        for one in state.apart().iter().filter(|one| !one.queue.is_empty()) {
            self.hub.ready.insert(one.class, key);
        }
    }

    /// Takes a task out of the ready set.
    pub(super) fn delist(&mut self, task: TaskId) {
        let (state, key) = (self.run.task(task), self.run.key(task));
        self.hub.ready.remove(state.listed, &key);
        for one in state.apart() {
            self.hub.ready.remove(one.class, &key);
        }
    }

    /// Makes instances ready, behind those that already are.
    pub(super) fn make_ready(&mut self, task: TaskId, span: Span) {
        if self.makes_values_again() {
            let alone = |index| Span { first: index, count: 1 };
            for index in span.first..span.first + span.count {
                match self.lacks_values(InstanceId { task, index }) {
                    true => self.wait_for_values(InstanceId { task, index }),
                    false => self.push_ready(task, alone(index)),
                }
            }
            return;
        }
        self.push_ready(task, span);
    }

    fn push_ready(&mut self, task: TaskId, span: Span) {
        self.transition(task, span, State::Ready);
        self.run.task_mut(task).ready.push_back(span);
        self.enlist(task);
    }

    /// Ends those instances of the span that `wanted` names, and that no worker holds, without an
    /// attempt; returns how many.
    pub(super) fn withdraw(
        &mut self,
        task: TaskId,
        span: Span,
        wanted: impl Fn(State) -> bool,
        to: State,
        cause: Cause,
    ) -> u64 {
        let spans = self.run.spans(task, span, wanted);
        if spans.is_empty() {
            return 0;
        }
        self.delist(task);
        let count = spans.iter().map(|span| u64::from(span.count)).sum();
        let whole = span == self.run.all(task);
        if whole {
            // The ready instances are among those that end.
            self.run.task_mut(task).clear_ready();
        }
        for span in &spans {
            self.unqueue(task, *span, whole);
            self.transition(task, *span, to);
        }
        self.enlist(task);
        for span in spans {
            self.record(task, span, to, cause);
            let root = cause.root().unwrap_or(InstanceId { task, index: span.first });
            let ended = Conclusion { task, span, success: false, root, worker: None };
            self.queue.push_back(Step::Ended(ended));
        }
        count
    }

    /// Forgets instances that end: their places in the queue, unless it is `cleared`, and their
    /// past.
    fn unqueue(&mut self, task: TaskId, span: Span, cleared: bool) {
        for index in span.first..span.first + span.count {
            let queued = !cleared && !self.run.task(task).has_none_ready();
            if queued {
                self.run.task_mut(task).unready(index);
            }
            if !self.run.histories.is_empty() {
                self.run.histories.remove(&InstanceId { task, index });
            } else if !queued {
                break;
            }
        }
    }

    /// Records instances that ended without an attempt.
    fn record(&mut self, task: TaskId, span: Span, state: State, cause: Cause) {
        self.out.push(Action::Record(Record {
            run: self.run.id,
            task,
            first_index: span.first,
            count: span.count,
            state,
            attempt: 0,
            worker: None,
            started: Timestamp(0),
            finished: self.now,
            cause: Some(cause),
            detail: None,
        }));
    }
}
