//! The state machine alone: how long completing and dispatching an instance takes, and that it does
//! not depend on how many others are blocked. `cargo bench -p dagrun-benches --bench engine`.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dagrun_core::engine::{Action, Engine, Event, Outcome, Report, RunPlan, TaskPlan, WorkerInfo};
use dagrun_core::ids::{AttemptId, RunId, TaskId, Timestamp, WorkerId};
use dagrun_core::offer::Offer;
use dagrun_core::pipeline::{Clause, Outcomes, Quantifier};

const RUN: RunId = RunId(1);
const WORKER: WorkerId = WorkerId(1);

/// A machine with one worker that holds all it may, and what it was handed.
struct Fixture {
    engine: Engine,
    now: u64,
    handed: std::collections::VecDeque<u64>,
}

impl Fixture {
    fn new(tasks: Vec<TaskPlan>, slots: u32) -> Fixture {
        let mut fixture = Fixture { engine: Engine::new(), now: 1, handed: Default::default() };
        let offer = Offer { slots, ..Offer::default() };
        let info = WorkerInfo { name: "w1".into(), offer, ..WorkerInfo::default() };
        fixture.event(Event::WorkerJoined { worker: WORKER, info });
        let plan = Arc::new(RunPlan { tasks, ..RunPlan::default() });
        fixture.event(Event::RunSubmitted { run: RUN, plan, past: Arc::default() });
        fixture
    }

    fn event(&mut self, event: Event) {
        let mut out = Vec::new();
        self.engine.handle(Timestamp(self.now), event, &mut out);
        for action in out {
            if let Action::Dispatch { assignment, .. } = action {
                let first = assignment.first_attempt.0;
                self.handed.extend(first..first + u64::from(assignment.count));
            } else {
                black_box(action);
            }
        }
    }

    /// Completes up to `count` attempts, in batches of at most 256 as a worker reports them.
    fn complete(&mut self, mut count: usize) {
        while count > 0 && !self.handed.is_empty() {
            let batch = self.handed.len().min(256).min(count);
            self.now += 1;
            let now = Timestamp(self.now);
            let started = Timestamp(self.now - 1);
            let reports = self.handed.drain(..batch).map(|id| Report {
                first: AttemptId(id),
                count: 1,
                outcome: Outcome::Succeeded,
                started,
                finished: now,
                detail: None,
                items: None,
            });
            let reports = reports.collect();
            self.event(Event::Reported { worker: WORKER, reports });
            count -= batch;
        }
    }
}

fn array(width: u32) -> TaskPlan {
    TaskPlan { width: width.into(), ..TaskPlan::default() }
}

fn complete_and_dispatch(c: &mut Criterion) {
    let mut group = c.benchmark_group("complete and dispatch");
    group.throughput(Throughput::Elements(100_000));
    group.bench_function("a sweep of 100,000", |bencher| {
        bencher.iter_batched(
            || Fixture::new(vec![array(100_000)], 16),
            |mut fixture| {
                fixture.complete(100_000);
                fixture
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// Each of 1,000 first tasks has one blocked task downstream; the other blocked ones wait for something
/// else.
fn among_blocked(c: &mut Criterion) {
    let mut group = c.benchmark_group("complete 1,000 among blocked");
    for blocked in [2_000u32, 2_000_000] {
        let mut tasks = vec![array(1_000)];
        let map = dagrun_core::engine::MapEdge { upstream: TaskId(0), factor: 1 };
        tasks.push(TaskPlan { map: Some(map), ..array(1_000) });
        let clause = Clause {
            upstreams: vec![TaskId(1)],
            quantifier: Quantifier::All,
            on: Outcomes::Success,
        };
        tasks.push(TaskPlan { clauses: vec![clause], ..array(blocked) });
        group.bench_with_input(BenchmarkId::from_parameter(blocked), &tasks, |bencher, tasks| {
            bencher.iter_batched(
                || Fixture::new(tasks.clone(), 1_000),
                |mut fixture| {
                    fixture.complete(1_000);
                    fixture
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, complete_and_dispatch, among_blocked);
criterion_main!(benches);
