//! What an outcome means to those downstream: who becomes ready, who can never run.
//!
//! Everything that follows from an event goes through one queue, never through recursion, so that a
//! chain of any length is safe.

use std::collections::VecDeque;

use super::clause::{Verdict, counts};
use super::event::FollowProblem;
use super::ready::Span;
use super::run::{Edge, Run};
use super::{Action, Cause, Engine, Record};
use crate::ids::{InstanceId, RunId, TaskId, Timestamp, WorkerId};
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
    /// Where they ran, if they did.
    pub(super) worker: Option<WorkerId>,
}

/// Something whose consequences are still to be drawn.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Instances became terminal.
    Ended(Ended),
    /// All clauses of a task are met.
    Open(TaskId),
    /// A task of hitherto unknown width has so many instances.
    Width(TaskId, u32),
}

/// All that follows from one event in one run.
pub(super) struct Cascade<'a> {
    pub(super) now: Timestamp,
    pub(super) id: RunId,
    pub(super) queue: VecDeque<Step>,
    pub(super) out: &'a mut Vec<Action>,
}

impl<'a> Cascade<'a> {
    pub(super) fn new(now: Timestamp, id: RunId, out: &'a mut Vec<Action>) -> Cascade<'a> {
        Cascade { now, id, queue: VecDeque::new(), out }
    }

    /// Writes down instances that ended without an attempt.
    pub(super) fn record(&mut self, task: TaskId, span: Span, state: State, cause: Cause) {
        self.out.push(Action::Record(Record {
            run: self.id,
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

impl Engine {
    /// Tells all downstream of `ended`, and those downstream of them, and so on.
    pub(super) fn propagate(
        &mut self,
        now: Timestamp,
        id: RunId,
        ended: Ended,
        out: &mut Vec<Action>,
    ) {
        let mut cascade = Cascade::new(now, id, out);
        self.tell_downstream(ended, &mut cascade);
        self.run_cascade(cascade);
        self.note_dirty(id);
    }

    pub(super) fn run_cascade(&mut self, mut cascade: Cascade<'_>) {
        while let Some(step) = cascade.queue.pop_front() {
            match step {
                Step::Ended(ended) => self.tell_downstream(ended, &mut cascade),
                Step::Open(task) => self.open(task, &mut cascade),
                Step::Width(task, width) => self.learn_width(task, width, &mut cascade),
            }
        }
    }

    /// A submitted task: what can be decided before anything has happened.
    pub(super) fn begin(&mut self, task: TaskId, cascade: &mut Cascade<'_>) {
        let Some(run) = self.runs.get_mut(&cascade.id) else { return };
        run.touch(task);
        let plan = std::sync::Arc::clone(&run.plan);
        for (clause, plan) in (0..).zip(&plan.tasks[task.at()].clauses) {
            let state = run.clause_mut(task, clause);
            state.settle(plan.quantifier);
            if state.verdict == Verdict::Met {
                run.task_mut(task).unmet -= 1;
            }
        }
        if let Some(gather) = &plan.tasks[task.at()].gather {
            let min = gather.min_success;
            for group in &mut run.task_mut(task).rare_mut().groups {
                group.judge(min);
            }
            self.skip_dead_groups(task, cascade);
        }
        if self.is_open(cascade.id, task) {
            cascade.queue.push_back(Step::Open(task));
        }
    }

    fn tell_downstream(&mut self, ended: Ended, cascade: &mut Cascade<'_>) {
        let Some(run) = self.runs.get(&cascade.id) else { return };
        for at in run.edges(ended.task) {
            let Some(run) = self.runs.get(&cascade.id) else { return };
            match run.edge(at) {
                Edge::Map { to, factor } => self.tell_map(ended, to, factor, cascade),
                Edge::Gather { to } => self.tell_gather(ended, to, cascade),
                Edge::Clause { to, clause } => self.tell_clause(ended, to, clause, cascade),
            }
        }
    }

    fn tell_map(&mut self, ended: Ended, to: TaskId, factor: u32, cascade: &mut Cascade<'_>) {
        let Some(run) = self.runs.get(&cascade.id) else { return };
        if !run.task(to).known {
            return; // Its width comes with that of the upstream, in the queue before this.
        }
        let span = Span { first: ended.span.first * factor, count: ended.span.count * factor };
        if !ended.success {
            self.skip(to, span, Cause::Upstream { root: ended.root }, cascade);
        } else if self.is_open(cascade.id, to) {
            self.ready_if_blocked(to, span, cascade);
        }
    }

    fn tell_gather(&mut self, ended: Ended, to: TaskId, cascade: &mut Cascade<'_>) {
        let Some(run) = self.runs.get_mut(&cascade.id) else { return };
        let plan = std::sync::Arc::clone(&run.plan);
        let Some(gather) = &plan.tasks[to.at()].gather else { return };
        let open = run.task(to).unmet == 0;
        let parts: Vec<(u32, u32)> = match &gather.groups {
            None => vec![(0, ended.span.count)],
            Some(groups) => (ended.span.first..ended.span.first + ended.span.count)
                .filter_map(|index| Some((*groups.get(index as usize)?, 1)))
                .collect(),
        };
        for (group, count) in parts {
            let Some(run) = self.runs.get_mut(&cascade.id) else { return };
            let groups = &mut run.task_mut(to).rare_mut().groups;
            let Some(state) = groups.get_mut(group as usize) else { continue };
            state.pending -= u64::from(count);
            match ended.success {
                true => state.succeeded += u64::from(count),
                false => state.failed += u64::from(count),
            }
            let span = Span { first: group, count: 1 };
            match state.judge(gather.min_success) {
                Some(Verdict::Met) if open => self.ready_if_blocked(to, span, cascade),
                Some(Verdict::Dead) => {
                    self.skip(to, span, Cause::Upstream { root: ended.root }, cascade);
                }
                _ => {}
            }
        }
    }

    fn tell_clause(&mut self, ended: Ended, to: TaskId, clause: u32, cascade: &mut Cascade<'_>) {
        let Some(run) = self.runs.get_mut(&cascade.id) else { return };
        let plan = run.task_plan(to);
        if let Some(follow) = follow_clause(run, to, clause) {
            self.tell_follow(ended, to, clause, follow, cascade);
            return;
        }
        let hit = counts(plan.clauses[clause as usize].on, ended.success);
        let verdict = run.count_outcome(to, clause, ended.span.count, hit);
        self.apply_verdict(verdict, to, clause, ended.root, cascade);
    }

    /// A clause has been decided, or not.
    pub(super) fn apply_verdict(
        &mut self,
        verdict: Option<Verdict>,
        to: TaskId,
        clause: u32,
        root: InstanceId,
        cascade: &mut Cascade<'_>,
    ) {
        let Some(run) = self.runs.get_mut(&cascade.id) else { return };
        match verdict {
            None | Some(Verdict::Open) => {}
            Some(Verdict::Met) => {
                let task = run.task_mut(to);
                task.unmet -= 1;
                if task.unmet == 0 {
                    cascade.queue.push_back(Step::Open(to));
                }
            }
            Some(Verdict::Dead) => {
                let cause = match clause.checked_sub(run.task_plan(to).implied) {
                    Some(clause) => Cause::After { clause, root },
                    None => Cause::Upstream { root },
                };
                self.skip_task(to, cause, cascade);
            }
        }
    }

    pub(super) fn is_open(&self, id: RunId, task: TaskId) -> bool {
        self.runs.get(&id).is_some_and(|run| run.task(task).unmet == 0)
    }

    /// All clauses of a task are met: its instances are ready, in a map those whose upstream is done,
    /// in a gather by groups those whose group is.
    fn open(&mut self, task: TaskId, cascade: &mut Cascade<'_>) {
        let Some(run) = self.runs.get(&cascade.id) else { return };
        if !run.task(task).known {
            self.find_width(task, cascade);
            return;
        }
        let plan = run.task_plan(task);
        let spans = match (plan.map, &plan.gather) {
            (None, None) => vec![run.all(task)],
            (Some(map), _) => run
                .spans(map.upstream, run.all(map.upstream), |state| state == State::Succeeded)
                .into_iter()
                .map(|span| Span { first: span.first * map.factor, count: span.count * map.factor })
                .collect(),
            (None, Some(_)) => groups_with(run, task, Verdict::Met),
        };
        for span in spans {
            self.ready_if_blocked(task, span, cascade);
        }
    }

    fn ready_if_blocked(&mut self, task: TaskId, span: Span, cascade: &mut Cascade<'_>) {
        let Some(run) = self.runs.get(&cascade.id) else { return };
        for span in run.spans(task, span, |state| state == State::Blocked) {
            self.make_ready(cascade.id, task, span);
            self.bound_wait(cascade.now, cascade.id, task, span);
        }
    }

    /// Makes instances ready, behind those that already are.
    pub(super) fn make_ready(&mut self, id: RunId, task: TaskId, span: Span) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.transition(task, span, State::Ready);
        run.task_mut(task).ready.push_back(span);
        self.enlist(id, task);
    }

    /// Groups that were out of reach from the start.
    fn skip_dead_groups(&mut self, task: TaskId, cascade: &mut Cascade<'_>) {
        let Some(run) = self.runs.get(&cascade.id) else { return };
        for span in groups_with(run, task, Verdict::Dead) {
            let root = InstanceId { task, index: span.first };
            self.skip(task, span, Cause::Upstream { root }, cascade);
        }
    }

    /// No instance of the task can ever run.
    pub(super) fn skip_task(&mut self, task: TaskId, cause: Cause, cascade: &mut Cascade<'_>) {
        let Some(run) = self.runs.get_mut(&cascade.id) else { return };
        if run.task(task).known {
            let all = run.all(task);
            self.skip(task, all, cause, cascade);
            return;
        }
        run.task_mut(task).rare_mut().doomed.get_or_insert(cause);
        if run.task_plan(task).map.is_none() {
            // It stands for what it would have scattered, so that those downstream know.
            cascade.queue.push_back(Step::Width(task, 1));
        }
    }

    /// Skips those instances of the span that have not been handed to a worker or ended.
    pub(super) fn skip(
        &mut self,
        task: TaskId,
        span: Span,
        cause: Cause,
        cascade: &mut Cascade<'_>,
    ) {
        let waits = |state| matches!(state, State::Blocked | State::Ready | State::Backoff);
        let cancelled = matches!(cause, Cause::Cancelled);
        let state = if cancelled { State::Cancelled } else { State::Skipped };
        for span in self.withdraw(cascade.id, task, span, waits, state) {
            cascade.record(task, span, state, cause);
            if cause.is_a_failure()
                && let Some(run) = self.runs.get_mut(&cascade.id)
            {
                run.fails(task, cascade.id, &mut self.failing);
            }
            let own = InstanceId { task, index: span.first };
            let root = cause.root().unwrap_or(own);
            cascade.queue.push_back(Step::Ended(Ended {
                task,
                span,
                success: false,
                root,
                worker: None,
            }));
        }
    }
}

/// The position of a clause among those of `follow`, if it is one.
pub(super) fn follow_clause(run: &Run, task: TaskId, clause: u32) -> Option<usize> {
    let plan = run.task_plan(task);
    let others = plan.clauses.len() - plan.follows as usize;
    (clause as usize).checked_sub(others)
}

fn groups_with(run: &Run, task: TaskId, verdict: Verdict) -> Vec<Span> {
    let groups = run.task(task).rare().map_or(&[][..], |rare| &rare.groups);
    let found = (0..).zip(groups).filter(|(_, group)| group.verdict == verdict);
    found.map(|(first, _)| Span { first, count: 1 }).collect()
}

impl Cause {
    /// Whether a skip for this reason fails the run: nobody asked for it, and nothing that failed
    /// accounts for it.
    fn is_a_failure(self) -> bool {
        match self {
            Cause::Follow { why, .. } => why != FollowProblem::Outcome,
            Cause::Scatter { .. } => true,
            _ => false,
        }
    }

    /// The instance at the beginning of the chain, when it is another than the one that ended.
    pub(super) fn root(self) -> Option<InstanceId> {
        match self {
            Cause::After { root, .. }
            | Cause::Upstream { root }
            | Cause::Follow { root, .. }
            | Cause::Scatter { root, .. } => Some(root),
            Cause::Attempt(_)
            | Cause::Cancelled
            | Cause::LostTooOften
            | Cause::NotStartedInTime
            | Cause::TakenOver { .. } => None,
        }
    }
}
