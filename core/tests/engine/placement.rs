//! The cases of `follow`, targets, resources and placement schemes, each by its name.

use std::collections::BTreeSet;

use dagrun_core::engine::{
    CancelScope, Cause, Event, Explanation, FollowProblem, NotStarted, Outcome, Record, RunPlan,
    Scheme, TaskPlan,
};
use dagrun_core::ids::{Micros, WorkerId};
use dagrun_core::offer::Offer;
use dagrun_core::pipeline::{Conduct, Outcomes, Quantifier, Retry, RetryOn, Targets};
use dagrun_core::status::{FailureKind, RunState, State};
use proptest::prelude::*;

use crate::rig::{RUN, Rig, after, after_on, array, at, clause, each_worker, with};

fn follow_on(quantifier: Quantifier, upstreams: &[u32], on: Outcomes) -> TaskPlan {
    TaskPlan { clauses: vec![clause(quantifier, upstreams, on)], follows: 1, ..TaskPlan::default() }
}

fn follow(upstreams: &[u32]) -> TaskPlan {
    follow_on(Quantifier::All, upstreams, Outcomes::Success)
}

fn on_target(name: &str) -> TaskPlan {
    with(TaskPlan::default(), |conduct| conduct.targets = Targets::Named(vec![name.into()]))
}

/// `a` on w1, `b` on w2, and a third task.
fn two_and(third: TaskPlan) -> Rig {
    Rig::new(vec![on_target("w1"), on_target("w2"), third]).worker(1, 1).worker(2, 1).submit()
}

fn why(rig: &Rig, task: u32) -> FollowProblem {
    match rig.last_record(task, 0).cause {
        Some(Cause::Follow { why, .. }) => why,
        other => panic!("skipped for another reason: {other:?}"),
    }
}

#[test]
fn follow_one() {
    let mut tasks = vec![on_target("w1")];
    tasks.extend((0..5).map(|_| follow(&[0])));
    let mut rig = Rig::new(tasks).worker(1, 1).worker(2, 3).submit();
    rig.drain(|_| false);
    for task in 1..6 {
        assert_eq!(rig.ran_on(task, 0), Some(1));
    }
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn follow_all_on_two() {
    let mut rig = two_and(follow(&[0, 1]));
    rig.drain(|_| false);
    assert_eq!(rig.state(2, 0), State::Skipped);
    assert_eq!(why(&rig, 2), FollowProblem::SeveralWorkers);
}

#[test]
fn follow_any_success() {
    let mut rig = two_and(follow_on(Quantifier::Any, &[0, 1], Outcomes::Success));
    rig.fail(1, 0);
    rig.ok(0, 0);
    assert_eq!(rig.ran_on(2, 0), Some(1));
}

#[test]
fn follow_any_failure() {
    let mut rig = two_and(follow_on(Quantifier::Any, &[0, 1], Outcomes::Failure));
    rig.ok(0, 0);
    rig.fail(1, 0);
    assert_eq!(rig.ran_on(2, 0), Some(2));
}

#[test]
fn follow_never_ran() {
    for quantifier in [Quantifier::All, Quantifier::Any] {
        let tasks =
            vec![TaskPlan::default(), after(&[0]), follow_on(quantifier, &[1], Outcomes::Finish)];
        let mut rig = Rig::new(tasks).worker(1, 1).submit();
        rig.fail(0, 0);
        assert_eq!(rig.state(2, 0), State::Skipped);
        assert_eq!(why(&rig, 2), FollowProblem::NeverRan, "{quantifier:?}");
    }
}

#[test]
fn follow_dead_worker() {
    // The worker is lost before the upstream's other conditions are met.
    let mut third = follow(&[0]);
    third.clauses.insert(0, clause(Quantifier::All, &[1], Outcomes::Success));
    let mut rig = two_and(third);
    rig.ok(0, 0);
    assert_eq!(rig.state(2, 0), State::Blocked);
    rig.kill(1);
    assert_eq!(rig.state(2, 0), State::Skipped);
    assert_eq!(why(&rig, 2), FollowProblem::WorkerLost);
    rig.ok(1, 0);
    assert_eq!(rig.finished, [RunState::Failed]);

    // The worker is lost while it runs there: the attempt is lost, and no other worker may run it.
    let mut rig = two_and(follow(&[0])).announcing();
    rig.ok(1, 0);
    rig.ok(0, 0);
    assert_eq!(rig.ran_on(2, 0), Some(1));
    rig.kill(1);
    let lost = |record: &&Record| record.cause == Some(Cause::Attempt(FailureKind::Lost));
    assert_eq!(rig.records.iter().filter(lost).map(|record| record.attempt).max(), Some(1));
    assert_eq!((rig.state(2, 0), why(&rig, 2)), (State::Skipped, FollowProblem::WorkerLost));
    assert_eq!(rig.finished, [RunState::Failed]);
}

#[test]
fn what_waits_in_the_queue_of_a_followed_worker_is_skipped_with_it() {
    let followers = TaskPlan { width: 50.into(), ..follow(&[0]) };
    let told = after_on(Quantifier::Any, &[1], Outcomes::Failure);
    let mut rig = Rig::new(vec![TaskPlan::default(), followers, told]);
    rig.took = 1;
    let mut rig = rig.worker(1, 1).submit();
    rig.join(2, 1);
    rig.ok(0, 0);
    for index in 0..10 {
        rig.ok(1, index);
    }
    assert!(rig.workers[&WorkerId(1)].held.len() > 5, "short attempts are handed out ahead");
    rig.kill(1);
    let expected = (0..50).map(|index| if index < 10 { State::Succeeded } else { State::Skipped });
    assert_eq!(rig.states(1), expected.collect::<Vec<_>>());
    assert_eq!(rig.started(1), (0..11).collect::<Vec<_>>(), "none starts elsewhere");
    for index in 10..50 {
        let cause = rig.last_record(1, index).cause;
        assert!(matches!(cause, Some(Cause::Follow { why: FollowProblem::WorkerLost, .. })));
    }
    rig.ok(2, 0);
    assert_eq!(rig.finished, [RunState::Failed]);
}

#[test]
fn one_attempt_is_held_ahead_unless_something_more_urgent_may_come() {
    let held = |tasks: Vec<TaskPlan>, took: u64| {
        let mut rig = Rig::new(tasks);
        rig.took = took;
        let mut rig = rig.worker(1, 2).submit();
        rig.ok(0, 0);
        rig.workers[&WorkerId(1)].held.len()
    };
    assert_eq!(held(vec![array(20)], 20_000), 4);
    assert_eq!(held(vec![array(20)], 200_000), 2, "what takes long can wait for the scheduler");
    assert_eq!(held(vec![array(20), after(&[0])], 20_000), 4, "what follows is not more urgent");
    let urgent = with(after(&[0]), |conduct| conduct.priority = 5);
    assert_eq!(held(vec![array(20), urgent], 20_000), 2);
    let long = TaskPlan { weight: Micros(90_000_000), ..after(&[0]) };
    assert_eq!(held(vec![array(20), long.clone()], 20_000), 4);
    let (beside, follows) =
        (TaskPlan::default(), TaskPlan { clauses: after(&[1]).clauses, ..long });
    assert_eq!(held(vec![array(20), beside, follows], 20_000), 2, "a longer path lies beside it");
}

#[test]
fn follow_mixed_with_after() {
    let mut third = follow(&[0]);
    third.clauses.insert(0, clause(Quantifier::All, &[1], Outcomes::Success));
    let mut rig = two_and(third.clone());
    rig.ok(0, 0);
    assert_eq!(rig.state(2, 0), State::Blocked);
    rig.ok(1, 0);
    assert_eq!(rig.ran_on(2, 0), Some(1));
    let mut rig = two_and(third);
    rig.ok(0, 0);
    rig.fail(1, 0);
    assert!(matches!(rig.last_record(2, 0).cause, Some(Cause::After { clause: 0, .. })));
}

#[test]
fn target_dies() {
    let task = with(on_target("w1"), |conduct| conduct.start_within = Some(Micros::from_secs(5)));
    let mut rig = Rig::new(vec![on_target("w1"), task]).worker(1, 1).worker(2, 1).submit();
    assert_eq!(rig.state(1, 0), State::Ready);
    rig.kill(1);
    let none = Explanation::Ready(NotStarted::NoneSuits { workers: 1 });
    assert_eq!(rig.engine.explain(RUN, at(1, 0)), Some(none));
    rig.now = rig.engine.next_deadline().unwrap().0;
    rig.event(Event::Tick);
    assert_eq!(rig.state(1, 0), State::Failed);
    assert_eq!(rig.last_record(1, 0).cause, Some(Cause::NotStartedInTime));
    assert_eq!(rig.state(0, 0), State::Ready, "it waits as long as nothing bounds it");
}

#[test]
fn target_absent_joins() {
    let mut rig = Rig::new(vec![on_target("gpu")]).worker(1, 1).submit();
    assert_eq!(rig.state(0, 0), State::Ready);
    let labels = vec!["gpu".to_owned()];
    rig.join_offering(2, Offer { slots: 1, labels, ..Offer::default() });
    assert_eq!(rig.ran_on(0, 0), Some(2));
}

#[test]
fn one_instance_for_each_worker() {
    let each = each_worker();
    let mut rig = Rig::new(vec![each, after(&[0])]).submit();
    assert_eq!(rig.widths.len(), 0, "it waits for the first worker");
    rig.join(1, 1);
    rig.join(2, 1);
    assert_eq!(rig.states(0), [State::Leased], "workers that join later are none of its");
    rig.ok(0, 0);
    rig.ok(1, 0);
    let each = each_worker();
    let mut rig = Rig::new(vec![each]).worker(1, 2).worker(2, 1).worker(3, 1).submit();
    assert_eq!((rig.ran_on(0, 0), rig.ran_on(0, 1), rig.ran_on(0, 2)), (Some(1), Some(2), Some(3)));
    rig.drain(|_| false);
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn one_instance_for_each_worker_of_which_one_is_lost() {
    let busy = with(array(2), |conduct| conduct.priority = 1);
    let each = each_worker();
    let mut rig = Rig::new(vec![busy, each]).worker(1, 1).worker(2, 1).submit();
    assert_eq!(rig.states(1), [State::Ready, State::Ready]);
    rig.kill(2);
    assert_eq!(rig.states(1), [State::Ready, State::Skipped]);
    rig.drain(|_| false);
    assert_eq!(rig.states(1), [State::Succeeded, State::Skipped]);
    assert_eq!(rig.finished, [RunState::Failed]);
}

#[test]
fn always_on_cancel() {
    let ended = after_on(Quantifier::All, &[0, 1], Outcomes::Finish);
    let notify = with(ended, |conduct| conduct.always = true);
    let mut rig = Rig::new(vec![array(3), after(&[0]), notify]).worker(1, 2).submit();
    rig.cancel(CancelScope::Run);
    assert_eq!(rig.state(2, 0), State::Blocked);
    rig.finish(0, 0, Outcome::Failed(FailureKind::Cancelled));
    rig.finish(0, 1, Outcome::Failed(FailureKind::Cancelled));
    assert_eq!(rig.state(2, 0), State::Leased);
    rig.ok(2, 0);
    assert_eq!(rig.finished, [RunState::Cancelled]);
}

#[test]
fn only_some_failures_are_tried_again() {
    let retry =
        Retry { count: 3, on: vec![RetryOn::Exit(75), RetryOn::Timeout], ..Retry::default() };
    let task = with(TaskPlan::default(), |conduct| conduct.retry = retry);
    let mut rig = Rig::new(vec![task]).worker(1, 1).submit();
    rig.finish(0, 0, Outcome::Failed(FailureKind::Exit(75)));
    rig.finish(0, 0, Outcome::Failed(FailureKind::Timeout));
    rig.finish(0, 0, Outcome::Failed(FailureKind::Exit(1)));
    assert_eq!(rig.starts.len(), 3);
    assert_eq!(rig.state(0, 0), State::Failed);
}

#[test]
fn jitter_keeps_between_a_half_and_the_whole() {
    let retry = Retry { count: 20, delay: Micros::from_secs(4), jitter: true, ..Retry::default() };
    let plan = RunPlan {
        tasks: vec![with(TaskPlan::default(), |conduct| conduct.retry = retry)],
        seed: 7,
        ..RunPlan::default()
    };
    let mut rig = Rig::of(plan).worker(1, 1).submit();
    let mut waits = BTreeSet::new();
    for _ in 0..20 {
        rig.fail(0, 0);
        let wait = rig.engine.next_deadline().unwrap().0 - rig.now;
        assert!((2_000_000..=4_000_000).contains(&wait), "{wait}");
        waits.insert(wait);
        rig.now += wait;
        rig.event(Event::Tick);
    }
    assert!(waits.len() > 15, "they differ");
}

/// Runs a wide sweep on four workers and returns how many attempts each was given.
fn spread(scheme: Scheme) -> Vec<usize> {
    let mut rig = Rig::new(vec![array(400)]).scheme(scheme, 1);
    for id in 1..=4 {
        rig.join(id, 4);
    }
    let mut rig = rig.submit();
    rig.drain(|_| false);
    assert_eq!(rig.finished, [RunState::Succeeded]);
    (1..=4).map(|id| rig.starts.iter().filter(|(_, _, worker)| worker.0 == id).count()).collect()
}

#[test]
fn every_scheme_runs_everything_and_uses_all_workers() {
    for scheme in Scheme::ALL {
        let counts = spread(scheme);
        assert_eq!(counts.iter().sum::<usize>(), 400);
        assert!(counts.iter().all(|count| *count > 0), "{scheme:?}: {counts:?}");
        assert_eq!(Scheme::from_word(scheme.word()), Some(scheme));
    }
}

#[test]
fn least_load_and_lru_fill_idle_workers_evenly() {
    for scheme in [Scheme::LeastLoad, Scheme::Lru] {
        let rig = Rig::new(vec![array(8)]).scheme(scheme, 1);
        let rig = rig.worker(1, 4).worker(2, 4).worker(3, 4).worker(4, 4).submit();
        for (id, fake) in &rig.workers {
            assert_eq!(fake.held.len(), 2, "{scheme:?}: worker {id}");
        }
    }
}

#[test]
fn the_random_schemes_repeat_with_their_seed() {
    for scheme in [Scheme::PlainRandom, Scheme::TwoBin, Scheme::Weighted] {
        assert_eq!(spread(scheme), spread(scheme), "{scheme:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// `resources_never_oversubscribed`: cpus, memory and gpus at random.
    #[test]
    fn resources_never_oversubscribed(
        needs in prop::collection::vec((0..5u32, 0..2u64, 0..5u64), 1..40),
        choices in prop::collection::vec(any::<usize>(), 1..50),
        scheme in 0..5usize,
    ) {
        let task = |(cpus, gpu, memory): &(u32, u64, u64)| TaskPlan { conduct: Conduct {
            cpus: (*cpus).max(1),
            beside: *cpus == 0,
            memory: *memory,
            resources: vec![("gpu".into(), *gpu)], ..Conduct::default() }.into(),
            ..TaskPlan::default()
        };
        let tasks: Vec<TaskPlan> = needs.iter().map(task).collect();
        let mut rig = Rig::new(tasks.clone()).scheme(Scheme::ALL[scheme], 3).submit();
        for id in 1..=3 {
            let resources = vec![("gpu".to_owned(), 1)];
            let offer = Offer { slots: 4, memory: 8, resources, ..Offer::default() };
            rig.join_offering(id, offer);
       }
        let mut choices = choices.into_iter().cycle();
        while rig.finished.is_empty() {
            for fake in rig.workers.values() {
                let plans = || fake.held.values().map(|held| &tasks[held.instance.task.at()]);
                let running = fake.held.values().filter(|held| held.started);
                prop_assert!(running.map(|held| held.cpus).sum::<u32>() <= 4);
                prop_assert!(plans().map(|plan| plan.conduct.memory).sum::<u64>() <= 8);
                prop_assert!(plans().map(|plan| plan.conduct.resources[0].1).sum::<u64>() <= 1);
           }
            let running = rig.running();
            prop_assert!(!running.is_empty(), "all ends");
            let (worker, id, _) = running[choices.next().unwrap() % running.len()];
            rig.end(worker, id, Outcome::Succeeded);
       }
   }
}

#[test]
fn a_worker_lost_after_its_follower_ended_is_no_failure() {
    let mut rig = two_and(follow(&[0]));
    rig.ok(0, 0);
    rig.ok(2, 0);
    rig.kill(1);
    rig.ok(1, 0);
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn a_follower_that_waited_at_its_lost_worker_is_skipped() {
    let follower = TaskPlan { width: 8.into(), ..follow(&[0]) };
    let mut rig = Rig::new(vec![TaskPlan::default(), follower]);
    rig.took = 1;
    let mut rig = rig.worker(1, 1).submit();
    rig.ok(0, 0);
    rig.ok(1, 0);
    assert_eq!(rig.state(1, 7), State::Leased, "handed out ahead");
    rig.kill(1);
    assert_eq!(rig.states(1)[1..], [State::Skipped; 7]);
    let gone = Cause::Follow { clause: 0, root: at(0, 0), why: FollowProblem::WorkerLost };
    assert_eq!(rig.last_record(1, 7).cause, Some(gone));
    assert_eq!(rig.finished, [RunState::Failed]);
}

#[test]
fn what_is_for_one_worker_is_not_asked_back_for_another() {
    let each = with(each_worker(), |conduct| {
        conduct.cpus = 2;
        conduct.priority = -1;
    });
    let tasks = vec![with(on_target("w2"), |conduct| conduct.cpus = 2), each];
    let mut rig = Rig::new(tasks).worker(1, 2).worker(2, 3).submit();
    // Then nothing is ready, w1 idles, and w2 holds what waits for a second slot there.
    rig.ok(1, 0);
    rig.ok(0, 0);
    assert_eq!(rig.ran_on(1, 1), Some(2));
    rig.drain(|_| false);
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn fail_fast_goes_by_every_failure_that_counts() {
    let plan = |third: TaskPlan| RunPlan {
        tasks: vec![on_target("w1"), on_target("w2"), third, array(4)],
        fail_fast: true,
        ..RunPlan::default()
    };
    // An instance that cannot follow.
    let mut rig = Rig::of(plan(follow(&[0, 1]))).worker(1, 1).worker(2, 1).submit();
    rig.ok(0, 0);
    rig.ok(1, 0);
    assert_eq!(rig.states(3)[1..], [State::Cancelled; 3]);
    // An instance that a user cancels.
    let mut rig = Rig::of(plan(array(2))).worker(1, 1).worker(2, 1).submit();
    rig.cancel(CancelScope::Instance(at(2, 1)));
    assert_eq!(rig.states(3), [State::Cancelled; 4]);
    rig.drain(|_| true);
    assert_eq!(rig.finished, [RunState::Failed]);
}

#[test]
fn what_takes_no_slot_starts_where_all_are_busy() {
    let beside = |plan: TaskPlan| with(plan, |conduct| conduct.beside = true);
    let tasks = vec![array(4), beside(each_worker()), beside(on_target("w2"))];
    for scheme in Scheme::ALL {
        let mut rig = Rig::new(tasks.clone()).scheme(scheme, 1);
        rig = rig.worker(1, 1).worker(2, 1).submit();
        assert_eq!(rig.states(0)[2..], [State::Ready; 2], "{scheme:?}");
        assert_eq!(rig.states(1), [State::Leased; 2], "{scheme:?}");
        assert_eq!(rig.ran_on(2, 0), Some(2), "{scheme:?}");
        // The slots that are busy are so without it, and it holds nothing back.
        rig.ok(1, 0);
        assert_eq!(rig.states(0)[2..], [State::Ready; 2], "{scheme:?}");
        rig.ok(0, 0);
        assert_eq!(rig.states(0)[2], State::Leased, "{scheme:?}");
        rig.drain(|_| false);
        assert_eq!(rig.finished, [RunState::Succeeded]);
    }
}
