//! What a scheduler finds of earlier ones with the same state that were killed: workers that are expected
//! back, and runs that it is about to go on with. These wait until each of the workers has returned, or is
//! lost: what they have is adopted.

use std::collections::BTreeSet;

use dagrun_core::engine::{Action, Event};
use dagrun_core::ids::{Micros, RunId, Timestamp, WorkerId};

use super::SchedulerCore;
use super::worker::Life;
use crate::journal::workers::FormerWorker;
use crate::store::{Command, Haste};

/// What earlier schedulers left.
#[derive(Default)]
pub(crate) struct Former {
    /// Workers that had not left, and where their ends can be seen.
    pub(crate) workers: Vec<(FormerWorker, Option<Life>)>,
    /// Runs that are about to be gone on with.
    pub(crate) runs: BTreeSet<RunId>,
    /// The largest number that any worker has had.
    pub(crate) last_worker: u32,
    /// The uids of workers that were lost without their end being certain.
    pub(crate) lost: Vec<String>,
}

impl SchedulerCore {
    /// Takes over what earlier schedulers left, before anything else happens.
    pub(super) fn expect(&mut self, former: Former) {
        self.continues = true;
        // Rows that no scheduler has written may say anything.
        self.next_worker = former.last_worker.min(u32::MAX / 2);
        self.lost_before = former.lost;
        for (worker, _) in &former.workers {
            if !worker.uid.is_empty() {
                self.uids.insert(worker.number, worker.uid.clone());
            }
            let command = Command::Known { worker: worker.number, row: worker.row };
            self.store.send(command, Haste::Whenever);
        }
        self.former = former.workers;
        self.going_on = former.runs;
    }

    /// Whether workers of earlier schedulers are neither back nor lost.
    pub(crate) fn is_expecting(&self) -> bool {
        !self.former.is_empty()
    }

    /// Whether a run is about to be gone on with.
    pub(crate) fn is_about_to_go_on(&self, run: RunId) -> bool {
        self.going_on.contains(&run)
    }

    /// The worker of this uid, if it is expected back: it is no longer.
    pub(super) fn take_former(&mut self, uid: &str) -> Option<FormerWorker> {
        let at = self.former.iter().position(|(former, _)| former.uid == uid)?;
        Some(self.former.swap_remove(at).0)
    }

    /// Whether a worker that is expected back has this name.
    pub(super) fn is_name_of_former(&self, name: &str) -> bool {
        self.former.iter().any(|(former, _)| former.name == name)
    }

    /// Expects no longer those that are certain to have ended, and nobody when the lease that any of them
    /// may have is over.
    pub(super) fn check_former(&mut self) {
        let over = self.awake >= self.lease;
        let (left, lost) = (&mut self.left, &mut self.lost_before);
        let misses = &mut self.misses_former;
        self.former.retain(|(former, life)| {
            let has_ended = life.as_ref().is_some_and(|has_ended| has_ended());
            if !has_ended && over {
                lost.push(former.uid.clone());
            }
            let gone = over || has_ended;
            *misses |= gone;
            left.extend(gone.then_some((former.number, !has_ended)));
            !gone
        });
    }

    /// How often to look for these, if there are any.
    pub(super) fn next_look_at_former(&self, often: Micros, seldom: Micros) -> Option<Micros> {
        match self.former.iter().any(|(_, life)| life.is_some()) {
            true => Some(often),
            false => (!self.former.is_empty()).then_some(seldom),
        }
    }

    /// A run is not gone on with after all.
    pub(super) fn abandoned(&mut self, run: RunId, now: Timestamp, actions: &mut Vec<Action>) {
        if self.going_on.remove(&run) && !self.runs.contains_key(&run) {
            self.engine.handle(now, Event::RunAbandoned { run }, actions);
        }
    }

    /// The workers that may keep values of runs of earlier schedulers.
    pub(crate) fn keepers(&self) -> BTreeSet<WorkerId> {
        self.workers.keys().copied().filter(|_| self.continues).collect()
    }
}
