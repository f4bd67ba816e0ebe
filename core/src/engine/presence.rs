//! Workers whose line is cut, that return, that leave, and that are lost.
//!
//! A cut line loses nothing by itself: the worker goes on with what it holds, and says what that is
//! when it is there again. A worker is lost when it is certain to have ended or its lease is over.

use std::ops::Range;

use super::attempts::Attempt;
use super::strain::Short;
use super::turn::Turn;
use super::workers::Lease;
use super::{Action, Engine, RevokeMode};
use crate::ids::{AttemptId, Timestamp, WorkerId};

impl Engine {
    pub(super) fn set_away(&mut self, id: WorkerId) {
        if self.hub.workers.update(id, |worker| worker.away = true).is_none() {
            self.hub.stale += 1;
        }
    }

    pub(super) fn set_leaving(&mut self, id: WorkerId) {
        if self.hub.workers.update(id, |worker| worker.leaving = true).is_none() {
            self.hub.stale += 1;
        }
    }

    /// A worker's machine has too little memory left, or enough again.
    pub(super) fn set_short(&mut self, now: Timestamp, id: WorkerId, left: Option<String>) {
        let known = self.hub.workers.update(id, |worker| {
            let before = worker.short.take();
            worker.short =
                left.map(|left| Box::new(Short::new(now, worker.occupied, left, before)));
        });
        if known.is_none() {
            self.hub.stale += 1;
        }
    }

    /// A worker is there again, and holds these attempts: the others never reached it. What it was
    /// asked to give up is asked for again, as the request may have been lost.
    pub(super) fn take_back(
        &mut self,
        now: Timestamp,
        id: WorkerId,
        held: &[Range<u64>],
        out: &mut Vec<Action>,
    ) {
        let Some(worker) = self.hub.workers.get(id) else {
            self.hub.stale += 1;
            return;
        };
        let beside = worker.leases_beside(held);
        self.hub.workers.update(id, |worker| worker.away = false);
        // Latest first, as each goes to the front of its queue.
        for attempt in beside.into_iter().rev() {
            let Some(lease) = self.hub.workers.release(id, attempt) else { continue };
            let Some(turn) = self.turn(now, lease.run, out) else { continue };
            turn.never_arrived(id, &lease);
        }
        self.ask_again(id, out);
    }

    fn ask_again(&mut self, id: WorkerId, out: &mut Vec<Action>) {
        let Some(worker) = self.hub.workers.get(id) else { return };
        let leases = |wanted: fn(&Lease) -> bool| {
            let wanted = worker.leases.iter().filter(move |(_, lease)| wanted(lease));
            let mut attempts: Vec<AttemptId> = wanted.map(|(attempt, _)| *attempt).collect();
            attempts.sort_unstable();
            attempts
        };
        let cancelled = (RevokeMode::Cancel, leases(|lease| lease.cancelled));
        let asked_back = (RevokeMode::Steal, leases(|lease| lease.asked_back && !lease.cancelled));
        for (mode, attempts) in [cancelled, asked_back] {
            if !attempts.is_empty() {
                out.push(Action::Revoke { worker: id, attempts, mode });
            }
        }
    }

    pub(super) fn lose(&mut self, now: Timestamp, id: WorkerId, out: &mut Vec<Action>) {
        let Some(mut worker) = self.hub.workers.leave(id) else {
            self.hub.stale += 1;
            return;
        };
        let held = self.hub.held.iter_mut().map(|(run, held)| (*run, held.lose(id)));
        let lost: Vec<_> = held.filter(|(_, values)| !values.is_empty()).collect();
        self.hub.claims.drop_worker(id);
        let followers = std::mem::take(&mut worker.followers);
        self.drop_followers(now, id, &followers, out);
        // Latest first, as each goes to the front of its queue.
        for lease in worker.into_leases().into_iter().rev() {
            let Some(turn) = self.turn(now, lease.run, out) else { continue };
            turn.taken(id, &lease);
        }
        // The returned instances may include more of them.
        self.drop_followers(now, id, &followers, out);
        for (run, values) in lost {
            let Some(mut turn) = self.turn(now, run, out) else { continue };
            turn.make_again_if_wanted(values);
            turn.settle();
        }
        self.choose_again(now, out);
    }
}

impl Turn<'_> {
    /// A lease of a worker that is lost. Only an attempt that is known to have run counts as lost; of
    /// the others each may have run, so that their numbers are not used again.
    fn taken(mut self, worker: WorkerId, lease: &Lease) {
        self.unlease(worker, lease, lease.started);
        let attempt = self.without_word(worker, lease);
        if lease.cancelled {
            self.end_cancelled(attempt);
        } else {
            self.run.history(lease.instance).take(&attempt);
            match attempt.ran {
                true => self.lost(attempt),
                false => self.unknown(attempt),
            }
        }
        self.settle();
    }

    /// A lease that its worker does not know. One that is known to have run has ended without a word.
    fn never_arrived(mut self, worker: WorkerId, lease: &Lease) {
        self.unlease(worker, lease, lease.started);
        let attempt = self.without_word(worker, lease);
        match lease.cancelled {
            true => self.end_cancelled(attempt),
            false => self.lost(attempt),
        }
        self.settle();
    }

    fn without_word(&self, worker: WorkerId, lease: &Lease) -> Attempt {
        let Lease { instance, number, .. } = *lease;
        let ran = lease.started || lease.announced;
        let (started, finished, detail) = (Timestamp(0), self.now, None);
        Attempt { instance, number, worker, ran, started, finished, detail }
    }
}
