//! Random pipelines of all patterns, nested, with failures, retries, deadlines, cancels, workers
//! that join and are lost, against a model that keeps every instance and edge and judges all of
//! them from scratch.
//!
//! `DAGRUN_PROGRAMS` sets how many (default 3,000), `DAGRUN_SEED` the first seed. With
//! `DAGRUN_PROGRAM_SECONDS` the test continues with more programs until that time has passed. A
//! failure prints its seed.

mod generate;
mod kills;
mod reference;
mod refusals;
mod survivors;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use dagrun_core::engine::{CancelScope, Cause, Event, FollowProblem, Outcome, Scheme};
use dagrun_core::ids::{AttemptId, InstanceId, TaskId, WorkerId};
use dagrun_core::offer::Offer;
use dagrun_core::pipeline::Targets;
use dagrun_core::status::{FailureKind, RunState, State};

use self::generate::{Random, program};
use self::reference::{Model, Verdict, Verdicts};
use self::refusals::Refusals;
use crate::rig::{FakeWorker, Held, RUN, Rig, at};

use Verdict::{Done, Never, Run, Wait};

/// No more workers join than this, so that every program comes to an end.
const MOST_WORKERS: u32 = 8;

/// A machine and its model, side by side.
struct Pair {
    seed: u64,
    random: Random,
    rig: Rig,
    model: Model,
    /// How often attempts of an instance failed that were followed by another.
    failures: BTreeMap<InstanceId, u32>,
    /// How often an instance lost its worker.
    losses: BTreeMap<InstanceId, u32>,
    /// When a first attempt of an instance must have started.
    due: Vec<(u64, InstanceId)>,
    /// Instances that were ready before.
    opened: BTreeSet<InstanceId>,
    joined: u32,
    checked_starts: usize,
    refusals: Refusals,
    /// Whether the run is being ended, and whether a user requested that.
    ending: bool,
    cancelled: bool,
    interrupted: bool,
    /// The model is no match any more, as a value was made again: only what always holds is checked.
    alone: bool,
}

impl Pair {
    fn new(seed: u64) -> Pair {
        let mut random = Random(seed);
        let plan = program(&mut random);
        let mut rig = Rig::of(plan.clone()).scheme(random.pick(&Scheme::ALL), seed);
        rig.took = random.pick(&[1, 500, 50_000]);
        let refusals = Refusals::new(seed);
        // What is refused later has not started.
        rig.announces = !refusals.happen && random.one_in(2);
        Pair {
            seed,
            random,
            rig,
            model: Model::new(plan),
            failures: BTreeMap::new(),
            losses: BTreeMap::new(),
            due: Vec::new(),
            opened: BTreeSet::new(),
            joined: 0,
            checked_starts: 0,
            refusals,
            ending: false,
            cancelled: false,
            interrupted: false,
            alone: false,
        }
    }

    fn run(mut self) {
        for _ in 0..self.random.below(3) {
            self.join();
        }
        self.rig = self.rig.submit();
        self.settle();
        let mut steps = 0;
        while self.rig.finished.is_empty() {
            steps += 1;
            assert!(steps < 10_000, "it never ends, seed {}", self.seed);
            self.step();
            self.settle();
        }
        self.check_end();
    }

    fn step(&mut self) {
        let running = self.rig.running();
        let away = |worker: &WorkerId| self.rig.workers[worker].away;
        let running: Vec<_> = running.into_iter().filter(|(worker, ..)| !away(worker)).collect();
        match self.random.below(40) {
            _ if self.is_any_away() && (running.is_empty() || self.random.one_in(4)) => {
                self.come_back();
            }
            6 if self.random.one_in(2) => self.cut(),
            0 if self.joined < 6 => self.join(),
            1 if self.joined < MOST_WORKERS => self.kill(),
            2 if self.random.one_in(3) => {
                let task = TaskId(self.random.below(self.model.plan.tasks.len() as u32));
                let scope = match self.random.below(5) {
                    0 => CancelScope::Run,
                    4 => CancelScope::Interruption,
                    1 => CancelScope::Task(task),
                    _ => CancelScope::Instance(at(task.0, self.random.below(3))),
                };
                self.cancel(scope);
            }
            3 | 4 => self.tick(),
            5 if self.refusals.happen => self.change_shortage(),
            _ if !running.is_empty() => self.end(&running),
            _ if self.rig.engine.next_deadline().is_some() => self.tick(),
            _ if self.joined < MOST_WORKERS => self.join(),
            // The remaining instances need a worker that will never join.
            _ if !self.ending => self.cancel(CancelScope::Run),
            _ => {
                let task = TaskId(self.random.below(self.model.plan.tasks.len() as u32));
                self.cancel(CancelScope::Task(task));
            }
        }
    }

    fn join(&mut self) {
        self.joined += 1;
        let labels = if self.joined.is_multiple_of(2) { vec!["even".into()] } else { Vec::new() };
        let (slots, memory) = (2 + self.random.below(3), 1 + u64::from(self.random.below(2)));
        let offer = Offer { slots, memory, labels, ..Offer::default() };
        self.rig.join_offering(self.joined, offer);
    }

    fn is_any_away(&self) -> bool {
        self.rig.workers.values().any(|worker| worker.away)
    }

    /// A worker's line is cut.
    fn cut(&mut self) {
        let present = self.rig.workers.iter().filter(|(_, worker)| !worker.away);
        let ids: Vec<WorkerId> = present.map(|(id, _)| *id).collect();
        if !ids.is_empty() {
            let (id, lost) = (self.random.pick(&ids), self.random.below(4));
            self.rig.cut(id.0, lost as usize);
        }
    }

    /// All workers whose line was cut are there again.
    fn come_back(&mut self) {
        let away = self.rig.workers.iter().filter(|(_, worker)| worker.away);
        let away: Vec<WorkerId> = away.map(|(id, _)| *id).collect();
        away.into_iter().for_each(|id| self.rig.come_back(id.0));
    }

    /// A worker is lost: the instances that it held are ready again, unless they were lost too
    /// often or were being cancelled. Instances bound to that worker then never run.
    fn kill(&mut self) {
        let ids: Vec<WorkerId> = self.rig.workers.keys().copied().collect();
        if ids.is_empty() {
            return;
        }
        let id = self.random.pick(&ids);
        if self.alone {
            self.rig.kill(id.0);
            return;
        }
        self.observe();
        let worker = &self.rig.workers[&id];
        let dropped = worker.dropped.iter().map(|(id, held)| (*id, *held));
        let held: BTreeMap<AttemptId, Held> =
            worker.held.iter().map(|(id, held)| (*id, *held)).chain(dropped).collect();
        // The first ones, as far as its slots suffice, have come to run.
        let mut free = Some(worker.slots);
        for held in held.into_values() {
            let instance = held.instance;
            free = free.and_then(|free| free.checked_sub(held.cpus));
            let ran = held.announced || free.is_some() || held.cpus == 0;
            if held.cancelled || (ran && self.loses(instance)) {
                self.model.end_lost(instance, id);
            } else if !ran {
                self.rig.returned.push(instance);
            }
        }
        self.rig.kill(id.0);
    }

    /// An attempt is lost; returns whether it was the last.
    fn loses(&mut self, instance: InstanceId) -> bool {
        let lost = self.losses.entry(instance).or_default();
        *lost += 1;
        *lost > self.model.task(instance.task).conduct.max_lost
    }

    fn cancel(&mut self, scope: CancelScope) {
        // What an away worker holds ends only when it has returned, which the model does not know.
        self.come_back();
        self.settle();
        if self.alone {
            self.ending |= scope.is_whole();
            self.rig.cancel(scope);
            return;
        }
        // Attempts that a worker holds end only when it answers, even those that have not started;
        // by then the rest of a run with fail-fast has ended.
        let workers = self.rig.workers.values();
        let leased = workers.flat_map(|worker| worker.held.values().map(|held| held.instance));
        let leased: BTreeSet<InstanceId> = leased.collect();
        let verdicts = self.observe();
        self.model.end_all(scope, &verdicts, &leased);
        self.ending |= scope.is_whole();
        self.cancelled |= scope == CancelScope::Run;
        self.interrupted |= scope == CancelScope::Interruption;
        let mut answered = scope;
        if self.model.plan.fail_fast && !self.ending && self.failed() {
            self.ending = true;
            let verdicts = self.observe();
            self.model.end_all(CancelScope::Run, &verdicts, &leased);
            answered = CancelScope::Run;
        }
        let (verdicts, started) = (self.observe(), self.started());
        self.model.end_all(scope, &verdicts, &started);
        let verdicts = self.observe();
        self.model.end_all(answered, &verdicts, &started);
        self.rig.cancel(scope);
    }

    /// Time passes, usually until the next deadline.
    fn tick(&mut self) {
        if let Some(next) = self.rig.engine.next_deadline()
            && !self.random.one_in(4)
        {
            self.rig.now = self.rig.now.max(next.0 - 1);
        }
        if self.alone {
            self.rig.event(Event::Tick);
            return;
        }
        let now = self.rig.now + 1;
        let (due, left): (Vec<_>, Vec<_>) = self.due.iter().partition(|(at, _)| *at <= now);
        self.due = left;
        let mut failed = BTreeSet::new();
        for (at, instance) in due {
            let ready = self.rig.engine.state(RUN, instance) == Some(State::Ready)
                || self.is_ready_by(instance, at);
            if ready && !self.tried(instance) && failed.insert(instance) {
                self.model.end(instance, false, None);
            }
        }
        self.rig.event(Event::Tick);
    }

    fn tried(&self, instance: InstanceId) -> bool {
        self.failures.contains_key(&instance) || self.losses.contains_key(&instance)
    }

    /// Ends a running attempt and reports to the model what it needs to know.
    fn end(&mut self, running: &[(WorkerId, dagrun_core::ids::AttemptId, Held)]) {
        let (worker, id, held) = self.random.pick(running);
        let Held { instance, cancelled, .. } = held;
        if self.alone {
            self.end_alone(worker, id, cancelled);
            return;
        }
        if let Some(refusal) = self.refusal(instance, worker) {
            self.refuse(worker, id, held, refusal);
            return;
        }
        self.refusals.note_start(worker);
        let items = (!self.random.one_in(12)).then(|| self.random.below(4));
        let keeps = self.random.one_in(2).then(|| u64::from(self.random.below(100)));
        self.rig.keeps = keeps;
        if !self.random.one_in(4) {
            self.model.end(instance, true, Some(worker));
            self.model.items.insert(instance, items);
            self.rig.end_with(worker, id, Outcome::Succeeded, items);
            return;
        }
        let kinds = [FailureKind::Exit(1), FailureKind::Exit(75), FailureKind::Timeout];
        let kind = match self.random.below(8) {
            0 => FailureKind::Lost,
            1 => FailureKind::Cancelled,
            _ => self.random.pick(&kinds),
        };
        let last = match kind {
            _ if cancelled => true,
            // The worker shuts down.
            FailureKind::Lost | FailureKind::Cancelled => self.loses(instance),
            _ => self.fails(instance, kind),
        };
        self.refusals.failed.entry(instance).or_default().insert(worker);
        if last {
            self.model.end(instance, false, Some(worker));
        }
        self.rig.end(worker, id, Outcome::Failed(kind));
    }

    /// Ends a running attempt of which the model knows nothing.
    fn end_alone(&mut self, worker: WorkerId, id: AttemptId, cancelled: bool) {
        let kinds = [FailureKind::Exit(1), FailureKind::Lost, FailureKind::Timeout];
        let outcome = match self.random.below(8) {
            _ if cancelled => Outcome::Failed(FailureKind::Cancelled),
            0 => Outcome::Failed(self.random.pick(&kinds)),
            _ => Outcome::Succeeded,
        };
        self.rig.keeps = self.random.one_in(2).then_some(10);
        let items = (!self.random.one_in(12)).then(|| self.random.below(4));
        self.rig.end_with(worker, id, outcome, items);
    }

    /// An attempt failed by itself; returns whether it was the last.
    fn fails(&mut self, instance: InstanceId, kind: FailureKind) -> bool {
        let plan = self.model.task(instance.task);
        let wanted = plan.conduct.retry.on.is_empty()
            || plan.conduct.retry.on.iter().any(|on| on.covers(kind));
        let (count, ending) = (plan.conduct.retry.count, self.ending && !plan.conduct.always);
        let failures = self.failures.entry(instance).or_default();
        *failures += 1;
        *failures > count || !wanted || ending
    }

    fn observe(&mut self) -> Verdicts {
        self.model.observe(self.rig.workers.keys().copied())
    }

    fn started(&self) -> BTreeSet<InstanceId> {
        self.rig.running().into_iter().map(|(_, _, held)| held.instance).collect()
    }

    /// The worker that an instance is bound to.
    fn bound_to(&self, instance: InstanceId, verdicts: &Verdicts) -> Option<WorkerId> {
        let each = self.model.worker_of_each(instance);
        each.or_else(|| self.model.pin(instance.task, verdicts))
    }

    /// After an event: draws the conclusions in the model, and compares.
    fn settle(&mut self) {
        // The model knows no ends that are none any more.
        self.alone |= !self.rig.reopened.is_empty();
        if self.alone {
            return;
        }
        self.note_rested();
        let mut verdicts = self.observe();
        if self.model.plan.fail_fast && !self.ending && self.failed() {
            self.ending = true;
            let held = self.started();
            self.model.end_all(CancelScope::Run, &verdicts, &held);
            verdicts = self.observe();
        }
        self.agree(&verdicts);
        self.note_due(&verdicts);
        self.check_starts(&verdicts);
        self.check_idle(&verdicts);
    }

    /// Whether the run has failed: an instance failed, or was skipped for a reason that no failure
    /// explains.
    fn failed(&self) -> bool {
        let own = |cause: &Option<Cause>| match cause {
            Some(Cause::Follow { why, .. }) => *why != FollowProblem::Outcome,
            Some(Cause::Scatter { .. }) => true,
            _ => false,
        };
        let skipped = self.rig.records.iter().filter(|record| record.state == State::Skipped);
        let counts = |task: TaskId| !self.model.task(task).conduct.allow_failure;
        let skipped = skipped.filter(|record| own(&record.cause) && counts(record.task)).count();
        self.model.failed() || skipped > 0
    }

    fn agree(&self, verdicts: &Verdicts) {
        let seed = self.seed;
        for (task, verdicts) in (0..).zip(verdicts) {
            let width = self.rig.engine.width(RUN, TaskId(task));
            let expected = verdicts.as_ref().map(|verdicts| verdicts.len() as u32);
            assert_eq!(width, expected, "width of task {task}, seed {seed}");
            for (index, verdict) in (0..).zip(verdicts.iter().flatten()) {
                let state = self.rig.state(task, index);
                let agrees = match verdict {
                    Wait => state == State::Blocked,
                    Run => matches!(state, State::Ready | State::Leased | State::Backoff),
                    Never => state == State::Skipped,
                    Done(true) => state == State::Succeeded,
                    Done(false) => matches!(state, State::Failed | State::Cancelled),
                };
                assert!(
                    agrees,
                    "{task}[{index}]: the model says {verdict:?}, the machine {state:?}, seed {seed}"
                );
            }
        }
    }

    /// Instances that have become ready, or are ready again without an attempt, must start in time.
    fn note_due(&mut self, verdicts: &Verdicts) {
        let mut ready: Vec<InstanceId> = std::mem::take(&mut self.rig.returned);
        for (task, verdicts) in (0..).zip(verdicts) {
            for (index, verdict) in (0..).zip(verdicts.iter().flatten()) {
                if *verdict == Run && self.opened.insert(at(task, index)) {
                    ready.push(at(task, index));
                }
            }
        }
        for instance in ready {
            let within = self.model.task(instance.task).conduct.start_within;
            if let (Some(within), false) = (within, self.tried(instance)) {
                self.due.push((self.rig.now + within.0, instance));
            }
        }
    }

    /// Whether an instance may run on a worker.
    fn suits(&self, instance: InstanceId, worker: WorkerId, verdicts: &Verdicts) -> bool {
        let named = match &self.model.task(instance.task).conduct.targets {
            Targets::Named(names) => names.iter().any(|name| {
                *name == format!("w{worker}") || (name == "even" && worker.0.is_multiple_of(2))
            }),
            _ => true,
        };
        named && self.bound_to(instance, verdicts).is_none_or(|bound| bound == worker)
    }

    /// Attempts start where they may.
    fn check_starts(&mut self, verdicts: &Verdicts) {
        for (instance, number, worker) in &self.rig.starts[self.checked_starts..] {
            let seed = self.seed;
            let suits = self.suits(*instance, *worker, verdicts);
            assert!(suits, "{instance:?} may not run on {worker}, seed {seed}");
            assert!(*number > 0, "{instance:?}, seed {seed}");
        }
        self.checked_starts = self.rig.starts.len();
        for (task, plan) in (0..).zip(&self.model.plan.tasks) {
            let held = self.rig.workers.values().flat_map(|fake| fake.held.values());
            let held = held.filter(|held| held.instance.task.0 == task).count();
            let most = plan.conduct.max_running.unwrap_or(u32::MAX) as usize;
            assert!(held <= most, "{held} of task {task} run, seed {}", self.seed);
        }
    }

    /// No worker idles while there is an instance that it may run.
    fn check_idle(&self, verdicts: &Verdicts) {
        let idle = |fake: &FakeWorker| fake.held.is_empty() && !fake.away;
        let idle = self.rig.workers.iter().filter(|(_, fake)| idle(fake));
        for (worker, _) in idle {
            for (task, verdicts_of) in (0..).zip(verdicts) {
                if self.model.plan.tasks[task as usize].conduct.max_running.is_some() {
                    continue;
                }
                for index in 0..verdicts_of.as_ref().map_or(0, Vec::len) as u32 {
                    let waits = self.rig.state(task, index) == State::Ready;
                    let starves = waits
                        && self.suits(at(task, index), *worker, verdicts)
                        && !self.may_wait(at(task, index), *worker, verdicts);
                    let why = || self.rig.engine.explain(RUN, at(task, index));
                    assert!(
                        !starves,
                        "{task}[{index}] and {worker} wait, seed {}: {:?}",
                        self.seed,
                        why()
                    );
                }
            }
        }
    }

    fn check_end(&self) {
        let tasks = (0..self.model.plan.tasks.len() as u32).map(TaskId);
        let cut = tasks.into_iter().any(|task| {
            let counts = self.rig.engine.counts(RUN, task);
            counts.is_some_and(|(counts, _)| counts.of(State::Cancelled) > 0)
        });
        let expected = match (self.cancelled, self.failed()) {
            (true, _) => RunState::Cancelled,
            _ if self.interrupted && cut => RunState::Interrupted,
            (false, true) => RunState::Failed,
            (false, false) => RunState::Succeeded,
        };
        if self.alone {
            assert_eq!(self.rig.finished.len(), 1, "seed {}", self.seed);
        } else {
            assert_eq!(self.rig.finished, [expected], "seed {}", self.seed);
        }
        assert_eq!(self.rig.kept, BTreeMap::new(), "all is released, seed {}", self.seed);
        let starts = self.rig.starts.iter().map(|(instance, number, _)| (instance, number));
        let distinct: BTreeSet<_> = starts.collect();
        assert_eq!(distinct.len(), self.rig.starts.len(), "started twice, seed {}", self.seed);
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "how long to go on is a matter of real time")]
fn random_programs_agree_with_the_model() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = Duration::from_secs(number("DAGRUN_PROGRAM_SECONDS").unwrap_or(0));
    let programs = number("DAGRUN_PROGRAMS").unwrap_or(3_000);
    let first = number("DAGRUN_SEED").unwrap_or(1);
    let begun = Instant::now();
    for done in 0.. {
        if done >= programs && begun.elapsed() >= seconds {
            break;
        }
        Pair::new(first.wrapping_add(done)).run();
    }
}

/// A program that disagreed once; it is another as soon as the making of programs changes. The end of one
/// task that was bound to a lost worker opened another one that was, too.
#[test]
fn a_program_that_found_something_agrees() {
    Pair::new(49_964).run();
}
