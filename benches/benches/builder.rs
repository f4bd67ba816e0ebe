//! Building graphs of many irregular tasks: the time, and the memory that they take.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use dagrun::Dag;

#[dagrun::task]
fn join(i: u64, a: f64, b: f64) -> f64 {
    a + b + i as f64
}

const TASKS: u64 = 1_000_000;

/// Tasks with a constant and two upstreams each.
fn irregular(tasks: u64) -> Dag {
    let dag = Dag::new("irregular");
    let mut handles = Vec::with_capacity(tasks as usize);
    handles.push(dag.task(join, (0, 1.0, 2.0)));
    for i in 1..tasks {
        let (a, b) = (i / 2, i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % i);
        handles.push(dag.task(join, (i, &handles[a as usize], &handles[b as usize])));
    }
    dag
}

fn building(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("builder");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    let dag = irregular(TASKS);
    let bytes = dag.memory() as f64 / TASKS as f64;
    assert!(bytes <= 200.0, "{bytes} bytes for each task");
    #[allow(clippy::print_stdout)]
    {
        println!("{bytes:.1} bytes for each task, without its handle");
    }
    group.bench_function("1,000,000 irregular tasks", |bench| {
        bench.iter(|| black_box(irregular(TASKS)));
    });
    let dag = irregular(TASKS / 10);
    group.bench_function("pipeline of 100,000 of them", |bench| bench.iter(|| dag.pipeline()));
    group.finish();
}

criterion_group!(benches, building);
criterion_main!(benches);
