//! The dependency cases, each by its name.

use std::collections::BTreeSet;

use dagrun_core::engine::{CancelScope, Cause, Event, MapEdge, Outcome, RunPlan, TaskPlan};
use dagrun_core::ids::{AttemptId, TaskId, WorkerId};
use dagrun_core::pipeline::{Outcomes, Quantifier, Retry};
use dagrun_core::status::{FailureKind, RunState, State};

use crate::rig::{Rig, after, after_on, array, at, report, with};

use State::{Cancelled, Failed, Leased, Skipped, Succeeded};

fn retries(count: u32) -> TaskPlan {
    with(TaskPlan::default(), |conduct| conduct.retry = Retry { count, ..Retry::default() })
}

#[test]
fn diamond_each_failing() {
    let expected = [
        [Failed, Skipped, Skipped, Skipped, Skipped],
        [Succeeded, Failed, Succeeded, Skipped, Skipped],
        [Succeeded, Succeeded, Failed, Skipped, Succeeded],
        [Succeeded, Succeeded, Succeeded, Failed, Succeeded],
        [Succeeded, Succeeded, Succeeded, Succeeded, Failed],
    ];
    for (failing, states) in (0..).zip(expected) {
        let mut both = after(&[1]);
        both.clauses.extend(after(&[2]).clauses);
        let tasks = vec![TaskPlan::default(), after(&[0]), after(&[0]), both, after(&[1])];
        let mut rig = Rig::new(tasks).worker(1, 1).worker(2, 1).submit();
        rig.drain(|instance| instance.task.0 == failing);
        for (task, state) in (0..).zip(states) {
            assert_eq!(rig.state(task, 0), state, "task {task} when {failing} fails");
        }
        assert_eq!(rig.finished, [RunState::Failed]);
    }
}

#[test]
fn chain_cascade() {
    let tasks = vec![
        TaskPlan::default(),
        after(&[0]),
        after(&[1]),
        after(&[2]),
        after_on(Quantifier::All, &[3], Outcomes::Failure),
        after_on(Quantifier::All, &[3], Outcomes::Finish),
    ];
    let mut rig = Rig::new(tasks).worker(1, 1).submit();
    rig.drain(|instance| instance.task.0 == 0);
    for task in 1..4 {
        assert_eq!(rig.state(task, 0), Skipped);
        let cause = rig.last_record(task, 0).cause;
        assert_eq!(cause, Some(Cause::After { clause: 0, root: at(0, 0) }), "the root is named");
    }
    assert_eq!((rig.state(4, 0), rig.state(5, 0)), (Succeeded, Succeeded));
}

#[test]
fn eager_any() {
    let tasks = vec![array(2), after_on(Quantifier::Any, &[0], Outcomes::Success)];
    let mut rig = Rig::new(tasks).worker(1, 2).submit();
    rig.ok(0, 0);
    assert_eq!(rig.states(0), [Succeeded, Leased]);
    assert_eq!(rig.state(1, 0), Leased);
}

#[test]
fn eager_all() {
    let mut rig = Rig::new(vec![array(2), after(&[0])]).worker(1, 2).submit();
    rig.fail(0, 0);
    assert_eq!(rig.states(0), [Failed, Leased]);
    assert_eq!(rig.state(1, 0), Skipped);
}

#[test]
fn empty_array() {
    for on in [Outcomes::Success, Outcomes::Failure, Outcomes::Finish] {
        for quantifier in [Quantifier::All, Quantifier::Any] {
            let tasks = vec![array(0), after_on(quantifier, &[0], on)];
            let mut rig = Rig::new(tasks).worker(1, 1).submit();
            rig.ok(1, 0);
            assert_eq!(rig.finished, [RunState::Succeeded]);
        }
    }
}

#[test]
fn a_run_without_instances_ends_at_once() {
    assert_eq!(Rig::new(vec![array(0)]).submit().finished, [RunState::Succeeded]);
    assert_eq!(Rig::new(vec![]).submit().finished, [RunState::Succeeded]);
}

#[test]
fn retried_then_succeeds() {
    let mut rig = Rig::new(vec![retries(1), after(&[0])]).worker(1, 1).submit();
    rig.fail(0, 0);
    assert_eq!(rig.state(1, 0), State::Blocked);
    rig.ok(0, 0);
    rig.ok(1, 0);
    assert_eq!(rig.started(1), [0]);
    assert_eq!(rig.last_record(0, 0).attempt, 2);
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn retries_exhausted() {
    let mut rig = Rig::new(vec![retries(2)]).worker(1, 1).worker(2, 1).worker(3, 1).submit();
    rig.fail(0, 0);
    rig.fail(0, 0);
    rig.finish(0, 0, Outcome::Failed(FailureKind::Exit(7)));
    let mut workers: Vec<WorkerId> = rig.starts.iter().map(|(_, _, worker)| *worker).collect();
    workers.sort_unstable();
    assert_eq!(workers, [WorkerId(1), WorkerId(2), WorkerId(3)]);
    assert_eq!(rig.last_record(0, 0).cause, Some(Cause::Attempt(FailureKind::Exit(7))));
    assert_eq!(rig.state(0, 0), Failed);
}

#[test]
fn retries_beyond_workers() {
    let mut rig = Rig::new(vec![retries(4)]).worker(1, 1).worker(2, 1).submit();
    rig.drain(|_| true);
    assert_eq!(rig.starts.len(), 5);
    assert_eq!(rig.finished, [RunState::Failed]);
}

#[test]
fn a_delayed_retry_waits_for_its_time() {
    let retry = Retry {
        count: 2,
        delay: dagrun_core::ids::Micros::from_secs(5),
        exponential: true,
        ..Retry::default()
    };
    let task = with(TaskPlan::default(), |conduct| conduct.retry = retry);
    let mut rig = Rig::new(vec![task]).worker(1, 1).submit();
    for wait in [5_000_000, 10_000_000] {
        rig.fail(0, 0);
        assert_eq!(rig.state(0, 0), State::Backoff);
        let deadline = rig.engine.next_deadline().unwrap();
        assert_eq!(deadline.0, rig.now + wait);
        rig.event(Event::Tick);
        assert_eq!(rig.state(0, 0), State::Backoff);
        rig.now = deadline.0;
        rig.event(Event::Tick);
        assert_eq!(rig.state(0, 0), Leased);
    }
    rig.ok(0, 0);
    assert_eq!(rig.engine.next_deadline(), None);
}

#[test]
fn lost_is_not_a_retry() {
    let mut rig = Rig::new(vec![retries(0)]).announcing().worker(1, 1).worker(2, 1).submit();
    let first = rig.starts[0].2;
    rig.kill(first.0);
    let (_, number, second) = rig.starts[1];
    assert_ne!(first, second);
    assert_eq!(number, 2);
    assert!(rig.records.iter().any(|record| record.cause == Some(LOST)));
    rig.ok(0, 0);
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn killer_task() {
    let queued = TaskPlan { clauses: after(&[]).clauses, ..TaskPlan::default() };
    let mut rig = Rig::new(vec![TaskPlan::default(), queued]).worker(1, 1).submit();
    for id in 1..=6 {
        assert_eq!(rig.finished, []);
        assert_eq!(rig.running()[0].2.instance, at(0, 0));
        rig.kill(id);
        rig.join(id + 1, 1);
    }
    assert_eq!(rig.state(0, 0), Failed);
    assert_eq!(rig.last_record(0, 0).cause, Some(Cause::LostTooOften));
    rig.ok(1, 0);
    assert_eq!(rig.last_record(1, 0).attempt, 1, "what was only queued is not blamed");
}

#[test]
fn what_a_worker_only_held_ahead_is_not_blamed() {
    let mut rig = Rig::new(vec![array(50)]);
    rig.took = 1;
    let mut rig = rig.announcing().worker(1, 1).submit();
    rig.ok(0, 0);
    let held: Vec<u32> =
        rig.workers[&WorkerId(1)].held.values().map(|held| held.instance.index).collect();
    assert!(held.len() > 2, "short attempts are handed out ahead");
    rig.kill(1);
    let lost = rig.records.iter().filter(|record| record.cause == Some(LOST));
    assert_eq!(lost.map(|record| record.first_index).collect::<Vec<_>>(), [1], "it ran");
    rig.join(2, 50);
    let running = rig.running();
    let number = |index| {
        let found = running.iter().find(|(_, _, held)| held.instance.index == index);
        found.map(|(_, _, held)| held.number)
    };
    assert!(held.iter().all(|index| number(*index) == Some(2)), "each may have run: {running:?}");
    let others = (0..50).filter(|index| !held.contains(index)).filter_map(number);
    assert!(others.into_iter().all(|number| number == 1));
}

const LOST: Cause = Cause::Attempt(FailureKind::Lost);

#[test]
fn what_was_under_way_when_a_line_was_cut_is_given_out_again() {
    let mut rig = Rig::new(vec![array(50)]);
    rig.took = 1;
    let mut rig = rig.announcing().worker(1, 1).submit();
    rig.ok(0, 0);
    let held = rig.workers[&WorkerId(1)].held.len();
    assert!(held > 4);
    rig.cut(1, 3);
    rig.join(2, 1);
    rig.come_back(1);
    rig.drain(|_| false);
    assert_eq!(rig.finished, [RunState::Succeeded]);
    assert_eq!(rig.starts.len(), 50, "none twice");
    assert!(rig.starts.iter().all(|(_, number, _)| *number == 1));
}

#[test]
fn what_was_cancelled_while_a_line_was_cut_is_cancelled_at_its_return() {
    let mut rig = Rig::new(vec![array(3)]).announcing().worker(1, 1).submit();
    rig.cut(1, 0);
    rig.cancel(CancelScope::Run);
    assert_eq!(rig.finished, []);
    rig.come_back(1);
    rig.finish(0, 0, Outcome::Failed(FailureKind::Cancelled));
    assert_eq!(rig.finished, [RunState::Cancelled]);
}

#[test]
fn what_a_leaving_worker_ends_costs_nothing() {
    let mut rig = Rig::new(vec![with(retries(0), |conduct| conduct.max_lost = 0)]);
    rig.join(1, 1);
    let mut rig = rig.announcing().submit();
    for id in 1..=50 {
        rig.join(id + 1, 1);
        rig.event(Event::WorkerLeaving { worker: WorkerId(id) });
        rig.finish(0, 0, Outcome::Preempted);
        rig.kill(id);
        assert_eq!(rig.ran_on(0, 0), Some(id + 1));
    }
    rig.ok(0, 0);
    assert_eq!(rig.finished, [RunState::Succeeded]);
    assert_eq!(rig.last_record(0, 0).attempt, 51);
}

#[test]
fn no_workers() {
    let mut rig = Rig::new(vec![array(3)]).submit();
    assert_eq!(rig.states(0), [State::Ready; 3]);
    rig.join(1, 1);
    rig.drain(|_| false);
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn cancel_blocked_ready_running() {
    let tasks = vec![
        array(2),
        after(&[0]),
        after(&[1]),
        after_on(Quantifier::All, &[1], Outcomes::Failure),
    ];
    let mut rig = Rig::new(tasks).worker(1, 1).submit();
    rig.cancel(CancelScope::Instance(at(1, 0)));
    assert_eq!(rig.state(1, 0), Cancelled, "a blocked one");
    assert_eq!(rig.state(2, 0), Skipped);
    assert_eq!(rig.state(3, 0), State::Ready);
    rig.cancel(CancelScope::Instance(at(0, 1)));
    assert_eq!(rig.state(0, 1), Cancelled, "a ready one");
    rig.cancel(CancelScope::Instance(at(0, 0)));
    assert_eq!(rig.state(0, 0), Leased, "a running one ends when its worker says so");
    rig.finish(0, 0, Outcome::Failed(FailureKind::Cancelled));
    assert_eq!(rig.state(0, 0), Cancelled);
    rig.ok(3, 0);
    assert_eq!(rig.finished, [RunState::Failed]);
}

#[test]
fn cancel_then_late_success() {
    let mut rig = Rig::new(vec![TaskPlan::default(), after(&[0])]).worker(1, 1).submit();
    rig.cancel(CancelScope::Run);
    assert_eq!(rig.state(0, 0), Leased);
    rig.ok(0, 0);
    assert_eq!(rig.state(0, 0), Succeeded);
    assert_eq!(rig.state(1, 0), Cancelled);
    assert_eq!(rig.finished, [RunState::Cancelled]);
}

#[test]
fn an_interruption_that_cuts_off_nothing_is_none() {
    let mut rig = Rig::new(vec![TaskPlan::default(), after(&[0])]).worker(1, 1).submit();
    rig.cancel(CancelScope::Interruption);
    rig.ok(0, 0);
    assert_eq!((rig.state(0, 0), rig.state(1, 0)), (Succeeded, Cancelled));
    assert_eq!(rig.finished, [RunState::Interrupted]);
    let mut rig = Rig::new(vec![TaskPlan::default()]).worker(1, 1).submit();
    rig.cancel(CancelScope::Interruption);
    rig.ok(0, 0);
    assert_eq!(rig.finished, [RunState::Succeeded], "it had the last word");
    let mut rig = Rig::new(vec![TaskPlan::default(), after(&[0])]).worker(1, 1).submit();
    rig.cancel(CancelScope::Interruption);
    rig.cancel(CancelScope::Run);
    rig.ok(0, 0);
    assert_eq!(rig.finished, [RunState::Cancelled], "a user gave it up");
}

#[test]
fn stale_report() {
    let mut rig = Rig::new(vec![array(2)]).worker(1, 1).worker(2, 1).submit();
    let (worker, id, _) = rig.running()[0];
    rig.kill(worker.0);
    let stale = rig.engine.stale();
    rig.event(Event::Reported { worker, reports: vec![report(id, Outcome::Succeeded, 1, 2)] });
    assert_eq!(rig.engine.stale(), stale + 1, "a worker that is gone");
    let worker = rig.running()[0].0;
    rig.event(Event::Reported { worker, reports: vec![report(id, Outcome::Succeeded, 1, 2)] });
    assert_eq!(rig.engine.stale(), stale + 2, "an attempt of another worker");
    let mut many = report(AttemptId(u64::MAX - 1), Outcome::Succeeded, 1, 2);
    many.count = u32::MAX;
    rig.event(Event::Reported { worker, reports: vec![many] });
    rig.drain(|_| false);
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn several_slots_no_double_start() {
    // A chain, then a mixed queue.
    let queue = |plan| TaskPlan { clauses: after(&[1]).clauses, ..plan };
    let tasks = vec![
        TaskPlan::default(),
        after(&[0]),
        queue(with(array(10), |conduct| conduct.cpus = 2)),
        queue(with(array(10), |conduct| {
            conduct.priority = 5;
            conduct.max_running = Some(2);
        })),
        queue(array(200)),
    ];
    for took in [1, 20_000] {
        let mut rig = Rig::new(tasks.clone());
        rig.took = took;
        let mut rig = rig.worker(1, 2).worker(2, 2).submit();
        rig.drain(|_| false);
        // The rig itself checks that no attempt is handed out twice.
        let starts: BTreeSet<_> =
            rig.starts.iter().map(|(instance, number, _)| (*instance, *number)).collect();
        assert_eq!((starts.len(), rig.starts.len()), (222, 222));
        assert!(starts.iter().all(|(_, number)| *number == 1));
        assert_eq!(rig.finished, [RunState::Succeeded]);
    }
}

#[test]
fn fifo_among_equals() {
    let blocked = TaskPlan { width: 100.into(), ..after(&[0]) };
    let mut rig = Rig::new(vec![TaskPlan::default(), blocked]).worker(1, 1).submit();
    rig.drain(|_| false);
    assert_eq!(rig.started(1), (0..100).collect::<Vec<_>>());
}

#[test]
fn priority_and_max_running() {
    let high = with(array(5), |conduct| {
        conduct.priority = 10;
        conduct.max_running = Some(1);
    });
    let mut rig = Rig::new(vec![array(5), high]).worker(1, 3).submit();
    while rig.finished.is_empty() {
        let high = rig.running().iter().filter(|(_, _, held)| held.instance.task.0 == 1).count();
        assert!(high <= 1);
        if rig.started(1).len() < 5 {
            assert_eq!(high, 1, "the higher goes first");
        }
        let (worker, id, _) = rig.running()[0];
        rig.end(worker, id, Outcome::Succeeded);
    }
}

#[test]
fn large_attempts_are_not_starved_and_never_oversubscribe() {
    let large = with(array(3), |conduct| conduct.cpus = 4);
    let mut rig = Rig::new(vec![large, array(40)]).worker(1, 4).worker(2, 4).submit();
    while rig.finished.is_empty() {
        for fake in rig.workers.values() {
            let used: u32 =
                fake.held.values().filter(|held| held.started).map(|held| held.cpus).sum();
            assert!(used <= fake.slots);
        }
        let (worker, id, _) = *rig.running().last().unwrap();
        rig.end(worker, id, Outcome::Succeeded);
    }
    assert_eq!(rig.started(0), [0, 1, 2]);
}

#[test]
fn allow_failure() {
    let allowed = with(TaskPlan::default(), |conduct| conduct.allow_failure = true);
    let tasks = vec![allowed, after(&[0]), after_on(Quantifier::All, &[0], Outcomes::Failure)];
    let mut rig = Rig::new(tasks).worker(1, 1).submit();
    rig.drain(|instance| instance.task.0 == 0);
    assert_eq!((rig.state(1, 0), rig.state(2, 0)), (Skipped, Succeeded));
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn steal_not_started_only() {
    let mut rig = Rig::new(vec![array(60)]);
    rig.took = 1000;
    let mut rig = rig.worker(1, 1).submit();
    // Short attempts fill the backlog of the only worker.
    for index in 0..50 {
        rig.ok(0, index);
    }
    assert!(rig.workers[&WorkerId(1)].held.len() > 5);
    rig.join(2, 2);
    let running = rig.running();
    assert_eq!(running.iter().filter(|(worker, ..)| worker.0 == 2).count(), 2);
    rig.drain(|_| false);
    assert_eq!(rig.starts.len(), 60, "none starts twice");
}

#[test]
fn map_is_element_wise() {
    let map = TaskPlan { map: Some(MapEdge { upstream: TaskId(0), factor: 2 }), ..array(6) };
    let mut rig = Rig::new(vec![array(3), map]).worker(1, 8).submit();
    rig.fail(0, 1);
    assert_eq!(rig.states(1)[2..4], [Skipped, Skipped]);
    assert_eq!(rig.last_record(1, 3).cause, Some(Cause::Upstream { root: at(0, 1) }));
    rig.ok(0, 2);
    assert_eq!(rig.states(1)[4..6], [Leased, Leased]);
    assert_eq!(rig.states(1)[0..2], [State::Blocked, State::Blocked]);
}

#[test]
fn fail_fast_ends_the_rest() {
    let plan = RunPlan { tasks: vec![array(5)], fail_fast: true, ..RunPlan::default() };
    let mut rig = Rig::of(plan).worker(1, 2).submit();
    rig.fail(0, 0);
    rig.finish(0, 1, Outcome::Failed(FailureKind::Cancelled));
    assert_eq!(rig.states(0), [Failed, Cancelled, Cancelled, Cancelled, Cancelled]);
    assert_eq!(rig.finished, [RunState::Failed]);
}
