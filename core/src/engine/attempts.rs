//! What workers report of attempts, and what becomes of their instances.

use super::cascade::Ended;
use super::ready::Span;
use super::run::History;
use super::scheme::SplitMix;
use super::workers::Lease;
use super::{Action, CancelScope, Cause, Engine, Outcome, Record, Report};
use crate::ids::{AttemptId, InstanceId, Micros, RunId, Timestamp, WorkerId};
use crate::pipeline::Retry;
use crate::status::{Detail, FailureKind, RunState, State};

/// An attempt that has left its worker's hands.
struct Attempt {
    run: RunId,
    instance: InstanceId,
    number: u32,
    worker: WorkerId,
    started: Timestamp,
    finished: Timestamp,
    detail: Option<Box<Detail>>,
}

impl Attempt {
    fn record(&mut self, state: State, cause: Option<Cause>) -> Action {
        Action::Record(Record {
            run: self.run,
            task: self.instance.task,
            first_index: self.instance.index,
            count: 1,
            state,
            attempt: self.number,
            worker: Some(self.worker),
            started: self.started,
            finished: self.finished,
            cause,
            detail: self.detail.take(),
        })
    }

    fn span(&self) -> Span {
        Span { first: self.instance.index, count: 1 }
    }

    fn without_detail(&self) -> Attempt {
        Attempt { detail: None, ..*self }
    }
}

impl Engine {
    pub(super) fn report(
        &mut self,
        now: Timestamp,
        worker: WorkerId,
        reports: Vec<Report>,
        out: &mut Vec<Action>,
    ) {
        for report in reports {
            let held = self.workers.get(worker).map_or(0, |worker| worker.leases.len());
            if report.count as usize > held
                || report.first.0.checked_add(report.count.into()).is_none()
            {
                self.stale += u64::from(report.count);
                continue;
            }
            let mut detail = report.detail;
            for number in report.first.0..report.first.0 + u64::from(report.count) {
                let attempt = AttemptId(number);
                if report.outcome == Outcome::Started {
                    self.start(worker, attempt, report.started, out);
                    continue;
                }
                let Some(lease) = self.workers.release(worker, attempt) else {
                    self.stale += 1;
                    continue;
                };
                if report.outcome == Outcome::Succeeded {
                    self.note_items(lease.run, lease.instance, report.items);
                }
                let attempt = Attempt {
                    run: lease.run,
                    instance: lease.instance,
                    number: lease.number,
                    worker,
                    started: report.started,
                    finished: if report.finished.0 == 0 { now } else { report.finished },
                    detail: detail.take(),
                };
                self.end(now, lease, attempt, report.outcome, out);
            }
        }
    }

    /// An attempt runs: short ones are reported by their end only.
    fn start(&mut self, worker: WorkerId, id: AttemptId, at: Timestamp, out: &mut Vec<Action>) {
        let started = self.workers.update(worker, |held| {
            let lease = held.leases.get_mut(&id).filter(|lease| !lease.started)?;
            lease.started = true;
            held.asked_back -= u32::from(lease.asked_back);
            lease.asked_back = false;
            Some(*lease)
        });
        let Some(lease) = started.flatten() else {
            self.stale += 1;
            return;
        };
        let Some(run) = self.runs.get_mut(&lease.run) else { return };
        run.tasks[lease.instance.task.at()].running += 1;
        run.touch(lease.instance.task);
        self.note_dirty(lease.run);
        let mut attempt = Attempt {
            run: lease.run,
            instance: lease.instance,
            number: lease.number,
            worker,
            started: at,
            finished: Timestamp(0),
            detail: None,
        };
        out.push(attempt.record(State::Leased, None));
    }

    fn end(
        &mut self,
        now: Timestamp,
        lease: Lease,
        attempt: Attempt,
        outcome: Outcome,
        out: &mut Vec<Action>,
    ) {
        self.unlease(attempt.worker, &lease);
        match outcome {
            Outcome::Succeeded => {
                self.learn_duration(&attempt);
                self.succeed(now, attempt, out);
            }
            _ if lease.cancelled => self.end_cancelled(now, attempt, out),
            Outcome::Returned | Outcome::Started => self.give_back(now, &attempt, out),
            // A worker that shuts down ends what it runs: no fault of the task's.
            Outcome::Failed(FailureKind::Lost | FailureKind::Cancelled) => {
                self.lost(now, attempt, true, out);
            }
            Outcome::Failed(kind) => {
                self.learn_duration(&attempt);
                self.fail(now, attempt, kind, out);
            }
        }
        self.finish_if_done(lease.run, out);
    }

    /// What a lease's end means to its worker and its task, whatever the outcome.
    fn unlease(&mut self, worker: WorkerId, lease: &Lease) {
        if let Some(needs) = self.classes.get(lease.class) {
            self.workers.update(worker, |held| needs.vacate(held));
        }
        let Some(run) = self.runs.get_mut(&lease.run) else { return };
        let task = run.task_mut(lease.instance.task);
        task.running -= u32::from(lease.started);
        task.parked = false;
        self.enlist(lease.run, lease.instance.task);
    }

    fn learn_duration(&mut self, attempt: &Attempt) {
        let Some(run) = self.runs.get_mut(&attempt.run) else { return };
        let task = &mut run.tasks[attempt.instance.task.at()];
        let took = attempt.finished.since(attempt.started).0.clamp(1, u64::MAX / 16);
        task.mean = Micros(if task.mean.0 == 0 { took } else { (task.mean.0 * 7 + took) / 8 });
    }

    fn succeed(&mut self, now: Timestamp, mut attempt: Attempt, out: &mut Vec<Action>) {
        let Attempt { run, instance, worker, .. } = attempt;
        self.hold_value(run, instance, worker, attempt.detail.as_deref());
        out.push(attempt.record(State::Succeeded, None));
        self.conclude(now, &attempt, State::Succeeded, out);
    }

    fn end_cancelled(&mut self, now: Timestamp, mut attempt: Attempt, out: &mut Vec<Action>) {
        if attempt.started.0 == 0 {
            attempt.number -= 1; // It was never made.
        }
        out.push(attempt.record(State::Cancelled, Some(Cause::Cancelled)));
        self.conclude(now, &attempt, State::Cancelled, out);
    }

    /// The instance is the next of its task again.
    fn give_back(&mut self, now: Timestamp, attempt: &Attempt, out: &mut Vec<Action>) {
        let task = attempt.instance.task;
        if self.bound_to_gone(attempt) {
            // What it is bound to will not come back.
            let cause = Some(Cause::Attempt(FailureKind::Lost));
            let mut attempt = attempt.without_detail();
            out.push(attempt.record(State::Failed, cause));
            self.conclude(now, &attempt, State::Failed, out);
            return;
        }
        let Some(run) = self.runs.get_mut(&attempt.run) else { return };
        run.transition(task, attempt.span(), State::Ready);
        run.task_mut(task).ready.push_front(attempt.instance.index);
        if !run.histories.contains_key(&attempt.instance) {
            self.bound_wait(now, attempt.run, task, attempt.span());
        }
        self.enlist(attempt.run, task);
    }

    fn bound_to_gone(&self, attempt: &Attempt) -> bool {
        let run = self.runs.get(&attempt.run);
        let bound =
            run.and_then(|run| run.task(attempt.instance.task).bound_to(attempt.instance.index));
        bound.is_some_and(|worker| self.workers.get(worker).is_none())
    }

    fn fail(
        &mut self,
        now: Timestamp,
        mut attempt: Attempt,
        kind: FailureKind,
        out: &mut Vec<Action>,
    ) {
        let bound_to_gone = self.bound_to_gone(&attempt);
        let Some(run) = self.runs.get_mut(&attempt.run) else { return };
        let task = attempt.instance.task;
        let plan = std::sync::Arc::clone(&run.plan);
        let retry = &plan.tasks[task.at()].retry;
        let history = run.histories.entry(attempt.instance).or_default();
        history.note(&attempt);
        history.failed += 1;
        let cause = Some(Cause::Attempt(kind));
        let wanted = retry.on.is_empty() || retry.on.iter().any(|on| on.covers(kind));
        let ending = run.ending && !plan.tasks[task.at()].always;
        if history.failed > retry.count || !wanted || ending || bound_to_gone {
            out.push(attempt.record(State::Failed, cause));
            self.conclude(now, &attempt, State::Failed, out);
            return;
        }
        let seed = plan.seed ^ u64::from(task.0) << 32 ^ u64::from(attempt.instance.index);
        let wait = backoff(retry, history.failed, seed);
        if wait.0 == 0 {
            out.push(attempt.record(State::Ready, cause));
            self.make_ready(attempt.run, task, attempt.span());
        } else {
            run.transition(task, attempt.span(), State::Backoff);
            self.deadlines.retry(now.plus(wait), attempt.run, attempt.instance);
            out.push(attempt.record(State::Backoff, cause));
        }
    }

    /// The attempt's worker is gone. Only an attempt that may have run counts as lost.
    fn lost(&mut self, now: Timestamp, mut attempt: Attempt, ran: bool, out: &mut Vec<Action>) {
        if !ran || self.bound_to_gone(&attempt) {
            self.give_back(now, &attempt, out);
            return;
        }
        let Some(run) = self.runs.get_mut(&attempt.run) else { return };
        let most = run.task_plan(attempt.instance.task).max_lost;
        let history = run.histories.entry(attempt.instance).or_default();
        history.note(&attempt);
        history.lost += 1;
        if history.lost > most {
            out.push(attempt.record(State::Failed, Some(Cause::LostTooOften)));
            self.conclude(now, &attempt, State::Failed, out);
        } else {
            let cause = Some(Cause::Attempt(FailureKind::Lost));
            out.push(attempt.record(State::Ready, cause));
            self.give_back(now, &attempt, out);
        }
    }

    /// The instance has reached its terminal state.
    fn conclude(&mut self, now: Timestamp, attempt: &Attempt, state: State, out: &mut Vec<Action>) {
        let Some(run) = self.runs.get_mut(&attempt.run) else { return };
        let task = attempt.instance.task;
        run.transition(task, attempt.span(), state);
        run.histories.remove(&attempt.instance);
        let success = state == State::Succeeded;
        let counts = !success && !run.task_plan(task).allow_failure;
        run.failed |= counts;
        let ended = Ended {
            task,
            span: attempt.span(),
            success,
            root: attempt.instance,
            worker: (attempt.started.0 > 0).then_some(attempt.worker),
        };
        self.propagate(now, attempt.run, ended, out);
        if counts {
            self.after_failure(now, attempt.run, out);
        }
    }

    /// An instance failed for good: with fail-fast the rest ends.
    pub(super) fn after_failure(&mut self, now: Timestamp, id: RunId, out: &mut Vec<Action>) {
        let Some(run) = self.runs.get(&id) else { return };
        if run.failed && run.plan.fail_fast && !run.ending && run.state == RunState::Running {
            self.end_all(now, id, CancelScope::Run, out);
        }
    }

    pub(super) fn lose(&mut self, now: Timestamp, id: WorkerId, out: &mut Vec<Action>) {
        let Some(mut worker) = self.workers.leave(id) else {
            self.stale += 1;
            return;
        };
        self.lose_values(id);
        let followers = std::mem::take(&mut worker.followers);
        // Latest first, as each goes to the front of its queue.
        for (lease, ran) in worker.into_leases().into_iter().rev() {
            self.unlease(id, &lease);
            let Lease { run, instance, number, .. } = lease;
            let started = Timestamp(0);
            let mut attempt =
                Attempt { run, instance, number, worker: id, started, finished: now, detail: None };
            if lease.cancelled {
                attempt.number += u32::from(ran); // `end_cancelled` takes one off.
                self.end_cancelled(now, attempt, out);
            } else {
                self.lost(now, attempt, ran, out);
            }
            self.finish_if_done(run, out);
        }
        self.drop_followers(now, id, followers, out);
    }
}

impl History {
    fn note(&mut self, attempt: &Attempt) {
        self.attempts = attempt.number;
        if !self.workers.contains(&attempt.worker) || self.workers.len() < 16 {
            self.workers.push(attempt.worker);
        }
    }
}

/// The wait before the attempt that follows failure number `failed`, from 1.
fn backoff(retry: &Retry, failed: u32, seed: u64) -> Micros {
    let doublings = if retry.exponential { (failed - 1).min(63) } else { 0 };
    let wait = retry.delay.0.saturating_mul(1 << doublings);
    let wait = if retry.max_delay.0 > 0 { wait.min(retry.max_delay.0) } else { wait };
    let half = wait / 2;
    match retry.jitter {
        true => {
            Micros(half + SplitMix(seed.wrapping_add(failed.into())).next() % (wait - half + 1))
        }
        false => Micros(wait),
    }
}
