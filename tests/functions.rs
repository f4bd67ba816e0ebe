//! Functions as tasks, end to end: a cluster in this process, typed handles, results.

use std::time::Duration;

use bytes::Bytes;
use dagrun::core::status::{RunState, State};
use dagrun::{Cluster, Context, Dag, Error, Gathered, Sweep, linspace};

#[dagrun::task]
fn square(x: f64) -> f64 {
    x * x
}

#[dagrun::task]
fn add(a: f64, b: f64) -> f64 {
    a + b
}

#[dagrun::task]
fn numbers(n: u32) -> Vec<f64> {
    (0..n).map(f64::from).collect()
}

#[dagrun::task]
fn sum(values: Vec<f64>) -> f64 {
    values.iter().sum()
}

#[dagrun::task]
fn sum_one_by_one(values: Gathered<f64>) -> Result<f64, dagrun::GatherError> {
    values.values().sum()
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Point {
    x: f64,
    y: f64,
}

#[dagrun::task]
fn product(p: Point) -> f64 {
    p.x * p.y
}

#[dagrun::task]
fn refuse(x: u32) -> Result<u32, String> {
    if x == 3 { Err(format!("{x} is not wanted")) } else { Ok(x) }
}

#[dagrun::task]
fn boom(x: u32) -> u32 {
    assert!(x < 2, "{x} is too much");
    x
}

#[dagrun::task]
fn wait_for_the_end(context: &Context) -> Result<(), dagrun::Cancelled> {
    loop {
        context.cancelled()?;
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn cluster() -> Cluster {
    Cluster::builder().slots(2).start().unwrap()
}

#[test]
fn values_flow_from_function_to_function() {
    let cluster = cluster();
    let dag = Dag::new("flow");
    let squares = dag.map(square, (1..=100).map(f64::from));
    let total = dag.reduce(&squares, add);
    let one = dag.gather(&squares, sum);
    let two = dag.gather(&squares, sum_one_by_one);
    let both = dag.task(add, (&one, &two));
    let halves = dag.map_with(add, &squares, (0.5,));
    let run = cluster.submit(&dag).wait().unwrap();
    assert_eq!(run.result(&total).wait().unwrap(), 338_350.0);
    assert_eq!(run.result(&both).wait().unwrap(), 676_700.0);
    assert_eq!(run.result_at(&squares, 9).wait().unwrap(), 100.0);
    let values = run.results(&halves).wait().unwrap();
    assert_eq!((values.len(), values[1]), (100, 4.5));
    let in_order: Vec<f64> = run.iter(&squares).collect::<Result<_, _>>().unwrap();
    assert_eq!(in_order[99], 10_000.0);
    let mut completed: Vec<u32> = run
        .iter_completed(&squares)
        .map(|(index, value)| {
            assert_eq!(value.unwrap(), f64::from(index + 1).powi(2));
            index
        })
        .collect();
    completed.sort_unstable();
    assert_eq!(completed, (0..100).collect::<Vec<u32>>());
    assert_eq!(run.finished().wait().unwrap(), RunState::Succeeded);
    let progress = run.progress().wait().unwrap();
    assert_eq!((progress.instances, progress.succeeded), (progress.ended, progress.ended));
    assert!(progress.complete && run.times().wait().unwrap().serial > Duration::ZERO);
}

#[test]
fn values_as_completed_are_all_there_whenever_one_begins_to_ask() {
    let cluster = cluster();
    for round in 1..=40u16 {
        let dag = Dag::new("squares");
        let squares = dag.map(square, (0..25 * round).map(f64::from));
        let run = cluster.submit(&dag).wait().unwrap();
        if round % 2 == 0 {
            run.result_at(&squares, 0).wait().unwrap();
        }
        let mut indices: Vec<u32> = Vec::new();
        for (index, value) in run.iter_completed(&squares) {
            assert_eq!(value.unwrap(), f64::from(index).powi(2));
            indices.push(index);
        }
        indices.sort_unstable();
        assert!(indices.into_iter().eq(0..25 * u32::from(round)));
    }
}

#[dagrun::task]
fn long_bytes(seed: u8) -> Bytes {
    vec![seed; 200_000].into()
}

#[dagrun::task]
fn reversed(bytes: Bytes) -> Vec<u64> {
    bytes.iter().rev().map(|byte| u64::from(*byte)).collect()
}

#[dagrun::task]
fn total_of(lists: Gathered<Vec<u64>>) -> Result<u64, dagrun::GatherError> {
    lists.values().map(|list| Ok(list?.iter().sum::<u64>())).sum()
}

#[test]
fn long_values_reach_functions_and_those_who_ask_for_results() {
    let cluster = cluster();
    let dag = Dag::new("long");
    let made = dag.map(long_bytes, 1..=10u8);
    let lists = dag.map(reversed, &made);
    let all = dag.gather(&lists, total_of);
    // Nobody is given this one: it is a file of the run.
    let last = dag.task(long_bytes, (7u8,));
    let run = cluster.submit(&dag).wait().unwrap();
    assert_eq!(run.result(&all).wait().unwrap(), 55 * 200_000);
    let bytes = run.result(&last).wait().unwrap();
    assert_eq!((bytes.len(), bytes.iter().all(|byte| *byte == 7)), (200_000, true));
    let error = run.result_at(&made, 0).wait().unwrap_err().to_string();
    assert!(error.contains("it was kept by a worker"), "{error}");
}

#[test]
fn a_sweep_and_a_list_that_is_known_late_fan_out() {
    let cluster = cluster();
    let dag = Dag::new("fan-out");
    let grid = Sweep::new().axis("x", linspace(1.0, 3.0, 3)).axis("y", [10.0, 20.0]);
    let products = dag.map(product, grid);
    let list = dag.task(numbers, (10,));
    let squares = dag.map(square, dag.scatter(&list, dagrun::Each));
    let parts = dag.map(sum, dag.scatter(&list, dagrun::Chunk(4)));
    let run = cluster.submit(&dag).wait().unwrap();
    let products = run.results(&products).wait().unwrap();
    assert_eq!(products, [10.0, 20.0, 20.0, 40.0, 30.0, 60.0]);
    assert_eq!(run.results(&squares).wait().unwrap()[9], 81.0);
    assert_eq!(run.results(&parts).wait().unwrap(), [6.0, 22.0, 17.0]);
}

#[test]
fn what_fails_says_so() {
    let cluster = cluster();
    let dag = Dag::new("failures");
    let refused = dag.map(refuse, 0..5u32);
    let after = dag.map(boom, &refused);
    let run = cluster.submit(&dag).wait().unwrap();
    let failed = |result: Result<u32, Error>| match result {
        Err(Error::Failed(failed)) => failed,
        other => panic!("{other:?}"),
    };
    let refused = failed(run.result_at(&refused, 3).wait());
    assert_eq!((refused.state, &*refused.reason), (State::Failed, "3 is not wanted"));
    let skipped = failed(run.result_at(&after, 3).wait());
    assert_eq!(skipped.state, State::Skipped);
    assert!(skipped.reason.contains("3 is not wanted"), "{skipped}");
    let panicked = failed(run.result_at(&after, 2).wait());
    assert!(panicked.reason.contains("2 is too much"), "{panicked}");
    assert!(panicked.reason.contains("tests/functions.rs:"), "{panicked}");
    assert_eq!(run.finished().wait().unwrap(), RunState::Failed);
}

#[test]
fn a_run_is_cancelled_and_an_answer_waited_for_only_so_long() {
    let cluster = cluster();
    let dag = Dag::new("endless");
    let endless = dag.task(wait_for_the_end, ());
    let run = cluster.submit(&dag).wait().unwrap();
    let late = run.result(&endless).timeout(Duration::from_millis(20)).wait();
    assert!(matches!(late, Err(Error::Timeout(_))), "{late:?}");
    run.cancel().wait().unwrap();
    assert_eq!(run.finished().wait().unwrap(), RunState::Cancelled);
}

#[test]
fn what_has_ended_is_cancelled_without_complaint_and_stays() {
    let cluster = cluster();
    let dag = Dag::new("square");
    let nine = dag.task(square, (3.0,));
    let run = cluster.submit(&dag).wait().unwrap();
    assert_eq!(run.finished().wait().unwrap(), RunState::Succeeded);
    run.cancel().wait().unwrap();
    run.cancel_task(&nine).wait().unwrap();
    assert_eq!(run.result(&nine).wait().unwrap(), 9.0);
}

#[test]
fn functions_are_called_without_a_graph() {
    let cluster = cluster();
    let client = cluster.client();
    let nine = client.call(square, (3.0,));
    assert_eq!(nine.wait().unwrap(), 9.0);
    let squares = client.map(square, (0..2_000).map(f64::from)).max_outstanding(256);
    for (at, value) in squares.enumerate() {
        assert_eq!(value.unwrap(), (at * at) as f64);
    }
}

#[test]
fn a_call_that_no_worker_has_is_refused() {
    let cluster = cluster();
    let dag = Dag::new("unknown");
    dag.task(square, (1.0,));
    let mut pipeline = dag.pipeline().unwrap();
    if let dagrun::core::pipeline::TaskAction::Call(call) = &mut pipeline.tasks[0].action {
        call.function = "cube".into();
    }
    let refused = cluster.client().submit_pipeline(&pipeline, &dagrun::Options::default()).wait();
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("no worker has a function `cube`"), "{refused}");
    assert!(refused.contains("`use LIBRARY as _;`"), "{refused}");
}

#[test]
fn a_long_value_that_is_kept_can_be_read_although_other_tasks_are_given_it() {
    let cluster = cluster();
    let dag = Dag::new("kept");
    let kept = dag.task(numbers, (100_000,)).keep();
    let dropped = dag.task(numbers, (100_000,));
    let sums = [dag.task(sum, (&kept,)), dag.task(sum, (&dropped,))];
    let run = cluster.submit(&dag).wait().unwrap();
    for total in &sums {
        assert_eq!(run.result(total).wait().unwrap(), 4_999_950_000.0);
    }
    run.finished().wait().unwrap();
    assert_eq!(run.result(&kept).wait().unwrap().len(), 100_000);
    let gone = run.result(&dropped).wait().unwrap_err().to_string();
    assert!(gone.contains("kept by a worker"), "{gone}");
}

#[test]
fn long_results_of_several_tasks_are_files_of_their_own() {
    let cluster = cluster();
    let dag = Dag::new("several");
    let long = [70_000, 80_000, 90_000].map(|length| (length, dag.task(numbers, (length,))));
    let run = cluster.submit(&dag).wait().unwrap();
    for (length, task) in &long {
        assert_eq!(run.result(task).wait().unwrap().len(), *length as usize);
    }
}

#[dagrun::task]
fn half_way(context: &Context) -> Result<(), dagrun::Cancelled> {
    context.progress(0.5);
    wait_for_the_end(context)
}

#[test]
fn what_functions_say_of_their_progress_is_part_of_that_of_the_run() {
    let cluster = cluster();
    let dag = Dag::new("half-way");
    dag.task(half_way, ());
    let run = cluster.submit(&dag).wait().unwrap();
    while run.progress().wait().unwrap().partial != 500 {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(run.progress().wait().unwrap().fraction(), 0.5);
    run.cancel().wait().unwrap();
    assert_eq!(run.finished().wait().unwrap(), RunState::Cancelled);
    assert_eq!(run.progress().wait().unwrap().partial, 0);
}
