//! Why an instance is in its state: what it waits for, why no worker runs it yet.

use super::Engine;
use super::clause::Verdict;
use super::needs::Needs;
use super::run::{Apart, Run};
use super::workers::Worker;
use crate::ids::{InstanceId, RunId, TaskId, Timestamp, WorkerId};
use crate::status::State;

/// The maximum number of instances that are named.
const NAMED: usize = 5;

/// Why an instance is in its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explanation {
    /// It waits for upstreams.
    Blocked(Vec<Missing>),
    /// The number of its task's instances is not known yet.
    WidthUnknown(Vec<Missing>),
    /// It could start.
    Ready(NotStarted),
    /// A worker holds it.
    Leased {
        /// The worker.
        worker: WorkerId,
        /// The number of the attempt, from 1.
        number: u32,
        /// Whether it is known to run.
        started: bool,
        /// Whether it is being ended.
        cancelled: bool,
    },
    /// It waits for its next attempt.
    Backoff {
        /// Attempts made.
        attempts: u32,
        /// When the next one is due.
        until: Option<Timestamp>,
        /// Why its machine did not start it, when it waits for that reason.
        refused: Option<String>,
    },
    /// It has ended; the history knows how.
    Ended(State),
}

/// Upstreams that an instance waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What makes it wait for them.
    pub edge: MissingEdge,
    /// How many of them are not terminal.
    pub pending: u64,
    /// Upstream tasks whose number of instances is not known.
    pub unknown: Vec<TaskId>,
    /// The first of those that are pending.
    pub first: Vec<InstanceId>,
}

/// What makes an instance wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingEdge {
    /// A map, gather, scatter or placeholder.
    Upstream,
    /// A clause of `after`, by position.
    After(u32),
    /// A clause of `follow`, by position.
    Follow(u32),
}

/// Why a ready instance has not been handed to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotStarted {
    /// No worker is present.
    NoWorker,
    /// No worker that is present could ever run it.
    NoneSuits {
        /// Workers present.
        workers: usize,
    },
    /// As many of its task as `max-running` allows run.
    MaxRunning,
    /// It waits for a worker where it has not been tried in vain.
    Choosy {
        /// The workers where an attempt of it failed, which it avoids for a while.
        failed: Vec<WorkerId>,
        /// The workers that lack what it executes.
        lacking: Vec<WorkerId>,
        /// When any worker will do on which it failed.
        until: Option<Timestamp>,
    },
    /// The machines of all workers that could run it are short of something.
    Short(Vec<Shortage>),
    /// All workers that could run it are busy.
    Busy {
        /// Workers that could run it.
        workers: usize,
        /// Ready instances of a higher priority that these workers could run too.
        ahead: u64,
    },
}

/// What a worker's machine is short of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// The worker.
    pub worker: WorkerId,
    /// The slots that it may occupy meanwhile.
    pub slots: u32,
    /// Until when nothing is started there.
    pub until: Option<Timestamp>,
    /// The words of the system, or how much memory is left.
    pub reason: String,
    /// Whether too little memory is left, so that it is given nothing more, or one attempt at a time.
    pub of_memory: bool,
}

impl Engine {
    /// What a worker's machine is short of; `None` when of nothing, or it is not present.
    #[must_use]
    pub fn shortage(&self, worker: WorkerId) -> Option<Shortage> {
        shortage(worker, self.hub.workers.get(worker)?)
    }

    /// Why an instance is in its state; `None` when it or its run is unknown.
    #[must_use]
    pub fn explain(&self, id: RunId, instance: InstanceId) -> Option<Explanation> {
        let run = self.runs.get(&id)?;
        let task = run.tasks.get(instance.task.at())?;
        if task.width.is_none() {
            return Some(Explanation::WidthUnknown(run.missing(instance)));
        }
        if instance.index >= task.instances() {
            return None;
        }
        Some(match run.state(instance.task, instance.index) {
            State::Blocked => Explanation::Blocked(run.missing(instance)),
            State::Ready => Explanation::Ready(self.not_started(run, instance)),
            State::Leased => self.leased(id, instance)?,
            State::Backoff if self.waits_for_values(id, instance) => {
                let first = self.lacking_values(id, instance);
                let pending = first.len() as u64;
                let first = first.into_iter().take(NAMED).collect();
                let (edge, unknown) = (MissingEdge::Upstream, Vec::new());
                Explanation::Blocked(vec![Missing { edge, pending, unknown, first }])
            }
            State::Backoff => Explanation::Backoff {
                attempts: run.histories.get(&instance).map_or(0, |history| history.attempts),
                until: self.hub.deadlines.retry_of(id, instance),
                refused: run
                    .histories
                    .get(&instance)
                    .filter(|history| history.refusals > 0)
                    .map(|history| history.refused.clone()),
            },
            ended => Explanation::Ended(ended),
        })
    }

    /// Why the instances of a task that are to be started cannot, with the workers that are present;
    /// `None` when some worker could run them, or there are none.
    #[must_use]
    pub fn stuck(&self, id: RunId, task: TaskId) -> Option<NotStarted> {
        let state = self.runs.get(&id)?.tasks.get(task.at())?;
        if state.has_none_ready() && state.counts.of(State::Backoff) == 0 {
            return None;
        }
        // What waits for its next attempt counts with the others.
        let own = !state.ready.is_empty() || state.counts.of(State::Backoff) > 0;
        let apart = state.apart().iter().filter(|one| !one.queue.is_empty());
        let classes = apart.map(|one| one.class).chain(own.then_some(state.class));
        let needs: Vec<_> = classes.filter_map(|class| self.hub.classes.get(class)).collect();
        let present = self.hub.workers.iter().count();
        // Those that are avoided for a while would do.
        let any: Vec<_> =
            needs.iter().map(|one| Needs { except: Vec::new(), ..(*one).clone() }).collect();
        let suiting = self.hub.workers.iter();
        let suiting =
            suiting.filter(|(id, worker)| any.iter().any(|needs| worker.suits(*id, needs)));
        let mut short = Vec::new();
        for (id, worker) in suiting {
            let takes_none = |short: &Shortage| short.until.is_some() || short.of_memory;
            short.push(shortage(id, worker).filter(takes_none)?);
        }
        match short.is_empty() {
            false => Some(NotStarted::Short(short)),
            true if present == 0 => Some(NotStarted::NoWorker),
            true => Some(NotStarted::NoneSuits { workers: present }),
        }
    }

    fn not_started(&self, run: &Run, instance: InstanceId) -> NotStarted {
        let task = run.task(instance.task);
        let Some(needs) = self.hub.needs_of(run, instance) else { return NotStarted::NoWorker };
        let present = self.hub.workers.iter().count();
        let bound = task.bound_to(instance.index);
        let suiting: Vec<_> = self
            .hub
            .workers
            .iter()
            .filter(|(id, worker)| {
                bound.is_none_or(|bound| bound == *id) && worker.suits(*id, &needs)
            })
            .collect();
        match (present, suiting.len()) {
            (0, _) => NotStarted::NoWorker,
            (workers, 0) => NotStarted::NoneSuits { workers },
            _ if task.parked => NotStarted::MaxRunning,
            _ if self.avoids(run, instance) => self.choice(run, instance),
            _ if suiting.iter().all(|(_, worker)| worker.is_restrained()) => {
                let short = suiting.iter().filter_map(|(id, worker)| shortage(*id, worker));
                NotStarted::Short(short.collect())
            }
            (_, workers) => {
                let priority = run.task_plan(instance.task).conduct.priority;
                NotStarted::Busy { workers, ahead: self.ahead_of(priority, &suiting) }
            }
        }
    }

    /// The memory that the next attempt of an instance asks for, or that of the most demanding ready
    /// instance of its task; `None` when that is what the task says.
    #[must_use]
    pub fn grown_memory(&self, id: RunId, task: TaskId, instance: Option<u32>) -> Option<u64> {
        let run = self.runs.get(&id)?;
        let state = run.tasks.get(task.at())?;
        let own = self.hub.classes.get(state.class)?.memory;
        let memory = match instance {
            Some(index) => self.hub.needs_of(run, InstanceId { task, index })?.memory,
            None => {
                let apart = state.apart().iter().filter(|one| !one.queue.is_empty());
                let apart = apart.filter_map(|one| self.hub.classes.get(one.class));
                apart.map(|needs| needs.memory).max()?
            }
        };
        (memory != own).then_some(memory)
    }

    /// Whether a ready instance avoids more workers than the others of its task do.
    fn avoids(&self, run: &Run, instance: InstanceId) -> bool {
        let task = run.task(instance.task);
        let of = |one: &&Apart| one.queue.iter().any(|index| index == instance.index);
        let apart = task.apart().iter().find(of).and_then(|one| self.hub.classes.get(one.class));
        task.listed != task.class || apart.is_some_and(|needs| !needs.except.is_empty())
    }

    /// The ready instances of a higher priority, as far as one of the workers could run them.
    fn ahead_of(&self, priority: i32, workers: &[(WorkerId, &Worker)]) -> u64 {
        let tasks = self.runs.values().flat_map(|run| run.tasks.iter().zip(&run.plan.tasks));
        let higher = tasks.filter(|(task, plan)| plan.conduct.priority > priority && !task.parked);
        let suit = higher.filter(|(task, _)| {
            !task.has_none_ready()
                && self.hub.classes.get(task.class).is_some_and(|needs| {
                    workers.iter().any(|(id, worker)| worker.suits(*id, needs))
                })
        });
        suit.map(|(task, _)| task.ready_count()).sum()
    }

    fn choice(&self, run: &Run, instance: InstanceId) -> NotStarted {
        let history = run.histories.get(&instance).cloned().unwrap_or_default();
        let present = |workers: &[WorkerId]| {
            let mut workers = workers.to_vec();
            workers.retain(|worker| self.hub.workers.get(*worker).is_some());
            workers.sort_unstable();
            workers.dedup();
            workers
        };
        let avoided = run.task(instance.task).rare().map_or(&[][..], |rare| &rare.avoided);
        let mut lacking = history.lacking;
        lacking.extend(avoided.iter().map(|avoided| avoided.worker));
        let failed = if history.anywhere { Vec::new() } else { present(&history.workers) };
        let until = history.elsewhere_until.filter(|_| !failed.is_empty());
        NotStarted::Choosy { failed, lacking: present(&lacking), until }
    }

    fn leased(&self, id: RunId, instance: InstanceId) -> Option<Explanation> {
        self.hub.workers.iter().find_map(|(worker, held)| {
            let mut leases = held.leases.values();
            let lease = leases.find(|lease| lease.run == id && lease.instance == instance)?;
            Some(Explanation::Leased {
                worker,
                number: lease.number,
                started: lease.started,
                cancelled: lease.cancelled,
            })
        })
    }
}

fn shortage(id: WorkerId, worker: &Worker) -> Option<Shortage> {
    if let Some(short) = &worker.short {
        let (slots, reason) = (short.slots(0), short.left().to_owned());
        return Some(Shortage { worker: id, slots, until: None, reason, of_memory: true });
    }
    let strain = worker.strain.as_ref()?;
    let (slots, until) = (strain.limit(), strain.rests_until());
    let reason = strain.reason().to_owned();
    Some(Shortage { worker: id, slots, until, reason, of_memory: false })
}

impl Run {
    fn missing(&self, instance: InstanceId) -> Vec<Missing> {
        let plan = self.task_plan(instance.task);
        let mut missing = Vec::new();
        if let Some(map) = plan.map {
            let known = self.task(map.upstream).width.is_some();
            let upstream =
                InstanceId { task: map.upstream, index: instance.index / map.factor.max(1) };
            let pending = known && !self.state(upstream.task, upstream.index).is_terminal();
            if pending || !known {
                missing.push(Missing {
                    edge: MissingEdge::Upstream,
                    pending: pending.into(),
                    unknown: if known { Vec::new() } else { vec![map.upstream] },
                    first: if pending { vec![upstream] } else { Vec::new() },
                });
            }
        }
        missing.extend(self.missing_group(instance));
        let others = plan.clauses.len() - plan.follows as usize;
        for (number, clause) in (0u32..).zip(&plan.clauses) {
            let state = self.clause(instance.task, number);
            if state.verdict != Verdict::Open {
                continue;
            }
            let edge = match (number as usize).checked_sub(others) {
                Some(follow) => MissingEdge::Follow(u32::try_from(follow).unwrap_or(u32::MAX)),
                None => match number.checked_sub(plan.implied) {
                    Some(after) => MissingEdge::After(after),
                    None => MissingEdge::Upstream,
                },
            };
            missing.push(self.pending_of(edge, &clause.upstreams, |_, _| true));
        }
        missing
    }

    fn missing_group(&self, instance: InstanceId) -> Option<Missing> {
        let gather = self.task_plan(instance.task).gather.as_ref()?;
        let group = self.task(instance.task).rare()?.groups.get(instance.index as usize)?;
        let in_group = |_: TaskId, index: u32| {
            let groups = gather.groups.as_ref();
            groups.is_none_or(|groups| groups.get(index as usize) == Some(&instance.index))
        };
        (group.verdict == Verdict::Open)
            .then(|| self.pending_of(MissingEdge::Upstream, &gather.upstreams, in_group))
    }

    fn pending_of(
        &self,
        edge: MissingEdge,
        upstreams: &[TaskId],
        wanted: impl Fn(TaskId, u32) -> bool,
    ) -> Missing {
        let mut missing = Missing { edge, pending: 0, unknown: Vec::new(), first: Vec::new() };
        for &task in upstreams {
            if self.task(task).width.is_none() {
                missing.unknown.push(task);
            }
            for span in self.spans(task, self.all(task), |state| !state.is_terminal()) {
                for index in span.first..span.first + span.count {
                    if wanted(task, index) {
                        missing.pending += 1;
                        if missing.first.len() < NAMED {
                            missing.first.push(InstanceId { task, index });
                        }
                    }
                }
            }
        }
        missing
    }
}
