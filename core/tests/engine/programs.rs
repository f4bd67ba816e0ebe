//! Random pipelines of all patterns, nested, with failures, retries, cancels, workers that join and
//! die, against a model that keeps every instance and edge and judges all of them from scratch.
//!
//! `DAGRUN_PROGRAMS` says how many (default 3,000), `DAGRUN_SEED` where to begin; a failure prints its
//! seed.

use std::collections::{BTreeMap, BTreeSet};

use dagrun_core::engine::{CancelScope, GatherPlan, MapEdge, Outcome, RunPlan, TaskPlan};
use dagrun_core::ids::{InstanceId, TaskId};
use dagrun_core::pipeline::{Clause, MinSuccess, Outcomes, Quantifier, Retry, Scatter, Split};
use dagrun_core::status::{FailureKind, RunState, State};

use crate::rig::{Held, RUN, Rig, at};
use crate::values::value_edges;

/// What an instance may do.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Wait,
    Run,
    Never,
    Done(bool),
}

use Verdict::{Done, Never, Run, Wait};

/// Everything that happened, and nothing that follows from it.
struct Model<'a> {
    tasks: &'a [TaskPlan],
    /// Instances that ended by themselves or were cancelled.
    outcomes: BTreeMap<InstanceId, bool>,
    /// What those that feed a scatter captured.
    items: BTreeMap<InstanceId, Option<u32>>,
    /// Tasks that were cancelled before their width was known.
    doomed: BTreeSet<TaskId>,
}

/// All instances of each task whose width is known.
type Verdicts = Vec<Option<Vec<Verdict>>>;

impl Model<'_> {
    fn verdicts(&self) -> Verdicts {
        let mut known: Verdicts = Vec::new();
        for (task, plan) in (0..).map(TaskId).zip(self.tasks) {
            let own = self.task(task, plan, &known);
            known.push(own);
        }
        known
    }

    fn task(&self, task: TaskId, plan: &TaskPlan, known: &Verdicts) -> Option<Vec<Verdict>> {
        let gate = all_of(plan.clauses.iter().map(|clause| self.clause(clause, known)));
        let doomed = self.doomed.contains(&task);
        let (width, broken) = match (plan.scatter, plan.map) {
            (Some(_), _) if doomed || gate == Never => (1, true),
            (Some(_), _) if gate == Wait => return None,
            (Some(scatter), _) => self.scattered(scatter, plan.width, known),
            (None, Some(map)) => {
                (known[map.upstream.at()].as_ref()?.len() as u32 * map.factor, false)
            }
            (None, None) => (plan.width, false),
        };
        let one = |index| {
            if let Some(success) = self.outcomes.get(&InstanceId { task, index }) {
                return Done(*success);
            }
            if doomed {
                return Done(false);
            }
            if broken {
                return Never;
            }
            all_of([gate, self.pattern(plan, index, known)].into_iter())
        };
        Some((0..width).map(one).collect())
    }

    fn scattered(&self, scatter: Scatter, own: u32, known: &Verdicts) -> (u32, bool) {
        let sources = known[scatter.from.at()].as_ref().map_or(0, Vec::len) as u32;
        let items = (0..sources).map(|index| self.items[&InstanceId { task: scatter.from, index }]);
        match items.sum::<Option<u32>>() {
            Some(items) if scatter.max_items.is_none_or(|most| items <= most) => {
                // By counting, not by the formula.
                let parts = match scatter.split {
                    Split::Each => (0..items).collect::<BTreeSet<u32>>().len(),
                    Split::Chunk(chunk) => {
                        (0..items).map(|i| i / chunk).collect::<BTreeSet<_>>().len()
                    }
                    Split::Parts(parts) => items.min(parts) as usize,
                };
                (parts as u32 * own, false)
            }
            _ => (1, true),
        }
    }

    fn pattern(&self, plan: &TaskPlan, index: u32, known: &Verdicts) -> Verdict {
        if let Some(map) = plan.map {
            let upstream =
                known[map.upstream.at()].as_ref().unwrap()[(index / map.factor) as usize];
            return clause(Quantifier::All, Outcomes::Success, &[Some(upstream)]);
        }
        let Some(gather) = &plan.gather else { return Run };
        let mut members: Vec<Option<Verdict>> = Vec::new();
        for upstream in &gather.upstreams {
            match &known[upstream.at()] {
                None => members.push(None),
                Some(all) => {
                    let groups = gather.groups.as_deref();
                    let in_group = |i: usize| groups.is_none_or(|of| of[i] == index);
                    members.extend(
                        all.iter().enumerate().filter(|(i, _)| in_group(*i)).map(|(_, v)| Some(*v)),
                    );
                }
            }
        }
        let Some(min) = gather.min_success else {
            return clause(Quantifier::All, Outcomes::Success, &members);
        };
        let failed = members.iter().filter(|v| matches!(v, Some(Never | Done(false)))).count();
        let waiting = members.iter().filter(|v| matches!(v, Some(Wait | Run) | None)).count();
        let known_width = !members.contains(&None);
        let total = members.len() as u64;
        if known_width && total - (failed as u64) < min.of(total) {
            Never
        } else if waiting > 0 {
            Wait
        } else {
            Run
        }
    }

    fn clause(&self, plan: &Clause, known: &Verdicts) -> Verdict {
        let mut members: Vec<Option<Verdict>> = Vec::new();
        for upstream in &plan.upstreams {
            match &known[upstream.at()] {
                None => members.push(None),
                Some(all) => members.extend(all.iter().map(|verdict| Some(*verdict))),
            }
        }
        clause(plan.quantifier, plan.on, &members)
    }
}

/// All conditions together.
fn all_of(parts: impl Iterator<Item = Verdict>) -> Verdict {
    parts.fold(Run, |all, part| match (all, part) {
        (Never, _) | (_, Never) => Never,
        (Wait, _) | (_, Wait) => Wait,
        _ => Run,
    })
}

/// A clause over upstream instances; `None` stands for a task of unknown width.
fn clause(quantifier: Quantifier, on: Outcomes, members: &[Option<Verdict>]) -> Verdict {
    let hit = |member: &Option<Verdict>| match (member, on) {
        (None | Some(Wait | Run), _) => None,
        (Some(Done(success)), Outcomes::Success) => Some(*success),
        (Some(Done(success)), Outcomes::Failure) => Some(!success),
        (Some(Never), Outcomes::Success) => Some(false),
        (Some(Never), _) | (Some(Done(_)), Outcomes::Finish) => Some(true),
    };
    let hits: Vec<Option<bool>> = members.iter().map(hit).collect();
    let (yes, no) = (hits.contains(&Some(true)), hits.contains(&Some(false)));
    match (quantifier, hits.contains(&None)) {
        _ if hits.is_empty() => Run,
        (Quantifier::All, _) if no => Never,
        (Quantifier::Any, _) if yes => Run,
        (_, true) => Wait,
        (Quantifier::All, false) => Run,
        (Quantifier::Any, false) => Never,
    }
}

/// SplitMix64, so that a program is its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u32) -> u32 {
        (self.next() % u64::from(bound.max(1))) as u32
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }
}

/// A random pipeline. Static widths are carried along, to know where groups are possible.
fn program(random: &mut Random) -> Vec<TaskPlan> {
    let mut tasks: Vec<TaskPlan> = Vec::new();
    let mut widths: Vec<Option<u32>> = Vec::new();
    for at in 0..2 + random.below(7) {
        let pick = |random: &mut Random| TaskId(random.below(at));
        let mut plan = TaskPlan {
            width: 1 + random.below(4),
            retry: Retry { count: random.below(3) / 2, ..Retry::default() },
            allow_failure: random.one_in(6),
            always: random.one_in(8),
            cpus: 1 + random.below(2),
            priority: random.below(3).cast_signed(),
            max_running: random.one_in(6).then_some(1 + random.below(2)),
            ..TaskPlan::default()
        };
        let mut width = Some(plan.width);
        match random.below(if at == 0 { 2 } else { 9 }) {
            0 => {
                plan.width = random.below(3);
                width = Some(plan.width);
            }
            2 | 3 => {
                let upstream = pick(random);
                let factor = 1 + random.below(2);
                plan.map = Some(MapEdge { upstream, factor });
                width = widths[upstream.at()].map(|width: u32| width * factor);
                plan.width = width.unwrap_or(factor);
            }
            4 | 5 => {
                let from = pick(random);
                let split =
                    [Split::Each, Split::Chunk(2), Split::Parts(3)][random.below(3) as usize];
                let max_items = random.one_in(5).then_some(3);
                plan.scatter = Some(Scatter { from, split, max_items });
                plan.width = 1 + random.below(2);
                plan.clauses = vec![all_succeed(vec![from])];
                plan.implied = 1;
                width = None;
            }
            6 | 7 => {
                let upstream = pick(random);
                let min = [None, Some(MinSuccess::Count(1)), Some(MinSuccess::Part(5_000))];
                let min_success = min[random.below(3) as usize];
                plan.width = 1;
                let groups = match widths[upstream.at()] {
                    Some(members) if members > 0 && random.one_in(2) => {
                        let groups = 1 + random.below(members.min(3));
                        plan.width = groups;
                        Some((0..members).map(|i| i % groups).collect::<Vec<u32>>().into())
                    }
                    _ => None,
                };
                let mut upstreams = vec![upstream];
                if groups.is_none() && random.one_in(3) {
                    upstreams.push(pick(random));
                }
                plan.gather = Some(GatherPlan { upstreams, groups, min_success });
                width = Some(plan.width);
            }
            _ => {}
        }
        for _ in 0..random.below(3) {
            if at > 0 {
                plan.clauses.push(Clause {
                    upstreams: (0..=random.below(2)).map(|_| pick(random)).collect(),
                    quantifier: [Quantifier::All, Quantifier::Any][random.below(2) as usize],
                    on: [Outcomes::Success, Outcomes::Failure, Outcomes::Finish]
                        [random.below(3) as usize],
                });
            }
        }
        tasks.push(plan);
        widths.push(width);
    }
    tasks
}

fn all_succeed(upstreams: Vec<TaskId>) -> Clause {
    Clause { upstreams, quantifier: Quantifier::All, on: Outcomes::Success }
}

fn agree(rig: &Rig, model: &Model<'_>, seed: u64) {
    for (task, verdicts) in (0..).zip(model.verdicts()) {
        let width = rig.engine.width(RUN, TaskId(task));
        let expected = verdicts.as_ref().map(|verdicts| verdicts.len() as u32);
        assert_eq!(width, expected, "width of task {task}, seed {seed}");
        for (index, verdict) in (0..).zip(verdicts.into_iter().flatten()) {
            let state = rig.state(task, index);
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

/// A user cancels: what waits in scope is cancelled, what runs is being ended.
fn cancel(rig: &mut Rig, model: &mut Model<'_>, scope: CancelScope) {
    let covered = |task: TaskId, index: Option<u32>| match scope {
        CancelScope::Run => !model.tasks[task.at()].always,
        CancelScope::Task(one) => one == task,
        CancelScope::Instance(one) => one.task == task && index == Some(one.index),
    };
    let held: BTreeSet<InstanceId> = rig
        .workers
        .values()
        .flat_map(|fake| fake.held.values().filter(|held| held.started))
        .map(|held| held.instance)
        .collect();
    let (mut ended, mut doomed) = (Vec::new(), Vec::new());
    for (task, verdicts) in (0..).map(TaskId).zip(model.verdicts()) {
        match verdicts {
            None if covered(task, None) => doomed.push(task),
            None => {}
            Some(verdicts) => {
                for (index, verdict) in (0..).zip(verdicts) {
                    let instance = InstanceId { task, index };
                    let waits = matches!(verdict, Wait | Run) && !held.contains(&instance);
                    if waits && covered(task, Some(index)) {
                        ended.push(instance);
                    }
                }
            }
        }
    }
    model.outcomes.extend(ended.into_iter().map(|instance| (instance, false)));
    model.doomed.extend(doomed);
    rig.cancel(scope);
}

/// Ends a running attempt and tells the model what it needs to know.
fn end(rig: &mut Rig, model: &mut Model<'_>, random: &mut Random, ending: bool) {
    let running = rig.running();
    let (worker, id, held) = running[random.below(running.len() as u32) as usize];
    let Held { instance, cancelled, .. } = held;
    let plan = &model.tasks[instance.task.at()];
    let fails = random.one_in(4);
    let attempts = rig.failures.get(&instance).copied().unwrap_or(0);
    let items = (!random.one_in(12)).then(|| random.below(4));
    if fails {
        let last = cancelled || attempts >= plan.retry.count || (ending && !plan.always);
        if last {
            model.outcomes.insert(instance, false);
        } else {
            *rig.failures.entry(instance).or_default() += 1;
        }
        rig.end(worker, id, Outcome::Failed(FailureKind::Exit(1)));
    } else {
        rig.keeps = random.one_in(2).then(|| u64::from(random.below(100)));
        model.outcomes.insert(instance, true);
        model.items.insert(instance, items);
        rig.end_with(worker, id, Outcome::Succeeded, items);
    }
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let tasks = program(&mut random);
    let values = value_edges(&tasks);
    let mut rig = Rig::of(RunPlan { tasks: tasks.clone(), values, ..RunPlan::default() });
    rig.took = [1, 500, 50_000][random.below(3) as usize];
    rig.join(1, 2 + random.below(3));
    let mut rig = rig.submit();
    let (outcomes, items, doomed) = Default::default();
    let mut model = Model { tasks: &tasks, outcomes, items, doomed };
    agree(&rig, &model, seed);
    let (mut workers, mut steps, mut ending) = (1, 0, false);
    while rig.finished.is_empty() {
        steps += 1;
        assert!(steps < 10_000, "it never ends, seed {seed}");
        match random.below(40) {
            _ if rig.workers.is_empty() => {
                workers += 1;
                rig.join(workers, 2 + random.below(3));
            }
            0 if workers < 6 => {
                workers += 1;
                rig.join(workers, 2 + random.below(3));
            }
            1 if workers < 6 => kill(&mut rig, &mut model, &mut random),
            2 if random.one_in(3) => {
                let task = TaskId(random.below(tasks.len() as u32));
                let scope = match random.below(4) {
                    0 => CancelScope::Run,
                    1 => CancelScope::Task(task),
                    _ => CancelScope::Instance(at(task.0, random.below(3))),
                };
                ending |= scope == CancelScope::Run;
                cancel(&mut rig, &mut model, scope);
            }
            _ => end(&mut rig, &mut model, &mut random, ending),
        }
        agree(&rig, &model, seed);
    }
    assert_eq!(rig.kept, BTreeMap::new(), "all values are released, seed {seed}");
    assert_eq!(rig.finished.len(), 1, "seed {seed}");
    assert_eq!(rig.finished[0] == RunState::Cancelled, ending, "seed {seed}");
}

/// A worker dies; what was being cancelled there is cancelled then.
fn kill(rig: &mut Rig, model: &mut Model<'_>, random: &mut Random) {
    let ids: Vec<u32> = rig.workers.keys().map(|id| id.0).collect();
    let id = ids[random.below(ids.len() as u32) as usize];
    let fake = &rig.workers[&dagrun_core::ids::WorkerId(id)];
    let ended = fake.held.values().filter(|held| held.cancelled).map(|held| (held.instance, false));
    model.outcomes.extend(ended.collect::<Vec<_>>());
    rig.kill(id);
}

#[test]
fn random_programs_agree_with_the_model() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let programs: u64 = number("DAGRUN_PROGRAMS").unwrap_or(3_000);
    let first: u64 = number("DAGRUN_SEED").unwrap_or(1);
    for seed in first..first + programs {
        run(seed);
    }
}
