//! Values that workers keep: released when no instance can consume them any more, and not before;
//! consumers are placed near them.

use dagrun_core::engine::{
    CancelScope, Consumed, GatherPlan, MapEdge, Outcome, Refusal, RunPlan, TaskPlan, ValueEdge,
};
use dagrun_core::ids::{TaskId, WorkerId};
use dagrun_core::pipeline::{Outcomes, Quantifier, Scatter, Split};
use dagrun_core::status::{RunState, State};

use crate::rig::{RUN, Rig, after, array, at, clause, late, with};

/// The edges along which values could be passed in a plan: maps, gathers, and clauses that wait for
/// the success of a single task.
pub(crate) fn value_edges(tasks: &[TaskPlan]) -> Vec<ValueEdge> {
    let mut edges = Vec::new();
    for (to, plan) in (0..).map(TaskId).zip(tasks) {
        if let Some(MapEdge { upstream: from, factor }) = plan.map {
            edges.push(ValueEdge { from, to, of: Consumed::Map(factor) });
        }
        let gathered = plan.gather.iter().flat_map(|gather| &gather.upstreams);
        edges.extend(gathered.map(|from| ValueEdge { from: *from, to, of: Consumed::Gathered }));
        let clauses = plan.clauses.iter().filter(|clause| {
            clause.quantifier == Quantifier::All && clause.on == Outcomes::Success
        });
        for from in clauses.flat_map(|clause| &clause.upstreams) {
            let upstream = &tasks[from.at()];
            if upstream.width == 1 && upstream.map.is_none() {
                edges.push(ValueEdge { from: *from, to, of: Consumed::Single });
            }
        }
    }
    edges.sort_unstable_by_key(|edge| (edge.from, edge.to, edge.of));
    edges.dedup();
    edges
}

fn rig(tasks: Vec<TaskPlan>) -> Rig {
    let values = value_edges(&tasks);
    let mut rig = Rig::of(RunPlan { tasks, values, ..RunPlan::default() });
    rig.keeps = Some(1_000);
    rig
}

fn map(upstream: u32, width: u32, factor: u32) -> TaskPlan {
    let map = Some(MapEdge { upstream: TaskId(upstream), factor });
    TaskPlan { map, ..array(width) }
}

fn gather(upstream: u32, groups: Option<&[u32]>) -> TaskPlan {
    let width = groups.map_or(1, |groups| groups.iter().max().unwrap() + 1);
    let gather = GatherPlan {
        upstreams: vec![TaskId(upstream)],
        groups: groups.map(Into::into),
        min_success: None,
    };
    TaskPlan { gather: Some(gather), ..array(width) }
}

fn kept(rig: &Rig) -> Vec<(u32, u32)> {
    rig.kept.keys().map(|instance| (instance.task.0, instance.index)).collect()
}

#[test]
fn a_mapped_value_is_released_with_the_last_instance_that_maps_it() {
    let mut rig = rig(vec![array(2), map(0, 4, 2)]).worker(1, 4).submit();
    rig.ok(0, 0);
    rig.ok(0, 1);
    assert_eq!(rig.engine.holder(RUN, at(0, 1)), Some(WorkerId(1)));
    rig.keeps = None;
    rig.ok(1, 2);
    rig.ok(1, 0);
    assert_eq!(kept(&rig), [(0, 0), (0, 1)]);
    rig.fail(1, 3);
    assert_eq!(kept(&rig), [(0, 0)]);
    rig.ok(1, 1);
    assert_eq!(kept(&rig), []);
}

#[test]
fn a_value_that_a_whole_array_is_given_waits_for_all_of_it() {
    let mut rig = rig(vec![TaskPlan::default(), TaskPlan { width: 3.into(), ..after(&[0]) }])
        .worker(1, 2)
        .submit();
    rig.ok(0, 0);
    rig.keeps = None;
    rig.ok(1, 0);
    rig.ok(1, 1);
    assert_eq!(kept(&rig), [(0, 0)]);
    rig.ok(1, 2);
    assert_eq!(kept(&rig), []);
}

#[test]
fn gathered_values_wait_for_the_gather_and_those_of_a_group_for_theirs() {
    let tasks = vec![array(4), gather(0, None), gather(0, Some(&[0, 1, 0, 1]))];
    let mut rig = rig(tasks).worker(1, 4).submit();
    (0..4).for_each(|index| rig.ok(0, index));
    rig.keeps = None;
    rig.ok(2, 0);
    assert_eq!(kept(&rig).len(), 4);
    rig.ok(1, 0);
    assert_eq!(kept(&rig), [(0, 1), (0, 3)]);
    rig.ok(2, 1);
    assert_eq!(kept(&rig), []);
}

#[test]
fn what_nobody_will_be_given_is_released_at_once() {
    // The second task can never run, as the third fails before the first succeeds.
    let waits = clause(Quantifier::All, &[0, 2], Outcomes::Success);
    let second = TaskPlan { clauses: vec![waits], ..TaskPlan::default() };
    let mut rig = rig(vec![TaskPlan::default(), second, TaskPlan::default()]).worker(1, 3).submit();
    rig.fail(2, 0);
    assert_eq!(rig.state(1, 0), State::Skipped);
    rig.ok(0, 0);
    assert_eq!((kept(&rig), rig.finished.len()), (vec![], 1));
}

#[test]
fn a_retry_is_given_the_value_again() {
    let retry = dagrun_core::pipeline::Retry { count: 1, ..Default::default() };
    let mut rig =
        rig(vec![TaskPlan::default(), with(after(&[0]), |conduct| conduct.retry = retry)]);
    rig = rig.worker(1, 1).submit();
    rig.ok(0, 0);
    rig.fail(1, 0);
    assert_eq!(kept(&rig), [(0, 0)]);
    rig.fail(1, 0);
    assert_eq!(kept(&rig), []);
}

#[test]
fn a_cancelled_run_releases_everything() {
    let mut rig = rig(vec![array(3), map(0, 3, 1), gather(1, None)]).worker(1, 2).submit();
    rig.ok(0, 0);
    rig.ok(0, 1);
    rig.cancel(CancelScope::Run);
    while let Some((worker, id, _)) = rig.running().first().copied() {
        rig.end(worker, id, Outcome::Succeeded);
    }
    assert_eq!((kept(&rig), rig.finished.len()), (vec![], 1));
}

#[test]
fn a_task_whose_width_is_not_known_yet_keeps_what_it_will_be_given() {
    let scatter = Scatter { from: TaskId(1), split: Split::Each, max_items: None };
    let clauses = vec![clause(Quantifier::All, &[0, 1], Outcomes::Success)];
    let scattered =
        TaskPlan { scatter: Some(scatter), clauses, implied: 1, ..late(TaskPlan::default()) };
    for items in [Some(2), Some(0), None] {
        let mut rig = rig(vec![TaskPlan::default(), TaskPlan::default(), scattered.clone()]);
        rig = rig.worker(1, 2).submit();
        rig.ok(0, 0);
        assert_eq!(kept(&rig), [(0, 0)]);
        rig.keeps = None;
        rig.captures(1, 0, items);
        if items == Some(2) {
            rig.ok(2, 1);
            assert_eq!(kept(&rig), [(0, 0)]);
            rig.ok(2, 0);
        }
        assert_eq!((kept(&rig), rig.finished.len()), (vec![], 1));
    }
}

/// The numbers of the attempts of an instance that were started.
fn numbers(rig: &Rig, task: u32, index: u32) -> Vec<u32> {
    let of = rig.starts.iter().filter(|(instance, ..)| *instance == at(task, index));
    of.map(|(_, number, _)| *number).collect()
}

/// The task, after another one.
fn behind(task: TaskPlan, upstream: u32) -> TaskPlan {
    TaskPlan { clauses: after(&[upstream]).clauses, ..task }
}

/// Two instances, on a worker each, and what maps them waits for a third.
fn halfway() -> Rig {
    let tasks = vec![array(2), behind(map(0, 2, 1), 2), array(1)];
    let mut rig = rig(tasks).worker(1, 1).worker(2, 2).submit();
    rig.ok(0, 0);
    rig.ok(0, 1);
    rig
}

#[test]
fn a_value_that_died_with_its_worker_is_made_again() {
    let mut rig = halfway();
    let holder = rig.engine.holder(RUN, at(0, 0)).unwrap();
    let other = WorkerId(3 - holder.0);
    assert_eq!(rig.engine.holder(RUN, at(0, 1)), Some(other));
    rig.kill(holder.0);
    assert_eq!(rig.remade.iter().copied().collect::<Vec<_>>(), [at(0, 0)]);
    assert_eq!(numbers(&rig, 0, 0), [1, 2], "under a new number");
    // What waited for the third does not begin without the value, and costs no attempt.
    rig.ok(2, 0);
    assert_eq!(rig.state(1, 0), State::Backoff);
    rig.ok(1, 1);
    rig.ok(0, 0);
    assert_eq!(rig.engine.holder(RUN, at(0, 0)), Some(other));
    rig.ok(1, 0);
    assert_eq!(numbers(&rig, 1, 0), [1]);
    assert_eq!((numbers(&rig, 0, 1), numbers(&rig, 2, 0)), (vec![1], vec![1]));
    assert_eq!((kept(&rig), &rig.finished[..]), (vec![], &[RunState::Succeeded][..]));
}

#[test]
fn what_nobody_waits_for_is_not_made_again() {
    let mut rig = rig(vec![array(1), map(0, 1, 1), array(1)]).worker(1, 1).worker(2, 2).submit();
    rig.ok(0, 0);
    let holder = rig.engine.holder(RUN, at(0, 0)).unwrap();
    // It may have the value already.
    assert_eq!(rig.state(1, 0), State::Leased);
    if rig.ran_on(1, 0) == Some(holder.0) {
        return;
    }
    rig.kill(holder.0);
    assert_eq!(rig.remade.len(), 0);
}

#[test]
fn what_a_lost_value_was_made_of_is_made_again_too() {
    // A chain of values, the last of which is gathered together with another.
    let last = behind(gather(2, None), 3);
    let tasks = vec![array(2), map(0, 2, 1), map(1, 2, 1), array(1), last];
    let mut rig = rig(tasks).worker(1, 2).worker(2, 1).submit();
    for task in 0..3 {
        rig.ok(task, 0);
        rig.ok(task, 1);
    }
    assert_eq!(kept(&rig), [(2, 0), (2, 1)], "the others have been released");
    rig.ok(3, 0);
    let one = rig.engine.holder(RUN, at(2, 0)).unwrap();
    if rig.state(4, 0) == State::Leased {
        let (worker, id, _) = rig.running()[0];
        rig.refuse(worker, id, Refusal::Value(at(2, 0)));
    }
    rig.kill(one.0);
    rig.drain(|_| false);
    if rig.state(4, 0) == State::Backoff {
        rig.wait();
        rig.drain(|_| false);
    }
    assert!(numbers(&rig, 0, 0).len() == 2 && numbers(&rig, 1, 0).len() == 2, "{:?}", rig.starts);
    assert_eq!((kept(&rig), &rig.finished[..]), (vec![], &[RunState::Succeeded][..]));
}

#[test]
fn a_worker_that_cannot_get_a_value_says_so_and_nothing_is_blamed() {
    let mut rig = rig(vec![array(1), map(0, 1, 1)]).worker(1, 1).worker(2, 1).submit();
    rig.ok(0, 0);
    let holder = rig.engine.holder(RUN, at(0, 0)).unwrap();
    let refuse = |rig: &mut Rig| {
        let (worker, id, held) = rig.running()[0];
        assert_eq!((held.instance, held.number), (at(1, 0), 1));
        rig.refuse(worker, id, Refusal::Value(at(0, 0)));
    };
    // Its worker is there: it is tried again after a while.
    refuse(&mut rig);
    assert_eq!((rig.state(1, 0), rig.remade.len()), (State::Backoff, 0));
    rig.wait();
    assert_eq!(rig.state(1, 0), State::Leased);
    rig.kill(holder.0);
    if rig.state(1, 0) == State::Leased {
        refuse(&mut rig);
    }
    assert_eq!(numbers(&rig, 0, 0), [1, 2]);
    rig.ok(0, 0);
    rig.ok(1, 0);
    assert_eq!(&rig.finished[..], [RunState::Succeeded]);
}

#[test]
fn what_consumes_a_value_that_cannot_be_made_again_is_skipped() {
    let mut rig = halfway();
    let holder = rig.engine.holder(RUN, at(0, 0)).unwrap();
    rig.kill(holder.0);
    rig.fail(0, 0);
    assert_eq!((rig.state(0, 0), rig.state(1, 0)), (State::Failed, State::Skipped));
    rig.ok(2, 0);
    rig.ok(1, 1);
    assert_eq!((kept(&rig), &rig.finished[..]), (vec![], &[RunState::Failed][..]));
}

#[test]
fn a_run_is_cancelled_while_a_value_is_made_again() {
    let mut rig = halfway();
    let holder = rig.engine.holder(RUN, at(0, 0)).unwrap();
    rig.kill(holder.0);
    rig.ok(2, 0);
    rig.cancel(CancelScope::Run);
    rig.drain(|_| false);
    assert_eq!((kept(&rig), &rig.finished[..]), (vec![], &[RunState::Cancelled][..]));
}

#[test]
fn work_goes_where_most_of_its_input_is() {
    // Upstreams: one short and one long value on different workers; the consumer of both is placed
    // with the long one, although the other worker is idle as well.
    let both = after(&[0, 1]);
    for long in [0, 1] {
        let mut rig = rig(vec![TaskPlan::default(), TaskPlan::default(), both.clone()]);
        rig = rig.worker(1, 1).worker(2, 1).submit();
        rig.keeps = Some(70_000);
        rig.ok(1 - long, 0);
        rig.keeps = Some(90_000);
        rig.ok(long, 0);
        assert_ne!(rig.ran_on(0, 0), rig.ran_on(1, 0));
        assert_eq!(rig.ran_on(2, 0), rig.ran_on(long, 0));
    }
}

#[test]
fn work_does_not_wait_for_the_worker_that_has_its_input() {
    let mut rig = rig(vec![array(1), array(2), after(&[0])]).worker(1, 1).submit();
    rig.ok(0, 0);
    // Its worker has begun with the other task.
    assert_eq!(rig.started(1), [0]);
    rig.join(2, 1);
    assert_eq!(rig.running().len(), 2);
    rig.join(3, 1);
    assert_eq!(rig.ran_on(2, 0), Some(3));
}

#[test]
fn maps_stay_with_their_values() {
    let mut rig = rig(vec![array(8), map(0, 8, 1)]).worker(1, 4).worker(2, 4).submit();
    (0..8).for_each(|index| rig.ok(0, index));
    for index in 0..8 {
        assert_eq!(rig.ran_on(1, index), rig.ran_on(0, index));
    }
}
