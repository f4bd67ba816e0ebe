//! `follow`: an `after` that also places. The worker is chosen when the clause is met.

use super::cascade::{Cascade, Ended};
use super::clause::{Verdict, counts};
use super::event::FollowProblem;
use super::plan::TaskPlan;
use super::{Action, Cause, Engine};
use crate::ids::{InstanceId, RunId, TaskId, Timestamp, WorkerId};
use crate::pipeline::Quantifier;
use crate::status::State;

impl Engine {
    /// An upstream of a clause of `follow` ended. With `any` only one that ran on a worker which is
    /// still present counts; with `all` a second worker decides at once.
    pub(super) fn tell_follow(
        &mut self,
        ended: Ended,
        to: TaskId,
        clause: u32,
        follow: usize,
        cascade: &mut Cascade<'_>,
    ) {
        let Some(run) = self.runs.get_mut(&cascade.id) else { return };
        let plan = &run.plan.clone().tasks[to.at()].clauses[clause as usize];
        let counted = counts(plan.on, ended.success);
        let present = ended.worker.filter(|worker| self.workers.get(*worker).is_some());
        if let (true, Some(worker), Some(seen)) =
            (counted, ended.worker, run.task_mut(to).rare_mut().followed.get_mut(follow))
            && !seen.contains(&worker)
        {
            seen.push(worker);
        }
        let hit = counted && (plan.quantifier == Quantifier::All || present.is_some());
        let verdict = run.count_outcome(to, clause, ended.span.count, hit);
        let workers = run.task(to).rare().and_then(|rare| rare.followed.get(follow));
        let several = workers.map_or(0, Vec::len) > 1;
        if plan.quantifier == Quantifier::All && verdict.is_none() && several {
            if run.clause(to, clause).verdict == Verdict::Open {
                let why = FollowProblem::SeveralWorkers;
                self.cannot_follow(to, follow, ended.root, why, cascade);
            }
            return;
        }
        match (plan.quantifier, verdict, present) {
            (Quantifier::Any, Some(Verdict::Met), Some(worker)) => {
                self.pin(to, follow, worker, ended.root, cascade);
            }
            _ => self.settle_follow(verdict, to, clause, follow, ended.root, cascade),
        }
    }

    /// A clause of `follow` has been decided, or not, by its last outcome.
    pub(super) fn settle_follow(
        &mut self,
        verdict: Option<Verdict>,
        to: TaskId,
        clause: u32,
        follow: usize,
        root: InstanceId,
        cascade: &mut Cascade<'_>,
    ) {
        let Some(run) = self.runs.get_mut(&cascade.id) else { return };
        let total = run.clause(to, clause).total;
        let quantifier = run.task_plan(to).clauses[clause as usize].quantifier;
        let workers = run.task(to).rare().and_then(|rare| rare.followed.get(follow));
        let workers: Vec<WorkerId> = workers.cloned().unwrap_or_default();
        let problem = match (verdict, quantifier, workers.as_slice()) {
            (None | Some(Verdict::Open), ..) => return,
            (Some(Verdict::Met), ..) if total == 0 => {
                // An empty set is met, and places nothing.
                self.apply_verdict(verdict, to, clause, root, cascade);
                return;
            }
            (Some(Verdict::Met), _, [worker]) => {
                self.pin(to, follow, *worker, root, cascade);
                return;
            }
            (Some(Verdict::Met), _, []) => FollowProblem::NeverRan,
            (Some(Verdict::Met), ..) => FollowProblem::SeveralWorkers,
            (Some(Verdict::Dead), Quantifier::Any, [_, ..]) => FollowProblem::WorkerGone,
            (Some(Verdict::Dead), Quantifier::Any, []) => self.why_none(cascade.id, to, clause),
            (Some(Verdict::Dead), Quantifier::All, _) => FollowProblem::Outcome,
        };
        self.cannot_follow(to, follow, root, problem, cascade);
    }

    /// Why no upstream of a clause of `any` offers a worker: none had an outcome that counts, or none
    /// of those that had one ever ran.
    fn why_none(&self, id: RunId, to: TaskId, clause: u32) -> FollowProblem {
        let Some(run) = self.runs.get(&id) else { return FollowProblem::Outcome };
        let plan = &run.task_plan(to).clauses[clause as usize];
        let counted = plan.upstreams.iter().any(|upstream| {
            let ended = State::ALL.into_iter().filter(|state| state.is_terminal());
            ended
                .filter(|state| counts(plan.on, *state == State::Succeeded))
                .any(|state| run.task(*upstream).counts.of(state) > 0)
        });
        if counted { FollowProblem::NeverRan } else { FollowProblem::Outcome }
    }

    /// The task follows `worker` from now on.
    fn pin(
        &mut self,
        to: TaskId,
        follow: usize,
        worker: WorkerId,
        root: InstanceId,
        cascade: &mut Cascade<'_>,
    ) {
        let id = cascade.id;
        if self.workers.get(worker).is_none() {
            self.cannot_follow(to, follow, root, FollowProblem::WorkerGone, cascade);
            return;
        }
        let Some(run) = self.runs.get_mut(&id) else { return };
        let other = run.task(to).rare().and_then(|rare| rare.pin);
        if other.is_some_and(|other| other != worker) {
            self.cannot_follow(to, follow, root, FollowProblem::SeveralWorkers, cascade);
            return;
        }
        if other.is_none() {
            run.task_mut(to).rare_mut().pin = Some(worker);
            let class = run.task(to).class;
            if let Some(needs) = self.classes.get(class).cloned() {
                let class_of_one = self.classes.join(super::Needs { pin: Some(worker), ..needs });
                self.classes.leave(class);
                run.task_mut(to).class = class_of_one;
            }
            self.workers.update(worker, |held| held.followers.push((id, to)));
        }
        self.apply_verdict(Some(Verdict::Met), to, 0, root, cascade);
    }

    fn cannot_follow(
        &mut self,
        to: TaskId,
        follow: usize,
        root: InstanceId,
        why: FollowProblem,
        cascade: &mut Cascade<'_>,
    ) {
        let Some(run) = self.runs.get_mut(&cascade.id) else { return };
        let clause = u32::try_from(follow).unwrap_or(u32::MAX);
        let plan = run.task_plan(to);
        let others = u32::try_from(plan.clauses.len()).unwrap_or(u32::MAX) - plan.follows;
        run.clause_mut(to, others + clause).verdict = Verdict::Dead;
        self.skip_task(to, Cause::Follow { clause, root, why }, cascade);
    }

    /// A worker is gone: what was bound to it and has not started never will.
    pub(super) fn drop_followers(
        &mut self,
        now: Timestamp,
        gone: WorkerId,
        followers: &[(RunId, TaskId)],
        out: &mut Vec<Action>,
    ) {
        for &(id, task) in followers {
            let Some(run) = self.runs.get_mut(&id) else { continue };
            let root = run.followed_instance(task);
            let why = FollowProblem::WorkerGone;
            let cause = Cause::Follow { clause: 0, root, why };
            let each = run.task(task).rare().map(|rare| rare.each.clone()).unwrap_or_default();
            let mut cascade = Cascade::new(now, id, out);
            if each.is_empty() {
                self.skip_task(task, cause, &mut cascade);
            } else if self.runs.get(&id).is_some_and(|run| run.task(task).known) {
                for (index, _) in (0..).zip(each).filter(|(_, worker)| *worker == gone) {
                    let span = super::ready::Span { first: index, count: 1 };
                    self.skip(task, span, cause, &mut cascade);
                }
            }
            self.run_cascade(cascade);
            self.finish_if_done(id, out);
        }
    }
}

/// The tasks that a task follows.
pub(super) fn followed(plan: &TaskPlan) -> impl Iterator<Item = TaskId> + '_ {
    let others = plan.clauses.len() - plan.follows as usize;
    plan.clauses[others..].iter().flat_map(|clause| clause.upstreams.iter().copied())
}

impl super::run::Run {
    /// An instance that a task follows, to name in a reason.
    fn followed_instance(&self, task: TaskId) -> InstanceId {
        let upstream = followed(self.task_plan(task)).next();
        InstanceId { task: upstream.unwrap_or(task), index: 0 }
    }
}
