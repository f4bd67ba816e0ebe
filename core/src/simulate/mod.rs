//! Runs without processes: the state machine of the scheduler, simulated workers, simulated time.
//!
//! [`simulate`] predicts how long a run takes on a cluster that need not exist. Placement, order
//! and the queues of the workers are the real ones; starting processes and communication take no
//! time, and every attempt succeeds.

mod path;
mod widths;
mod worker;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use self::worker::Worker;
use crate::engine::{
    Action, Engine, Event, Outcome, Report, RevokeMode, RunPlan, Scheme, TaskPlan, WorkerInfo,
};
use crate::ids::{AttemptId, InstanceId, Micros, RunId, TaskId, Timestamp, WorkerId};
use crate::offer::Offer;
use crate::pipeline::{Conduct, Targets};
use crate::status::{FailureKind, State};

pub use widths::with_widths;

const RUN: RunId = RunId(1);

/// When the simulated run is submitted. Zero would mean "never" in the reports of a worker.
const START: Timestamp = Timestamp(1);

/// Workers report the start of attempts that run longer than this; shorter ones by their end only.
const LONG: Micros = Micros(5_000);

/// The workers to imagine, all alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// How many workers.
    pub workers: u32,
    /// The slots of each.
    pub cpus: u32,
    /// How workers are chosen.
    pub scheme: Scheme,
}

/// The prediction for a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// From the submission to the last end.
    pub makespan: Micros,
    /// A lower bound for any number of slots: the longest path of durations through the instances.
    pub critical_path: Micros,
    /// The instances on that path, in their order.
    pub path: Vec<InstanceId>,
    /// The occupied slots times how long they are: the sum of all durations when each attempt takes
    /// one slot.
    pub work: Micros,
    /// The slots of the whole cluster.
    pub slots: u64,
    /// The part of the slots' time that is work, from 0 to 1.
    pub utilisation: f64,
    /// How many instances run; the others are skipped.
    pub instances: u64,
    /// How workers were chosen.
    pub scheme: Scheme,
}

/// An instance that has run in the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Which.
    pub instance: InstanceId,
    /// On which worker, from 0.
    pub worker: u32,
    /// When it started, counted from the submission.
    pub started: Micros,
    /// When it ended, counted from the submission.
    pub finished: Micros,
}

/// Why nothing can be predicted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimulateError {
    /// No workers, or workers without slots.
    #[error("a cluster without slots")]
    NoSlots,
    /// A task whose instances fit on none of the workers.
    #[error("task {task} needs {needs} slots for each instance, and every worker has {has}")]
    TooLarge {
        /// The task.
        task: TaskId,
        /// The slots that each of its instances needs.
        needs: u32,
        /// The slots of each worker.
        has: u32,
    },
    /// Nothing runs and nothing can start, although some instances have not ended.
    #[error("the run stops short: nothing can start any more after {ended} instances")]
    Stuck {
        /// How many instances had run.
        ended: u64,
    },
}

/// Predicts how `plan` runs on `cluster`, where `durations` gives how long an attempt of each
/// instance takes.
///
/// The weights of the tasks, from which the longest remaining path of each follows, become the
/// means of the given durations. A scatter has one element, unless [`with_widths`] sets another
/// number. Memory, resources, names of workers and `start-within` are ignored.
///
/// # Errors
/// See [`SimulateError`].
pub fn simulate(
    plan: &RunPlan,
    cluster: Cluster,
    durations: &dyn Fn(InstanceId) -> Micros,
) -> Result<Prediction, SimulateError> {
    simulate_with(plan, cluster, durations, &mut |_| {})
}

/// [`simulate`], with a report on each instance at its end.
///
/// # Errors
/// See [`SimulateError`].
pub fn simulate_with(
    plan: &RunPlan,
    cluster: Cluster,
    durations: &dyn Fn(InstanceId) -> Micros,
    observe: &mut dyn FnMut(Ran),
) -> Result<Prediction, SimulateError> {
    check(plan, cluster)?;
    let plan = unbounded(with_widths(plan, &|_| None));
    // Widths that the state machine learns only from its workers are known here in advance.
    let mut known = widths::per_worker(&plan, cluster.workers);
    weigh(&mut known, durations);
    let mut plan = plan;
    for (task, known) in plan.tasks.iter_mut().zip(&known.tasks) {
        task.weight = known.weight;
    }
    let mut simulation = Simulation {
        engine: Engine::with_scheme(cluster.scheme, 0),
        plan: Arc::new(plan),
        now: START,
        workers: Vec::new(),
        running: BinaryHeap::new(),
        reports: VecDeque::new(),
        durations,
        observe,
        ended: 0,
        work: 0,
        last_end: START,
        finished: false,
    };
    simulation.run(cluster)?;
    let engine = &simulation.engine;
    let ran =
        |task| engine.counts(RUN, task).is_some_and(|(counts, _)| counts.of(State::Succeeded) > 0);
    let longest = path::longest(&known, durations, &ran);
    let longest = longest.ok_or(SimulateError::Stuck { ended: simulation.ended })?;
    let makespan = simulation.last_end.since(START);
    let slots = u64::from(cluster.workers) * u64::from(cluster.cpus);
    let offered = makespan.0 as f64 * slots as f64;
    Ok(Prediction {
        makespan,
        critical_path: longest.length,
        path: longest.instances,
        work: Micros(simulation.work),
        slots,
        utilisation: if offered > 0.0 { simulation.work as f64 / offered } else { 0.0 },
        instances: simulation.ended,
        scheme: cluster.scheme,
    })
}

fn check(plan: &RunPlan, cluster: Cluster) -> Result<(), SimulateError> {
    if cluster.workers == 0 || cluster.cpus == 0 {
        return Err(SimulateError::NoSlots);
    }
    match (0..).map(TaskId).zip(&plan.tasks).find(|(_, task)| task.conduct.cpus > cluster.cpus) {
        Some((task, plan)) => {
            Err(SimulateError::TooLarge { task, needs: plan.conduct.cpus, has: cluster.cpus })
        }
        None => Ok(()),
    }
}

/// The plan without options that select workers by their abilities, or limit the wait before the
/// first attempt.
fn unbounded(mut plan: RunPlan) -> RunPlan {
    for task in &mut plan.tasks {
        task.function = None;
        let targets = match task.conduct.targets {
            Targets::Each => Targets::Each,
            Targets::Any | Targets::Named(_) => Targets::Any,
        };
        let conduct = Conduct {
            memory: 0,
            resources: Vec::new(),
            start_within: None,
            targets,
            ..Conduct::clone(&task.conduct)
        };
        if *task.conduct != conduct {
            task.conduct = Arc::new(conduct);
        }
    }
    plan
}

/// Makes the mean duration of each task its weight.
fn weigh(plan: &mut RunPlan, durations: &dyn Fn(InstanceId) -> Micros) {
    for (task, plan) in (0..).map(TaskId).zip(&mut plan.tasks) {
        let each = (0..plan.width.each()).map(|index| durations(InstanceId { task, index }).0);
        let sum: u128 = each.map(u128::from).sum();
        let mean = sum / u128::from(plan.width.each().max(1));
        // Zero would mean that it is not known.
        plan.weight = Micros(u64::try_from(mean).unwrap_or(u64::MAX).max(1));
    }
}

/// An attempt on a slot, ordered by its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Running {
    end: Timestamp,
    worker: WorkerId,
    attempt: AttemptId,
    instance: InstanceId,
    started: Timestamp,
}

struct Simulation<'a> {
    engine: Engine,
    plan: Arc<RunPlan>,
    now: Timestamp,
    /// A [`WorkerId`] is a position.
    workers: Vec<Worker>,
    running: BinaryHeap<Reverse<Running>>,
    /// Reports that have not been delivered to the state machine.
    reports: VecDeque<(WorkerId, Vec<Report>)>,
    durations: &'a dyn Fn(InstanceId) -> Micros,
    observe: &'a mut dyn FnMut(Ran),
    ended: u64,
    work: u64,
    last_end: Timestamp,
    finished: bool,
}

impl Simulation<'_> {
    fn run(&mut self, cluster: Cluster) -> Result<(), SimulateError> {
        for worker in (0..cluster.workers).map(WorkerId) {
            self.workers.push(Worker::new(cluster.cpus));
            let name = format!("w{}", worker.0 + 1);
            let offer = Offer { slots: cluster.cpus, ..Offer::default() };
            let info = WorkerInfo { name, offer, ..WorkerInfo::default() };
            self.event(Event::WorkerJoined { worker, info });
        }
        self.event(Event::RunSubmitted {
            run: RUN,
            plan: Arc::clone(&self.plan),
            past: Arc::default(),
        });
        loop {
            while let Some((worker, reports)) = self.reports.pop_front() {
                self.event(Event::Reported { worker, reports });
            }
            if self.finished {
                return Ok(());
            }
            let end = self.running.peek().map(|Reverse(running)| running.end);
            // A deadline that has passed without effect does not count.
            let deadline = self.engine.next_deadline().filter(|deadline| *deadline > self.now);
            match (end, deadline) {
                (Some(end), deadline) if deadline.is_none_or(|deadline| end <= deadline) => {
                    self.now = end;
                    self.end_attempts();
                }
                (_, Some(deadline)) => {
                    self.now = deadline;
                    self.event(Event::Tick);
                }
                (_, None) => return Err(SimulateError::Stuck { ended: self.ended }),
            }
        }
    }

    /// Ends everything that ends now. Each worker fills its slots from its own queue, then reports
    /// everything at once.
    fn end_attempts(&mut self) {
        let mut group: Option<(WorkerId, Vec<Report>)> = None;
        while let Some(Reverse(running)) = self.running.peek().copied() {
            if running.end > self.now {
                break;
            }
            self.running.pop();
            // The heap yields attempts that end at the same time ordered by worker.
            if let Some((worker, reports)) = group.take_if(|(worker, _)| *worker != running.worker)
            {
                self.fill(worker, reports);
            }
            let report = self.end(running);
            group.get_or_insert_with(|| (running.worker, Vec::new())).1.push(report);
        }
        if let Some((worker, reports)) = group {
            self.fill(worker, reports);
        }
    }

    fn end(&mut self, running: Running) -> Report {
        let Running { worker, attempt, instance, started, end } = running;
        let cpus = self.task(instance.task).map_or(1, |task| task.conduct.cpus);
        if let Some(worker) = self.workers.get_mut(worker.0 as usize) {
            worker.free += cpus;
        }
        let took = end.since(started).0;
        self.work = self.work.saturating_add(took.saturating_mul(cpus.into()));
        self.ended += 1;
        self.last_end = end;
        let (from, to) = (started.since(START), end.since(START));
        (self.observe)(Ran { instance, worker: worker.0, started: from, finished: to });
        Report::one(attempt, Outcome::Succeeded, started, end)
    }

    fn task(&self, task: TaskId) -> Option<&TaskPlan> {
        self.plan.tasks.get(task.at())
    }

    /// A worker starts what it holds as long as its slots suffice, and reports it behind `reports`.
    fn fill(&mut self, id: WorkerId, mut reports: Vec<Report>) {
        let Some(worker) = self.workers.get_mut(id.0 as usize) else { return };
        while let Some((attempt, instance)) = worker.take() {
            let took = (self.durations)(instance);
            let (started, end) = (self.now, self.now.plus(took));
            self.running.push(Reverse(Running { end, worker: id, attempt, instance, started }));
            if took > LONG {
                reports.push(Report::one(attempt, Outcome::Started, started, Timestamp(0)));
            }
        }
        if !reports.is_empty() {
            self.reports.push_back((id, reports));
        }
    }

    fn event(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.engine.handle(self.now, event, &mut actions);
        let mut touched: Vec<WorkerId> = Vec::new();
        for action in actions {
            match action {
                Action::Dispatch { worker, assignment } => {
                    let cpus = self.task(assignment.task).map_or(1, |task| task.conduct.cpus);
                    if let Some(held) = self.workers.get_mut(worker.0 as usize) {
                        held.push(assignment, cpus);
                    }
                    touched.push(worker);
                }
                Action::Revoke { worker, attempts, mode } => {
                    self.withdraw(worker, &attempts, mode);
                    touched.push(worker);
                }
                // Simulated attempts have no values.
                Action::Release { .. } | Action::Remove { .. } => {}
                Action::RunFinished { .. } => self.finished = true,
                _ => {}
            }
        }
        touched.sort_unstable();
        touched.dedup();
        for worker in touched {
            self.fill(worker, Vec::new());
        }
    }

    /// A worker gives back what has not started; running attempts continue to their end.
    fn withdraw(&mut self, id: WorkerId, attempts: &[AttemptId], mode: RevokeMode) {
        let Some(worker) = self.workers.get_mut(id.0 as usize) else { return };
        let outcome = match mode {
            RevokeMode::Steal => Outcome::Returned,
            RevokeMode::Cancel => Outcome::Failed(FailureKind::Cancelled),
        };
        let withdrawn = worker.withdraw(attempts);
        let never = Timestamp(0);
        let answer = |attempt| Report::one(attempt, outcome, never, never);
        if !withdrawn.is_empty() {
            self.reports.push_back((id, withdrawn.into_iter().map(answer).collect()));
        }
    }
}
