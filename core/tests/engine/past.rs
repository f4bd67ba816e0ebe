//! Runs that take over instances that succeeded in an earlier run.

use dagrun_core::engine::{
    Cause, Done, Event, Explanation, FollowProblem, GatherPlan, MapEdge, Past, RunPlan, TaskPlan,
};
use dagrun_core::ids::{TaskId, WorkerId};
use dagrun_core::pipeline::{MinSuccess, Outcomes, Quantifier, Scatter, Split};
use dagrun_core::status::{RunState, State};

use crate::rig::{RUN, Rig, after, after_on, array, at, clause, each_worker, late};

use State::{Blocked, Cancelled, Leased, Skipped, Succeeded};

fn done(task: u32, first_index: u32, count: u32) -> Done {
    Done { task: TaskId(task), first_index, count, worker: None }
}

fn past(done: Vec<Done>) -> Past {
    Past { done, ..Past::default() }
}

fn map(upstream: u32, width: u32) -> TaskPlan {
    let edge = MapEdge { upstream: TaskId(upstream), factor: 1 };
    TaskPlan { map: Some(edge), ..array(width) }
}

fn scatter(from: u32) -> TaskPlan {
    let scatter = Scatter { from: TaskId(from), split: Split::Each, max_items: None };
    late(TaskPlan { scatter: Some(scatter), implied: 1, ..after(&[from]) })
}

fn gather(upstream: u32, groups: Option<&[u32]>, min_success: Option<MinSuccess>) -> TaskPlan {
    let width = groups.map_or(1, |groups| groups.iter().max().map_or(0, |most| most + 1));
    let groups = groups.map(Into::into);
    let gather = GatherPlan { upstreams: vec![TaskId(upstream)], groups, min_success };
    TaskPlan { gather: Some(gather), ..array(width) }
}

fn follow(upstreams: &[u32], quantifier: Quantifier) -> TaskPlan {
    let clauses = vec![clause(quantifier, upstreams, Outcomes::Success)];
    TaskPlan { clauses, follows: 1, ..TaskPlan::default() }
}

#[test]
fn what_is_done_is_never_handed_out_and_the_rest_runs() {
    let tasks = vec![array(5), map(0, 5), after(&[1])];
    let past = past(vec![done(0, 0, 2), done(0, 3, 2), done(1, 0, 1)]);
    let mut rig = Rig::new(tasks).past(past).worker(1, 8).submit();
    assert_eq!(rig.states(0), [Succeeded, Succeeded, Leased, Succeeded, Succeeded]);
    assert_eq!(rig.states(1), [Succeeded, Leased, Blocked, Leased, Leased]);
    rig.drain(|_| false);
    assert_eq!((rig.started(0), rig.started(1)), (vec![2], vec![1, 3, 4, 2]));
    assert_eq!(rig.finished, [RunState::Succeeded]);
    let explained = rig.engine.explain(RUN, at(0, 0));
    assert_eq!(explained, Some(Explanation::Ended(Succeeded)));
}

#[test]
fn a_run_of_which_all_is_done_ends_at_once() {
    let past = past(vec![done(0, 0, 3), done(1, 0, 1)]);
    let rig = Rig::new(vec![array(3), after(&[0])]).past(past).submit();
    assert_eq!(rig.finished, [RunState::Succeeded]);
    assert!(rig.records.is_empty() && rig.starts.is_empty());
}

#[test]
fn a_scatter_that_was_begun_goes_on() {
    let tasks = vec![TaskPlan::default(), scatter(0), late(map(1, 1)), gather(2, None, None)];
    let past = Past {
        done: vec![done(0, 0, 1), done(1, 0, 1), done(1, 2, 1), done(2, 0, 1)],
        widths: vec![(TaskId(1), 3), (TaskId(2), 3)],
        items: vec![(TaskId(0), 3)],
        ..Past::default()
    };
    let mut rig = Rig::new(tasks).past(past).worker(1, 8).submit();
    assert_eq!((rig.widths[&TaskId(1)], rig.widths[&TaskId(2)]), (3, 3));
    assert_eq!(rig.states(1), [Succeeded, Leased, Succeeded]);
    assert_eq!(rig.states(2), [Succeeded, Blocked, Leased]);
    rig.drain(|_| false);
    assert_eq!((rig.started(1), rig.started(2), rig.started(3)), (vec![1], vec![2, 1], vec![0]));
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn a_scatter_of_which_nothing_is_done_counts_what_its_source_captured() {
    // Two of three arrays exist, with 4 elements together; the third one has 1.
    let past = Past { done: vec![done(0, 0, 2)], items: vec![(TaskId(0), 4)], ..Past::default() };
    let mut rig = Rig::new(vec![array(3), scatter(0)]).past(past).worker(1, 1).submit();
    assert!(rig.widths.is_empty());
    rig.captures(0, 2, Some(1));
    assert_eq!(rig.widths[&TaskId(1)], 5);
    rig.drain(|_| false);
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn groups_and_tolerances_count_what_is_done() {
    let some = Some(MinSuccess::Count(2));
    let tasks = vec![array(4), gather(0, Some(&[0, 1, 0, 1]), None), gather(0, None, some)];
    let past = past(vec![done(0, 0, 1), done(0, 2, 1)]);
    let mut rig = Rig::new(tasks).past(past).worker(1, 8).submit();
    assert_eq!(rig.states(1), [Leased, Blocked]);
    rig.fail(0, 1);
    rig.fail(0, 3);
    assert_eq!(rig.states(1), [Leased, Skipped]);
    assert_eq!(rig.states(2), [Leased]);
    rig.drain(|_| false);
    assert_eq!(rig.finished, [RunState::Failed]);
}

#[test]
fn any_and_failure_clauses_see_what_is_done() {
    let tasks = vec![
        array(2),
        after_on(Quantifier::Any, &[0], Outcomes::Success),
        after_on(Quantifier::All, &[0], Outcomes::Failure),
        after_on(Quantifier::Any, &[0], Outcomes::Failure),
    ];
    let past = past(vec![done(0, 1, 1)]);
    let mut rig = Rig::new(tasks).past(past).worker(1, 1).submit();
    assert_eq!((rig.state(2, 0), rig.state(3, 0)), (Skipped, Blocked));
    assert_eq!(rig.last_record(2, 0).cause, Some(Cause::After { clause: 0, root: at(0, 1) }));
    rig.drain(|_| false);
    assert_eq!((rig.state(1, 0), rig.state(3, 0)), (Succeeded, Skipped));
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn what_is_done_stays_whatever_becomes_of_its_upstreams() {
    // A reaction to a failure that does not come again, and one to a success that does not.
    let reaction = after_on(Quantifier::Any, &[0], Outcomes::Failure);
    let tasks = vec![array(1), reaction, array(1), after(&[2])];
    let past = past(vec![done(1, 0, 1), done(3, 0, 1)]);
    let mut rig = Rig::new(tasks).past(past).worker(1, 2).submit();
    rig.ok(0, 0);
    rig.fail(2, 0);
    assert_eq!((rig.state(1, 0), rig.state(3, 0)), (Succeeded, Succeeded));
    assert_eq!(rig.finished, [RunState::Failed]);
}

#[test]
fn what_is_done_is_followed_where_it_ran() {
    for quantifier in [Quantifier::All, Quantifier::Any] {
        let upstream = Done { worker: Some(WorkerId(2)), ..done(0, 0, 1) };
        let tasks = vec![TaskPlan::default(), follow(&[0], quantifier)];
        let rig = Rig::new(tasks).past(past(vec![upstream]));
        let mut rig = rig.worker(1, 1).worker(2, 1).submit();
        assert_eq!(rig.ran_on(1, 0), Some(2));
        rig.drain(|_| false);
        assert_eq!(rig.finished, [RunState::Succeeded]);
    }
}

#[test]
fn what_is_done_on_a_worker_that_is_gone_cannot_be_followed() {
    for quantifier in [Quantifier::All, Quantifier::Any] {
        let upstream = Done { worker: Some(WorkerId(0)), ..done(0, 0, 1) };
        let tasks = vec![TaskPlan::default(), follow(&[0], quantifier)];
        let rig = Rig::new(tasks).past(past(vec![upstream])).worker(1, 1).submit();
        let why = FollowProblem::WorkerLost;
        let cause = Cause::Follow { clause: 0, root: at(0, 0), why };
        assert_eq!(rig.last_record(1, 0).cause, Some(cause));
        assert_eq!(rig.finished, [RunState::Failed]);
    }
}

#[test]
fn a_past_that_makes_no_sense_breaks_nothing() {
    let twice =
        vec![done(0, 0, 2), done(0, 1, 5), done(0, u32::MAX, 9), done(7, 0, 1), done(1, 0, 3)];
    let widths = vec![(TaskId(9), 4), (TaskId(0), 9)];
    let past = Past { done: twice, widths, items: vec![(TaskId(8), 1)], ..Past::default() };
    let mut rig = Rig::new(vec![array(3), scatter(0)]).past(past).worker(1, 1).submit();
    assert_eq!(rig.finished, [RunState::Succeeded]);
    rig.event(Event::Tick);
}

#[test]
fn what_may_not_be_the_same_instances_is_not_taken_over() {
    let each = each_worker();
    let tasks =
        vec![array(2), scatter(0), late(map(1, 1)), each, late(map(3, 1)), gather(2, None, None)];
    let plan = RunPlan { tasks, ..RunPlan::default() };
    let widths = [2, 3, 3, 2, 2, 1];
    let unsettled = |done: &[Done]| -> Vec<u32> {
        Past::unsettled(&plan, &widths, done).into_iter().map(|task| task.0).collect()
    };
    assert_eq!(unsettled(&[done(0, 0, 2), done(1, 0, 1), done(3, 0, 2)]), [0; 0]);
    assert_eq!(unsettled(&[done(0, 0, 1), done(1, 0, 3), done(3, 0, 2)]), [1, 2]);
    assert_eq!(unsettled(&[done(0, 0, 2), done(3, 1, 1), done(4, 0, 2)]), [3, 4]);
}

#[test]
fn what_was_not_selected_is_cancelled_and_the_rest_of_the_run_goes_on() {
    let tasks = vec![array(4), map(0, 4), after(&[1])];
    let left = vec![(TaskId(0), 2..3), (TaskId(1), 2..9), (TaskId(7), 0..1)];
    let past = Past { left, ..past(vec![done(0, 0, 1), done(1, 0, 1)]) };
    let mut rig = Rig::new(tasks).past(past).worker(1, 8).submit();
    assert_eq!(rig.states(0), [Succeeded, Leased, Cancelled, Leased]);
    assert_eq!(rig.states(1), [Succeeded, Blocked, Cancelled, Cancelled]);
    assert_eq!(rig.states(2), [Skipped]);
    let causes = rig.records.iter().filter(|record| record.state == Cancelled);
    assert!(causes.clone().count() >= 2);
    assert!(causes.clone().all(|record| record.cause == Some(Cause::NotSelected)));
    rig.drain(|_| false);
    assert_eq!(rig.started(0), [1, 3]);
    assert_eq!(rig.started(1), [1]);
    assert_eq!(rig.finished, [RunState::Failed]);
}
