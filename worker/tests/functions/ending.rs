//! Functions that are asked to end, and their threads.

use super::*;

/// Holds the functions that ignore the request to end.
static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

#[task(crate = dagrun_worker::function)]
fn until_told(context: &Context) -> Result<u32, function::Cancelled> {
    loop {
        context.cancelled()?;
        std::thread::yield_now();
    }
}

#[task(crate = dagrun_worker::function)]
fn deaf() -> u32 {
    let mut open = GATE.0.lock().unwrap();
    while !*open {
        open = GATE.1.wait(open).unwrap();
    }
    1
}

fn started(rig: &Rig) {
    until("it is listed as running", || {
        let (running, _) = rig.slots.newly_running(dagrun_core::ids::Timestamp(u64::MAX));
        (!running.is_empty()).then_some(())
    });
}

#[test]
fn a_function_is_told_to_end() {
    let rig = Rig::new(1);
    for (why, outcome) in [
        (Stop::Cancel, (FailureKind::Cancelled, "cancelled")),
        (Stop::Leave, (FailureKind::Preempted, "its worker left")),
    ] {
        let id = rig.push(calling("until_told"), 1, None, |_| Vec::new());
        started(&rig);
        rig.slots.stop(&HashSet::from([id]), why);
        assert_eq!(failed(&rig.next()), outcome);
    }
    // Nothing of that affects the next call.
    assert_eq!(rig.call("odd/name", Vec::new()).outcome, Outcome::Succeeded);
}

#[test]
fn a_function_that_takes_too_long_is_told_so() {
    let rig = Rig::new(2);
    for cpus in [1, 2] {
        let timeout = Some(Micros(30_000));
        let report = rig.run_with(Calling { timeout, cpus, ..calling("until_told") }, Vec::new());
        assert_eq!(failed(&report), (FailureKind::Timeout, "timed out after 30ms"));
        assert!(report.finished.0 - report.started.0 >= 30_000, "{report:?}");
    }
    // A call that is in time is not ended; its deadline is dropped with it.
    let timeout = Some(Micros(20_000));
    let report = rig.run_with(Calling { timeout, ..calling("odd/name") }, Vec::new());
    assert_eq!(report.outcome, Outcome::Succeeded);
    let longer = Calling { timeout: Some(Micros(60_000)), ..calling("until_told") };
    assert_eq!(failed(&rig.run_with(longer, Vec::new())).1, "timed out after 60ms");
}

#[test]
fn a_function_that_does_not_listen_ends_without_its_slot() {
    let rig = Rig::new(1);
    let grace = Micros(20_000);
    let timeout = Some(Micros(20_000));
    let report = rig.run_with(Calling { timeout, grace, ..calling("deaf") }, Vec::new());
    let (kind, reason) = failed(&report);
    assert_eq!(kind, FailureKind::Timeout);
    let still = "the function has not returned and keeps its slot";
    assert_eq!(reason, format!("timed out after 20ms; {still}"));
    assert!(report.finished.0 - report.started.0 >= 40_000, "{report:?}");
    // All ends were reported, but the slot is occupied.
    rig.slots.wait_idle(None);
    assert_eq!(rig.slots.running(), 0);
    rig.push(calling("odd/name"), 1, None, |_| Vec::new());
    assert_eq!(rig.slots.running(), 0);
    *GATE.0.lock().unwrap() = true;
    GATE.1.notify_all();
    let report = rig.next();
    assert_eq!((report.first, report.outcome), (AttemptId(1), Outcome::Succeeded));
    rig.slots.wait_idle(None);
    assert!(rig.reports.try_recv().is_err(), "told once");
}

#[task(crate = dagrun_worker::function)]
fn thread_count(context: &Context) -> (usize, u32) {
    (rayon::current_num_threads(), context.cpus())
}

thread_local! {
    static WITHIN: AtomicBool = const { AtomicBool::new(false) };
}

/// Fails when it is started on a thread that is within it already.
#[task(crate = dagrun_worker::function)]
fn in_parts() -> Result<u64, &'static str> {
    use rayon::prelude::*;
    if WITHIN.with(|within| within.swap(true, Ordering::Relaxed)) {
        return Err("started within itself");
    }
    let sum = (0..1000_u64).into_par_iter().map(|number| number % 7).sum();
    let (mut left, mut right) = (0, 0);
    rayon::scope(|scope| {
        scope.spawn(|_| left = 1);
        scope.spawn(|_| right = 2);
    });
    WITHIN.with(|within| within.store(false, Ordering::Relaxed));
    Ok(sum)
}

#[test]
fn a_function_has_as_many_threads_as_slots_and_they_run_nothing_else() {
    let rig = Rig::new(4);
    for (cpus, threads) in [(1, 1), (2, 2), (99, 4)] {
        let report = rig.run_with(Calling { cpus, ..calling("thread_count") }, Vec::new());
        assert_eq!(returned::<(usize, u32)>(&report), (threads, threads as u32));
    }
    for cpus in [1, 2] {
        rig.push(Calling { cpus, ..calling("in_parts") }, 200, None, |_| Vec::new());
    }
    for _ in 0..400 {
        assert_eq!(returned::<u64>(&rig.next()), 2997);
    }
}
