//! Random graphs with arrays, random outcomes, random order of events, against a model that keeps
//! every instance and uses no counters.

use std::collections::BTreeMap;

use dagrun_core::engine::{CancelScope, MapEdge, Outcome, TaskPlan};
use dagrun_core::ids::{InstanceId, TaskId};
use dagrun_core::pipeline::{Clause, Conduct, Outcomes, Quantifier, Retry};
use dagrun_core::status::{FailureKind, RunState, State};
use proptest::prelude::*;

use crate::rig::{Rig, at};

/// What an instance may do, by the definition of the semantics alone.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Wait,
    Run,
    Never,
    Done(bool),
}

/// The reference: every instance of every task, judged from scratch from the outcomes so far.
struct Model<'a> {
    tasks: &'a [TaskPlan],
    outcomes: BTreeMap<InstanceId, bool>,
}

impl Model<'_> {
    fn verdicts(&self) -> BTreeMap<InstanceId, Verdict> {
        let mut verdicts = BTreeMap::new();
        for (task, plan) in (0..).zip(self.tasks) {
            for index in 0..plan.width.each() {
                let own =
                    self.outcomes.get(&at(task, index)).map(|success| Verdict::Done(*success));
                let verdict = own.unwrap_or_else(|| self.judge(plan, index, &verdicts));
                verdicts.insert(at(task, index), verdict);
            }
        }
        verdicts
    }

    fn judge(&self, plan: &TaskPlan, index: u32, known: &BTreeMap<InstanceId, Verdict>) -> Verdict {
        let mut parts: Vec<Verdict> =
            plan.clauses.iter().map(|clause| self.clause(clause, known)).collect();
        if let Some(map) = plan.map {
            let upstream = [known[&at(map.upstream.0, index / map.factor)]];
            parts.push(clause(Quantifier::All, Outcomes::Success, &upstream));
        }
        match () {
            () if parts.contains(&Verdict::Never) => Verdict::Never,
            () if parts.contains(&Verdict::Wait) => Verdict::Wait,
            () => Verdict::Run,
        }
    }

    fn clause(&self, plan: &Clause, known: &BTreeMap<InstanceId, Verdict>) -> Verdict {
        let instances = plan.upstreams.iter().flat_map(|task| {
            (0..self.tasks[task.at()].width.each()).map(|index| known[&at(task.0, index)])
        });
        clause(plan.quantifier, plan.on, &instances.collect::<Vec<_>>())
    }
}

fn clause(quantifier: Quantifier, on: Outcomes, upstreams: &[Verdict]) -> Verdict {
    let hit = |verdict: &Verdict| match (verdict, on) {
        (Verdict::Wait | Verdict::Run, _) => None,
        (Verdict::Done(success), Outcomes::Success) => Some(*success),
        (Verdict::Done(success), Outcomes::Failure) => Some(!success),
        (Verdict::Never, Outcomes::Success) => Some(false),
        (Verdict::Never, _) | (Verdict::Done(_), Outcomes::Finish) => Some(true),
    };
    let hits: Vec<Option<bool>> = upstreams.iter().map(hit).collect();
    let (yes, no) = (hits.contains(&Some(true)), hits.contains(&Some(false)));
    match (quantifier, hits.contains(&None)) {
        _ if hits.is_empty() => Verdict::Run,
        (Quantifier::All, _) if no => Verdict::Never,
        (Quantifier::Any, _) if yes => Verdict::Run,
        (_, true) => Verdict::Wait,
        (Quantifier::All, false) => Verdict::Run,
        (Quantifier::Any, false) => Verdict::Never,
    }
}

fn agree(rig: &Rig, model: &Model<'_>) {
    for (instance, verdict) in model.verdicts() {
        let state = rig.state(instance.task.0, instance.index);
        let agrees = match verdict {
            Verdict::Wait => state == State::Blocked,
            Verdict::Run => matches!(state, State::Ready | State::Leased | State::Backoff),
            Verdict::Never => state == State::Skipped,
            Verdict::Done(true) => state == State::Succeeded,
            Verdict::Done(false) => matches!(state, State::Failed | State::Cancelled),
        };
        assert!(agrees, "{instance:?}: the model says {verdict:?}, the machine {state:?}");
    }
}

/// Choices that are reduced modulo the number of candidates, so that every shrunk input is valid.
#[derive(Clone, Debug)]
struct TaskPick {
    width: u32,
    map: Option<(usize, u32)>,
    clauses: Vec<(Vec<usize>, bool, u8)>,
    retries: u32,
    cpus: u32,
    max_running: Option<u32>,
}

fn task_pick() -> impl Strategy<Value = TaskPick> {
    let clause = (prop::collection::vec(any::<usize>(), 1..3), any::<bool>(), 0..3u8);
    (
        0..5u32,
        prop::option::weighted(0.3, (any::<usize>(), 1..3u32)),
        prop::collection::vec(clause, 0..3),
        0..2u32,
        1..3u32,
        prop::option::weighted(0.2, 1..3u32),
    )
        .prop_map(|(width, map, clauses, retries, cpus, max_running)| TaskPick {
            width,
            map,
            clauses,
            retries,
            cpus,
            max_running,
        })
}

fn plans(picks: &[TaskPick]) -> Vec<TaskPlan> {
    let mut plans: Vec<TaskPlan> = Vec::new();
    for pick in picks {
        let before = plans.len();
        let upstream = |pick: usize| TaskId(u32::try_from(pick % before).unwrap());
        let map = pick.map.filter(|_| before > 0).map(|(task, factor)| {
            let upstream = upstream(task);
            (MapEdge { upstream, factor }, plans[upstream.at()].width.each() * factor)
        });
        let clauses = pick.clauses.iter().filter(|_| before > 0).map(|(tasks, all, on)| Clause {
            upstreams: tasks.iter().map(|task| upstream(*task)).collect(),
            quantifier: if *all { Quantifier::All } else { Quantifier::Any },
            on: [Outcomes::Success, Outcomes::Failure, Outcomes::Finish][usize::from(*on)],
        });
        let plan = TaskPlan {
            conduct: Conduct {
                retry: Retry { count: pick.retries, ..Retry::default() },
                cpus: pick.cpus,
                max_running: pick.max_running,
                ..Conduct::default()
            }
            .into(),
            width: map.map_or(pick.width, |(_, width)| width.min(24)).into(),
            map: map.map(|(map, _)| map),
            clauses: clauses.collect(),
            ..TaskPlan::default()
        };
        // A map is exactly as wide as its upstream makes it.
        let exact = plan
            .map
            .is_none_or(|map| plan.width == plans[map.upstream.at()].width.each() * map.factor);
        plans.push(TaskPlan { map: plan.map.filter(|_| exact), ..plan });
    }
    plans
}

fn check_end(rig: &Rig, expected: impl Fn(RunState) -> bool) {
    assert_eq!(rig.finished.len(), 1, "a run ends once: {:?}", rig.finished);
    assert!(expected(rig.finished[0]));
    let mut starts: Vec<_> =
        rig.starts.iter().map(|(instance, number, _)| (instance, number)).collect();
    starts.sort_unstable();
    let all = starts.len();
    starts.dedup();
    assert_eq!(starts.len(), all, "an attempt was started twice");
    let mut terminal: Vec<InstanceId> = rig
        .records
        .iter()
        .filter(|record| record.state.is_terminal())
        .flat_map(|r| (r.first_index..r.first_index + r.count).map(|i| at(r.task.0, i)))
        .collect();
    let all = terminal.len();
    terminal.sort_unstable();
    terminal.dedup();
    assert_eq!(terminal.len(), all, "an instance ended twice");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    /// After every event the machine and the model agree on every instance.
    #[test]
    fn agrees_with_the_model(
        picks in prop::collection::vec(task_pick(), 1..9),
        workers in prop::collection::vec(2..4u32, 1..3),
        took in prop::sample::select(vec![1u64, 500, 50_000]),
        choices in prop::collection::vec((any::<usize>(), 0..10u8), 1..200),
    ) {
        let plans = plans(&picks);
        let mut rig = Rig::new(plans.clone());
        rig.took = took;
        for (id, slots) in (1..).zip(&workers) {
            rig.join(id, *slots);
        }
        let mut rig = rig.submit();
        let mut model = Model { tasks: &plans, outcomes: BTreeMap::new() };
        agree(&rig, &model);
        let mut choices = choices.into_iter().cycle();
        while rig.finished.is_empty() {
            let running = rig.running();
            prop_assert!(!running.is_empty(), "nothing runs and the run has not ended");
            let (pick, luck) = choices.next().unwrap();
            let (worker, id, held) = running[pick % running.len()];
            let retries = plans[held.instance.task.at()].conduct.retry.count;
            let fails = luck < 4;
            if !fails || held.number > retries {
                model.outcomes.insert(held.instance, !fails);
            }
            let outcome =
                if fails { Outcome::Failed(FailureKind::Exit(1)) } else { Outcome::Succeeded };
            rig.end(worker, id, outcome);
            agree(&rig, &model);
        }
        let failed = rig.records.iter().any(|record| record.state == State::Failed);
        let expected = if failed { RunState::Failed } else { RunState::Succeeded };
        check_end(&rig, |state| state == expected);
    }

    /// Workers join, leave and steal, users cancel: every instance still ends exactly once.
    #[test]
    fn survives_churn(
        picks in prop::collection::vec(task_pick(), 1..9),
        took in prop::sample::select(vec![1u64, 500, 50_000]),
        choices in prop::collection::vec((any::<usize>(), 0..100u8), 1..200),
    ) {
        let plans = plans(&picks);
        let mut rig = Rig::new(plans.clone());
        rig.took = took;
        let mut rig = rig.submit();
        let mut last_worker = 0;
        let mut choices = choices.into_iter().cycle();
        let mut steps = 0;
        while rig.finished.is_empty() {
            let (pick, luck) = choices.next().unwrap();
            let running = rig.running();
            steps += 1;
            if running.is_empty() || (luck < 5 && steps < 300) {
                last_worker += 1;
                rig.join(last_worker, 2 + u32::from(luck % 3));
            } else if luck < 15 && steps < 300 {
                let ids: Vec<u32> = rig.workers.keys().map(|id| id.0).collect();
                rig.kill(ids[pick % ids.len()]);
            } else if luck < 18 && steps < 300 {
                let task = pick % plans.len();
                let width = plans[task].width;
                let task = u32::try_from(task).unwrap();
                match luck {
                    15 if width != 0 => rig.cancel(CancelScope::Instance(at(task, luck.into()))),
                    16 => rig.cancel(CancelScope::Task(TaskId(task))),
                    _ if pick % 7 == 0 => rig.cancel(CancelScope::Run),
                    _ => {}
                }
            } else {
                let (worker, id, held) = running[pick % running.len()];
                let outcome = match luck {
                    _ if held.cancelled && luck > 30 => Outcome::Failed(FailureKind::Cancelled),
                    ..40 => Outcome::Failed(FailureKind::Exit(1)),
                    _ => Outcome::Succeeded,
                };
                rig.end(worker, id, outcome);
            }
        }
        check_end(&rig, |_| true);
    }
}
