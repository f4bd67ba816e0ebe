//! The simulator, for as many seeds as a test may take, and that it finds what it is there for.

use dagrun_simulator::{Options, Planted, quiet, run, shrink};

/// How many seeds are played.
fn seeds() -> u64 {
    let seeds = std::env::var("DAGRUN_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    seeds.unwrap_or(2_000)
}

#[test]
fn all_promises_hold_whatever_fails() {
    quiet();
    let next = std::sync::atomic::AtomicU64::new(0);
    let play = || loop {
        let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if seed >= seeds() {
            return None;
        }
        if let Err(broken) = run(Options::of(seed)) {
            let smaller = shrink(Options::of(seed));
            return Some(format!("seed {seed}: {broken}\nsmaller: {smaller:?}"));
        }
    };
    let broken = std::thread::scope(|scope| {
        let threads = [scope.spawn(play), scope.spawn(play)];
        threads.map(|thread| thread.join().expect("panics are caught"))
    });
    let broken: Vec<String> = broken.into_iter().flatten().collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    quiet();
    for seed in [1, 7, 30] {
        assert_eq!(run(Options::of(seed)), run(Options::of(seed)));
    }
}

/// What breaks when a fault is planted, in the words of the promise, within a thousand seeds.
fn found(planted: Planted) -> String {
    quiet();
    let options = |seed| Options { planted: Some(planted), ..Options::of(seed) };
    let mut broken = (0..1_000).filter_map(|seed| shrink(options(seed)));
    broken.next().expect("it is found").broken
}

#[test]
fn outputs_of_stale_attempts_are_noticed() {
    let broken = found(Planted::StaleAttempts);
    assert!(broken.contains("places its outputs although attempt"), "{broken}");
}

#[test]
fn attempt_numbers_that_are_given_twice_are_noticed() {
    let broken = found(Planted::NumbersTwice);
    assert!(broken.contains("has begun twice"), "{broken}");
}

#[test]
fn a_journal_that_begins_anew_is_noticed() {
    let broken = found(Planted::SequenceRestarts);
    assert!(broken.contains("the journal cannot be written"), "{broken}");
}
