//! The effects of an outcome downstream: which instances become ready, which can never run.

use std::sync::Arc;

use super::Cause;
use super::clause::{Verdict, counts};
use super::event::FollowProblem;
use super::plan::Edge;
use super::ready::Span;
use super::run::Run;
use super::turn::{Conclusion, Step, Turn};
use crate::ids::{InstanceId, TaskId};
use crate::status::State;

impl Turn<'_> {
    /// Starts a submitted run: decides what can be decided before any event.
    pub(super) fn begin(&mut self) {
        let plan = Arc::clone(&self.run.plan);
        for (task, plan) in (0..).map(TaskId).zip(&plan.tasks) {
            self.run.touch(task);
            for (clause, plan) in (0..).zip(&plan.clauses) {
                let state = self.run.clause_mut(task, clause);
                state.settle(plan.quantifier);
                if state.verdict == Verdict::Met {
                    self.run.task_mut(task).unmet -= 1;
                }
            }
            if let Some(gather) = &plan.gather {
                for group in &mut self.run.task_mut(task).rare_mut().groups {
                    group.judge(gather.min_success);
                }
                // Groups that could never be met from the start.
                for span in groups_with(self.run, task, Verdict::Dead) {
                    let root = InstanceId { task, index: span.first };
                    self.skip(task, span, Cause::Upstream { root });
                }
            }
            self.open_if_met(task);
        }
    }

    pub(super) fn notify_downstream(&mut self, ended: Conclusion) {
        if !self.makes_values_again() {
            self.notify_once(ended);
            return;
        }
        for part in self.made_again(ended) {
            self.notify_once(part);
        }
    }

    /// Instances have ended for the first time.
    fn notify_once(&mut self, ended: Conclusion) {
        self.remove_unneeded(ended);
        for at in self.run.edges(ended.task) {
            match self.run.edge(at) {
                Edge::Map { to, factor } => self.notify_map(ended, to, factor),
                Edge::Gather { to } => self.notify_gather(ended, to),
                Edge::Clause { to, clause } => self.notify_clause(ended, to, clause),
            }
        }
    }

    fn notify_map(&mut self, ended: Conclusion, to: TaskId, factor: u32) {
        if self.run.task(to).width.is_none() {
            return; // Its width comes with that of the upstream, in the queue before this.
        }
        let span = Span { first: ended.span.first * factor, count: ended.span.count * factor };
        if !ended.success {
            self.skip(to, span, Cause::Upstream { root: ended.root });
        } else if self.is_open(to) {
            self.ready_if_blocked(to, span);
        }
    }

    fn notify_gather(&mut self, ended: Conclusion, to: TaskId) {
        let plan = Arc::clone(&self.run.plan);
        let Some(gather) = &plan.tasks[to.at()].gather else { return };
        let open = self.is_open(to);
        let parts: Vec<(u32, u32)> = match &gather.groups {
            None => vec![(0, ended.span.count)],
            Some(groups) => (ended.span.first..ended.span.first + ended.span.count)
                .filter_map(|index| Some((*groups.get(index as usize)?, 1)))
                .collect(),
        };
        for (group, count) in parts {
            let groups = &mut self.run.task_mut(to).rare_mut().groups;
            let Some(state) = groups.get_mut(group as usize) else { continue };
            state.pending -= u64::from(count);
            match ended.success {
                true => state.succeeded += u64::from(count),
                false => state.failed += u64::from(count),
            }
            let span = Span { first: group, count: 1 };
            match state.judge(gather.min_success) {
                Some(Verdict::Met) if open => self.ready_if_blocked(to, span),
                Some(Verdict::Dead) => self.skip(to, span, Cause::Upstream { root: ended.root }),
                _ => {}
            }
        }
    }

    fn notify_clause(&mut self, ended: Conclusion, to: TaskId, clause: u32) {
        let plan = self.run.task_plan(to);
        if let Some(follow) = plan.follow_clause(clause) {
            self.notify_follow(ended, to, clause, follow);
            return;
        }
        let hit = counts(plan.clauses[clause as usize].on, ended.success);
        let verdict = self.run.count_outcome(to, clause, ended.span.count, hit);
        self.apply_verdict(verdict, to, clause, ended.root);
    }

    /// Applies the verdict on a clause, if it is decided.
    pub(super) fn apply_verdict(
        &mut self,
        verdict: Option<Verdict>,
        to: TaskId,
        clause: u32,
        root: InstanceId,
    ) {
        match verdict {
            None | Some(Verdict::Open) => {}
            Some(Verdict::Met) => {
                self.run.task_mut(to).unmet -= 1;
                self.open_if_met(to);
            }
            Some(Verdict::Dead) => {
                let cause = match clause.checked_sub(self.run.task_plan(to).implied) {
                    Some(clause) => Cause::After { clause, root },
                    None => Cause::Upstream { root },
                };
                self.skip_task(to, cause);
            }
        }
    }

    pub(super) fn is_open(&self, task: TaskId) -> bool {
        self.run.task(task).unmet == 0
    }

    pub(super) fn open_if_met(&mut self, task: TaskId) {
        if self.is_open(task) {
            self.queue.push_back(Step::Open(task));
        }
    }

    /// All clauses of a task are met: its instances are ready, in a map those whose upstream is
    /// done, in a gather by groups those whose group is.
    pub(super) fn open(&mut self, task: TaskId) {
        if self.run.task(task).width.is_none() {
            self.find_width(task);
            return;
        }
        let plan = self.run.task_plan(task);
        let spans = match (plan.map, &plan.gather) {
            (None, None) => vec![self.run.all(task)],
            (Some(map), _) => self
                .succeeded(map.upstream)
                .into_iter()
                .map(|span| Span { first: span.first * map.factor, count: span.count * map.factor })
                .collect(),
            (None, Some(_)) => groups_with(self.run, task, Verdict::Met),
        };
        for span in spans {
            self.ready_if_blocked(task, span);
        }
    }

    /// The instances of a task that have succeeded; what is made again has done so before.
    fn succeeded(&self, task: TaskId) -> Vec<Span> {
        let all = self.run.all(task);
        let mut spans = self.run.spans(task, all, |state| state == State::Succeeded);
        spans.extend(self.made_again_of(task).into_iter().map(|first| Span { first, count: 1 }));
        spans
    }

    fn ready_if_blocked(&mut self, task: TaskId, span: Span) {
        if !self.run.delayed.is_empty() {
            self.wait_on(task, span);
        }
        for span in self.run.spans(task, span, |state| state == State::Blocked) {
            self.make_ready(task, span);
            self.bound_wait(task, span);
        }
    }

    /// No instance of the task can ever run.
    pub(super) fn skip_task(&mut self, task: TaskId, cause: Cause) {
        if self.run.task(task).width.is_some() {
            self.skip(task, self.run.all(task), cause);
            return;
        }
        self.run.task_mut(task).rare_mut().doomed.get_or_insert(cause);
        if self.run.task_plan(task).map.is_none() {
            // One instance represents those that it would have scattered, so that downstream tasks
            // are decided.
            self.queue.push_back(Step::Width(task, 1));
        }
    }

    /// Skips those instances of the span that have not been handed to a worker or ended.
    pub(super) fn skip(&mut self, task: TaskId, span: Span, cause: Cause) {
        let cancelled = matches!(cause, Cause::Cancelled);
        let to = if cancelled { State::Cancelled } else { State::Skipped };
        let count = self.withdraw(task, span, State::waits, to, cause);
        if count > 0 && cause.is_a_failure() {
            self.fails(task, count);
        }
    }
}

fn groups_with(run: &Run, task: TaskId, verdict: Verdict) -> Vec<Span> {
    let groups = run.task(task).rare().map_or(&[][..], |rare| &rare.groups);
    let found = (0..).zip(groups).filter(|(_, group)| group.verdict == verdict);
    found.map(|(first, _)| Span { first, count: 1 }).collect()
}

impl State {
    /// Whether it waits, and no worker holds it.
    pub(super) fn waits(self) -> bool {
        matches!(self, State::Blocked | State::Ready | State::Backoff)
    }
}

impl Cause {
    /// Whether a skip for this reason fails the run: it was not requested, and no failed instance
    /// explains it.
    pub(super) fn is_a_failure(self) -> bool {
        match self {
            Cause::Follow { why, .. } => why != FollowProblem::Outcome,
            Cause::Scatter { .. } => true,
            _ => false,
        }
    }

    /// The instance at the beginning of the chain, if it is not the one that ended.
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
            | Cause::NotSelected
            | Cause::Reopened(_)
            | Cause::TakenOver { .. } => None,
        }
    }
}
