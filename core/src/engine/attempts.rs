//! Reports of workers on attempts, and their effects on instances.

use std::sync::Arc;

use super::rank::ranks;
use super::ready::Span;
use super::run::{History, Taken};
use super::scheme::SplitMix;
use super::turn::{Conclusion, Turn};
use super::workers::Lease;
use super::{Action, Cause, Engine, Outcome, Record, Refusal, Report};
use crate::ids::{AttemptId, InstanceId, Micros, TaskId, Timestamp, WorkerId};
use crate::pipeline::Retry;
use crate::status::{Detail, FailureKind, State};

/// Attempts that were taken from their workers, remembered for an instance at most.
const TAKEN: usize = 64;

/// An attempt that its worker no longer holds.
pub(super) struct Attempt {
    pub(super) instance: InstanceId,
    pub(super) number: u32,
    pub(super) worker: WorkerId,
    /// Whether its process ran, as far as is known.
    pub(super) ran: bool,
    pub(super) started: Timestamp,
    pub(super) finished: Timestamp,
    pub(super) detail: Option<Box<Detail>>,
}

impl Attempt {
    pub(super) fn span(&self) -> Span {
        Span { first: self.instance.index, count: 1 }
    }

    /// Adds to its reason.
    fn explain(&mut self, why: &str) {
        let reason = &mut self.detail.get_or_insert_default().reason;
        if !reason.is_empty() {
            reason.push_str("; ");
        }
        reason.push_str(why);
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
            let held = self
                .hub
                .workers
                .get(worker)
                .map_or(0, |worker| worker.leases.len() + worker.claims as usize);
            let end = report.first.0.checked_add(report.count.into());
            let Some(end) = end.filter(|_| report.count as usize <= held) else {
                self.hub.stale += u64::from(report.count);
                continue;
            };
            let has_claims = self.hub.workers.get(worker).is_some_and(|held| held.claims > 0);
            let claimed = has_claims.then(|| report.clone());
            let Report { outcome, started, items, mut detail, .. } = report;
            let finished = if report.finished.0 == 0 { now } else { report.finished };
            for attempt in (report.first.0..end).map(AttemptId) {
                if let Some(report) = &claimed
                    && self.hub.claims.note(worker, attempt, report)
                {
                    continue;
                }
                if outcome == Outcome::Started && started.0 == 0 {
                    let known = self.hub.workers.announce(worker, attempt).is_some();
                    self.hub.stale += u64::from(!known);
                    continue;
                }
                let lease = match outcome {
                    Outcome::Started => self.hub.workers.start(worker, attempt),
                    _ => self.hub.workers.release(worker, attempt),
                };
                let turn = lease.and_then(|lease| Some((lease, self.turn(now, lease.run, out)?)));
                let Some((lease, mut turn)) = turn else {
                    self.hub.stale += 1;
                    continue;
                };
                let Lease { instance, number, .. } = lease;
                let (ran, detail) = (started.0 > 0, detail.take());
                let attempt = Attempt { instance, number, worker, ran, started, finished, detail };
                match outcome {
                    Outcome::Started => turn.start(attempt),
                    _ => turn.end(&lease, attempt, outcome, items),
                }
            }
        }
    }
}

impl Turn<'_> {
    /// An attempt runs: short ones are reported by their end only.
    pub(super) fn start(&mut self, mut attempt: Attempt) {
        let task = attempt.instance.task;
        self.run.task_mut(task).running += 1;
        self.run.touch(task);
        (attempt.finished, attempt.detail) = (Timestamp(0), None);
        self.record_attempt(attempt, State::Leased, None);
    }

    fn end(mut self, lease: &Lease, attempt: Attempt, outcome: Outcome, items: Option<u32>) {
        self.unlease(attempt.worker, lease, attempt.ran);
        if attempt.ran {
            self.has_what_it_needs(attempt.instance.task, attempt.worker);
        }
        match outcome {
            Outcome::Succeeded => {
                if !self.is_made_again(attempt.instance) {
                    self.note_items(attempt.instance, items);
                }
                let took = self.learn_duration(&attempt);
                self.learn_weight(attempt.instance.task, took.0);
                let Attempt { instance, number, worker, .. } = attempt;
                self.hold_value(instance, number, worker, attempt.detail.as_deref());
                self.conclude(attempt, State::Succeeded, None);
            }
            _ if lease.cancelled => self.end_cancelled(attempt),
            Outcome::Returned | Outcome::Started => self.give_back(attempt.instance),
            Outcome::Refused(Refusal::Scarce) => self.refused(attempt),
            Outcome::Refused(Refusal::Missing) => self.lacks(attempt),
            Outcome::Refused(Refusal::Value(of)) => self.lacks_value(attempt, of),
            Outcome::Preempted => self.preempted(attempt),
            // That this was asked for never came to disk.
            Outcome::Failed(FailureKind::Cancelled) if lease.adopted => self.preempted(attempt),
            // A worker that shuts down ends what it runs: the task is not at fault.
            Outcome::Failed(FailureKind::Lost | FailureKind::Cancelled) => self.lost(attempt),
            Outcome::Failed(kind) => {
                self.learn_duration(&attempt);
                self.fail(attempt, kind, lease.memory);
            }
        }
        self.settle();
    }

    /// Accounts for the end of a lease at its worker and its task, whatever the outcome.
    pub(super) fn unlease(&mut self, worker: WorkerId, lease: &Lease, ran: bool) {
        if let Some(needs) = self.hub.classes.get(lease.class) {
            self.hub.workers.update(worker, |held| {
                held.vacate(needs, lease.memory);
                if ran {
                    held.note_start();
                }
            });
        }
        let task = self.run.task_mut(lease.instance.task);
        task.running -= u32::from(lease.started);
        task.parked = false;
        self.enlist(lease.instance.task);
    }

    fn record_attempt(&mut self, attempt: Attempt, state: State, cause: Option<Cause>) {
        let Attempt { instance, number, worker, started, finished, detail, .. } = attempt;
        self.out.push(Action::Record(Record {
            run: self.run.id,
            task: instance.task,
            first_index: instance.index,
            count: 1,
            state,
            attempt: number,
            worker: Some(worker),
            started,
            finished,
            cause,
            detail,
        }));
    }

    /// Notes how long an attempt took, and returns it.
    fn learn_duration(&mut self, attempt: &Attempt) -> Micros {
        let took = attempt.finished.since(attempt.started).0.clamp(1, u64::MAX / 16);
        let task = self.run.task_mut(attempt.instance.task);
        task.mean = Micros(if task.mean.0 == 0 { took } else { (task.mean.0 * 7 + took) / 8 });
        Micros(took)
    }

    /// An instance succeeded after this many microseconds.
    fn learn_weight(&mut self, task: TaskId, took: u64) {
        if self.run.task_plan(task).weight.0 > 0 {
            return;
        }
        let size = self.run.size();
        let state = self.run.task_mut(task);
        state.seen += 1;
        state.spent = state.spent.saturating_add(took);
        let seen = state.seen;
        if self.run.ranking.see(seen, size) {
            self.rank_again();
        }
    }

    fn rank_again(&mut self) {
        let ranks = ranks(&self.run.plan, &self.run.weights());
        for (task, rank) in (0..).map(TaskId).zip(ranks) {
            if self.run.task(task).rank != rank {
                self.delist(task);
                self.run.task_mut(task).rank = rank;
                self.enlist(task);
            }
        }
    }

    pub(super) fn end_cancelled(&mut self, mut attempt: Attempt) {
        if !attempt.ran {
            // The attempt was never made.
            let history = self.run.histories.get(&attempt.instance);
            attempt.number = history.map_or(0, |history| history.known);
        }
        self.conclude(attempt, State::Cancelled, Some(Cause::Cancelled));
    }

    /// Puts the instance at the front of its task's queue again. Instances bound to a worker that
    /// is being lost are skipped later, all at once, see `drop_followers`.
    pub(super) fn give_back(&mut self, instance: InstanceId) {
        if self.lacks_values(instance) {
            self.wait_for_values(instance);
            return;
        }
        let InstanceId { task, index } = instance;
        let span = Span { first: index, count: 1 };
        self.transition(task, span, State::Ready);
        self.run.task_mut(task).ready.push_front(index);
        if !self.run.was_tried(instance) {
            self.bound_wait(task, span);
        }
        self.enlist(task);
        self.stand_apart(instance);
    }

    /// `asked` is the memory that the attempt had asked for, in bytes.
    pub(super) fn fail(&mut self, mut attempt: Attempt, kind: FailureKind, asked: u64) {
        let instance = attempt.instance;
        let plan = Arc::clone(&self.run.plan);
        let task = &plan.tasks[instance.task.at()];
        let retry = &task.conduct.retry;
        let history = self.run.history(instance);
        history.note(&attempt);
        history.failed += 1;
        if kind == FailureKind::Memory {
            history.out_of_memory += 1;
            history.asked = asked;
        }
        let failed = history.failed;
        let cause = Some(Cause::Attempt(kind));
        let ending = self.run.ending && !task.conduct.always;
        let mut last = failed > retry.count || !retry.covers(kind) || ending;
        if !last
            && kind == FailureKind::Memory
            && let Some(why) = self.cannot_grow(instance, asked)
        {
            attempt.explain(why);
            last = true;
        }
        if last {
            self.conclude(attempt, State::Failed, cause);
            return;
        }
        let wait = self.wait_after(instance, failed);
        let span = attempt.span();
        if wait.0 == 0 {
            self.record_attempt(attempt, State::Ready, cause);
            self.make_ready(instance.task, span);
            self.stand_apart(instance);
        } else {
            self.transition(instance.task, span, State::Backoff);
            self.hub.deadlines.retry(self.now.plus(wait), self.run.id, instance);
            self.record_attempt(attempt, State::Backoff, cause);
        }
    }

    /// The wait before the attempt that follows failure number `failed` of an instance, from 1.
    pub(super) fn wait_after(&self, instance: InstanceId, failed: u32) -> Micros {
        let InstanceId { task, index } = instance;
        let seed = self.run.plan.seed ^ u64::from(task.0) << 32 ^ u64::from(index);
        backoff(&self.run.task_plan(task).conduct.retry, failed, seed)
    }

    /// The attempt's worker is lost. Only an attempt that may have run counts as lost.
    pub(super) fn lost(&mut self, attempt: Attempt) {
        let instance = attempt.instance;
        if !attempt.ran {
            self.give_back(instance);
            return;
        }
        let most = self.run.task_plan(instance.task).conduct.max_lost;
        let history = self.run.history(instance);
        history.note(&attempt);
        history.lost += 1;
        if history.lost > most {
            self.conclude(attempt, State::Failed, Some(Cause::LostTooOften));
        } else {
            let cause = Some(Cause::Attempt(FailureKind::Lost));
            self.record_attempt(attempt, State::Ready, cause);
            self.give_back(instance);
        }
    }

    /// The attempt was ended because its worker leaves, which is nobody's fault.
    fn preempted(&mut self, attempt: Attempt) {
        let instance = attempt.instance;
        if !attempt.ran {
            self.give_back(instance);
            return;
        }
        self.run.history(instance).count(&attempt);
        let cause = Some(Cause::Attempt(FailureKind::Preempted));
        self.record_attempt(attempt, State::Ready, cause);
        self.give_back(instance);
    }

    /// The attempt's worker is lost, and whether it ran is not known: it is written down, so that its number
    /// is not used again, and blamed for nothing.
    pub(super) fn unknown(&mut self, attempt: Attempt) {
        let instance = attempt.instance;
        let cause = Some(Cause::Attempt(FailureKind::Unknown));
        self.record_attempt(attempt, State::Ready, cause);
        self.give_back(instance);
    }

    /// The instance has reached its terminal state.
    pub(super) fn conclude(&mut self, attempt: Attempt, state: State, cause: Option<Cause>) {
        let (root, span) = (attempt.instance, attempt.span());
        let worker = attempt.ran.then_some(attempt.worker);
        self.record_attempt(attempt, state, cause);
        self.transition(root.task, span, state);
        self.run.histories.remove(&root);
        let success = state == State::Succeeded;
        if !success {
            self.fails(root.task, 1);
        }
        self.notify_downstream(Conclusion { task: root.task, span, success, root, worker });
    }
}

impl History {
    /// Counts an attempt that has ended.
    fn count(&mut self, attempt: &Attempt) {
        self.attempts = self.attempts.max(attempt.number);
        self.known = self.known.max(attempt.number);
    }

    /// Notes an attempt that was taken from its worker.
    pub(super) fn take(&mut self, attempt: &Attempt) {
        self.attempts = self.attempts.max(attempt.number);
        let Attempt { worker, number, ran, .. } = *attempt;
        self.note_taken(Taken { worker, number, ran });
    }

    /// Notes that an attempt may run somewhere that is not the instance's any more.
    pub(super) fn note_taken(&mut self, taken: Taken) {
        if self.taken.len() == TAKEN {
            self.taken.remove(0);
        }
        self.taken.push(taken);
    }

    /// Notes an attempt that failed, or lost its worker.
    fn note(&mut self, attempt: &Attempt) {
        self.count(attempt);
        self.refusals = 0;
        (self.elsewhere_until, self.anywhere) = (None, false);
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
