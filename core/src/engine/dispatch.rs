//! Who runs what: ready instances go to workers with room, idle workers get what others hold ahead.

use super::ready::{ReadyKey, Span};
use super::workers::{Lease, Room};
use super::{Action, Assignment, Engine, RevokeMode};
use crate::ids::{AttemptId, InstanceId, Micros, TaskId, WorkerId};
use crate::status::State;

/// A worker holds about this much work beyond its slots, so that it need not wait for the scheduler
/// between short attempts.
const WORK_AHEAD: Micros = Micros(10_000);

/// Never more than this many attempts ahead for each slot.
const MOST_AHEAD: u64 = 2048;

/// How many attempts per slot a worker may hold beyond those that run, by their mean duration.
fn ahead(mean: Micros) -> u32 {
    match WORK_AHEAD.0.checked_div(mean.0) {
        None => 0,
        Some(attempts) => u32::try_from(attempts.min(MOST_AHEAD)).unwrap_or(0),
    }
}

impl Engine {
    /// Hands out ready instances until no worker has room for any.
    pub(super) fn schedule(&mut self, out: &mut Vec<Action>) {
        let mut full: Vec<u32> = Vec::new();
        while let Some((cpus, key)) = self.ready.best(&full) {
            if !self.place(cpus, key, out) {
                full.push(cpus);
            }
        }
        if self.ready.is_empty() {
            self.steal(out);
        }
    }

    /// Hands out the first instances of a task. Returns whether there was room.
    fn place(&mut self, cpus: u32, key: ReadyKey, out: &mut Vec<Action>) -> bool {
        let Some(run) = self.runs.get_mut(&key.run) else { return false };
        let task = &mut run.tasks[key.task.at()];
        let leased = task.counts.of(State::Leased);
        let most = run.plan.tasks[key.task.at()].max_running;
        let allowed = most.map_or(u32::MAX, |most| most.saturating_sub(leased));
        if allowed == 0 {
            task.parked = true;
            self.delist(key.run, key.task);
            return true;
        }
        let Some(room) = self.find_room(cpus, key) else { return false };
        let Some(run) = self.runs.get_mut(&key.run) else { return false };
        let queue = &mut run.tasks[key.task.at()].ready;
        // Instances with a history have attempt numbers of their own.
        let alone = !run.histories.is_empty();
        let most = if alone { 1 } else { room.attempts.min(allowed) };
        let Some(span) = queue.pop(most) else { return false };
        if queue.is_empty() {
            self.delist(key.run, key.task);
        }
        self.lease(key, span, cpus, room.worker, out);
        true
    }

    fn find_room(&self, cpus: u32, key: ReadyKey) -> Option<Room> {
        let run = self.runs.get(&key.run)?;
        let task = &run.tasks[key.task.at()];
        let instance = InstanceId { task: key.task, index: task.ready.front()? };
        match run.histories.get(&instance) {
            None => self.workers.least_loaded(cpus, ahead(task.mean)),
            Some(history) => {
                let used = |worker| history.workers.iter().filter(|w| **w == worker).count();
                let worker = self.workers.least_used(cpus, used)?;
                Some(Room { worker, attempts: 1 })
            }
        }
    }

    fn lease(
        &mut self,
        key: ReadyKey,
        span: Span,
        cpus: u32,
        worker: WorkerId,
        out: &mut Vec<Action>,
    ) {
        let Some(run) = self.runs.get_mut(&key.run) else { return };
        let first = AttemptId(self.last_attempt + 1);
        self.last_attempt += u64::from(span.count);
        let instance = |index| InstanceId { task: key.task, index };
        let history = run.histories.get(&instance(span.first));
        let number = history.map_or(0, |history| history.attempts) + 1;
        run.transition(key.task, span, State::Leased);
        let leases: Vec<Lease> = (span.first..span.first + span.count)
            .map(|index| Lease {
                run: key.run,
                instance: instance(index),
                number,
                cpus,
                started: false,
                asked_back: false,
                cancelled: false,
            })
            .collect();
        self.workers.lease(worker, first, &leases);
        self.note_dirty(key.run);
        out.push(Action::Dispatch {
            worker,
            assignment: Assignment {
                run: key.run,
                task: TaskId(key.task.0),
                first_index: span.first,
                count: span.count,
                first_attempt: first,
                number,
            },
        });
    }

    /// Asks the most loaded worker to give back, for an idle one, what it has not started.
    fn steal(&mut self, out: &mut Vec<Action>) {
        let Some((thief, victim)) = self.workers.imbalance() else { return };
        let Some(free) = self.workers.get(thief).map(super::workers::Worker::free) else { return };
        let attempts = self.workers.update(victim, |held| {
            let backlog = held.occupied - held.offer.slots;
            let most = free.min(backlog.div_ceil(2)) as usize;
            let mut waiting: Vec<AttemptId> = held
                .leases
                .iter()
                .filter(|(_, lease)| !lease.started && !lease.cancelled && lease.cpus <= free)
                .map(|(attempt, _)| *attempt)
                .collect();
            waiting.sort_unstable();
            let attempts = waiting.split_off(waiting.len() - most.min(waiting.len()));
            for attempt in &attempts {
                if let Some(lease) = held.leases.get_mut(attempt) {
                    lease.asked_back = true;
                    held.asked_back += 1;
                }
            }
            attempts
        });
        match attempts {
            Some(attempts) if !attempts.is_empty() => {
                out.push(Action::Revoke { worker: victim, attempts, mode: RevokeMode::Steal });
            }
            _ => {}
        }
    }
}
