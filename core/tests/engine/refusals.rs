//! Attempts that workers do not start, and where attempts go after others failed: by the case's name.

use dagrun_core::engine::{Cause, Explanation, NotStarted, Outcome, Refusal, TaskPlan};
use dagrun_core::ids::{Timestamp, WorkerId};
use dagrun_core::pipeline::{Retry, Targets};
use dagrun_core::status::{FailureKind, RunState, State};

use crate::rig::{RUN, Rig, array, at, with};

const SECOND: u64 = 1_000_000;

fn retrying(count: u32) -> TaskPlan {
    with(TaskPlan::default(), |conduct| conduct.retry = Retry { count, ..Retry::default() })
}

fn waits_for(rig: &Rig, task: u32, index: u32) -> NotStarted {
    match rig.engine.explain(RUN, at(task, index)) {
        Some(Explanation::Ready(why)) => why,
        other => panic!("not ready: {other:?}"),
    }
}

#[test]
fn what_a_machine_refuses_runs_when_others_have_ended() {
    let mut rig = Rig::new(vec![array(200)]).worker(1, 32).submit();
    let mut refused = 0;
    while rig.finished.is_empty() {
        let running = rig.running();
        // The machine has capacity for twelve.
        match running.get(12) {
            Some((worker, id, _)) => {
                refused += 1;
                rig.refuse(*worker, *id, Refusal::Scarce);
            }
            None => match running.first() {
                Some((worker, id, _)) => rig.end(*worker, *id, Outcome::Succeeded),
                None => rig.wait(),
            },
        }
    }
    assert_eq!(rig.finished, [RunState::Succeeded]);
    assert!((20..60).contains(&refused), "{refused} refusals");
    assert!(rig.starts.iter().all(|(_, number, _)| *number == 1), "no attempt is used up");
    assert_eq!(rig.records.len(), 200, "a refusal is no end of an attempt");
}

#[test]
fn a_worker_that_refuses_is_left_alone_and_the_other_takes_its_work() {
    let mut rig = Rig::new(vec![array(20)]).worker(1, 2).worker(2, 2).submit();
    let refused = WorkerId(1);
    while rig.finished.is_empty() {
        let running = rig.running();
        match running.first() {
            Some((worker, id, _)) if *worker == refused => {
                rig.refuse(*worker, *id, Refusal::Scarce);
            }
            Some((worker, id, _)) => rig.end(*worker, *id, Outcome::Succeeded),
            None => rig.wait(),
        }
    }
    assert!(rig.starts.iter().all(|(_, _, worker)| *worker != refused));
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn a_machine_that_refuses_everything_for_a_minute_is_a_failure() {
    let mut rig = Rig::new(vec![retrying(3)]).worker(1, 4).submit();
    let begun = rig.now;
    while rig.finished.is_empty() {
        match rig.running().first() {
            Some((worker, id, _)) => rig.refuse(*worker, *id, Refusal::Scarce),
            None => {
                let Some(Explanation::Backoff { refused: Some(reason), until, attempts: 0 }) =
                    rig.engine.explain(RUN, at(0, 0))
                else {
                    // The worker rests longer than the instance.
                    assert!(matches!(waits_for(&rig, 0, 0), NotStarted::Short(_)));
                    rig.wait();
                    continue;
                };
                assert_eq!(reason, "no such program: x");
                assert!(until > Some(Timestamp(rig.now)));
                rig.wait();
            }
        }
    }
    let took = rig.now - begun;
    assert!((60 * SECOND..66 * SECOND).contains(&took), "{took}");
    let record = rig.last_record(0, 0);
    assert_eq!(record.cause, Some(Cause::Attempt(FailureKind::Start)));
    assert_eq!(record.detail.as_ref().unwrap().reason, "no such program: x");
    assert_eq!(rig.finished, [RunState::Failed]);
}

#[test]
fn others_that_run_there_are_waited_for() {
    let mut rig = Rig::new(vec![TaskPlan::default(), array(1)]).worker(1, 4).submit();
    let begun = rig.now;
    while rig.now < begun + 200 * SECOND {
        match rig.running().iter().find(|(_, _, held)| held.instance == at(1, 0)) {
            Some((worker, id, _)) => rig.refuse(*worker, *id, Refusal::Scarce),
            None => rig.wait(),
        }
        assert!(rig.finished.is_empty());
    }
    rig.ok(0, 0);
    while rig.running().is_empty() {
        rig.wait();
    }
    rig.ok(1, 0);
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn what_one_worker_lacks_runs_on_the_other_without_a_retry() {
    let mut rig = Rig::new(vec![array(60)]).worker(1, 2).worker(2, 2).submit();
    let mut refused = 0;
    while rig.finished.is_empty() {
        let running = rig.running();
        let (worker, id, _) = *running.first().expect("something runs");
        if worker == WorkerId(1) {
            refused += 1;
            rig.refuse(worker, id, Refusal::Missing);
        } else {
            rig.end(worker, id, Outcome::Succeeded);
        }
    }
    assert_eq!(rig.finished, [RunState::Succeeded]);
    assert!(refused <= 2, "the worker is not asked again and again: {refused}");
    assert!(rig.starts.iter().all(|(_, number, _)| *number == 1));
}

#[test]
fn what_no_worker_has_fails_at_once_and_says_so() {
    let mut rig = Rig::new(vec![retrying(5)]).worker(1, 1).worker(2, 1).worker(3, 1).submit();
    let begun = rig.now;
    for _ in 0..3 {
        rig.refuse_one(0, 0, Refusal::Missing);
    }
    let record = rig.last_record(0, 0);
    assert_eq!(record.detail.as_ref().unwrap().reason, "no worker has `x` (no such program: x)");
    assert_eq!(rig.finished, [RunState::Failed]);
    assert!(rig.now - begun < 10);
}

#[test]
fn a_worker_that_lacks_it_is_asked_again_later() {
    let mut rig = Rig::new(vec![array(2)]).worker(1, 1).worker(2, 1).submit();
    let on = |rig: &Rig, worker: u32| {
        let running = rig.running();
        running.iter().find(|(at, ..)| at.0 == worker).map(|(_, _, held)| held.instance.index)
    };
    let first = on(&rig, 1).unwrap();
    rig.refuse_one(0, first, Refusal::Missing);
    assert_eq!(on(&rig, 1), None);
    let lacks = NotStarted::Choosy { failed: vec![], lacking: vec![WorkerId(1)], until: None };
    assert_eq!(waits_for(&rig, 0, first), lacks);
    // The instance that was refused waits for the other one all the same.
    rig.now += 20 * SECOND;
    rig.wait();
    assert_eq!((on(&rig, 1), rig.state(0, first)), (None, State::Ready));
    rig.ok(0, 1 - first);
    assert_eq!(on(&rig, 2), Some(first));
    rig.ok(0, first);

    let mut rig = Rig::new(vec![array(3)]).worker(1, 1).worker(2, 1).submit();
    let first = on(&rig, 1).unwrap();
    rig.refuse_one(0, first, Refusal::Missing);
    rig.now += 20 * SECOND;
    rig.wait();
    assert_eq!(on(&rig, 1), Some(2), "the third one finds out");
}

#[test]
fn the_last_worker_that_has_it_is_lost() {
    let mut rig = Rig::new(vec![array(2)]).worker(1, 1).worker(2, 1).submit();
    let (_, _, held) = *rig.running().iter().find(|(at, ..)| at.0 == 1).unwrap();
    rig.refuse_one(0, held.instance.index, Refusal::Missing);
    // What was lost with the other goes there as well, and then what had been refused.
    rig.kill(2);
    for index in [1 - held.instance.index, held.instance.index] {
        rig.refuse_one(0, index, Refusal::Missing);
        assert_eq!(rig.state(0, index), State::Failed);
    }
    assert_eq!(rig.finished, [RunState::Failed]);
}

#[test]
fn a_retry_waits_for_a_busy_worker_where_it_has_not_failed() {
    let mut rig = Rig::new(vec![retrying(3), array(1)]).worker(1, 1).worker(2, 1).submit();
    let first = rig.ran_on(0, 0).unwrap();
    rig.fail(0, 0);
    assert_eq!(rig.state(0, 0), State::Ready);
    let until = Some(Timestamp(rig.now + 60 * SECOND));
    let failed = vec![WorkerId(first)];
    assert_eq!(waits_for(&rig, 0, 0), NotStarted::Choosy { failed, lacking: vec![], until });
    rig.ok(1, 0);
    assert_eq!(rig.ran_on(0, 0), Some(3 - first));
    // All were tried: any will do, at once.
    rig.fail(0, 0);
    assert_eq!(rig.started(0).len(), 3);
}

#[test]
fn it_waits_a_minute_at_most_and_nobody_waits_behind_it() {
    let mut rig = Rig::new(vec![retrying(3), array(4)]).worker(1, 1).worker(2, 1).submit();
    let first = rig.ran_on(0, 0).unwrap();
    let other = 3 - first;
    rig.fail(0, 0);
    let begun = rig.now;
    // The worker where it failed goes on with the rest.
    for index in 0..4 {
        if rig.ran_on(1, index) == Some(first) {
            rig.ok(1, index);
        }
    }
    assert_eq!(rig.state(0, 0), State::Ready);
    while rig.state(0, 0) == State::Ready {
        rig.wait();
    }
    assert_eq!(rig.ran_on(0, 0), Some(first));
    assert!((60 * SECOND..61 * SECOND).contains(&(rig.now - begun)));
    rig.kill(other);
    rig.ok(0, 0);
    rig.drain(|_| false);
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn the_worker_that_it_waits_for_is_lost() {
    let mut rig = Rig::new(vec![retrying(1), array(1)]).worker(1, 1).worker(2, 1).submit();
    let first = rig.ran_on(0, 0).unwrap();
    rig.fail(0, 0);
    rig.kill(3 - first);
    assert_eq!(rig.started(0).len(), 2);
    assert_eq!(rig.ran_on(0, 0), Some(first));
    rig.drain(|_| false);
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn what_is_bound_to_a_worker_does_not_wait_for_others() {
    let bound = with(retrying(1), |conduct| conduct.targets = Targets::Named(vec!["w1".into()]));
    let mut rig = Rig::new(vec![bound]).worker(1, 1).worker(2, 1).submit();
    rig.fail(0, 0);
    assert_eq!(rig.ran_on(0, 0), Some(1));
    rig.refuse_one(0, 0, Refusal::Missing);
    assert_eq!(rig.finished, [RunState::Failed]);
}
