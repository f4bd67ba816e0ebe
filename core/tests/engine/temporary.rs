//! Temporary outputs: who must be done before they are removed, and that they are removed once.

use std::sync::Arc;

use dagrun_core::engine::{Consumed, GatherPlan, MapEdge, RunPlan, TaskPlan, Temporary, User};
use dagrun_core::ids::{InstanceId, TaskId};
use dagrun_core::status::{RunState, State};

use crate::rig::{Rig, after, array, at, with};

fn user(task: u32, of: Consumed, data: bool) -> User {
    User { task: TaskId(task), of, data }
}

fn rig(tasks: Vec<TaskPlan>, users: Vec<User>) -> Rig {
    let temporary = vec![Temporary { task: TaskId(0), users }];
    Rig::of(RunPlan { tasks, temporary, ..RunPlan::default() }).worker(1, 2).submit()
}

fn map(width: u32, factor: u32) -> TaskPlan {
    let map = Some(MapEdge { upstream: TaskId(0), factor });
    TaskPlan { width: width.into(), map, ..TaskPlan::default() }
}

fn all(width: u32) -> Vec<InstanceId> {
    (0..width).map(|index| at(0, index)).collect()
}

#[test]
fn each_is_removed_with_the_last_of_those_that_map_it() {
    let tasks = vec![array(3), map(6, 2)];
    let mut rig = rig(tasks, vec![user(1, Consumed::Map(2), true)]);
    rig.ok(0, 0);
    rig.ok(0, 1);
    rig.ok(0, 2);
    rig.ok(1, 1);
    assert_eq!(rig.removed, []);
    rig.ok(1, 0);
    assert_eq!(rig.removed, [at(0, 0)]);
    rig.drain(|_| false);
    rig.removed.sort_unstable();
    assert_eq!(rig.removed, all(3));
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn what_may_be_retried_keeps_what_it_was_given() {
    let tasks = vec![array(2), map(2, 1)];
    let mut rig = rig(tasks, vec![user(1, Consumed::Map(1), true)]);
    rig.drain(|instance| instance == at(1, 1));
    assert_eq!((rig.removed.as_slice(), rig.state(1, 1)), (&[at(0, 0)][..], State::Failed));
    assert_eq!(rig.finished, [RunState::Failed]);
}

#[test]
fn the_end_of_a_run_that_succeeded_removes_the_rest() {
    let tasks = vec![array(2), with(map(2, 1), |conduct| conduct.allow_failure = true)];
    let mut rig = rig(tasks, vec![user(1, Consumed::Map(1), true)]);
    rig.drain(|instance| instance == at(1, 1));
    assert_eq!(rig.removed, all(2));
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn what_nobody_uses_is_removed_at_once() {
    let mut rig = rig(vec![array(2), after(&[0])], vec![]);
    rig.ok(0, 1);
    assert_eq!(rig.removed, [at(0, 1)]);
}

#[test]
fn what_is_ordered_after_must_have_ended_and_may_have_failed() {
    let mut rig = rig(vec![array(2), after(&[0])], vec![user(1, Consumed::Single, false)]);
    rig.ok(0, 0);
    rig.ok(0, 1);
    assert_eq!(rig.removed, []);
    rig.fail(1, 0);
    assert_eq!(rig.removed, all(2));
}

#[test]
fn groups_are_removed_as_they_are_gathered() {
    let groups: Option<Arc<[u32]>> = Some(vec![0, 1, 0, 1].into());
    let gather = GatherPlan { upstreams: vec![TaskId(0)], groups, min_success: None };
    let gathers = TaskPlan { width: 2.into(), gather: Some(gather), ..TaskPlan::default() };
    let both = vec![user(1, Consumed::Gathered, true), user(2, Consumed::Single, false)];
    for (users, early) in [(both[..1].to_vec(), true), (both, false)] {
        let mut rig = rig(vec![array(4), gathers.clone(), after(&[0, 1])], users);
        (0..4).for_each(|index| rig.ok(0, index));
        rig.ok(1, 1);
        let group = [at(0, 1), at(0, 3)];
        assert_eq!(rig.removed, if early { &group[..] } else { &[] });
        rig.drain(|_| false);
        rig.removed.sort_unstable();
        assert_eq!(rig.removed, all(4));
    }
}
