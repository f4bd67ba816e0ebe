//! Random programs whose scheduler is killed, or interrupted, at any point between two writes to its
//! journal, of which only the first lines came to disk; and gone on with. Nothing that was acknowledged
//! is lost or done again, no attempt is started twice, and where a program ends in one way only, it ends
//! so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dagrun_core::engine::{CancelScope, Event, Outcome, Reopening, RunPlan, Scheme};
use dagrun_core::ids::{InstanceId, Micros, TaskId};
use dagrun_core::offer::Offer;
use dagrun_core::pipeline::{Factor, Targets};
use dagrun_core::status::{FailureKind, RunState, State};

use super::generate::{Random, program};
use crate::rig::{RUN, Rig, at};

/// No more kills than this, so that every program comes to an end.
const MOST_KILLS: u32 = 8;

pub(super) struct Killed {
    pub(super) seed: u64,
    pub(super) random: Random,
    pub(super) rig: Rig,
    /// Whether it can end in one way only.
    pub(super) certain: bool,
    pub(super) kills: u32,
    pub(super) ending: bool,
    /// Whether anything happened that need not be on disk when it shows: a cancel, or time that is over.
    pub(super) meddled: bool,
    /// Whether workers survive their scheduler.
    pub(super) survive: bool,
    /// How many workers there have been.
    pub(super) joined: u32,
    /// Instances that ended and were on disk when the scheduler was killed.
    pub(super) acknowledged: BTreeMap<InstanceId, State>,
    checked_starts: usize,
}

/// How a program ended: its state, and those of its instances.
type Ends = (RunState, Vec<Option<Vec<State>>>);

impl Killed {
    pub(super) fn new(seed: u64, kills: bool) -> Killed {
        let mut random = Random(seed);
        let certain = random.one_in(2);
        let mut plan = program(&mut random);
        if certain {
            make_certain(&mut plan);
        }
        for conduct in plan.tasks.iter_mut().map(|task| Arc::make_mut(&mut task.conduct)) {
            conduct.retry.grow_memory = (conduct.memory > 0).then_some(Factor(2000));
        }
        let mut rig = Rig::of(plan).scheme(random.pick(&Scheme::ALL), seed);
        rig.took = random.pick(&[1, 500, 50_000]);
        let workers = if certain { 1 } else { 2 + random.below(2) };
        for id in 1..=workers {
            let labels = if id % 2 == 0 { vec!["even".into()] } else { Vec::new() };
            rig.join_offering(id, Offer { slots: 3, memory: 8, labels, ..Offer::default() });
        }
        Killed {
            seed,
            random,
            rig,
            certain,
            kills: if kills { 0 } else { MOST_KILLS },
            ending: false,
            meddled: false,
            survive: false,
            joined: workers,
            acknowledged: BTreeMap::new(),
            checked_starts: 0,
        }
    }

    pub(super) fn run(mut self) -> Ends {
        self.rig = self.rig.submit();
        let mut steps = 0;
        loop {
            steps += 1;
            assert!(steps < 10_000, "it never ends, seed {}", self.seed);
            match self.rig.finished.last() {
                Some(RunState::Interrupted) => self.kill(true),
                Some(_) if self.kills >= MOST_KILLS || !self.random.one_in(4) => break,
                None if self.survive && self.kills < MOST_KILLS && self.random.one_in(10) => {
                    self.kill_scheduler();
                }
                _ if self.kills < MOST_KILLS && self.random.one_in(10) => self.kill(false),
                Some(_) => break,
                None => self.step(),
            }
            self.check();
        }
        // Which of several reasons skips an instance is a matter of order, and only some fail the run.
        let follows = self.rig.plan.tasks.iter().any(|task| task.follows > 0);
        let state = if follows { RunState::Running } else { self.rig.finished[0] };
        let tasks = (0..self.rig.plan.tasks.len() as u32).map(TaskId);
        let states = tasks.map(|task| {
            self.rig.engine.width(RUN, task)?;
            Some(self.rig.states(task.0))
        });
        (state, states.collect())
    }

    fn step(&mut self) {
        let may_cancel = !self.certain && !self.ending;
        match self.random.below(30) {
            0 if may_cancel => self.cancel(),
            1 if self.kills < MOST_KILLS && !self.ending => {
                (self.ending, self.meddled) = (true, true);
                self.rig.cancel(CancelScope::Interruption);
            }
            2 => self.tick(),
            _ if self.end_one() => {}
            _ if self.rig.engine.next_deadline().is_some() => self.tick(),
            _ => {
                assert!(!self.certain, "nothing can happen any more, seed {}", self.seed);
                self.rig.cancel(CancelScope::Run);
                for task in 0..self.rig.plan.tasks.len() as u32 {
                    self.rig.cancel(CancelScope::Task(TaskId(task)));
                }
            }
        }
    }

    /// Ends one of the attempts that run, if any does.
    pub(super) fn end_one(&mut self) -> bool {
        let running = self.rig.running();
        if running.is_empty() {
            return false;
        }
        let (worker, id, held) = self.random.pick(&running);
        let failures = self.rig.journal.failures(held.instance);
        let items = items_of(self.seed, held.instance);
        self.rig.keeps = self.random.one_in(3).then_some(100);
        match fails_first(self.seed, held.instance) > failures {
            _ if held.cancelled => {
                self.rig.end(worker, id, Outcome::Failed(FailureKind::Cancelled));
            }
            true if held.memory > 0 => {
                let kind = self.random.pick(&[FailureKind::Memory, FailureKind::Exit(1)]);
                self.rig.end(worker, id, Outcome::Failed(kind));
            }
            true => self.rig.end(worker, id, Outcome::Failed(FailureKind::Exit(1))),
            false => self.rig.end_with(worker, id, Outcome::Succeeded, items),
        }
        true
    }

    fn cancel(&mut self) {
        self.meddled = true;
        let task = TaskId(self.random.below(self.rig.plan.tasks.len() as u32));
        let scope = match self.random.below(4) {
            0 => CancelScope::Run,
            1 => CancelScope::Task(task),
            _ => CancelScope::Instance(at(task.0, self.random.below(3))),
        };
        self.rig.cancel(scope);
    }

    fn tick(&mut self) {
        if let Some(next) = self.rig.engine.next_deadline() {
            self.rig.now = self.rig.now.max(next.0 - 1);
        }
        self.rig.event(Event::Tick);
    }

    /// The scheduler ends; another one goes on with what is on disk.
    fn kill(&mut self, all: bool) {
        self.kills += 1;
        let places = self.rig.journal.places();
        let durable = if all { *places.last().unwrap() } else { self.random.pick(&places) };
        self.rig.journal.cut(durable);
        if self.rig.journal.finished().is_some_and(|state| state != RunState::Interrupted) {
            return; // It is known to have ended.
        }
        self.acknowledged = self.rig.journal.ends();
        self.ending = false;
        self.check_going_on(|rig, seed| rig.crash(durable, |instance| items_of(seed, instance)));
    }

    /// Goes on with the run, and looks at what is open again.
    pub(super) fn check_going_on(&mut self, go_on: impl FnOnce(&mut Rig, u64)) {
        let was_cancelled = self.rig.journal.is_cancelled();
        let seed = self.seed;
        go_on(&mut self.rig, seed);
        let past = Arc::clone(&self.rig.past);
        let resumed = past.resumed.as_ref().unwrap();
        for opened in &resumed.reopened {
            for index in opened.first_index..opened.first_index + opened.count {
                let instance = at(opened.task.0, index);
                let was = self.acknowledged.remove(&instance);
                // One that was opened again may have been so on disk only.
                let known = was == Some(opened.was) || self.rig.remade.contains(&instance);
                assert!(known, "{opened:?}, seed {seed}");
            }
            let ran = matches!(opened.was, State::Succeeded | State::Failed);
            assert!(!ran || opened.why != Reopening::CutOff, "seed {seed}");
            assert!(self.may_reopen(opened.why), "{opened:?}, seed {seed}");
        }
        assert!(!was_cancelled || self.rig.finished != [RunState::Succeeded], "seed {seed}");
    }

    fn may_reopen(&self, why: Reopening) -> bool {
        match why {
            Reopening::CutOff | Reopening::Consequence => self.rig.journal.was_interrupted(),
            Reopening::Lost => self.rig.journal.keeps_values(),
            Reopening::Rerun => false,
        }
    }

    pub(super) fn check(&mut self) {
        for instance in std::mem::take(&mut self.rig.reopened) {
            self.acknowledged.remove(&instance);
        }
        for (instance, state) in &self.acknowledged {
            let now = self.rig.state(instance.task.0, instance.index);
            assert_eq!(now, *state, "{instance:?} had ended, seed {}", self.seed);
        }
        let starts = self.rig.starts.iter().map(|(instance, number, _)| (*instance, *number));
        let distinct: BTreeSet<(InstanceId, u32)> = starts.collect();
        assert_eq!(distinct.len(), self.rig.starts.len(), "started twice, seed {}", self.seed);
        for (instance, ..) in &self.rig.starts[self.checked_starts..] {
            let again = self.acknowledged.contains_key(instance);
            assert!(!again, "{instance:?} is done again, seed {}", self.seed);
        }
        self.checked_starts = self.rig.starts.len();
        self.rig.journal.ends();
    }
}

/// Takes out of a program what makes its end depend on chance.
fn make_certain(plan: &mut RunPlan) {
    plan.fail_fast = false;
    for task in &mut plan.tasks {
        let conduct = Arc::make_mut(&mut task.conduct);
        conduct.start_within = None;
        if matches!(conduct.targets, Targets::Named(_)) {
            conduct.targets = Targets::Any;
        }
        conduct.retry.delay = Micros(conduct.retry.delay.0.min(300));
    }
}

fn hash(seed: u64, instance: InstanceId) -> u64 {
    let mut random = Random(seed ^ u64::from(instance.task.0) << 40 ^ u64::from(instance.index));
    u64::from(random.below(u32::MAX))
}

/// How many attempts of an instance fail before one succeeds.
fn fails_first(seed: u64, instance: InstanceId) -> u32 {
    match hash(seed, instance) % 8 {
        0 | 1 => 1,
        2 => u32::MAX,
        _ => 0,
    }
}

/// How many elements the value of an instance has, if it is an array.
pub(super) fn items_of(seed: u64, instance: InstanceId) -> Option<u32> {
    let hash = hash(seed, instance) >> 8;
    (!hash.is_multiple_of(12)).then_some((hash >> 8) as u32 % 4)
}

#[test]
fn killed_programs_go_on_as_if_they_had_not_been() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let programs = number("DAGRUN_PROGRAMS").unwrap_or(3_000);
    let first = number("DAGRUN_SEED").unwrap_or(1);
    for seed in first..first.saturating_add(programs) {
        let killed = Killed::new(seed, true);
        let certain = killed.certain;
        let ends = killed.run();
        if certain {
            let expected = Killed::new(seed, false).run();
            assert_eq!(ends, expected, "seed {seed}");
        }
    }
}
