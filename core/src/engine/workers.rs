//! Workers that are present, the attempts that they hold, and their load.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use rustc_hash::FxHashMap;

use super::WorkerInfo;
use super::needs::{ClassId, Needs};
use super::strain::{Short, Strain};
use crate::ids::{AttemptId, InstanceId, RunId, TaskId, WorkerId};

/// An attempt that a worker holds. It exists as long as the instance is `leased`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    pub(super) run: RunId,
    pub(super) instance: InstanceId,
    /// The attempt's number within its instance, from 1.
    pub(super) number: u32,
    pub(super) cpus: u32,
    /// Bytes of memory, which may be more than those of its class.
    pub(super) memory: u64,
    pub(super) class: ClassId,
    /// The worker reported that it runs.
    pub(super) started: bool,
    /// The worker reported that it is about to run.
    pub(super) announced: bool,
    /// Asked back so that an idle worker can have it.
    pub(super) asked_back: bool,
    /// To be ended; whatever its end but success, the instance is cancelled.
    pub(super) cancelled: bool,
    /// Whether the instance avoids some workers, so that it is not to be taken for another one.
    pub(super) choosy: bool,
    /// Whether an earlier scheduler handed it out, which may have asked for its end.
    pub(super) adopted: bool,
}

/// Leases by attempt. A worker may hold thousands ahead.
pub(super) type Leases = HashMap<AttemptId, Lease, BuildHasherDefault<InSequence>>;

/// Keeps neighbours together: attempts are numbered by the machine itself, and end about in the
/// order of their numbers. If they were scattered over the table, each would be a cache miss.
#[derive(Debug, Default)]
pub(super) struct InSequence(u64);

impl Hasher for InSequence {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 << 8 | u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        // The table derives the bucket from the low bits, and distinguishes neighbours by the 7
        // highest.
        const TAG: u64 = 0x7f << 57;
        (self.0 & !TAG) | (self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) & TAG)
    }
}

/// A worker that is present.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) info: WorkerInfo,
    pub(super) leases: Leases,
    /// Slots that its leases need, more than it has when it holds work ahead.
    pub(super) occupied: u32,
    /// Memory that its leases need, in bytes.
    pub(super) memory: u64,
    /// Custom resources that its leases need.
    pub(super) resources: FxHashMap<String, u64>,
    /// How many of its leases are asked back and not answered.
    pub(super) asked_back: u32,
    /// Attempts that an earlier scheduler gave it and that may be adopted: until then, each counts as a
    /// slot, and what else they need is not known.
    pub(super) claims: u32,
    /// Tasks that follow upstreams which ran here.
    pub(super) followers: Vec<(RunId, TaskId)>,
    /// When it last got work, in dispatches.
    pub(super) used: u64,
    /// What its machine is short of, if it is.
    pub(super) strain: Option<Box<Strain>>,
    /// Whether its machine has too little memory left.
    pub(super) short: Option<Box<Short>>,
    /// Whether its line is cut, so that nothing can be sent there; its leases stand.
    pub(super) away: bool,
    /// Whether it leaves, and so takes nothing new.
    pub(super) leaving: bool,
}

impl WorkerInfo {
    /// Whether a target is its name or one of its labels.
    #[must_use]
    pub fn is_called(&self, target: &str) -> bool {
        self.name == target || self.offer.labels.iter().any(|label| label == target)
    }

    /// Whether it has a function of this name and signature.
    #[must_use]
    pub fn has(&self, function: &str, signature: Option<u64>) -> bool {
        // There may be several of one name.
        let first = self.functions.partition_point(|(name, _)| name.as_str() < function);
        let named = self.functions[first..].iter().take_while(|(name, _)| name == function);
        named.map(|(_, found)| *found).any(|found| signature.is_none_or(|wanted| wanted == found))
    }
}

impl Worker {
    fn new(info: WorkerInfo) -> Worker {
        Worker {
            info,
            leases: Leases::default(),
            occupied: 0,
            memory: 0,
            resources: FxHashMap::default(),
            asked_back: 0,
            claims: 0,
            followers: Vec::new(),
            used: 0,
            strain: None,
            short: None,
            away: false,
            leaving: false,
        }
    }

    /// Whether it takes attempts at present.
    pub(super) fn is_open(&self) -> bool {
        !self.away && !self.leaving
    }

    pub(super) fn free(&self) -> u32 {
        self.slots().saturating_sub(self.occupied)
    }

    /// The slots that it may occupy now.
    fn slots(&self) -> u32 {
        let slots = self.info.offer.slots;
        let slots = self.strain.as_ref().map_or(slots, |strain| strain.slots().min(slots));
        let slots = self.short.as_ref().map_or(slots, |it| it.slots(self.occupied).min(slots));
        slots.saturating_sub(self.claims)
    }

    /// Whether it is given less than it offers.
    pub(super) fn is_restrained(&self) -> bool {
        self.strain.is_some() || self.short.is_some()
    }

    /// Notes that an attempt runs, or has run: its machine has what a start needs.
    pub(super) fn note_start(&mut self) {
        if let Some(strain) = &mut self.strain {
            strain.note_start();
        }
    }

    /// All leases, the oldest first. A worker starts them in order, so that the first ones, as far as its
    /// slots suffice, have come to run; they count as announced.
    pub(super) fn into_leases(self) -> Vec<Lease> {
        let mut leases: Vec<(AttemptId, Lease)> = self.leases.into_iter().collect();
        leases.sort_unstable_by_key(|(attempt, _)| *attempt);
        let mut free = Some(self.info.offer.slots);
        let known = |(_, mut lease): (AttemptId, Lease)| {
            free = free.and_then(|free| free.checked_sub(lease.cpus));
            lease.announced |= free.is_some() || lease.cpus == 0;
            lease
        };
        leases.into_iter().map(known).collect()
    }

    /// The leases that are not among these ranges of attempts, the oldest first. The ranges are sorted.
    pub(super) fn leases_beside(&self, held: &[Range<u64>]) -> Vec<AttemptId> {
        let is_held = |attempt: &AttemptId| {
            let after = held.partition_point(|range| range.end <= attempt.0);
            held.get(after).is_some_and(|range| range.start <= attempt.0)
        };
        let beside = self.leases.keys().filter(|attempt| !is_held(attempt));
        let mut beside: Vec<AttemptId> = beside.copied().collect();
        beside.sort_unstable();
        beside
    }

    /// Occupied slots as a fraction of all, in 1/65536.
    pub(super) fn load(&self) -> u64 {
        (u64::from(self.occupied) << 16) / u64::from(self.info.offer.slots.max(1))
    }

    /// Whether it may and, once it is idle, can run an attempt. `id` is its own.
    pub(super) fn suits(&self, id: WorkerId, needs: &Needs) -> bool {
        let info = &self.info;
        let named = |names: &Vec<String>| names.iter().any(|name| info.is_called(name));
        needs.pin.is_none_or(|pin| pin == id)
            && !needs.except.contains(&id)
            && needs.names.as_ref().is_none_or(named)
            && needs.function.as_ref().is_none_or(|(name, signature)| info.has(name, *signature))
            && info.offer.suffices(needs.cpus, needs.memory, &needs.resources)
    }

    /// How many more attempts fit, as far as memory and custom resources go.
    fn fits(&self, needs: &Needs) -> u32 {
        let memory = self.info.offer.memory.saturating_sub(self.memory);
        let by_memory = memory.checked_div(needs.memory).unwrap_or(u64::MAX);
        let by_resource = |(name, amount): &(String, u64)| {
            let used = self.resources.get(name).copied().unwrap_or(0);
            self.info.offer.amount(name).saturating_sub(used) / amount
        };
        let by_resources = needs.resources.iter().map(by_resource).min().unwrap_or(u64::MAX);
        u32::try_from(by_memory.min(by_resources)).unwrap_or(u32::MAX)
    }

    /// Notes that it holds `attempts` more, each with so many bytes of memory.
    fn occupy(&mut self, needs: &Needs, memory: u64, attempts: u32) {
        self.occupied += needs.cpus * attempts;
        self.memory += memory * u64::from(attempts);
        for (name, amount) in &needs.resources {
            let used = self.resources.entry(name.clone()).or_default();
            *used += amount * u64::from(attempts);
        }
    }

    /// Notes that it holds one less.
    pub(super) fn vacate(&mut self, needs: &Needs, memory: u64) {
        self.occupied -= needs.cpus;
        self.memory -= memory;
        for (name, amount) in &needs.resources {
            if let Some(used) = self.resources.get_mut(name) {
                *used -= amount;
            }
        }
    }

    fn key(&self, id: WorkerId) -> LoadKey {
        LoadKey { load: self.load(), used: self.used, id }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LoadKey {
    load: u64,
    used: u64,
    id: WorkerId,
}

/// A worker with capacity, and for how many attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capacity {
    pub(super) worker: WorkerId,
    pub(super) attempts: u32,
}

/// All workers that are present, by load.
#[derive(Debug, Default)]
pub(super) struct Workers {
    workers: FxHashMap<WorkerId, Worker>,
    by_load: BTreeSet<LoadKey>,
    dispatches: u64,
}

impl Workers {
    pub(super) fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.workers.get(&id)
    }

    /// All workers, the least loaded first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.by_load.iter().filter_map(|key| Some((key.id, self.workers.get(&key.id)?)))
    }

    /// Returns whether the id was new.
    pub(super) fn join(&mut self, id: WorkerId, info: WorkerInfo) -> bool {
        if self.workers.contains_key(&id) {
            return false;
        }
        let worker = Worker::new(info);
        self.by_load.insert(worker.key(id));
        self.workers.insert(id, worker);
        true
    }

    pub(super) fn leave(&mut self, id: WorkerId) -> Option<Worker> {
        let worker = self.workers.remove(&id)?;
        self.by_load.remove(&worker.key(id));
        Some(worker)
    }

    /// Changes a worker and keeps the order by load.
    pub(super) fn update<T>(
        &mut self,
        id: WorkerId,
        change: impl FnOnce(&mut Worker) -> T,
    ) -> Option<T> {
        let worker = self.workers.get_mut(&id)?;
        let before = worker.key(id);
        let result = change(worker);
        let after = worker.key(id);
        if before != after {
            self.by_load.remove(&before);
            self.by_load.insert(after);
        }
        Some(result)
    }

    /// Hands `count` consecutive attempts to a worker; `lease` describes the first.
    pub(super) fn lease(
        &mut self,
        id: WorkerId,
        needs: &Needs,
        first: AttemptId,
        lease: Lease,
        count: u32,
    ) {
        self.dispatches += 1;
        let now = self.dispatches;
        self.update(id, |worker| {
            worker.used = now;
            worker.occupy(needs, lease.memory, count);
            for offset in 0..count {
                let index = lease.instance.index + offset;
                let instance = InstanceId { index, ..lease.instance };
                let attempt = AttemptId(first.0 + u64::from(offset));
                worker.leases.insert(attempt, Lease { instance, ..lease });
            }
        });
    }

    /// Notes that an attempt runs; `None` when the worker does not hold it, or has already reported
    /// it.
    pub(super) fn start(&mut self, id: WorkerId, attempt: AttemptId) -> Option<Lease> {
        let worker = self.workers.get_mut(&id)?;
        let lease = worker.leases.get_mut(&attempt).filter(|lease| !lease.started)?;
        lease.started = true;
        worker.asked_back -= u32::from(std::mem::take(&mut lease.asked_back));
        let lease = *lease;
        worker.note_start();
        Some(lease)
    }

    /// Notes that an attempt is about to run; `None` when the worker does not hold it.
    pub(super) fn announce(&mut self, id: WorkerId, attempt: AttemptId) -> Option<()> {
        let worker = self.workers.get_mut(&id)?;
        let lease = worker.leases.get_mut(&attempt)?;
        lease.announced = true;
        Some(())
    }

    /// Ends a lease; `None` when the worker does not hold it. What it occupied is still to be
    /// vacated.
    pub(super) fn release(&mut self, id: WorkerId, attempt: AttemptId) -> Option<Lease> {
        let worker = self.workers.get_mut(&id)?;
        let lease = worker.leases.remove(&attempt)?;
        worker.asked_back -= u32::from(lease.asked_back);
        Some(lease)
    }

    /// The least loaded worker that takes an attempt. `ahead` is how many attempts per slot it may
    /// hold beyond those that run.
    pub(super) fn least_loaded(&self, needs: &Needs, ahead: u32) -> Option<Capacity> {
        if let Some(pin) = needs.pin {
            let attempts = capacity(pin, self.workers.get(&pin)?, needs, ahead);
            return (attempts > 0).then_some(Capacity { worker: pin, attempts });
        }
        if needs.cpus > 1
            && let Some(capacity) =
                self.first_with(needs, |id, worker| starts_at_once(id, worker, needs))
        {
            return Some(capacity);
        }
        self.first_with(needs, |id, worker| capacity(id, worker, needs, ahead))
    }

    /// The least loaded worker with capacity, and how many attempts bring it up to the load of the
    /// next.
    fn first_with(
        &self,
        needs: &Needs,
        capacity: impl Fn(WorkerId, &Worker) -> u32,
    ) -> Option<Capacity> {
        let simple = needs.is_plain() && needs.cpus == 1;
        let mut keys = self.by_load.iter();
        while let Some(key) = keys.next() {
            let worker = self.workers.get(&key.id)?;
            let attempts = capacity(key.id, worker);
            if attempts > 0 {
                let next = keys.next();
                let level = next.map_or(attempts, |next| below(worker, next.load, needs.cpus));
                return Some(Capacity { worker: key.id, attempts: attempts.min(level.max(1)) });
            }
            if simple && !worker.is_restrained() && worker.claims == 0 && worker.is_open() {
                return None; // All others are loaded at least as much.
            }
        }
        None
    }

    /// The workers with capacity, the least loaded first: those where an attempt can start at once
    /// if there are any.
    pub(super) fn with_capacity(&self, needs: &Needs, ahead: u32) -> Vec<(WorkerId, &Worker)> {
        let at_once = self.iter().filter(|(id, worker)| starts_at_once(*id, worker, needs) > 0);
        let at_once: Vec<_> = at_once.collect();
        match at_once.is_empty() {
            true => self.iter().filter(|(id, w)| capacity(*id, w, needs, ahead) > 0).collect(),
            false => at_once,
        }
    }

    /// The worker with capacity that `used` ranks lowest, the less loaded among equals.
    pub(super) fn least_used(
        &self,
        needs: &Needs,
        used: impl Fn(WorkerId) -> usize,
    ) -> Option<WorkerId> {
        let candidates = self.with_capacity(needs, 0).into_iter();
        candidates.min_by_key(|(id, _)| used(*id)).map(|(id, _)| id)
    }

    /// Whether a worker could start an attempt now.
    pub(super) fn could_start(&self, id: WorkerId, needs: &Needs) -> bool {
        self.workers.get(&id).is_some_and(|worker| starts_at_once(id, worker, needs) > 0)
    }

    /// Whether a worker has capacity for an attempt.
    pub(super) fn has_capacity(&self, id: WorkerId, needs: &Needs) -> bool {
        self.workers.get(&id).is_some_and(|worker| capacity(id, worker, needs, 0) > 0)
    }

    /// An idle worker and one that holds work ahead of its slots, if there are both.
    pub(super) fn imbalance(&self) -> Option<(WorkerId, WorkerId)> {
        let open = |key: &&LoadKey| self.workers.get(&key.id).is_some_and(Worker::is_open);
        let takes = |key: &&LoadKey| {
            let worker = self.workers.get(&key.id);
            worker.is_some_and(|worker| worker.is_open() && worker.short.is_none())
        };
        let idle = self.by_load.iter().find(takes)?.id;
        let busy = self.by_load.iter().rev().find(open)?.id;
        let (thief, victim) = (self.workers.get(&idle)?, self.workers.get(&busy)?);
        let unbalanced = thief.free() > 0 && victim.occupied > victim.info.offer.slots;
        (unbalanced && victim.asked_back == 0).then_some((idle, busy))
    }
}

/// How many attempts a worker takes now; one without a slot waits for none.
///
/// One that needs several slots may be queued as soon as one is free: the worker keeps order, so
/// the slots that become free gather for it and a stream of small attempts cannot starve it.
fn capacity(id: WorkerId, worker: &Worker, needs: &Needs, ahead: u32) -> u32 {
    if !worker.is_open() || !worker.suits(id, needs) {
        return 0;
    }
    if worker.claims > 0 && !needs.only_slots() {
        return 0;
    }
    if needs.cpus == 0 {
        return worker.fits(needs);
    }
    // Attempts that occupy more than slots are not handed out ahead: workers themselves enforce
    // only slots.
    let ahead = if needs.only_slots() && !worker.is_restrained() { ahead } else { 0 };
    let slots = worker.slots();
    let limit = slots.saturating_add(slots.saturating_mul(ahead));
    let by_slots = match limit.saturating_sub(worker.occupied) / needs.cpus.max(1) {
        0 => u32::from(worker.free() > 0),
        attempts => attempts,
    };
    if needs.only_slots() { by_slots } else { by_slots.min(worker.fits(needs)) }
}

/// How many attempts a worker could start now.
fn starts_at_once(id: WorkerId, worker: &Worker, needs: &Needs) -> u32 {
    if needs.cpus == 0 {
        return capacity(id, worker, needs, 0);
    }
    match worker.free() / needs.cpus.max(1) {
        0 => 0,
        by_slots => by_slots.min(capacity(id, worker, needs, 0)),
    }
}

/// How many attempts of `cpus` slots bring a worker up to `load`.
fn below(worker: &Worker, load: u64, cpus: u32) -> u32 {
    let target = (load * u64::from(worker.info.offer.slots)) >> 16;
    let missing = target.saturating_sub(worker.occupied.into());
    u32::try_from(missing / u64::from(cpus.max(1))).unwrap_or(u32::MAX)
}
