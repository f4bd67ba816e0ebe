//! Which workers the ready instances of a task avoid: those that lack what it executes, and those on
//! which an attempt of the instance failed. Instances that avoid more than the others of their task, or
//! ask for more memory, have queues of their own, so that nobody waits behind them.

use super::deadlines::Due;
use super::needs::{ClassId, Needs};
use super::ready::{ReadyQueue, Span};
use super::run::{Apart, History};
use super::turn::Turn;
use super::{Action, Engine};
use crate::ids::{InstanceId, Micros, TaskId, Timestamp, WorkerId};
use crate::status::State;

/// For this long an attempt waits for a busy worker on which none of its instance has failed.
const ELSEWHERE: Micros = Micros(60_000_000);

/// With more queues than this in a task, further instances take any worker.
const MOST_APART: usize = 32;

/// The workers that a ready instance is not to be handed to.
enum Choice {
    /// None but those that all of the task avoid.
    Free,
    /// These, sorted; for a limited time or not. With the bytes of memory that the next attempt asks for.
    Not { workers: Vec<WorkerId>, limited: bool, memory: u64 },
}

impl Turn<'_> {
    /// Puts the first ready instance of a task aside if it avoids more workers than the others, and
    /// returns whether it did.
    pub(super) fn stand_first_apart(&mut self, task: TaskId) -> bool {
        if self.run.histories.is_empty() {
            return false;
        }
        let first = self.run.task(task).ready.front();
        first.is_some_and(|index| self.stand_apart(InstanceId { task, index }))
    }

    /// The same for any instance in the queue of its task.
    pub(super) fn stand_apart(&mut self, instance: InstanceId) -> bool {
        let Choice::Not { workers, limited, memory } = self.choice(instance) else { return false };
        if !self.put_apart(instance, workers, memory) {
            return false;
        }
        if limited {
            self.limit_wait(instance);
        }
        true
    }

    /// What lacks everywhere is free: the worker that is asked once more gives the final answer.
    fn choice(&self, instance: InstanceId) -> Choice {
        let Some(history) = self.run.histories.get(&instance) else { return Choice::Free };
        if history.lacking.is_empty() && history.workers.is_empty() && history.out_of_memory == 0 {
            return Choice::Free;
        }
        let Some(own) = self.hub.needs_of(self.run, instance) else { return Choice::Free };
        let memory = own.memory;
        let suiting = self.suiting(instance);
        let Some(needs) = self.hub.classes.get(self.run.task(instance.task).listed) else {
            return Choice::Free;
        };
        let grown = memory != needs.memory;
        let lacking = |worker: &WorkerId| history.lacking.contains(worker);
        if !suiting.is_empty() && suiting.iter().all(lacking) {
            return match needs.except.is_empty() && !grown {
                true => Choice::Free,
                false => Choice::Not { workers: Vec::new(), limited: false, memory },
            };
        }
        let failed = |worker: &WorkerId| !history.anywhere && history.workers.contains(worker);
        let rests = |worker: &WorkerId| {
            let worker = self.hub.workers.get(*worker);
            worker.and_then(|worker| worker.strain.as_ref()).is_some_and(|it| it.slots() == 0)
        };
        let common = |worker: &WorkerId| needs.except.contains(worker);
        let avoided = |worker: &WorkerId| lacking(worker) || failed(worker) || common(worker);
        let other = suiting.iter().any(|worker| !avoided(worker) && !rests(worker));
        let limited = other && suiting.iter().any(failed);
        let mut workers = suiting;
        match other {
            true => workers.retain(avoided),
            false => workers.retain(lacking),
        }
        workers.sort_unstable();
        if !grown && (workers.is_empty() || workers == needs.except) {
            return Choice::Free;
        }
        Choice::Not { workers, limited, memory }
    }

    /// Moves an instance from the queue of its task to those that avoid the same workers and ask for as
    /// much memory. Returns false when there are too many such queues already; those that ask for more
    /// than others then at least do not avoid any.
    fn put_apart(&mut self, instance: InstanceId, workers: Vec<WorkerId>, memory: u64) -> bool {
        let InstanceId { task, index } = instance;
        let state = self.run.task(task);
        let (many, bound) = (state.apart().len() >= MOST_APART, state.bound_to(index));
        let Some(needs) = self.hub.classes.get(state.class) else { return false };
        let grown = memory != needs.memory;
        let except = if grown && many { Vec::new() } else { workers };
        // The others of a task whose instances are bound stay in its queue.
        let pin = if grown { bound } else { needs.pin };
        let class = self.hub.classes.join(Needs { except, memory, pin, ..needs.clone() });
        let apart = &mut self.run.task_mut(task).rare_mut().apart;
        let known = apart.iter().position(|one| one.class == class);
        let at = match known {
            Some(at) => {
                self.hub.classes.leave(class); // The task has a part in it already.
                at
            }
            None if many && !grown => {
                self.hub.classes.leave(class);
                return false;
            }
            None => {
                apart.push(Apart { class, queue: ReadyQueue::default() });
                apart.len() - 1
            }
        };
        apart[at].queue.push_back(Span { first: index, count: 1 });
        self.delist(task);
        self.run.task_mut(task).ready.remove(index);
        self.enlist(task);
        self.hub.choosy.insert((self.run.id, task));
        true
    }

    /// The wait of an instance for another worker ends in time.
    fn limit_wait(&mut self, instance: InstanceId) {
        let until = self.now.plus(ELSEWHERE);
        let Some(history) = self.run.histories.get_mut(&instance) else { return };
        if history.elsewhere_until.is_none() {
            history.elsewhere_until = Some(until);
            self.hub.deadlines.at(until, Due::Anywhere(self.run.id, instance));
        }
    }

    /// An instance has waited long enough for another worker.
    pub(super) fn go_anywhere(&mut self, instance: InstanceId) {
        let now: Timestamp = self.now;
        let over = |history: &&mut History| history.elsewhere_until.is_some_and(|at| at <= now);
        let Some(history) = self.run.histories.get_mut(&instance).filter(over) else { return };
        history.anywhere = true;
        let InstanceId { task, index } = instance;
        self.delist(task);
        if self.run.task_mut(task).unready(index) {
            self.run.task_mut(task).ready.push_front(index);
        }
        self.enlist(task);
    }

    /// Hands the first of the instances that avoid the same workers to a worker, alone. Returns
    /// whether there was capacity.
    pub(super) fn place_apart(&mut self, class: ClassId, task: TaskId) -> bool {
        let Some(needs) = self.hub.classes.get(class) else { return false };
        let Some(worker) = self.hub.workers.least_used(needs, |_| 0) else { return false };
        let memory = needs.memory;
        self.delist(task);
        let apart = &mut self.run.task_mut(task).rare_mut().apart;
        let at = apart.iter().position(|one| one.class == class);
        let span = at.and_then(|at| apart[at].queue.pop(1));
        if let Some(at) = at.filter(|at| apart[*at].queue.is_empty()) {
            apart.swap_remove(at);
            self.hub.classes.leave(class);
        }
        self.enlist(task);
        let Some(span) = span else { return false };
        self.lease(task, span, worker, memory, true);
        true
    }

    /// Determines anew which workers a task avoids, as workers came, left, or were found to lack or to
    /// have what it executes.
    pub(super) fn choose_workers(&mut self, task: TaskId) {
        self.delist(task);
        let run = self.run.task_mut(task);
        let apart = std::mem::take(&mut run.rare_mut().apart);
        for one in apart {
            let instances: Vec<u32> = one.queue.iter().collect();
            for index in instances.into_iter().rev() {
                run.ready.push_front(index);
            }
            self.hub.classes.leave(one.class);
        }
        self.list_anew(task);
        let state = self.run.task(task);
        let avoids = state.rare().is_some_and(|rare| !rare.avoided.is_empty());
        match avoids {
            true => self.hub.choosy.insert((self.run.id, task)),
            false => self.hub.choosy.remove(&(self.run.id, task)),
        };
        self.enlist(task);
        let ready =
            |it: &&InstanceId| it.task == task && self.run.state(it.task, it.index) == State::Ready;
        let mut again: Vec<InstanceId> = self.run.histories.keys().filter(ready).copied().collect();
        again.sort_unstable();
        for instance in again {
            self.stand_apart(instance);
        }
    }

    /// The class of a task's ready instances, which is not in the ready set at present.
    fn list_anew(&mut self, task: TaskId) {
        let (now, state) = (self.now, self.run.task(task));
        let (class, listed) = (state.class, state.listed);
        let avoided = state.rare().map_or(&[][..], |rare| &rare.avoided);
        let avoided = avoided.iter().filter(|avoided| avoided.until > now);
        let mut except: Vec<WorkerId> = avoided.map(|avoided| avoided.worker).collect();
        except.retain(|worker| self.hub.workers.get(*worker).is_some());
        except.sort_unstable();
        let Some(needs) = self.hub.classes.get(class) else { return };
        let mut workers = self.hub.workers.iter();
        let other = workers.any(|(id, one)| one.suits(id, needs) && !except.contains(&id));
        let new = match other && !except.is_empty() && needs.own.is_none() {
            true => self.hub.classes.join(Needs { except, ..needs.clone() }),
            false => class,
        };
        if listed != class {
            self.hub.classes.leave(listed);
        }
        self.run.task_mut(task).listed = new;
    }
}

impl Engine {
    /// Workers came or left: what avoids some of them chooses again.
    pub(super) fn choose_again(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let choosy: Vec<_> = self.hub.choosy.iter().copied().collect();
        for (id, task) in choosy {
            match self.turn(now, id, out) {
                Some(mut turn) => turn.choose_workers(task),
                None => drop(self.hub.choosy.remove(&(id, task))),
            }
        }
    }
}
