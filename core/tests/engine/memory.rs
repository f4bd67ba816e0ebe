//! Ends for memory: what the next attempt asks for, where it goes, and when there is none.

use dagrun_core::engine::{Event, Explanation, NotStarted, Outcome, TaskPlan};
use dagrun_core::ids::{InstanceId, Micros, TaskId, WorkerId};
use dagrun_core::offer::Offer;
use dagrun_core::pipeline::{Conduct, Retry, RetryOn, Targets};
use dagrun_core::status::{FailureKind, RunState, State};

use crate::rig::{RUN, Rig, array, at, each_worker, with};

const OUT_OF_MEMORY: Outcome = Outcome::Failed(FailureKind::Memory);

fn growing(conduct: &mut Conduct) {
    conduct.memory = 2;
    conduct.retry = Retry::times(3).grow_memory(2.0);
}

fn large(slots: u32, memory: u64) -> Offer {
    Offer { slots, memory, ..Offer::default() }
}

fn rig(task: TaskPlan, workers: &[(u32, u64)]) -> Rig {
    let mut rig = Rig::new(vec![task]);
    for (id, (slots, memory)) in (1..).zip(workers) {
        rig.join_offering(id, large(*slots, *memory));
    }
    rig.submit()
}

/// What the attempt of an instance asks for, and where it is.
fn asks(rig: &Rig, instance: InstanceId) -> Option<(u64, u32)> {
    let running = rig.running();
    let of = running.iter().find(|(.., held)| held.instance == instance);
    of.map(|(worker, _, held)| (held.memory, worker.0))
}

#[test]
fn the_next_attempt_asks_for_more_and_occupies_it() {
    let mut rig = rig(with(array(4), growing), &[(4, 8)]);
    assert_eq!(rig.running().len(), 4, "each has 2 of 8");
    rig.finish(0, 1, OUT_OF_MEMORY);
    assert_eq!(asks(&rig, at(0, 1)), None, "4 are not free yet");
    let busy = NotStarted::Busy { workers: 1, ahead: 0 };
    assert_eq!(rig.engine.explain(RUN, at(0, 1)), Some(Explanation::Ready(busy)));
    assert_eq!(rig.engine.grown_memory(RUN, TaskId(0), Some(1)), Some(4));
    rig.ok(0, 0);
    assert_eq!(asks(&rig, at(0, 1)), Some((4, 1)));
    rig.finish(0, 1, OUT_OF_MEMORY);
    rig.drain(|_| false);
    assert_eq!(rig.finished, [RunState::Succeeded]);
    assert_eq!(
        rig.starts.last().map(|(instance, number, _)| (*instance, *number)),
        Some((at(0, 1), 3))
    );
}

#[test]
fn other_failures_ask_for_no_more() {
    let mut rig = rig(with(array(1), growing), &[(1, 8)]);
    rig.fail(0, 0);
    assert_eq!(asks(&rig, at(0, 0)), Some((2, 1)));
    rig.finish(0, 0, OUT_OF_MEMORY);
    assert_eq!(asks(&rig, at(0, 0)), Some((4, 1)));
    rig.fail(0, 0);
    assert_eq!(asks(&rig, at(0, 0)), Some((4, 1)), "what it asked for stays");
}

#[test]
fn without_grow_it_asks_for_the_same() {
    let task = with(array(1), |conduct| {
        conduct.memory = 2;
        conduct.retry = Retry::times(1).on([RetryOn::Memory]);
    });
    let mut rig = rig(task, &[(1, 8)]);
    rig.finish(0, 0, OUT_OF_MEMORY);
    assert_eq!(asks(&rig, at(0, 0)), Some((2, 1)));
    rig.finish(0, 0, OUT_OF_MEMORY);
    assert_eq!(rig.finished, [RunState::Failed]);
}

#[test]
fn no_more_than_the_largest_worker_has_and_that_only_once() {
    let mut rig = rig(with(array(1), growing), &[(1, 3)]);
    rig.finish(0, 0, OUT_OF_MEMORY);
    assert_eq!(asks(&rig, at(0, 0)), Some((3, 1)));
    rig.finish(0, 0, OUT_OF_MEMORY);
    assert_eq!(rig.state(0, 0), State::Failed);
    let detail = rig.last_record(0, 0).detail.clone().unwrap();
    assert_eq!(detail.reason, "no worker offers more");
}

#[test]
fn what_is_too_large_for_one_worker_goes_to_another() {
    let mut rig = rig(with(array(1), growing), &[(1, 2)]);
    rig.join_offering(2, large(1, 16));
    rig.finish(0, 0, OUT_OF_MEMORY);
    assert_eq!(asks(&rig, at(0, 0)), Some((4, 2)));
    // The only worker that suits is lost: it waits for another one.
    rig.kill(2);
    let none = Explanation::Ready(NotStarted::NoneSuits { workers: 1 });
    assert_eq!(rig.engine.explain(RUN, at(0, 0)), Some(none));
    assert_eq!(rig.engine.stuck(RUN, TaskId(0)), Some(NotStarted::NoneSuits { workers: 1 }));
    rig.join_offering(3, large(1, 4));
    assert_eq!(asks(&rig, at(0, 0)), Some((4, 3)));
}

#[test]
fn others_are_not_held_up() {
    let mut rig = rig(with(array(3), growing), &[(1, 2)]);
    rig.join_offering(2, large(1, 8));
    rig.finish(0, 0, OUT_OF_MEMORY);
    rig.drain(|_| false);
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn bound_instances_stay_with_their_workers() {
    let mut rig = Rig::new(vec![with(each_worker(), |conduct| {
        growing(conduct);
        conduct.targets = Targets::Each;
    })]);
    rig.join_offering(1, large(1, 4));
    rig.join_offering(2, large(1, 16));
    let mut rig = rig.submit();
    for (index, worker) in [(0, 1), (1, 2)] {
        assert_eq!(asks(&rig, at(0, index)), Some((2, worker)));
        rig.finish(0, index, OUT_OF_MEMORY);
        assert_eq!(asks(&rig, at(0, index)), Some((4, worker)));
    }
    rig.finish(0, 0, OUT_OF_MEMORY);
    assert_eq!(rig.state(0, 0), State::Failed);
    rig.finish(0, 1, OUT_OF_MEMORY);
    assert_eq!(asks(&rig, at(0, 1)), Some((8, 2)));
}

#[test]
fn a_run_that_goes_on_asks_for_as_much_as_before() {
    for wait in [Micros(0), Micros(500)] {
        let task = with(array(2), |conduct| {
            growing(conduct);
            conduct.retry.delay = wait;
        });
        let mut rig = rig(task, &[(2, 32)]);
        rig.finish(0, 1, OUT_OF_MEMORY);
        let last = *rig.journal.places().last().unwrap();
        rig.crash(last, |_| Some(0));
        if wait.0 > 0 {
            rig.wait();
        }
        assert_eq!(asks(&rig, at(0, 1)), Some((4, 1)));
        assert_eq!(asks(&rig, at(0, 0)), Some((2, 1)));
        rig.finish(0, 1, OUT_OF_MEMORY);
        if wait.0 > 0 {
            rig.wait();
        }
        assert_eq!(asks(&rig, at(0, 1)), Some((8, 1)));
    }
}

/// What a worker says of its memory.
fn says(rig: &mut Rig, id: u32, left: Option<&str>) {
    let (worker, left) = (WorkerId(id), left.map(str::to_owned));
    rig.event(Event::WorkerShort { worker, left });
}

#[test]
fn a_worker_with_too_little_memory_left_takes_nothing_more() {
    let mut rig = Rig::new(vec![array(4)]).worker(1, 1).submit();
    says(&mut rig, 1, Some("1 MiB is left"));
    rig.join(2, 1);
    rig.ok(0, 0);
    assert_eq!(rig.running().iter().map(|(worker, ..)| worker.0).collect::<Vec<_>>(), [2]);
    let short = rig.engine.shortage(WorkerId(1)).unwrap();
    assert_eq!((short.slots, short.reason.as_str(), short.of_memory), (0, "1 MiB is left", true));
    rig.kill(2);
    let waits = rig.engine.stuck(RUN, TaskId(0));
    assert_eq!(waits, Some(NotStarted::Short(vec![short])));
    says(&mut rig, 1, None);
    assert_eq!(rig.running().len(), 1);
    assert_eq!(rig.engine.shortage(WorkerId(1)), None);
    rig.drain(|_| false);
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn where_waiting_does_not_help_it_takes_one_at_a_time() {
    let mut rig = Rig::new(vec![array(3)]).worker(1, 2);
    says(&mut rig, 1, Some("1 MiB is left"));
    let mut rig = rig.submit();
    for seconds in 0..10 {
        assert_eq!(rig.running().len(), 0, "{seconds} s");
        rig.now += 1_000_000;
        says(&mut rig, 1, Some("1 MiB is left"));
    }
    for index in 0..3 {
        assert_eq!(rig.running().len(), 1);
        says(&mut rig, 1, Some("1 MiB is left"));
        rig.ok(0, index);
    }
    assert_eq!(rig.finished, [RunState::Succeeded]);
}
