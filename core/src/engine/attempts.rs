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
    /// Whether its process may have run.
    ran: bool,
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
                    ran: report.started.0 > 0,
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
            ran: true,
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
                let took = self.learn_duration(&attempt);
                self.learn_weight(attempt.run, attempt.instance.task, took.0);
                self.succeed(now, attempt, out);
            }
            _ if lease.cancelled => self.end_cancelled(now, attempt, out),
            Outcome::Returned | Outcome::Started => self.give_back(now, &attempt),
            // A worker that shuts down ends what it runs: no fault of the task's.
            Outcome::Failed(FailureKind::Lost | FailureKind::Cancelled) => {
                self.lost(now, attempt, out);
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

    /// Notes how long an attempt took, and says it.
    fn learn_duration(&mut self, attempt: &Attempt) -> Micros {
        let took = attempt.finished.since(attempt.started).0.clamp(1, u64::MAX / 16);
        if let Some(run) = self.runs.get_mut(&attempt.run) {
            let task = &mut run.tasks[attempt.instance.task.at()];
            task.mean = Micros(if task.mean.0 == 0 { took } else { (task.mean.0 * 7 + took) / 8 });
        }
        Micros(took)
    }

    fn succeed(&mut self, now: Timestamp, mut attempt: Attempt, out: &mut Vec<Action>) {
        let Attempt { run, instance, worker, .. } = attempt;
        self.hold_value(run, instance, worker, attempt.detail.as_deref());
        out.push(attempt.record(State::Succeeded, None));
        self.conclude(now, &attempt, State::Succeeded, out);
    }

    fn end_cancelled(&mut self, now: Timestamp, mut attempt: Attempt, out: &mut Vec<Action>) {
        if !attempt.ran {
            attempt.number -= 1; // It was never made.
        }
        out.push(attempt.record(State::Cancelled, Some(Cause::Cancelled)));
        self.conclude(now, &attempt, State::Cancelled, out);
    }

    /// The instance is the next of its task again. What is bound to a worker that is being lost is
    /// skipped with all else that is, see `drop_followers`.
    fn give_back(&mut self, now: Timestamp, attempt: &Attempt) {
        let task = attempt.instance.task;
        let Some(run) = self.runs.get_mut(&attempt.run) else { return };
        run.transition(task, attempt.span(), State::Ready);
        run.task_mut(task).ready.push_front(attempt.instance.index);
        if !run.histories.contains_key(&attempt.instance) {
            self.bound_wait(now, attempt.run, task, attempt.span());
        }
        self.enlist(attempt.run, task);
    }

    fn fail(
        &mut self,
        now: Timestamp,
        mut attempt: Attempt,
        kind: FailureKind,
        out: &mut Vec<Action>,
    ) {
        let Some(run) = self.runs.get_mut(&attempt.run) else { return };
        let task = attempt.instance.task;
        let plan = std::sync::Arc::clone(&run.plan);
        let retry = &plan.tasks[task.at()].conduct.retry;
        let history = run.histories.entry(attempt.instance).or_default();
        history.note(&attempt);
        history.failed += 1;
        let cause = Some(Cause::Attempt(kind));
        let wanted = retry.on.is_empty() || retry.on.iter().any(|on| on.covers(kind));
        let ending = run.ending && !plan.tasks[task.at()].conduct.always;
        if history.failed > retry.count || !wanted || ending {
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
    fn lost(&mut self, now: Timestamp, mut attempt: Attempt, out: &mut Vec<Action>) {
        if !attempt.ran {
            self.give_back(now, &attempt);
            return;
        }
        let Some(run) = self.runs.get_mut(&attempt.run) else { return };
        let most = run.task_plan(attempt.instance.task).conduct.max_lost;
        let history = run.histories.entry(attempt.instance).or_default();
        history.note(&attempt);
        history.lost += 1;
        if history.lost > most {
            out.push(attempt.record(State::Failed, Some(Cause::LostTooOften)));
            self.conclude(now, &attempt, State::Failed, out);
        } else {
            let cause = Some(Cause::Attempt(FailureKind::Lost));
            out.push(attempt.record(State::Ready, cause));
            self.give_back(now, &attempt);
        }
    }

    /// The instance has reached its terminal state.
    fn conclude(&mut self, now: Timestamp, attempt: &Attempt, state: State, out: &mut Vec<Action>) {
        let Some(run) = self.runs.get_mut(&attempt.run) else { return };
        let task = attempt.instance.task;
        run.transition(task, attempt.span(), state);
        run.histories.remove(&attempt.instance);
        let success = state == State::Succeeded;
        if !success {
            run.fails(task, attempt.run, &mut self.failing);
        }
        let ended = Ended {
            task,
            span: attempt.span(),
            success,
            root: attempt.instance,
            worker: attempt.ran.then_some(attempt.worker),
        };
        self.propagate(now, attempt.run, ended, out);
    }

    /// An instance of a run with fail-fast failed for good: the rest ends.
    pub(super) fn fail_fast(&mut self, now: Timestamp, id: RunId, out: &mut Vec<Action>) {
        let running = |run: &super::Run| !run.ending && run.state == RunState::Running;
        if self.runs.get(&id).is_some_and(running) {
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
        let (started, finished, detail) = (Timestamp(0), now, None);
        self.drop_followers(now, id, &followers, out);
        // Latest first, as each goes to the front of its queue.
        for (lease, ran) in worker.into_leases().into_iter().rev() {
            self.unlease(id, &lease);
            let Lease { run, instance, number, .. } = lease;
            let detail = detail.clone();
            let attempt =
                Attempt { run, instance, number, worker: id, ran, started, finished, detail };
            if lease.cancelled {
                self.end_cancelled(now, attempt, out);
            } else {
                self.lost(now, attempt, out);
            }
            self.finish_if_done(run, out);
        }
        // Among what was given back there may be more of them.
        self.drop_followers(now, id, &followers, out);
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
