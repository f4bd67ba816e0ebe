//! Placement: ready instances are assigned to workers with capacity, and idle workers get attempts
//! that others hold ahead.

use super::needs::{ClassId, Needs};
use super::ready::{ReadyKey, Span};
use super::turn::{Hub, Turn};
use super::workers::{Capacity, Lease, Worker};
use super::{Action, Assignment, Engine, RevokeMode};
use crate::ids::{AttemptId, InstanceId, Micros, TaskId, Timestamp, WorkerId};
use crate::status::State;

/// A worker holds about this much work beyond its slots, so that it need not wait for the scheduler
/// between short attempts.
const WORK_AHEAD: Micros = Micros(10_000);

/// Attempts up to this long are held one ahead when nothing more urgent can come: for longer ones
/// the time that a slot waits for the scheduler is negligible.
const WORTH_ONE_AHEAD: Micros = Micros(100_000);

/// Look for something more urgent only in runs with at most this many tasks.
const LOOK_AT: usize = 64;

/// Never more than this many attempts ahead for each slot.
const MOST_AHEAD: u64 = 2048;

/// How many attempts per slot a worker may hold beyond those that run, by their mean duration; at
/// least `least`.
fn ahead(mean: Micros, least: u64) -> u32 {
    match WORK_AHEAD.0.checked_div(mean.0) {
        // Not known yet.
        None => 0,
        Some(attempts) => u32::try_from(attempts.clamp(least, MOST_AHEAD)).unwrap_or(0),
    }
}

impl Engine {
    /// Hands out ready instances until no worker has capacity for any.
    pub(super) fn schedule(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let mut full: Vec<ClassId> = Vec::new();
        while let Some((class, key)) = self.hub.ready.best(&full) {
            let turn = self.turn(now, key.run, out);
            if !turn.is_some_and(|mut turn| turn.place(class, &key)) {
                full.push(class);
            }
        }
        if self.hub.ready.is_empty() {
            self.hub.steal(out);
        }
    }
}

impl Turn<'_> {
    /// Hands out the first instances of a task. Returns whether there was capacity.
    fn place(&mut self, class: ClassId, key: &ReadyKey) -> bool {
        let task = key.task;
        let leased = self.run.task(task).counts.of(State::Leased);
        let most = self.run.task_plan(task).conduct.max_running;
        let allowed = most.map_or(u32::MAX, |most| most.saturating_sub(leased));
        if allowed == 0 {
            self.delist(task);
            self.run.task_mut(task).parked = true;
            return true;
        }
        if class != self.run.task(task).listed {
            return self.place_apart(class, task);
        }
        if self.stand_first_apart(task) {
            return true;
        }
        let Some((index, capacity)) = self.find_capacity(class, key) else { return false };
        let (_, alike) = self.run.task(task).last_number(index);
        let most = capacity.attempts.min(allowed).min(alike);
        let most = self.alike(InstanceId { task, index }, most);
        let queue = &mut self.run.task_mut(task).ready;
        let span = if queue.front() == Some(index) {
            queue.pop(most)
        } else {
            queue.remove(index).then_some(Span { first: index, count: 1 })
        };
        let Some(span) = span else { return false };
        if queue.is_empty() {
            self.hub.ready.remove(class, key);
        }
        // All of them avoid some worker: none may be taken for it.
        let choosy = self.run.task(task).listed != self.run.task(task).class;
        let memory = self.hub.classes.get(self.run.task(task).class).map_or(0, |it| it.memory);
        self.lease(task, span, capacity.worker, memory, choosy);
        true
    }

    /// How many instances from this one on, `most` at most, can go out together: those with a history have
    /// attempt numbers of their own.
    fn alike(&self, first: InstanceId, most: u32) -> u32 {
        let histories = &self.run.histories;
        if histories.is_empty() {
            return most;
        }
        let at = |offset| InstanceId { index: first.index.saturating_add(offset), ..first };
        let plain = (0..most).take_while(|offset| !histories.contains_key(&at(*offset)));
        u32::try_from(plain.count()).unwrap_or(most).max(1)
    }

    /// Whether nothing that is open now can become more urgent than this task.
    fn is_most_urgent(&self, key: &ReadyKey) -> bool {
        let run = &self.run;
        let open = |task: &TaskId| {
            let task = run.task(*task);
            task.width.is_none() || task.counts.terminal() < task.counts.total()
        };
        let mut others = run.ids().filter(|task: &TaskId| *task != key.task).filter(open);
        self.hub.live == 1 && run.tasks.len() <= LOOK_AT && others.all(|task| run.key(task) > *key)
    }

    /// A worker for the first instance of a task; for tasks whose instances are each bound to a
    /// worker, for the first instance whose worker has capacity.
    fn find_capacity(&mut self, class: ClassId, key: &ReadyKey) -> Option<(u32, Capacity)> {
        let task = self.run.task(key.task);
        let first = task.ready.front()?;
        let needs = self.hub.classes.get(class)?;
        if task.rare().is_some_and(|rare| !rare.each.is_empty()) {
            return task.ready.iter().find_map(|index| {
                let worker = task.bound_to(index)?;
                let capacity = Capacity { worker, attempts: 1 };
                self.hub.workers.has_capacity(worker, needs).then_some((index, capacity))
            });
        }
        let instance = InstanceId { task: key.task, index: first };
        if let Some(history) = self.run.histories.get(&instance).filter(|one| one.known > 0) {
            let used = |worker| history.workers.iter().filter(|w| **w == worker).count();
            let worker = self.hub.workers.least_used(needs, used)?;
            return Some((first, Capacity { worker, attempts: 1 }));
        }
        if let Some(capacity) = self.near_values(instance, needs) {
            return Some((first, capacity));
        }
        let counts = WORK_AHEAD < task.mean && task.mean <= WORTH_ONE_AHEAD;
        let least = counts && self.is_most_urgent(key);
        let ahead = ahead(task.mean, u64::from(least));
        let Hub { workers, classes, scheme, random, .. } = &mut *self.hub;
        Some((first, scheme.pick(workers, classes.get(class)?, ahead, random)?))
    }

    /// Hands instances to a worker, each with so many bytes of memory.
    pub(super) fn lease(
        &mut self,
        task: TaskId,
        span: Span,
        worker: WorkerId,
        memory: u64,
        choosy: bool,
    ) {
        let class = self.run.task(task).class;
        let first = AttemptId(self.hub.last_attempt + 1);
        self.hub.last_attempt += u64::from(span.count);
        let instance = InstanceId { task, index: span.first };
        let history = self.run.histories.get(&instance);
        let last = || self.run.task(task).last_number(span.first).0;
        let number = history.map_or_else(last, |history| history.attempts).saturating_add(1);
        self.transition(task, span, State::Leased);
        let Some(needs) = self.hub.classes.get(class) else { return };
        let lease = Lease {
            run: self.run.id,
            instance,
            number,
            cpus: needs.cpus,
            memory,
            class,
            started: false,
            announced: false,
            asked_back: false,
            cancelled: false,
            adopted: false,
            choosy,
        };
        self.hub.workers.lease(worker, needs, first, lease, span.count);
        self.out.push(Action::Dispatch {
            worker,
            assignment: Assignment {
                run: self.run.id,
                task,
                first_index: span.first,
                count: span.count,
                first_attempt: first,
                number,
                memory,
            },
        });
    }
}

impl Hub {
    /// Asks the most loaded worker to give back, for an idle one, what it has not started.
    fn steal(&mut self, out: &mut Vec<Action>) {
        let Some((thief, victim)) = self.workers.imbalance() else { return };
        let Some(free) = self.workers.get(thief).map(Worker::free) else { return };
        let Some(held) = self.workers.get(victim) else { return };
        let backlog = held.occupied - held.info.offer.slots;
        let most = free.min(backlog.div_ceil(2)) as usize;
        let suits = |class| {
            let needs = self.classes.get(class);
            // Attempts bound to the victim would only return to it.
            let free = |needs: &&Needs| needs.own.is_none();
            needs.filter(free).is_some_and(|needs| self.workers.could_start(thief, needs))
        };
        let mut waiting: Vec<AttemptId> = held
            .leases
            .iter()
            .filter(|(_, lease)| !lease.started && !lease.cancelled && !lease.choosy)
            .filter(|(_, lease)| suits(lease.class))
            .map(|(attempt, _)| *attempt)
            .collect();
        waiting.sort_unstable();
        let attempts = waiting.split_off(waiting.len() - most.min(waiting.len()));
        if attempts.is_empty() {
            return;
        }
        self.workers.update(victim, |held| {
            for attempt in &attempts {
                if let Some(lease) = held.leases.get_mut(attempt) {
                    lease.asked_back = true;
                    held.asked_back += 1;
                }
            }
        });
        out.push(Action::Revoke { worker: victim, attempts, mode: RevokeMode::Steal });
    }
}
