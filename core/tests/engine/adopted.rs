//! Attempts that survive their scheduler, case by case.

use dagrun_core::engine::{CancelScope, Outcome};
use dagrun_core::ids::{InstanceId, WorkerId};
use dagrun_core::offer::Offer;
use dagrun_core::pipeline::{Retry, Targets};
use dagrun_core::status::{FailureKind, RunState, State};

use crate::rig::{RUN, Rig, after, array, at, with};

use State::{Cancelled, Leased, Ready, Succeeded};

/// Kills the scheduler when so many lines of what it has written are not on disk.
fn kill(rig: &mut Rig, lost: usize) {
    let places = rig.journal.places();
    rig.lose_scheduler(places[places.len() - 1 - lost.min(places.len() - 1)]);
}

fn attempts(rig: &Rig, instance: InstanceId) -> Vec<u32> {
    let starts = rig.starts.iter().filter(|(started, ..)| *started == instance);
    starts.map(|(_, number, _)| *number).collect()
}

#[test]
fn what_runs_goes_on_as_the_attempt_that_it_is() {
    let mut rig = Rig::new(vec![array(4)]).worker(1, 2).submit();
    rig.ok(0, 0);
    let before = rig.running();
    kill(&mut rig, 0);
    rig.register(1);
    rig.go_on(|_| Some(0));
    assert_eq!(rig.states(0), [Succeeded, Leased, Leased, Leased], "what waits there too");
    for (worker, attempt, held) in before {
        assert_eq!(rig.engine.instance_of(worker, attempt), Some((RUN, held.instance)));
    }
    rig.drain(|_| false);
    assert_eq!(rig.finished, [RunState::Succeeded]);
    let numbers: Vec<Vec<u32>> = (0..4).map(|index| attempts(&rig, at(0, index))).collect();
    assert_eq!(numbers, [[1], [1], [1], [1]]);
}

#[test]
fn what_ended_unacknowledged_counts_once_and_so_does_what_came_of_it() {
    let mut rig =
        Rig::new(vec![array(1), after(&[0]), after(&[1])]).worker(1, 1).worker(2, 1).submit();
    rig.ok(0, 0);
    rig.ok(1, 0);
    let places = rig.journal.places();
    rig.lose_scheduler(places[0]);
    for id in [2, 1] {
        rig.register(id);
    }
    rig.go_on(|_| Some(0));
    for id in [2, 1] {
        rig.send_pending(id);
    }
    let states: Vec<State> = (0..3).map(|task| rig.state(task, 0)).collect();
    assert_eq!(states, [Succeeded, Succeeded, Leased]);
    rig.drain(|_| false);
    assert_eq!(rig.finished, [RunState::Succeeded]);
    assert_eq!(rig.starts.len(), 3, "nothing is run again");
}

#[test]
fn what_came_of_a_success_that_is_lost_is_given_up() {
    let on = |name: &str| Targets::Named(vec![name.to_owned()]);
    let first = with(array(1), |conduct| conduct.targets = on("even"));
    let second = with(after(&[0]), |conduct| conduct.targets = on("w1"));
    let mut rig = Rig::new(vec![first, second]).worker(1, 1);
    let even = Offer { slots: 1, labels: vec!["even".to_owned()], ..Offer::default() };
    rig.join_offering(2, even.clone());
    let mut rig = rig.submit();
    rig.ok(0, 0);
    assert_eq!((rig.ran_on(0, 0), rig.ran_on(1, 0)), (Some(2), Some(1)));
    let places = rig.journal.places();
    rig.lose_scheduler(places[0]);
    rig.die(2);
    rig.join_offering(3, even);
    rig.register(1);
    rig.go_on(|_| Some(0));
    let running = rig.running();
    let running: Vec<_> =
        running.iter().map(|(.., held)| (held.instance, held.cancelled)).collect();
    assert_eq!(running, [(at(1, 0), true), (at(0, 0), false)], "it goes on until it has ended");
    rig.drain(|_| false);
    assert_eq!(rig.finished, [RunState::Succeeded]);
    assert_eq!((attempts(&rig, at(0, 0)), attempts(&rig, at(1, 0))), (vec![1, 2], vec![1, 2]));
}

#[test]
fn two_kills_change_nothing_for_what_runs() {
    let mut rig = Rig::new(vec![array(1)]).worker(1, 1).submit();
    for _ in 0..2 {
        kill(&mut rig, 0);
        rig.register(1);
        rig.go_on(|_| Some(0));
        assert!(!rig.running()[0].2.cancelled);
    }
    rig.ok(0, 0);
    assert_eq!((rig.finished, rig.starts.len()), (vec![RunState::Succeeded], 1));
}

#[test]
fn a_second_attempt_goes_on_as_such() {
    let retry = Retry { count: 2, ..Retry::default() };
    let task = with(array(1), |conduct| conduct.retry = retry);
    let mut rig = Rig::new(vec![task]).worker(1, 1).submit();
    rig.fail(0, 0);
    kill(&mut rig, 0);
    rig.register(1);
    rig.go_on(|_| Some(0));
    assert_eq!(attempts(&rig, at(0, 0)), [1, 2]);
    rig.finish(0, 0, Outcome::Failed(FailureKind::Exit(1)));
    rig.finish(0, 0, Outcome::Failed(FailureKind::Exit(1)));
    assert_eq!((rig.finished, rig.starts.len()), (vec![RunState::Failed], 3));
}

#[test]
fn what_was_cancelled_is_ended() {
    let mut rig = Rig::new(vec![array(2)]).worker(1, 2).submit();
    rig.cancel(CancelScope::Instance(at(0, 0)));
    kill(&mut rig, 0);
    rig.register(1);
    rig.go_on(|_| Some(0));
    assert_eq!(rig.states(0), [Cancelled, Leased]);
    let cancelled: Vec<bool> = rig.running().iter().map(|(.., held)| held.cancelled).collect();
    assert_eq!(cancelled, [true, false]);
}

#[test]
fn a_worker_that_dies_after_its_return_takes_what_it_claimed_along() {
    let mut rig = Rig::new(vec![array(2)]).worker(1, 1).worker(2, 1).submit();
    kill(&mut rig, 0);
    rig.register(1);
    rig.register(2);
    rig.die(1);
    rig.lose(1);
    rig.go_on(|_| Some(0));
    rig.drain(|_| false);
    assert_eq!(rig.finished, [RunState::Succeeded]);
    let mut starts: Vec<usize> = (0..2).map(|index| attempts(&rig, at(0, index)).len()).collect();
    starts.sort_unstable();
    assert_eq!(starts, [1, 2]);
}

#[test]
fn what_is_claimed_takes_its_place_before_anything_new() {
    let task = with(array(3), |conduct| conduct.memory = 8);
    let mut rig = Rig::new(vec![task]);
    rig.join_offering(1, Offer { slots: 4, memory: 16, ..Offer::default() });
    let mut rig = rig.submit();
    assert_eq!(rig.states(0), [Leased, Leased, Ready]);
    kill(&mut rig, 0);
    rig.register(1);
    assert_eq!(rig.engine.held_by(WorkerId(1)), Some(0));
    rig.go_on(|_| Some(0));
    assert_eq!(rig.engine.held_by(WorkerId(1)), Some(2));
    assert_eq!(rig.states(0), [Leased, Leased, Ready]);
}
