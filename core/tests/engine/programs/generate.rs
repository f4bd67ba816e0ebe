//! Random pipelines that use every feature of the language.

use std::sync::Arc;

use dagrun_core::engine::{GatherPlan, MapEdge, RunPlan, TaskPlan, Width};
use dagrun_core::ids::{Micros, TaskId};
use dagrun_core::pipeline::{
    Clause, Conduct, MinSuccess, Outcomes, Quantifier, Retry, RetryOn, Scatter, Split, Targets,
};

use crate::values::value_edges;

/// SplitMix64, so that a seed determines a program.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u32) -> u32 {
        (self.next() % u64::from(bound.max(1))) as u32
    }

    pub(super) fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u32) as usize].clone()
    }
}

/// A random pipeline: up to 8 tasks, each with upstreams among those before it.
pub(super) fn program(random: &mut Random) -> RunPlan {
    let mut tasks: Vec<TaskPlan> = Vec::new();
    // Static widths are tracked, to know where groups are possible.
    let mut widths: Vec<Option<u32>> = Vec::new();
    for at in 0..2 + random.below(7) {
        let mut plan = task(random);
        let width = pattern(random, at, &mut plan, &widths);
        for _ in 0..if at > 0 { random.below(3) } else { 0 } {
            plan.clauses.push(clause(random, at));
        }
        // With one instance for each worker, each is already bound to its worker.
        if at > 0 && plan.conduct.targets != Targets::Each && random.one_in(4) {
            plan.follows = 1 + random.below(2);
            plan.clauses.extend((0..plan.follows).map(|_| clause(random, at)));
        }
        tasks.push(plan);
        widths.push(width);
    }
    let values = value_edges(&tasks);
    RunPlan { tasks, values, fail_fast: random.one_in(8), seed: 7, ..RunPlan::default() }
}

fn task(random: &mut Random) -> TaskPlan {
    let width = 1 + random.below(4);
    let conduct = Conduct {
        retry: Retry {
            count: random.below(3) / 2,
            delay: Micros(random.pick(&[0, 0, 300, 30_000])),
            on: random.pick(&[vec![], vec![], vec![RetryOn::Exit(75), RetryOn::Timeout]]),
            ..Retry::default()
        },
        max_lost: random.pick(&[0, 1, 2, 5]),
        allow_failure: random.one_in(6),
        always: random.one_in(8),
        cpus: 1 + random.below(2),
        memory: u64::from(random.one_in(8)),
        priority: random.below(3).cast_signed(),
        max_running: random.one_in(6).then(|| 1 + random.below(2)),
        start_within: random.one_in(8).then(|| Micros(random.pick(&[700, 100_000]))),
        targets: match random.below(14) {
            0 => Targets::Named(vec!["w1".into(), "w3".into()]),
            1 => Targets::Named(vec!["even".into()]),
            _ => Targets::Any,
        },
        ..Conduct::default()
    };
    let weight = Micros(random.pick(&[0, 0, 1_000]));
    TaskPlan { width: width.into(), conduct: conduct.into(), weight, ..TaskPlan::default() }
}

/// Sets a task's pattern, and returns its width if that is known.
fn pattern(
    random: &mut Random,
    at: u32,
    plan: &mut TaskPlan,
    widths: &[Option<u32>],
) -> Option<u32> {
    let pick = |random: &mut Random| TaskId(random.below(at));
    match random.below(if at == 0 { 3 } else { 11 }) {
        0 => {
            plan.width = random.below(3).into();
            plan.width.known()
        }
        1 if random.one_in(2) => {
            plan.width = Width::Late { each: 1 };
            Arc::make_mut(&mut plan.conduct).targets = Targets::Each;
            None
        }
        3..6 => {
            let upstream = pick(random);
            let factor = 1 + random.below(2);
            plan.map = Some(MapEdge { upstream, factor });
            let width = widths[upstream.at()].map(|width: u32| width * factor);
            plan.width = width.map_or(Width::Late { each: factor }, Width::Known);
            width
        }
        6..8 => {
            let from = pick(random);
            let split = random.pick(&[Split::Each, Split::Chunk(2), Split::Parts(3)]);
            let max_items = random.one_in(5).then_some(3);
            plan.scatter = Some(Scatter { from, split, max_items });
            plan.width = Width::Late { each: 1 + random.below(2) };
            let upstreams = vec![from];
            let (quantifier, on) = (Quantifier::All, Outcomes::Success);
            plan.clauses = vec![Clause { upstreams, quantifier, on }];
            plan.implied = 1;
            None
        }
        8..10 => {
            let upstream = pick(random);
            let min = [None, Some(MinSuccess::Count(1)), Some(MinSuccess::Part(5_000))];
            let min_success = random.pick(&min);
            plan.width = Width::Known(1);
            let groups = match widths[upstream.at()] {
                Some(members) if members > 0 && random.one_in(2) => {
                    let groups = 1 + random.below(members.min(3));
                    plan.width = groups.into();
                    Some((0..members).map(|i| i % groups).collect::<Vec<u32>>().into())
                }
                _ => None,
            };
            let mut upstreams = vec![upstream];
            if groups.is_none() && random.one_in(3) {
                upstreams.push(pick(random));
            }
            plan.gather = Some(GatherPlan { upstreams, groups, min_success });
            plan.width.known()
        }
        _ => plan.width.known(),
    }
}

fn clause(random: &mut Random, at: u32) -> Clause {
    Clause {
        upstreams: (0..=random.below(2)).map(|_| TaskId(random.below(at))).collect(),
        quantifier: random.pick(&[Quantifier::All, Quantifier::Any]),
        on: random.pick(&[Outcomes::Success, Outcomes::Failure, Outcomes::Finish]),
    }
}
