//! What workers say that they have of earlier schedulers, until it is adopted or given up; see
//! [`super::adopt`].

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::event::{Outcome, Report};
use crate::ids::{AttemptId, InstanceId, RunId, Timestamp, WorkerId};

/// All claims that are open, by run.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Whether each worker that may have an attempt has said so: what nobody claims, nobody has.
    pub(super) complete: bool,
    pub(super) runs: BTreeMap<RunId, OfRun>,
    /// Where each of them stands.
    instances: FxHashMap<(WorkerId, AttemptId), (RunId, InstanceId)>,
}

#[derive(Debug, Default)]
pub(super) struct OfRun {
    pub(super) open: BTreeMap<InstanceId, Claimed>,
    /// Adopted attempts that have ended, whose reports are still to come: others may become ready then.
    pub(super) awaited: BTreeMap<AttemptId, WorkerId>,
}

/// An attempt that a worker has.
#[derive(Clone, Debug)]
pub(super) struct Claimed {
    pub(super) worker: WorkerId,
    pub(super) attempt: AttemptId,
    pub(super) number: u32,
    /// Bytes.
    pub(super) memory: u64,
    /// Zero if it waits.
    pub(super) started: Timestamp,
    /// It may have begun since its worker said what it has.
    pub(super) announced: bool,
    /// It has ended, or is about to.
    pub(super) ended: bool,
    /// How, if its worker has reported it.
    pub(super) report: Option<Report>,
}

impl Claims {
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many claims of a worker are open. Takes time for all of them.
    pub(super) fn of_worker(&self, worker: WorkerId) -> usize {
        let all = self.runs.values().flat_map(|of| of.open.values());
        all.filter(|claimed| claimed.worker == worker).count()
    }

    /// Opens a claim. Of several for the same instance, the one that was handed out last stands: an
    /// attempt that was given back without having run has handed its number on. Returns the other one.
    pub(super) fn open(
        &mut self,
        run: RunId,
        instance: InstanceId,
        claimed: Claimed,
    ) -> Option<Claimed> {
        let of = self.runs.entry(run).or_default();
        let order = |claimed: &Claimed| (claimed.number, claimed.attempt);
        if of.open.get(&instance).is_some_and(|other| order(other) >= order(&claimed)) {
            return Some(claimed);
        }
        self.instances.insert((claimed.worker, claimed.attempt), (run, instance));
        let other = of.open.insert(instance, claimed);
        if let Some(other) = &other {
            self.instances.remove(&(other.worker, other.attempt));
        }
        other
    }

    pub(super) fn close(&mut self, run: RunId, instance: InstanceId) -> Option<Claimed> {
        let claimed = self.runs.get_mut(&run)?.open.remove(&instance)?;
        self.instances.remove(&(claimed.worker, claimed.attempt));
        Some(claimed)
    }

    pub(super) fn find(&mut self, worker: WorkerId, attempt: AttemptId) -> Option<&mut Claimed> {
        let (run, instance) = self.instances.get(&(worker, attempt))?;
        let claimed = self.runs.get_mut(run)?.open.get_mut(instance)?;
        (claimed.worker == worker).then_some(claimed)
    }

    /// The run and instance of an attempt that a worker claims.
    pub(super) fn claimed(
        &self,
        worker: WorkerId,
        attempt: AttemptId,
    ) -> Option<(RunId, InstanceId)> {
        let (run, instance) = *self.instances.get(&(worker, attempt))?;
        let claimed = self.runs.get(&run)?.open.get(&instance)?;
        (claimed.worker == worker).then_some((run, instance))
    }

    /// Notes what a worker reports on an attempt that it claims; returns false if it does not.
    pub(super) fn note(&mut self, worker: WorkerId, attempt: AttemptId, report: &Report) -> bool {
        let Some(claimed) = self.find(worker, attempt) else { return false };
        match report.outcome {
            Outcome::Started => {
                claimed.announced = true;
                claimed.started = claimed.started.max(report.started);
            }
            _ => claimed.report = Some(Report { first: attempt, count: 1, ..report.clone() }),
        }
        true
    }

    /// A worker is lost, with all that it claimed.
    pub(super) fn drop_worker(&mut self, worker: WorkerId) {
        let Claims { runs, instances, .. } = self;
        for of in runs.values_mut() {
            of.open.retain(|_, claimed| claimed.worker != worker);
            of.awaited.retain(|_, holder| *holder != worker);
        }
        instances.retain(|(holder, _), _| *holder != worker);
        // Those of runs that are not there yet have nothing to wait for.
        runs.retain(|_, of| !of.open.is_empty() || !of.awaited.is_empty());
    }
}
