//! Workers without processes: they hold what they are given and end it when the test requests it.

mod survivors;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dagrun_core::engine::{
    Action, CancelScope, Consumed, Engine, Event, Outcome, Past, Record, Refusal, Report,
    RevokeMode, RunPlan, Scheme, TaskPlan, ValueEdge, Width, WorkerInfo,
};
use dagrun_core::ids::{AttemptId, InstanceId, RunId, TaskId, Timestamp, WorkerId};
use dagrun_core::offer::Offer;
use dagrun_core::payload::{Stored, Whereabouts};
use dagrun_core::pipeline::{Clause, Conduct, Outcomes, Quantifier, Targets};
use dagrun_core::status::{Detail, FailureKind, RunState, State};

use crate::journal::{Journal, Line};

pub(crate) const RUN: RunId = RunId(1);

/// An attempt that a worker holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) instance: InstanceId,
    pub(crate) number: u32,
    pub(crate) cpus: u32,
    /// Bytes of memory that it asks for.
    pub(crate) memory: u64,
    pub(crate) started: bool,
    /// Whether its worker has reported that it runs.
    pub(crate) announced: bool,
    pub(crate) cancelled: bool,
    /// Whether its start is to be reported before it begins.
    cautious: bool,
}

#[derive(Debug, Default)]
pub(crate) struct FakeWorker {
    pub(crate) slots: u32,
    offer: Offer,
    /// By attempt, which is the order in which they were handed out.
    pub(crate) held: BTreeMap<AttemptId, Held>,
    /// Whether its line is cut.
    pub(crate) away: bool,
    /// Attempts that were under way to it when its line was cut.
    pub(crate) dropped: Vec<(AttemptId, Held)>,
    /// Reports, each with the place in the journal by which all that follows from it is there.
    sent: Vec<(i64, Report)>,
    /// Reports that are to be sent.
    pending: Vec<Report>,
}

/// A machine, its workers and everything that it did.
#[derive(Debug, Default)]
pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) now: u64,
    pub(crate) workers: BTreeMap<WorkerId, FakeWorker>,
    pub(crate) records: Vec<Record>,
    pub(crate) finished: Vec<RunState>,
    /// The instances whose temporary outputs are to be removed.
    pub(crate) removed: Vec<InstanceId>,
    /// The length of the value that a worker keeps of an attempt that succeeds, if any.
    pub(crate) keeps: Option<u64>,
    /// The instances that were opened again, as their values were lost.
    pub(crate) reopened: Vec<InstanceId>,
    /// The instances whose values were made again, or are.
    pub(crate) remade: BTreeSet<InstanceId>,
    /// The worker that keeps each value.
    pub(crate) kept: BTreeMap<InstanceId, WorkerId>,
    /// Every start: instance, attempt number, worker.
    pub(crate) starts: Vec<(InstanceId, u32, WorkerId)>,
    pub(crate) widths: BTreeMap<TaskId, u32>,
    /// Instances that were given back unstarted.
    pub(crate) returned: Vec<InstanceId>,
    pub(crate) plan: Arc<RunPlan>,
    pub(crate) past: Arc<Past>,
    /// What would be on disk sooner or later.
    pub(crate) journal: Journal,
    /// All attempts that were handed out.
    given: BTreeMap<AttemptId, Held>,
    /// Values that were released, and the place in the journal by which the reason is there.
    released: Vec<(i64, InstanceId, WorkerId)>,
    /// Whether there is a scheduler.
    down: bool,
    /// How long an attempt takes, in microseconds.
    pub(crate) took: u64,
    epoch: u64,
    /// Whether workers report each start. If not, they announce what may have ended a worker before.
    pub(crate) announces: bool,
}

pub(crate) fn at(task: u32, index: u32) -> InstanceId {
    InstanceId { task: TaskId(task), index }
}

pub(crate) fn clause(quantifier: Quantifier, upstreams: &[u32], on: Outcomes) -> Clause {
    Clause { upstreams: upstreams.iter().map(|task| TaskId(*task)).collect(), quantifier, on }
}

pub(crate) fn after(upstreams: &[u32]) -> TaskPlan {
    after_on(Quantifier::All, upstreams, Outcomes::Success)
}

pub(crate) fn after_on(quantifier: Quantifier, upstreams: &[u32], on: Outcomes) -> TaskPlan {
    TaskPlan { clauses: vec![clause(quantifier, upstreams, on)], ..TaskPlan::default() }
}

/// The task with other options.
pub(crate) fn with(mut task: TaskPlan, change: impl FnOnce(&mut Conduct)) -> TaskPlan {
    change(Arc::make_mut(&mut task.conduct));
    task
}

/// The task with an instance for each element or worker, a width known only during the run.
pub(crate) fn late(task: TaskPlan) -> TaskPlan {
    TaskPlan { width: Width::Late { each: 1 }, ..task }
}

/// A task with an instance for each worker.
pub(crate) fn each_worker() -> TaskPlan {
    late(with(TaskPlan::default(), |conduct| conduct.targets = Targets::Each))
}

pub(crate) fn array(width: u32) -> TaskPlan {
    TaskPlan { width: width.into(), ..TaskPlan::default() }
}

impl Rig {
    pub(crate) fn new(tasks: Vec<TaskPlan>) -> Rig {
        Rig::of(RunPlan { tasks, ..RunPlan::default() })
    }

    pub(crate) fn of(plan: RunPlan) -> Rig {
        Rig { plan: Arc::new(plan), took: 20_000, ..Rig::default() }
    }

    /// Places by a scheme.
    pub(crate) fn scheme(self, scheme: Scheme, seed: u64) -> Rig {
        Rig { engine: Engine::with_scheme(scheme, seed), ..self }
    }

    /// Takes over what had happened before.
    pub(crate) fn past(self, past: Past) -> Rig {
        Rig { past: Arc::new(past), ..self }
    }

    /// Workers report each start.
    pub(crate) fn announcing(self) -> Rig {
        Rig { announces: true, ..self }
    }

    /// Submits the plan.
    pub(crate) fn submit(mut self) -> Rig {
        let plan = Arc::clone(&self.plan);
        let past = Arc::clone(&self.past);
        self.event(Event::RunSubmitted { run: RUN, plan, past });
        self
    }

    /// Adds a worker with this many slots.
    pub(crate) fn worker(mut self, id: u32, slots: u32) -> Rig {
        self.join(id, slots);
        self
    }

    pub(crate) fn join(&mut self, id: u32, slots: u32) {
        self.join_offering(id, Offer { slots, ..Offer::default() });
    }

    /// Adds a worker with labels, memory or resources.
    pub(crate) fn join_offering(&mut self, id: u32, offer: Offer) {
        let worker = WorkerId(id);
        let fake = FakeWorker { slots: offer.slots, offer: offer.clone(), ..FakeWorker::default() };
        self.workers.insert(worker, fake);
        let info = WorkerInfo { name: format!("w{id}"), offer, ..WorkerInfo::default() };
        self.event(Event::WorkerJoined { worker, info });
    }

    /// The scheduler is killed, with all workers; of its journal the lines up to a place are on disk.
    /// Another one goes on, with workers of the same names.
    pub(crate) fn crash(&mut self, durable: i64, items: impl Fn(InstanceId) -> Option<u32>) {
        self.epoch += 1;
        self.engine = Engine::with_scheme(self.engine.scheme(), self.epoch);
        self.engine.begin_epoch(self.epoch);
        self.journal.cut(durable);
        self.kept.clear();
        (self.finished, self.returned) = (Vec::new(), Vec::new());
        let past = self.journal.resume(&self.plan, &BTreeSet::new(), items);
        self.widths = past.widths.iter().copied().collect();
        let late = |task: &TaskId| self.plan.tasks[task.at()].width.is_late();
        self.widths.retain(|task, _| late(task));
        self.past = Arc::new(past);
        for (id, worker) in std::mem::take(&mut self.workers) {
            self.join_offering(id.0, worker.offer);
        }
        let (plan, past) = (Arc::clone(&self.plan), Arc::clone(&self.past));
        self.event(Event::RunSubmitted { run: RUN, plan, past });
    }

    /// The worker is lost with everything that it held.
    pub(crate) fn kill(&mut self, id: u32) {
        self.workers.remove(&WorkerId(id));
        self.kept.retain(|_, worker| *worker != WorkerId(id));
        self.lose(id);
    }

    /// The scheduler notices that a worker is dead.
    pub(crate) fn lose(&mut self, id: u32) {
        self.event(Event::WorkerLost { worker: WorkerId(id) });
    }

    /// A worker's line is cut: the last `lost` of what it has not started never reached it.
    pub(crate) fn cut(&mut self, id: u32, lost: usize) {
        let fake = self.workers.get_mut(&WorkerId(id)).expect("a live worker");
        fake.away = true;
        let waiting = fake.held.iter().rev().filter(|(_, held)| !held.started);
        let dropped: Vec<AttemptId> = waiting.take(lost).map(|(id, _)| *id).collect();
        let dropped = dropped.into_iter().filter_map(|id| Some((id, fake.held.remove(&id)?)));
        fake.dropped = dropped.collect();
        self.event(Event::WorkerAway { worker: WorkerId(id) });
    }

    /// A worker whose line was cut is there again.
    pub(crate) fn come_back(&mut self, id: u32) {
        let worker = WorkerId(id);
        let fake = self.workers.get_mut(&worker).expect("a live worker");
        fake.away = false;
        self.returned.extend(fake.dropped.drain(..).map(|(_, held)| held.instance));
        let held = fake.held.keys().map(|attempt| attempt.0..attempt.0 + 1).collect();
        self.event(Event::WorkerReturned { worker, held, claims: Vec::new() });
    }

    pub(crate) fn cancel(&mut self, scope: CancelScope) {
        self.journal.push(match scope {
            CancelScope::Interruption => Line::Interrupted,
            _ => Line::Cancel(scope),
        });
        self.event(Event::CancelRequested { run: RUN, scope });
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.now += 1;
        self.deliver(event);
    }

    /// Answers of workers arrive at the same time as the requests.
    fn deliver(&mut self, event: Event) {
        let mut actions = Vec::new();
        let reported = match &event {
            Event::Reported { worker, reports } => Some((*worker, reports.clone())),
            _ => None,
        };
        self.engine.handle(Timestamp(self.now), event, &mut actions);
        let mut answers = Vec::new();
        for action in actions {
            self.act(action, &mut answers);
        }
        let seq = self.journal.commit();
        if let Some((worker, reports)) = reported
            && let Some(fake) = self.workers.get_mut(&worker)
        {
            let ends = reports.into_iter().filter(|report| report.outcome != Outcome::Started);
            fake.sent.extend(ends.map(|report| (seq, report)));
        }
        self.engine.check_invariants();
        for (worker, reports) in answers {
            self.deliver(Event::Reported { worker, reports });
        }
    }

    fn act(&mut self, action: Action, answers: &mut Vec<(WorkerId, Vec<Report>)>) {
        match action {
            Action::Dispatch { worker, assignment } => {
                assert_eq!(assignment.run, RUN);
                self.journal.dispatch(&assignment);
                let cpus = self.plan.tasks[assignment.task.at()].conduct.slots();
                for offset in 0..assignment.count {
                    let id = AttemptId(assignment.first_attempt.0 + u64::from(offset));
                    let instance = at(assignment.task.0, assignment.first_index + offset);
                    let taken = self.engine.taken(RUN, instance);
                    let cautious = taken.iter().any(|taken| !taken.ran);
                    self.check_inputs(instance);
                    let held = Held {
                        instance,
                        number: assignment.number,
                        cpus,
                        memory: assignment.memory,
                        started: false,
                        announced: false,
                        cancelled: false,
                        cautious,
                    };
                    let before = self.given.insert(id, held);
                    assert!(before.is_none(), "attempt {id} was dispatched twice");
                    let fake = self.workers.get_mut(&worker).expect("dispatch to a dead worker");
                    assert!(!fake.away, "dispatch through a cut line");
                    fake.held.insert(id, held);
                }
                let started = self.start_what_fits(worker);
                answers.extend((!started.is_empty()).then_some((worker, started)));
            }
            Action::Revoke { worker, attempts, mode } => {
                let fake = self.workers.get_mut(&worker).expect("revoke from a dead worker");
                if fake.away {
                    return; // The request is lost.
                }
                let mut reports = Vec::new();
                for id in attempts {
                    let Some(held) = fake.held.get_mut(&id) else { continue };
                    match mode {
                        RevokeMode::Cancel if held.started => held.cancelled = true,
                        RevokeMode::Steal if held.started => {}
                        RevokeMode::Cancel => {
                            reports.push(report(id, Outcome::Failed(FailureKind::Cancelled), 0, 0));
                            fake.held.remove(&id);
                        }
                        RevokeMode::Steal => {
                            reports.push(report(id, Outcome::Returned, 0, 0));
                            self.returned.push(held.instance);
                            fake.held.remove(&id);
                        }
                    }
                }
                reports.extend(self.start_what_fits(worker));
                if !reports.is_empty() {
                    answers.push((worker, reports));
                }
            }
            Action::Record(record) => {
                self.journal.push(Line::Record(record.clone()));
                self.records.push(record);
            }
            Action::WidthKnown { run, task, width } => {
                assert_eq!(run, RUN);
                assert!(self.widths.insert(task, width).is_none(), "a width is told once");
                self.journal.push(Line::Width(task, width));
            }
            Action::Reopen { run, instance } => {
                assert_eq!(run, RUN);
                assert!(!self.kept.contains_key(&instance), "{instance:?} is lost");
                self.journal.push(Line::Reopen(instance));
                self.reopened.push(instance);
                self.remade.insert(instance);
            }
            Action::Release { worker, run, values } => {
                assert_eq!(run, RUN);
                for value in values {
                    assert_eq!(self.kept.remove(&value), Some(worker), "{value:?} is kept there");
                    self.released.push((self.journal.next(), value, worker));
                }
            }
            Action::Remove { task, first_index, count, .. } => {
                self.removed.extend((first_index..first_index + count).map(|i| at(task.0, i)));
            }
            Action::RunFinished { run, state } => {
                assert_eq!(run, RUN);
                self.finished.push(state);
                self.journal.push(Line::Finished(state));
            }
        }
    }

    /// No input of an instance is being made again.
    fn check_inputs(&self, instance: InstanceId) {
        let into = |edge: &&ValueEdge| edge.to == instance.task;
        for edge in self.plan.values.iter().filter(into) {
            let is_open = |of: &&InstanceId| {
                let InstanceId { task, index } = **of;
                let consumed = match edge.of {
                    Consumed::Map(factor) => index == instance.index / factor,
                    Consumed::Single => true,
                    Consumed::Gathered => {
                        let gather = self.plan.tasks[edge.to.at()].gather.as_ref();
                        let groups = gather.and_then(|gather| gather.groups.as_ref());
                        let group = groups.map(|groups| groups.get(index as usize));
                        group.is_none_or(|group| group == Some(&instance.index))
                    }
                };
                task == edge.from && consumed && !self.state(task.0, index).is_terminal()
            };
            let open = self.remade.iter().find(is_open);
            assert_eq!(open, None, "{instance:?} is given out without it");
        }
    }

    /// A worker starts what it holds in order, as long as its slots suffice, and at once what needs
    /// none; returns what it reports.
    fn start_what_fits(&mut self, worker: WorkerId) -> Vec<Report> {
        let Some(fake) = self.workers.get_mut(&worker) else { return Vec::new() };
        let mut free = fake.slots
            - fake.held.values().filter(|held| held.started).map(|held| held.cpus).sum::<u32>();
        let mut reports = Vec::new();
        let mut full = false;
        for (id, held) in fake.held.iter_mut().filter(|(_, held)| !held.started) {
            full |= held.cpus > free;
            if full && held.cpus > 0 || self.down && held.cautious {
                continue;
            }
            free -= held.cpus;
            held.started = true;
            held.announced = self.announces || held.cautious;
            if held.announced {
                let at = if self.announces { self.now.max(1) } else { 0 };
                reports.push(report(*id, Outcome::Started, at, 0));
            }
            self.starts.push((held.instance, held.number, worker));
        }
        reports
    }

    /// All attempts that run: worker, id, attempt.
    pub(crate) fn running(&self) -> Vec<(WorkerId, AttemptId, Held)> {
        self.workers
            .iter()
            .flat_map(|(worker, fake)| fake.held.iter().map(|(id, held)| (*worker, *id, *held)))
            .filter(|(_, _, held)| held.started)
            .collect()
    }

    /// A worker does not start an attempt: it never ran.
    pub(crate) fn refuse(&mut self, worker: WorkerId, id: AttemptId, refusal: Refusal) {
        let fake = self.workers.get_mut(&worker).expect("a live worker");
        let held = fake.held.remove(&id).expect("an attempt that it holds");
        let start = (held.instance, held.number, worker);
        if let Some(at) = self.starts.iter().rposition(|other| *other == start) {
            self.starts.remove(at);
        }
        let started = self.start_what_fits(worker);
        let detail = Detail { reason: "no such program: x".to_owned(), ..Detail::default() };
        let report = report(id, Outcome::Refused(refusal), 0, 0);
        let mut reports = vec![Report { detail: Some(Box::new(detail)), ..report }];
        reports.extend(started);
        self.event(Event::Reported { worker, reports });
    }

    /// Refuses the attempt of an instance that seems to run.
    pub(crate) fn refuse_one(&mut self, task: u32, index: u32, refusal: Refusal) {
        let running = self.running();
        let found = running.iter().find(|(_, _, held)| held.instance == at(task, index));
        let (worker, id, _) = *found.unwrap_or_else(|| panic!("{task}[{index}] does not run"));
        self.refuse(worker, id, refusal);
    }

    /// Time passes until the next deadline.
    pub(crate) fn wait(&mut self) {
        let next = self.engine.next_deadline().expect("a deadline");
        self.now = self.now.max(next.0 - 1);
        self.event(Event::Tick);
    }

    pub(crate) fn end(&mut self, worker: WorkerId, id: AttemptId, outcome: Outcome) {
        self.end_with(worker, id, outcome, None);
    }

    /// Ends an attempt that may feed a scatter.
    pub(crate) fn end_with(
        &mut self,
        worker: WorkerId,
        id: AttemptId,
        outcome: Outcome,
        items: Option<u32>,
    ) {
        let held = self.workers.get_mut(&worker).and_then(|fake| fake.held.remove(&id));
        let held = held.filter(|held| held.started).expect("only what runs can end");
        let started = self.start_what_fits(worker);
        let finished = self.now + self.took;
        let bytes = self.keeps.filter(|_| outcome == Outcome::Succeeded);
        let detail = bytes.map(|bytes| {
            self.kept.insert(held.instance, worker);
            let stored =
                Stored { place: Whereabouts::Worker(worker, held.instance), bytes, checksum: 0 };
            Box::new(Detail { value: Some(stored.to_payload()), ..Detail::default() })
        });
        let report = Report { items, detail, ..report(id, outcome, self.now.max(1), finished) };
        self.now = finished;
        let fake = self.workers.get_mut(&worker).expect("a live worker");
        fake.pending.push(report);
        if self.down {
            return;
        }
        let mut reports = std::mem::take(&mut fake.pending);
        reports.extend(started);
        self.event(Event::Reported { worker, reports });
    }

    /// Ends the running attempt of an instance.
    pub(crate) fn finish(&mut self, task: u32, index: u32, outcome: Outcome) {
        let (worker, id, _) = *self
            .running()
            .iter()
            .find(|(_, _, held)| held.instance == at(task, index))
            .unwrap_or_else(|| panic!("{task}[{index}] does not run"));
        self.end(worker, id, outcome);
    }

    pub(crate) fn ok(&mut self, task: u32, index: u32) {
        self.finish(task, index, Outcome::Succeeded);
    }

    pub(crate) fn fail(&mut self, task: u32, index: u32) {
        self.finish(task, index, Outcome::Failed(FailureKind::Exit(1)));
    }

    /// Ends everything that runs, until nothing does; `fails` decides which instances fail.
    pub(crate) fn drain(&mut self, fails: impl Fn(InstanceId) -> bool) {
        while let Some((worker, id, held)) = self.running().first().copied() {
            let outcome = match fails(held.instance) {
                true => Outcome::Failed(FailureKind::Exit(1)),
                false => Outcome::Succeeded,
            };
            self.end(worker, id, outcome);
        }
    }

    pub(crate) fn state(&self, task: u32, index: u32) -> State {
        self.engine.state(RUN, at(task, index)).expect("a known instance")
    }

    pub(crate) fn states(&self, task: u32) -> Vec<State> {
        let width = self.engine.width(RUN, TaskId(task)).expect("a known width");
        (0..width).map(|index| self.state(task, index)).collect()
    }

    /// The worker on which an instance ran last.
    pub(crate) fn ran_on(&self, task: u32, index: u32) -> Option<u32> {
        let mut starts = self.starts.iter().rev();
        let (_, _, worker) = starts.find(|(instance, ..)| *instance == at(task, index))?;
        Some(worker.0)
    }

    /// Ends the running attempt of an instance with success, having captured an array.
    pub(crate) fn captures(&mut self, task: u32, index: u32, items: Option<u32>) {
        let (worker, id, _) = *self
            .running()
            .iter()
            .find(|(_, _, held)| held.instance == at(task, index))
            .unwrap_or_else(|| panic!("{task}[{index}] does not run"));
        self.end_with(worker, id, Outcome::Succeeded, items);
    }

    /// The last record of an instance.
    pub(crate) fn last_record(&self, task: u32, index: u32) -> &Record {
        let covers = |record: &&Record| {
            record.task.0 == task
                && (record.first_index..record.first_index + record.count).contains(&index)
        };
        self.records.iter().rev().find(covers).expect("a record")
    }

    /// The indices of a task's starts, in order.
    pub(crate) fn started(&self, task: u32) -> Vec<u32> {
        let of_task = self.starts.iter().filter(|(instance, ..)| instance.task.0 == task);
        of_task.map(|(instance, ..)| instance.index).collect()
    }
}

pub(crate) fn report(id: AttemptId, outcome: Outcome, started: u64, finished: u64) -> Report {
    Report::one(id, outcome, Timestamp(started), Timestamp(finished))
}
