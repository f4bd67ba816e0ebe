//! Calling functions on an embedded cluster: many items through `client.map`, and one call at a time.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dagrun::Cluster;

#[dagrun::task]
fn triple(n: u64) -> u64 {
    n * 3
}

const ITEMS: u64 = 10_000;

fn calls(criterion: &mut Criterion) {
    dagrun::init();
    let cluster = Cluster::embedded().expect("an embedded cluster starts");
    let client = cluster.client();
    let mut group = criterion.benchmark_group("calls");
    group.sample_size(10).measurement_time(Duration::from_secs(8));
    group.throughput(Throughput::Elements(ITEMS));
    group.bench_function("client.map of 10,000 items", |bench| {
        bench.iter(|| {
            let sum: u64 =
                client.map(triple, 0..ITEMS).map(|value| value.expect("it succeeds")).sum();
            assert_eq!(sum, ITEMS * (ITEMS - 1) / 2 * 3);
        });
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("one call and its value", |bench| {
        bench.iter_batched(
            || 14,
            |n| black_box(client.call(triple, (n,)).wait().expect("it succeeds")),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, calls);
criterion_main!(benches);
