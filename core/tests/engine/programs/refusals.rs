//! Workers that do not start attempts: some lack what a task or an instance of it executes, and the
//! machines of some are short of something for a while.

use std::collections::{BTreeMap, BTreeSet};

use dagrun_core::engine::{Explanation, Refusal};
use dagrun_core::ids::{AttemptId, InstanceId, TaskId, WorkerId};
use dagrun_core::status::State;

use super::Pair;
use super::reference::Verdicts;
use crate::rig::{Held, RUN};

/// In microseconds: for so long an attempt waits for a machine that refuses everything.
const PATIENCE: u64 = 60_000_000;

/// What is known of refusals.
pub(super) struct Refusals {
    seed: u64,
    /// Whether there are any.
    pub(super) happen: bool,
    /// Workers whose machines are short of something.
    short: BTreeSet<WorkerId>,
    /// Since when these have refused everything while nothing else ran there.
    alone: BTreeMap<WorkerId, u64>,
    /// Workers that were found to lack what an instance executes, and a task.
    lacking: BTreeMap<InstanceId, BTreeSet<WorkerId>>,
    avoided: BTreeMap<TaskId, BTreeSet<WorkerId>>,
    /// Where attempts of an instance failed.
    pub(super) failed: BTreeMap<InstanceId, BTreeSet<WorkerId>>,
    /// Instances that wait for a machine.
    resting: BTreeSet<InstanceId>,
}

impl Refusals {
    pub(super) fn new(seed: u64) -> Refusals {
        Refusals {
            seed,
            happen: seed.is_multiple_of(2),
            short: BTreeSet::new(),
            alone: BTreeMap::new(),
            lacking: BTreeMap::new(),
            avoided: BTreeMap::new(),
            failed: BTreeMap::new(),
            resting: BTreeSet::new(),
        }
    }

    /// An attempt ran on a worker.
    pub(super) fn note_start(&mut self, worker: WorkerId) {
        self.alone.remove(&worker);
    }

    /// Whether a worker lacks what an instance executes: all of its task, or it alone.
    fn lacks(&self, instance: InstanceId, worker: WorkerId) -> bool {
        let mut hash = self.seed ^ 0x9e37_79b9_7f4a_7c15;
        for number in [instance.task.0, worker.0] {
            hash = (hash ^ u64::from(number)).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
        }
        match hash % 16 {
            0..3 => true,
            3 => (hash >> 8 ^ u64::from(instance.index)).is_multiple_of(2),
            _ => false,
        }
    }
}

impl Pair {
    /// Some machine is short of something from now on, or is so no longer.
    pub(super) fn change_shortage(&mut self) {
        let workers: Vec<WorkerId> = self.rig.workers.keys().copied().collect();
        if workers.is_empty() {
            return;
        }
        let worker = self.random.pick(&workers);
        if !self.refusals.short.remove(&worker) {
            self.refusals.short.insert(worker);
        }
    }

    /// Whether and why a worker does not start an attempt that it holds.
    pub(super) fn refusal(&self, instance: InstanceId, worker: WorkerId) -> Option<Refusal> {
        match &self.refusals {
            refusals if !refusals.happen => None,
            refusals if refusals.short.contains(&worker) => Some(Refusal::Scarce),
            refusals => refusals.lacks(instance, worker).then_some(Refusal::Missing),
        }
    }

    pub(super) fn refuse(&mut self, worker: WorkerId, id: AttemptId, held: Held, refusal: Refusal) {
        let (instance, now) = (held.instance, self.rig.now + 1);
        let verdicts = self.observe();
        let suiting = self.suiting(instance, &verdicts);
        let refusals = &mut self.refusals;
        let last = match refusal {
            _ if held.cancelled => true,
            Refusal::Missing => {
                let lacking = refusals.lacking.entry(instance).or_default();
                lacking.insert(worker);
                refusals.avoided.entry(instance.task).or_default().insert(worker);
                suiting.is_subset(lacking)
            }
            Refusal::Value(_) => unreachable!("values can be had where they are"),
            Refusal::Scarce => {
                if self.rig.workers[&worker].held.len() == 1 {
                    refusals.alone.entry(worker).or_insert(now);
                }
                let hopeless = |since: &u64| now - since >= PATIENCE;
                suiting.iter().all(|worker| refusals.alone.get(worker).is_some_and(hopeless))
            }
        };
        match (last, refusal) {
            (true, _) => self.model.end(instance, false, None),
            (false, Refusal::Missing) => self.rig.returned.push(instance),
            (false, Refusal::Value(_)) => {}
            (false, Refusal::Scarce) => drop(self.refusals.resting.insert(instance)),
        }
        // It seemed to start, and was checked.
        self.checked_starts -= 1;
        self.rig.refuse(worker, id, refusal);
    }

    fn suiting(&self, instance: InstanceId, verdicts: &Verdicts) -> BTreeSet<WorkerId> {
        let present = self.rig.workers.keys().copied();
        present.filter(|worker| self.suits(instance, *worker, verdicts)).collect()
    }

    /// Instances whose wait for a machine is over are ready again.
    pub(super) fn note_rested(&mut self) {
        let rests = |it: &&InstanceId| self.rig.engine.state(RUN, **it) == Some(State::Backoff);
        let (resting, over): (BTreeSet<InstanceId>, BTreeSet<InstanceId>) =
            self.refusals.resting.iter().partition(|it| rests(it));
        self.refusals.resting = resting;
        self.rig.returned.extend(over);
    }

    /// Whether an instance that rests is ready again at a time.
    pub(super) fn is_ready_by(&self, instance: InstanceId, time: u64) -> bool {
        let explanation = self.rig.engine.explain(RUN, instance);
        let Some(Explanation::Backoff { until: Some(until), .. }) = explanation else {
            return false;
        };
        self.refusals.resting.contains(&instance) && until.0 <= time
    }

    /// Whether an instance may wait although a worker that suits it is idle.
    pub(super) fn may_wait(
        &self,
        instance: InstanceId,
        worker: WorkerId,
        verdicts: &Verdicts,
    ) -> bool {
        if self.rig.engine.shortage(worker).is_some() {
            return true;
        }
        let none = BTreeSet::new();
        let refusals = &self.refusals;
        let lacking = refusals.lacking.get(&instance).unwrap_or(&none);
        let avoided = refusals.avoided.get(&instance.task).unwrap_or(&none);
        let failed = refusals.failed.get(&instance).unwrap_or(&none);
        let suiting = self.suiting(instance, verdicts);
        // A task avoids workers for a time only, or until an attempt of it runs there; and after a
        // while it does not matter where an instance failed.
        let mut others = suiting.iter().filter(|other| **other != worker);
        let elsewhere = match avoided.contains(&worker) {
            true => others.any(|other| !lacking.contains(other)),
            false => others.any(|other| !lacking.contains(other) && !failed.contains(other)),
        };
        let tried = avoided.contains(&worker) || failed.contains(&worker);
        match lacking.contains(&worker) {
            true => !suiting.is_subset(lacking),
            false => tried && elsewhere,
        }
    }
}
