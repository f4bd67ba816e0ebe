//! What nobody waits for any more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use dagrun::{Cluster, Context, Error, RunState, State};

use super::cluster;

/// Waits until there are so many runs and none of them is open, and says how many there are of each state.
fn settled(cluster: &Cluster, least: usize) -> HashMap<RunState, usize> {
    loop {
        let runs = cluster.client().runs(10_000).wait().unwrap();
        if runs.len() >= least && runs.iter().all(|run| run.state != RunState::Running) {
            let mut states = HashMap::new();
            runs.iter().for_each(|run| *states.entry(run.state).or_default() += 1);
            return states;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[dagrun::task]
fn until_cancelled(context: &Context) -> Result<(), dagrun::Cancelled> {
    loop {
        context.cancelled()?;
        std::thread::sleep(Duration::from_millis(1));
    }
}

static AHEAD: AtomicBool = AtomicBool::new(false);

/// Those after the first two never return, and the first returns once one of these has begun.
#[dagrun::task]
fn first_two_return(n: u64, context: &Context) -> Result<u64, dagrun::Cancelled> {
    if n >= 2 {
        AHEAD.store(true, Ordering::Relaxed);
        until_cancelled(context)?;
    }
    while n == 0 && !AHEAD.load(Ordering::Relaxed) {
        context.cancelled()?;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(n)
}

#[test]
fn a_map_takes_a_few_items_ahead_and_cancels_them_when_it_is_dropped() {
    let cluster = cluster();
    let taken = AtomicUsize::new(0);
    let items = (0..).inspect(|_| {
        taken.fetch_add(1, Ordering::Relaxed);
    });
    let mut values = cluster.map(first_two_return, items);
    let some = [values.next(), values.next()].map(|value| value.unwrap().unwrap());
    assert_eq!(some, [0, 1]);
    drop(values);
    let taken = taken.into_inner();
    assert!(taken <= 16, "{taken} items were taken for 2 slots");
    let states = settled(&cluster, 2);
    assert!(states.contains_key(&RunState::Cancelled), "{states:?}");
}

#[test]
fn a_map_that_was_never_asked_starts_nothing() {
    let cluster = cluster();
    drop(cluster.map(first_two_return, 0..));
    assert!(settled(&cluster, 0).is_empty());
}

#[test]
fn a_map_is_a_stream() {
    let cluster = cluster();
    let stream = cluster.map(odd_fail, [0, 2]);
    let values: Vec<_> = futures::executor::block_on(futures::StreamExt::collect(stream));
    let values: Result<Vec<u64>, _> = values.into_iter().collect();
    assert_eq!(values.unwrap(), [0, 2]);
}

#[dagrun::task]
fn odd_fail(n: u64) -> Result<u64, String> {
    if n % 2 == 1 { Err("it is odd".into()) } else { Ok(n) }
}

#[test]
fn a_map_goes_on_after_a_failure_and_never_exceeds_its_window() {
    let cluster = cluster();
    let (taken, given) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let items = (0..100).inspect(|_| {
        let ahead = taken.fetch_add(1, Ordering::Relaxed) + 1 - given.load(Ordering::Relaxed);
        assert!(ahead <= 7, "{ahead} items ahead");
    });
    for (n, value) in cluster.map(odd_fail, items).max_outstanding(7).enumerate() {
        given.fetch_add(1, Ordering::Relaxed);
        assert_eq!(value.is_err(), n % 2 == 1);
    }
    assert_eq!(given.into_inner(), 100);
}

#[test]
fn a_dropped_call_is_cancelled() {
    let cluster = cluster();
    drop(cluster.call(until_cancelled, ()));
    let late = cluster.call(until_cancelled, ()).timeout(Duration::from_millis(20)).wait();
    assert!(matches!(late, Err(Error::Timeout(_))));
    assert_eq!(settled(&cluster, 2), HashMap::from([(RunState::Cancelled, 2)]));
}

#[test]
fn a_call_is_cancelled_by_its_answer() {
    let cluster = cluster();
    let endless = cluster.call(until_cancelled, ());
    endless.cancel();
    match endless.wait().unwrap_err() {
        Error::Failed(failed) => assert_eq!(failed.state, State::Cancelled),
        other => panic!("{other}"),
    }
    // What is not a call goes on.
    let workers = cluster.client().workers();
    workers.cancel();
    assert_eq!(workers.wait().unwrap().len(), 1);
}

static RELEASED: AtomicBool = AtomicBool::new(false);

#[dagrun::task]
fn until_released(context: &Context) -> Result<(), dagrun::Cancelled> {
    while !RELEASED.load(Ordering::Relaxed) {
        context.cancelled()?;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

#[test]
fn a_detached_call_goes_on() {
    let cluster = cluster();
    cluster.call(until_released, ()).detach();
    // Another call is taken up after it: it has been dropped by then.
    assert_eq!(cluster.call(odd_fail, (2,)).wait().unwrap(), 2);
    RELEASED.store(true, Ordering::Relaxed);
    assert_eq!(settled(&cluster, 2), HashMap::from([(RunState::Succeeded, 2)]));
}
