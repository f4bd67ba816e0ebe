//! `follow`: an `after` that also places. The worker is chosen when the clause is met.

use super::clause::{Verdict, counts};
use super::event::FollowProblem;
use super::needs::Needs;
use super::ready::Span;
use super::turn::{Conclusion, Turn};
use super::{Action, Cause, Engine};
use crate::ids::{InstanceId, RunId, TaskId, Timestamp, WorkerId};
use crate::pipeline::Quantifier;
use crate::status::State;

impl Turn<'_> {
    /// An upstream of a clause of `follow` ended. With `any` only one that ran on a worker which is
    /// still present counts; with `all` a second worker decides at once.
    pub(super) fn notify_follow(
        &mut self,
        ended: Conclusion,
        to: TaskId,
        clause: u32,
        follow: usize,
    ) {
        let plan = &self.run.task_plan(to).clauses[clause as usize];
        let (quantifier, counted) = (plan.quantifier, counts(plan.on, ended.success));
        let present = ended.worker.filter(|worker| self.hub.workers.get(*worker).is_some());
        let seen = self.run.task_mut(to).rare_mut().followed.get_mut(follow);
        if let (true, Some(worker), Some(seen)) = (counted, ended.worker, seen)
            && !seen.contains(&worker)
        {
            seen.push(worker);
        }
        let hit = counted && (quantifier == Quantifier::All || present.is_some());
        let verdict = self.run.count_outcome(to, clause, ended.span.count, hit);
        let several = self.followed_workers(to, follow).len() > 1;
        if quantifier == Quantifier::All && verdict.is_none() && several {
            if self.run.clause(to, clause).verdict == Verdict::Open {
                self.cannot_follow(to, follow, ended.root, FollowProblem::SeveralWorkers);
            }
            return;
        }
        match (quantifier, verdict, present) {
            (Quantifier::Any, Some(Verdict::Met), Some(worker)) => {
                self.pin(to, follow, worker, ended.root);
            }
            _ => self.settle_follow(verdict, to, clause, follow, ended.root),
        }
    }

    /// Applies the verdict on a clause of `follow`, if it is decided, and chooses the worker.
    pub(super) fn settle_follow(
        &mut self,
        verdict: Option<Verdict>,
        to: TaskId,
        clause: u32,
        follow: usize,
        root: InstanceId,
    ) {
        let total = self.run.clause(to, clause).total;
        let quantifier = self.run.task_plan(to).clauses[clause as usize].quantifier;
        let problem = match (verdict, quantifier, self.followed_workers(to, follow)) {
            (None | Some(Verdict::Open), ..) => return,
            (Some(Verdict::Met), ..) if total == 0 => {
                // An empty set is met, and does not constrain placement.
                self.apply_verdict(verdict, to, clause, root);
                return;
            }
            (Some(Verdict::Met), _, &[worker]) => {
                self.pin(to, follow, worker, root);
                return;
            }
            (Some(Verdict::Met), _, []) => FollowProblem::NeverRan,
            (Some(Verdict::Met), ..) => FollowProblem::SeveralWorkers,
            (Some(Verdict::Dead), Quantifier::Any, [_, ..]) => FollowProblem::WorkerLost,
            (Some(Verdict::Dead), Quantifier::Any, []) => self.why_none(to, clause),
            (Some(Verdict::Dead), Quantifier::All, _) => FollowProblem::Outcome,
        };
        self.cannot_follow(to, follow, root, problem);
    }

    /// Where the upstreams of a clause of `follow` ran that count, each worker once.
    fn followed_workers(&self, to: TaskId, follow: usize) -> &[WorkerId] {
        let workers = self.run.task(to).rare().and_then(|rare| rare.followed.get(follow));
        workers.map_or(&[], Vec::as_slice)
    }

    /// Why no upstream of a clause of `any` provides a worker: none had an outcome that counts, or
    /// none of those that had one ever ran.
    fn why_none(&self, to: TaskId, clause: u32) -> FollowProblem {
        let plan = &self.run.task_plan(to).clauses[clause as usize];
        let counted = plan.upstreams.iter().any(|upstream| {
            let ended = State::ALL.into_iter().filter(|state| state.is_terminal());
            ended
                .filter(|state| counts(plan.on, *state == State::Succeeded))
                .any(|state| self.run.task(*upstream).counts.of(state) > 0)
        });
        if counted { FollowProblem::NeverRan } else { FollowProblem::Outcome }
    }

    /// The task follows `worker` from now on.
    fn pin(&mut self, to: TaskId, follow: usize, worker: WorkerId, root: InstanceId) {
        if self.hub.workers.get(worker).is_none() {
            self.cannot_follow(to, follow, root, FollowProblem::WorkerLost);
            return;
        }
        let other = self.run.task(to).rare().and_then(|rare| rare.pin);
        if other.is_some_and(|other| other != worker) {
            self.cannot_follow(to, follow, root, FollowProblem::SeveralWorkers);
            return;
        }
        if other.is_none() {
            self.run.task_mut(to).rare_mut().pin = Some(worker);
            let class = self.run.task(to).class;
            if let Some(needs) = self.hub.classes.get(class).cloned() {
                let class_of_one = self.hub.classes.join(Needs { pin: Some(worker), ..needs });
                self.hub.classes.leave(class);
                self.run.task_mut(to).class = class_of_one;
                self.run.task_mut(to).listed = class_of_one;
            }
            let id = self.run.id;
            self.hub.workers.update(worker, |held| held.followers.push((id, to)));
        }
        self.apply_verdict(Some(Verdict::Met), to, 0, root);
    }

    fn cannot_follow(&mut self, to: TaskId, follow: usize, root: InstanceId, why: FollowProblem) {
        let clause = u32::try_from(follow).unwrap_or(u32::MAX);
        let plan = self.run.task_plan(to);
        let others = u32::try_from(plan.clauses.len()).unwrap_or(u32::MAX) - plan.follows;
        self.run.clause_mut(to, others + clause).verdict = Verdict::Dead;
        self.skip_task(to, Cause::Follow { clause, root, why });
    }

    /// A worker is lost: the task's instances that were bound to it and have not started never
    /// will.
    fn drop_follower(&mut self, lost: WorkerId, task: TaskId) {
        // An instance that it follows, to name in the reason.
        let upstream = self.run.task_plan(task).followed().next();
        let root = InstanceId { task: upstream.unwrap_or(task), index: 0 };
        let cause = Cause::Follow { clause: 0, root, why: FollowProblem::WorkerLost };
        let each = self.run.task(task).rare().map(|rare| rare.each.clone()).unwrap_or_default();
        if each.is_empty() {
            self.skip_task(task, cause);
        } else if self.run.task(task).width.is_some() {
            for (first, _) in (0..).zip(each).filter(|(_, worker)| *worker == lost) {
                self.skip(task, Span { first, count: 1 }, cause);
            }
        }
    }
}

impl Engine {
    /// A worker is lost: instances that were bound to it and have not started never will.
    pub(super) fn drop_followers(
        &mut self,
        now: Timestamp,
        lost: WorkerId,
        followers: &[(RunId, TaskId)],
        out: &mut Vec<Action>,
    ) {
        let mut left = followers.to_vec();
        while let Some(&(id, _)) = left.first() {
            let (of_run, others): (Vec<_>, Vec<_>) = left.iter().partition(|(run, _)| *run == id);
            left = others;
            let Some(mut turn) = self.turn(now, id, out) else { continue };
            // All of them before any consequence: the end of one must not open another, which the
            // loss of the worker has closed too.
            of_run.iter().for_each(|(_, task)| turn.drop_follower(lost, *task));
            turn.settle();
        }
    }
}
