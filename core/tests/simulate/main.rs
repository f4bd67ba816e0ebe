//! The simulator: its predictions for small and large graphs, and how good its schedules are.

mod quality;
mod schemes;

use std::sync::Arc;

use dagrun_core::engine::{GatherPlan, MapEdge, RunPlan, Scheme, TaskPlan, Width};
use dagrun_core::ids::{InstanceId, Micros, TaskId};
use dagrun_core::pipeline::{Clause, Conduct, Outcomes, Quantifier, Scatter, Split, Targets};
use dagrun_core::simulate::{
    Cluster, Prediction, Ran, SimulateError, simulate, simulate_with, with_widths,
};

const SECOND: u64 = 1_000_000;

pub(crate) fn plan(tasks: Vec<TaskPlan>) -> RunPlan {
    RunPlan { tasks, ..RunPlan::default() }
}

pub(crate) fn array(width: u32) -> TaskPlan {
    TaskPlan { width: width.into(), ..TaskPlan::default() }
}

pub(crate) fn cluster(workers: u32, cpus: u32) -> Cluster {
    Cluster { workers, cpus, ..Cluster::default() }
}

/// The task with other options.
fn with(mut task: TaskPlan, change: impl FnOnce(&mut Conduct)) -> TaskPlan {
    change(Arc::make_mut(&mut task.conduct));
    task
}

/// The task with a width that is known only during the run.
fn late(task: TaskPlan) -> TaskPlan {
    TaskPlan { width: Width::Late { each: 1 }, ..task }
}

fn map(upstream: u32, factor: u32, width: u32) -> TaskPlan {
    TaskPlan { map: Some(MapEdge { upstream: TaskId(upstream), factor }), ..array(width) }
}

pub(crate) fn after(upstreams: &[u32]) -> TaskPlan {
    after_on(Quantifier::All, upstreams, Outcomes::Success)
}

fn after_on(quantifier: Quantifier, upstreams: &[u32], on: Outcomes) -> TaskPlan {
    let upstreams = upstreams.iter().map(|task| TaskId(*task)).collect();
    TaskPlan { clauses: vec![Clause { upstreams, quantifier, on }], ..TaskPlan::default() }
}

/// Whole seconds by task.
fn seconds(by_task: &[u64]) -> impl Fn(InstanceId) -> Micros {
    move |instance| Micros(by_task[instance.task.at()] * SECOND)
}

fn predict(tasks: Vec<TaskPlan>, workers: u32, cpus: u32, by_task: &[u64]) -> Prediction {
    simulate(&plan(tasks), cluster(workers, cpus), &seconds(by_task)).unwrap()
}

fn path(prediction: &Prediction) -> Vec<(u32, u32)> {
    prediction.path.iter().map(|instance| (instance.task.0, instance.index)).collect()
}

#[test]
fn a_chain_takes_the_sum_however_many_slots() {
    let prediction = predict(vec![array(1), after(&[0]), after(&[1])], 4, 4, &[1, 2, 3]);
    assert_eq!(prediction.makespan, Micros(6 * SECOND));
    assert_eq!(prediction.critical_path, Micros(6 * SECOND));
    assert_eq!(path(&prediction), [(0, 0), (1, 0), (2, 0)]);
    assert_eq!(prediction.work, Micros(6 * SECOND));
    assert_eq!(prediction.slots, 16);
    assert!((prediction.utilisation - 1.0 / 16.0).abs() < 1e-9);
    assert_eq!(prediction.scheme, Scheme::LeastLoad);
}

#[test]
fn a_sweep_fills_all_slots() {
    let prediction = predict(vec![array(10)], 2, 2, &[3]);
    assert_eq!(prediction.makespan, Micros(9 * SECOND));
    assert_eq!(prediction.critical_path, Micros(3 * SECOND));
    assert!((prediction.utilisation - 30.0 / 36.0).abs() < 1e-9);
}

#[test]
fn a_map_waits_for_its_element_and_a_gather_for_all() {
    // a[0] takes 1 s, a[1] 5 s; b maps a with two instances each; c gathers b.
    let tasks = vec![array(2), map(0, 2, 4), after(&[1])];
    let durations = |instance: InstanceId| {
        Micros(SECOND * if instance.task.0 == 0 { 1 + 4 * u64::from(instance.index) } else { 1 })
    };
    let mut ran: Vec<Ran> = Vec::new();
    let cluster = cluster(1, 8);
    let prediction = simulate_with(&plan(tasks), cluster, &durations, &mut |one| ran.push(one));
    let prediction = prediction.unwrap();
    assert_eq!(prediction.makespan, Micros(7 * SECOND));
    assert_eq!(path(&prediction), [(0, 1), (1, 2), (2, 0)]);
    assert_eq!(prediction.instances, 7);
    let of = |task, index| {
        let instance = InstanceId { task: TaskId(task), index };
        *ran.iter().find(|ran| ran.instance == instance).unwrap()
    };
    assert_eq!(of(1, 1).started, Micros(SECOND));
    assert_eq!(of(1, 3).started, Micros(5 * SECOND));
    assert_eq!(of(2, 0).started, Micros(6 * SECOND));
    assert_eq!(of(2, 0).finished, Micros(7 * SECOND));
}

#[test]
fn any_waits_for_the_first_and_failure_is_skipped() {
    let tasks = vec![
        array(1),
        array(1),
        after_on(Quantifier::Any, &[0, 1], Outcomes::Success),
        after_on(Quantifier::Any, &[0], Outcomes::Failure),
        after_on(Quantifier::All, &[3], Outcomes::Finish),
        after_on(Quantifier::All, &[3], Outcomes::Success),
    ];
    let prediction = predict(tasks, 1, 8, &[2, 9, 1, 50, 4, 50]);
    assert_eq!(prediction.makespan, Micros(9 * SECOND));
    assert_eq!(prediction.critical_path, Micros(9 * SECOND));
    assert_eq!(prediction.instances, 4);
    assert_eq!(prediction.work, Micros(16 * SECOND));
    assert_eq!(path(&prediction), [(1, 0)]);
}

#[test]
fn what_follows_a_skipped_task_has_its_path_through_what_decided_that() {
    let tasks = vec![
        array(1),
        after_on(Quantifier::All, &[0], Outcomes::Failure),
        map(1, 1, 1),
        after_on(Quantifier::All, &[2], Outcomes::Finish),
    ];
    let prediction = predict(tasks, 1, 1, &[2, 50, 50, 4]);
    assert_eq!(prediction.makespan, Micros(6 * SECOND));
    assert_eq!(prediction.critical_path, Micros(6 * SECOND));
    assert_eq!(path(&prediction), [(0, 0), (3, 0)]);
}

#[test]
fn the_longer_remaining_path_goes_first() {
    // Two slots; 0 and 1 are short and have no downstream tasks, 3 waits for 2.
    let tasks = vec![array(1), array(1), array(1), after(&[2])];
    let prediction = predict(tasks, 1, 2, &[4, 4, 2, 6]);
    assert_eq!(prediction.makespan, Micros(8 * SECOND));
}

#[test]
fn work_counts_the_slots_of_each_attempt() {
    let wide = with(array(3), |conduct| conduct.cpus = 2);
    let prediction = predict(vec![wide], 1, 3, &[1]);
    assert_eq!(prediction.makespan, Micros(3 * SECOND));
    assert_eq!(prediction.work, Micros(6 * SECOND));
    assert!((prediction.utilisation - 6.0 / 9.0).abs() < 1e-9);
}

#[test]
fn max_running_is_kept() {
    let one_by_one = with(array(4), |conduct| conduct.max_running = Some(1));
    assert_eq!(predict(vec![one_by_one], 2, 2, &[1]).makespan, Micros(4 * SECOND));
}

#[test]
fn what_takes_no_time_ends() {
    let prediction = predict(vec![array(100), after(&[0])], 2, 2, &[0, 0]);
    assert_eq!(prediction.makespan, Micros(0));
    assert_eq!(prediction.instances, 101);
    assert!(prediction.utilisation.abs() < 1e-9);
}

#[test]
fn an_instance_that_fits_nowhere_is_an_error() {
    let tasks = plan(vec![array(1), with(array(1), |conduct| conduct.cpus = 5)]);
    let result = simulate(&tasks, cluster(9, 4), &seconds(&[1, 1]));
    assert_eq!(result, Err(SimulateError::TooLarge { task: TaskId(1), needs: 5, has: 4 }));
    let result = simulate(&tasks, cluster(0, 4), &seconds(&[1, 1]));
    assert_eq!(result, Err(SimulateError::NoSlots));
    let cycle = plan(vec![after(&[1]), after(&[0])]);
    let result = simulate(&cycle, cluster(1, 1), &seconds(&[1, 1]));
    assert_eq!(result, Err(SimulateError::Stuck { ended: 0 }));
}

/// Short attempts are handed out ahead of the slots, long ones are not: both must end up balanced,
/// which requires that some of them are stolen.
#[test]
fn short_attempts_are_balanced_in_the_end() {
    let durations = |instance: InstanceId| Micros(500 + u64::from(instance.index % 7) * 100);
    let cluster = cluster(8, 4);
    let prediction = simulate(&plan(vec![array(20_000)]), cluster, &durations).unwrap();
    assert_eq!(prediction.instances, 20_000);
    assert!(prediction.utilisation > 0.99, "{prediction:?}");
}

#[test]
fn the_same_again_is_the_same() {
    let durations = |instance: InstanceId| {
        Micros(1 + u64::from(instance.index).wrapping_mul(0x9E37_79B9_7F4A_7C15) % 30_000)
    };
    let tasks = plan(vec![array(3_000), map(0, 1, 3_000), after(&[1])]);
    let once = || {
        let mut ran = Vec::new();
        let cluster = cluster(3, 5);
        let result = simulate_with(&tasks, cluster, &durations, &mut |one| ran.push(one));
        (result.unwrap(), ran)
    };
    assert_eq!(once(), once());
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a test may look at a clock")]
fn a_million_instances_take_seconds() {
    let tasks = plan(vec![array(400_000), map(0, 1, 400_000), map(1, 1, 400_000), after(&[2])]);
    let durations = |instance: InstanceId| {
        Micros(SECOND + u64::from(instance.index).wrapping_mul(0x9E37_79B9_7F4A_7C15) % SECOND)
    };
    let begin = std::time::Instant::now();
    let prediction = simulate(&tasks, cluster(64, 16), &durations).unwrap();
    let took = begin.elapsed();
    assert_eq!(prediction.instances, 1_200_001);
    assert!(prediction.utilisation > 0.99, "{}", prediction.utilisation);
    // Without optimisation, beside other tests; a program for users takes a fraction of it.
    assert!(took.as_secs() < 180, "{took:?}");
}

#[test]
fn a_group_is_gathered_as_soon_as_it_is_done() {
    // a[0] and a[2] are of group 0, a[1] and a[3] of group 1.
    let gather = GatherPlan {
        upstreams: vec![TaskId(0)],
        groups: Some([0, 1, 0, 1].into()),
        min_success: None,
    };
    let tasks = vec![array(4), TaskPlan { gather: Some(gather), ..array(2) }, after(&[1])];
    let durations = |instance: InstanceId| match instance.task.0 {
        0 => Micros(SECOND * [1, 1, 2, 6][instance.index as usize]),
        1 => Micros(SECOND * [9, 1][instance.index as usize]),
        _ => Micros(SECOND),
    };
    let prediction = simulate(&plan(tasks), cluster(1, 8), &durations).unwrap();
    assert_eq!(prediction.makespan, Micros(12 * SECOND));
    assert_eq!(prediction.critical_path, Micros(12 * SECOND));
    assert_eq!(path(&prediction), [(0, 2), (1, 0), (2, 0)]);
}

#[test]
fn a_scatter_is_as_wide_as_one_says() {
    let scatter = |split| Some(Scatter { from: TaskId(0), split, max_items: Some(1) });
    let tasks = vec![
        array(1),
        TaskPlan { scatter: scatter(Split::Each), implied: 1, ..late(after(&[0])) },
        late(map(1, 2, 2)),
        TaskPlan { scatter: scatter(Split::Parts(5)), implied: 1, ..late(after(&[0])) },
        after(&[2]),
    ];
    let tasks = plan(tasks);
    let predict =
        |plan: &RunPlan| simulate(plan, cluster(1, 100), &seconds(&[1, 2, 3, 1, 1])).unwrap();
    let prediction = predict(&tasks);
    assert_eq!(prediction.instances, 1 + 1 + 2 + 5 + 1);
    let wide = with_widths(&tasks, &|task| (task == TaskId(1)).then_some(10));
    let prediction = predict(&wide);
    assert_eq!(prediction.instances, 1 + 10 + 20 + 5 + 1);
    assert_eq!(prediction.makespan, Micros(7 * SECOND));
    assert_eq!(prediction.critical_path, Micros(7 * SECOND));
    let none = with_widths(&tasks, &|task| (task == TaskId(1)).then_some(0));
    let prediction = predict(&none);
    assert_eq!(prediction.instances, 1 + 5 + 1);
    assert_eq!(prediction.makespan, Micros(2 * SECOND));
}

#[test]
fn a_task_for_each_worker_has_as_many_instances() {
    let each = late(with(array(1), |conduct| conduct.targets = Targets::Each));
    let prediction = predict(vec![each, late(map(0, 1, 1))], 5, 1, &[2, 1]);
    assert_eq!(prediction.instances, 10);
    assert_eq!(prediction.makespan, Micros(3 * SECOND));
    assert_eq!(prediction.critical_path, Micros(3 * SECOND));
}

#[test]
fn what_simulated_workers_lack_is_not_asked_of_them() {
    let picky = with(array(4), |conduct| {
        conduct.memory = 1 << 40;
        conduct.resources = vec![("gpu".to_owned(), 2)];
        conduct.targets = Targets::Named(vec!["big".to_owned()]);
        conduct.start_within = Some(Micros(1));
    });
    assert_eq!(predict(vec![picky], 1, 1, &[1]).makespan, Micros(4 * SECOND));
}
