//! Runs that are resumed, case by case.

use dagrun_core::engine::{CancelScope, Cause, Event, Outcome, Reopening};
use dagrun_core::ids::{Micros, TaskId};
use dagrun_core::pipeline::{Outcomes, Quantifier, Retry};
use dagrun_core::status::{FailureKind, RunState, State};

use crate::rig::{RUN, Rig, after, after_on, array, at, with};

use State::{Backoff, Blocked, Cancelled, Failed, Leased, Ready, Skipped, Succeeded};

/// Kills the scheduler when all that it has written is on disk.
fn kill(rig: &mut Rig) {
    let last = *rig.journal.places().last().unwrap();
    rig.crash(last, |_| Some(0));
}

#[test]
fn what_ended_stays_and_what_ran_runs_again_under_another_number() {
    let mut rig = Rig::new(vec![array(4), after(&[0])]).worker(1, 2).submit();
    rig.ok(0, 0);
    rig.fail(0, 1);
    kill(&mut rig);
    assert_eq!(rig.states(0), [Succeeded, Failed, Leased, Leased]);
    assert_eq!(rig.states(1), [Skipped]);
    let numbers = rig.starts.iter().filter(|(instance, ..)| *instance == at(0, 2));
    assert_eq!(numbers.map(|(_, number, _)| *number).collect::<Vec<_>>(), [1, 2]);
    rig.drain(|_| false);
    assert_eq!(rig.finished, [RunState::Failed]);
}

#[test]
fn what_an_earlier_scheduler_gave_stays_untraced_whatever_the_next_attempts_do() {
    let mut rig = Rig::new(vec![array(1)]).worker(1, 1).submit();
    kill(&mut rig);
    assert_eq!(rig.engine.untraced(RUN, at(0, 0)), 1..2);
    // The second attempt is known to run, and is lost with its worker: the first may run all the same.
    rig.kill(1);
    rig.join(2, 1);
    assert_eq!(rig.started(0).len(), 3);
    assert_eq!(rig.engine.untraced(RUN, at(0, 0)), 1..2);
}

#[test]
fn what_an_interruption_cut_off_and_brought_about_runs_once_more() {
    let notify = with(after_on(Quantifier::All, &[0, 1], Outcomes::Finish), |c| c.always = true);
    let rescue = with(after_on(Quantifier::Any, &[0], Outcomes::Failure), |c| c.always = true);
    let mut rig = Rig::new(vec![array(1), after(&[0]), notify, rescue]).worker(1, 4).submit();
    rig.cancel(CancelScope::Interruption);
    rig.finish(0, 0, Outcome::Failed(FailureKind::Cancelled));
    rig.drain(|_| false);
    assert_eq!(rig.finished, [RunState::Interrupted]);
    assert_eq!((rig.states(2), rig.states(3)), (vec![Succeeded], vec![Succeeded]));
    kill(&mut rig);
    let all = (0..4).map(|task| rig.states(task)[0]).collect::<Vec<_>>();
    assert_eq!(all, [Leased, Blocked, Blocked, Blocked]);
    let past = rig.past.resumed.as_ref().unwrap();
    let why = past.reopened.iter().map(|it| (it.task.0, it.was, it.why));
    let mut why: Vec<_> = why.collect();
    why.sort_by_key(|(task, ..)| *task);
    let expected = [
        (0, Cancelled, Reopening::CutOff),
        (1, Cancelled, Reopening::CutOff),
        (2, Succeeded, Reopening::Consequence),
        (3, Succeeded, Reopening::Consequence),
    ];
    assert_eq!(why, expected);
    rig.drain(|_| false);
    assert_eq!(rig.finished, [RunState::Succeeded]);
    assert_eq!((rig.states(2), rig.states(3)), (vec![Succeeded], vec![Skipped]));
}

#[test]
fn a_success_that_crossed_an_interruption_stays() {
    let mut rig = Rig::new(vec![array(2), after(&[0])]).worker(1, 4).submit();
    rig.cancel(CancelScope::Interruption);
    rig.ok(0, 0);
    rig.finish(0, 1, Outcome::Failed(FailureKind::Cancelled));
    kill(&mut rig);
    assert_eq!(rig.states(0), [Succeeded, Leased]);
}

#[test]
fn failures_stay_counted_and_waits_go_on() {
    let delayed = Retry { count: 2, delay: Micros(1_000_000), ..Retry::default() };
    let tasks = vec![with(array(1), |conduct| conduct.retry = delayed)];
    let mut rig = Rig::new(tasks).worker(1, 1).submit();
    rig.fail(0, 0);
    let due = rig.engine.next_deadline().unwrap();
    kill(&mut rig);
    assert_eq!(rig.state(0, 0), Backoff);
    let ended = rig.journal.lines.iter().find_map(|(_, line)| match line {
        crate::journal::Line::Record(record) => Some(record.finished),
        _ => None,
    });
    assert_eq!(rig.engine.next_deadline(), ended.map(|at| at.plus(Micros(1_000_000))));
    assert!(rig.engine.next_deadline().unwrap() <= due);
    rig.wait();
    rig.fail(0, 0);
    rig.wait();
    rig.fail(0, 0);
    assert_eq!(rig.state(0, 0), Failed, "two retries, whenever they are");
}

#[test]
fn a_wait_that_was_over_meanwhile_is_over() {
    let delayed = Retry { count: 1, delay: Micros(1_000_000), ..Retry::default() };
    let tasks = vec![with(array(1), |conduct| conduct.retry = delayed)];
    let mut rig = Rig::new(tasks).worker(1, 1).submit();
    rig.fail(0, 0);
    rig.now += 5_000_000;
    kill(&mut rig);
    assert_eq!(rig.state(0, 0), Leased);
}

#[test]
fn a_kill_within_a_cancel_ends_cancelled() {
    let mut rig = Rig::new(vec![array(2), after(&[0])]).worker(1, 1).submit();
    rig.cancel(CancelScope::Run);
    assert!(rig.finished.is_empty());
    kill(&mut rig);
    assert_eq!(rig.states(0), [Cancelled, Cancelled]);
    assert_eq!(rig.finished, [RunState::Cancelled]);
    assert_eq!(rig.starts.len(), 1);
}

#[test]
fn a_cancelled_instance_stays_so_and_the_others_go_on() {
    let mut rig = Rig::new(vec![array(3)]).worker(1, 1).submit();
    rig.cancel(CancelScope::Instance(at(0, 0)));
    kill(&mut rig);
    assert_eq!(rig.states(0), [Cancelled, Leased, Ready]);
    rig.drain(|_| false);
    assert_eq!(rig.finished, [RunState::Failed]);
}

#[test]
fn fail_fast_ends_what_it_had_not_ended_yet() {
    let mut rig = Rig::new(vec![array(3)]).worker(1, 2);
    std::sync::Arc::make_mut(&mut rig.plan).fail_fast = true;
    let mut rig = rig.submit();
    rig.fail(0, 0);
    kill(&mut rig);
    assert_eq!(rig.states(0), [Failed, Cancelled, Cancelled]);
    assert_eq!(rig.finished, [RunState::Failed]);
}

#[test]
fn what_a_leaving_worker_ended_is_no_failure_after_a_kill_either() {
    let mut rig = Rig::new(vec![array(1)]).worker(1, 1).submit();
    rig.finish(0, 0, Outcome::Preempted);
    kill(&mut rig);
    assert_eq!(rig.starts.last().unwrap().1, 3, "a second one may have been made");
    rig.fail(0, 0);
    assert_eq!(rig.state(0, 0), Failed, "without retries");
    let past = rig.past.resumed.as_ref().unwrap();
    assert_eq!(past.tried.iter().map(|it| (it.failed, it.lost)).collect::<Vec<_>>(), [(0, 0)]);
}

#[test]
fn ids_of_attempts_are_those_of_the_start() {
    let mut rig = Rig::new(vec![array(1)]).worker(1, 1).submit();
    let before = rig.running()[0].1;
    kill(&mut rig);
    let after = rig.running()[0].1;
    assert_eq!((before.0 >> 40, after.0 >> 40), (0, 1));
    let cause = Cause::Reopened(Reopening::CutOff);
    assert!(rig.records.iter().all(|record| record.cause != Some(cause)), "the host writes those");
    rig.event(Event::Tick);
    assert_eq!(rig.engine.width(RUN, TaskId(0)), Some(1));
}
