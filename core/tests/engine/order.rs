//! Which of the tasks that could start comes first: what a run learns about their durations.

use dagrun_core::engine::{MapEdge, TaskPlan};
use dagrun_core::ids::{Micros, TaskId};
use dagrun_core::status::RunState;

use crate::rig::{Rig, array, with};

const SECOND: u64 = 1_000_000;

fn ends(rig: &mut Rig, task: u32, index: u32, took: u64) {
    rig.took = took;
    rig.ok(task, index);
}

fn map(upstream: u32, width: u32) -> TaskPlan {
    let edge = MapEdge { upstream: TaskId(upstream), factor: 1 };
    TaskPlan { map: Some(edge), ..array(width) }
}

/// At first one instance of each runs; then they compete for the slots.
fn one_at_a_time(width: u32) -> TaskPlan {
    with(array(width), |conduct| conduct.max_running = Some(1))
}

#[test]
fn a_long_task_goes_before_short_ones_once_it_was_seen() {
    let mut rig = Rig::new(vec![one_at_a_time(8), array(8)]).worker(1, 2).submit();
    ends(&mut rig, 0, 0, SECOND);
    assert_eq!(rig.started(0), [0, 1], "nothing is known of the other");
    ends(&mut rig, 1, 0, 10 * SECOND);
    ends(&mut rig, 0, 1, SECOND);
    ends(&mut rig, 1, 1, 10 * SECOND);
    assert_eq!((rig.started(0), rig.started(1)), (vec![0, 1], vec![0, 1, 2, 3]));
    rig.drain(|_| false);
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn what_leads_to_a_long_task_becomes_urgent_with_it() {
    let at_once = |plan: TaskPlan| with(plan, |conduct| conduct.priority = 1);
    let tasks = vec![one_at_a_time(6), array(6), at_once(map(0, 6)), at_once(map(1, 6))];
    let mut rig = Rig::new(tasks).worker(1, 2).submit();
    ends(&mut rig, 0, 0, SECOND);
    ends(&mut rig, 1, 0, SECOND);
    ends(&mut rig, 2, 0, SECOND);
    assert_eq!((rig.started(0), rig.started(1)), (vec![0, 1], vec![0]), "as long as all is alike");
    ends(&mut rig, 3, 0, 60 * SECOND);
    ends(&mut rig, 0, 1, SECOND);
    ends(&mut rig, 2, 1, SECOND);
    assert_eq!((rig.started(0), rig.started(1)), (vec![0, 1], vec![0, 1, 2]));
    rig.drain(|_| false);
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn a_known_weight_is_not_learned_anew() {
    let known = |plan: TaskPlan, seconds| TaskPlan { weight: Micros::from_secs(seconds), ..plan };
    let tasks = vec![known(one_at_a_time(8), 5), known(array(8), 1)];
    let mut rig = Rig::new(tasks).worker(1, 2).submit();
    for index in 0..4 {
        ends(&mut rig, 1, index, 60 * SECOND);
    }
    ends(&mut rig, 0, 0, SECOND);
    assert_eq!(rig.started(0), [0, 1], "it is as urgent as the plan says");
}
