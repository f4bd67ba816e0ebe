//! What a newcomer writes, and what is said of what goes wrong.

use std::error::Error as _;
use std::time::{Duration, SystemTime};

use dagrun::{Cluster, Dag, Dependency, Error, Gathered, Outcomes, Retry, RetryOn};
use dagrun::{RunState, State};
use serde::{Deserialize, Serialize};

use super::cluster;

#[dagrun::task]
fn sum(a: u64, b: u64) -> u64 {
    a + b
}

#[dagrun::task]
fn small(x: u64) -> Result<u64, String> {
    if x < 3 { Ok(x) } else { Err(format!("{x} is too large")) }
}

#[dagrun::task]
fn counted(values: Vec<Option<u64>>) -> (usize, usize) {
    (values.len(), values.iter().flatten().count())
}

#[dagrun::task]
fn streamed(values: Gathered<u64>) -> usize {
    values.count()
}

#[dagrun::task]
fn or_seven(x: Option<u64>) -> u64 {
    x.unwrap_or(7)
}

#[dagrun::task]
fn up_to(n: u64) -> Vec<u64> {
    (1..=n).collect()
}

#[test]
fn functions_of_several_inputs_are_mapped_over_tuples() {
    let cluster = cluster();
    let dag = Dag::new("tuples");
    let sums = dag.map(sum, [(1, 2), (3, 4)]);
    assert_eq!(cluster.submit(&dag).wait().unwrap().results(&sums).wait().unwrap(), [3, 7]);
    let sums: Result<Vec<u64>, _> = cluster.map(sum, (0..3).map(|x| (x, 10 * x))).collect();
    assert_eq!(sums.unwrap(), [0, 11, 22]);
}

#[test]
fn an_input_that_may_be_missing_takes_a_handle() {
    let cluster = cluster();
    let dag = Dag::new("option");
    let two = dag.task(small, (2,));
    let given = [dag.task(or_seven, (&two,)), dag.task(or_seven, (two,))];
    let constants = [dag.task(or_seven, (Some(3),)), dag.task(or_seven, (None,))];
    let run = cluster.submit(&dag).wait().unwrap();
    let value = |handle| run.result(handle).wait().unwrap();
    assert_eq!(given.each_ref().map(value), [2, 2]);
    assert_eq!(constants.each_ref().map(value), [3, 7]);
}

#[test]
fn a_list_of_options_alone_tolerates_failures() {
    let cluster = cluster();
    let dag = Dag::new("tolerant");
    let numbers = dag.map(small, 0..5);
    let all = dag.gather(&numbers, counted);
    let none = dag.gather(&dag.map(small, 5..8), counted);
    let most = dag.gather(&numbers, counted).min_success(4);
    let strict = dag.gather(&numbers, streamed);
    let run = cluster.submit(&dag).wait().unwrap();
    assert_eq!(run.result(&all).wait().unwrap(), (5, 3));
    assert_eq!(run.result(&none).wait().unwrap(), (3, 0));
    for skipped in [run.result(&most).wait().map(drop), run.result(&strict).wait().map(drop)] {
        assert!(matches!(skipped, Err(Error::Failed(f)) if f.state == State::Skipped));
    }
}

#[test]
fn a_reduction_with_an_identity_has_a_value_at_width_0() {
    let cluster = cluster();
    let dag = Dag::new("identity");
    let seven = dag.task(or_seven, (None,));
    let listed = |n: u64| dag.map(small, dag.scatter(&dag.task(up_to, (n,)), dagrun::Each));
    let sums = [
        dag.reduce_with(&dag.map(small, Vec::<u64>::new()), sum, 0),
        dag.reduce_with(&dag.map(small, [1, 2]), sum, 0),
        dag.reduce_with(&dag.map(small, vec![1; 100]), sum, 0),
        dag.reduce_with(&listed(0), sum, &seven),
        dag.reduce_with(&listed(2), sum, 0),
    ];
    let run = cluster.submit(&dag).wait().unwrap();
    assert_eq!(sums.each_ref().map(|it| run.result(it).wait().unwrap()), [0, 3, 100, 7, 3]);
    let dag = Dag::new("none");
    dag.reduce(&dag.map(small, Vec::<u64>::new()), sum);
    let refused = dag.check().unwrap_err().to_string();
    assert!(refused.contains("an array without instances"), "{refused}");
}

#[test]
fn what_is_waited_for_may_be_of_different_types() {
    let cluster = cluster();
    let dag = Dag::new("types");
    let good = dag.task(sum, (1, 2));
    let bad = dag.map(small, [9]);
    let words = dag.command(["true"]);
    let after = dag.task(sum, (1, 1)).after(Dependency::all((&good, &words))).name("after");
    dag.task(sum, (1, 1)).after(Dependency::all(&bad).on_failure()).name("rescue");
    let run = cluster.submit(&dag).wait().unwrap();
    assert_eq!(run.wait_failed((&good, &bad, &words)).wait().unwrap(), Some(1));
    assert_eq!(run.wait_failed((&good, &after)).wait().unwrap(), None);
    run.wait_all((&good, &bad)).wait().unwrap();
    assert_eq!(run.value::<u64>("rescue", 0).wait().unwrap(), 2);
}

#[test]
fn the_words_of_options_are_at_the_root() {
    let retry = Retry::times(2).delay(Duration::from_millis(1)).on([RetryOn::Error]);
    let dag = Dag::new("words");
    let failing = dag.task(small, (9,)).retry(retry);
    dag.task(sum, (1, 1)).after(Dependency::any(&failing).on(Outcomes::Failure));
    let cluster = cluster();
    let run = cluster.submit(&dag).wait().unwrap();
    assert_eq!(run.finished().wait().unwrap(), RunState::Failed);
    assert_eq!(run.instances(&failing).wait().unwrap()[0].attempts, 3);
}

#[test]
fn times_are_those_of_the_standard_library() {
    let before = SystemTime::now() - Duration::from_secs(1);
    let cluster = cluster();
    let dag = Dag::new("times");
    let task = dag.task(sum, (1, 2));
    let run = cluster.submit(&dag).wait().unwrap();
    run.finished().wait().unwrap();
    let row = run.instances(&task).wait().unwrap().remove(0);
    let (started, finished): (SystemTime, SystemTime) =
        (row.started.unwrap(), row.finished.unwrap());
    let now = SystemTime::now() + Duration::from_secs(1);
    assert!(before <= started && started <= finished && finished <= now);
    let took: Option<Duration> = row.run_time();
    assert_eq!(took, finished.duration_since(started).ok());
    let status = run.status().wait().unwrap();
    assert!(before <= status.started && status.finished.unwrap() <= now);
    assert_eq!(cluster.client().runs(1).wait().unwrap()[0].started, status.started);
    assert!(cluster.workers().wait().unwrap()[0].last_heartbeat <= now);
}

/// The process, whose task leaves the name to variables.
#[dagrun::task(handle = Pid)]
fn pid(add: u32) -> u32 {
    std::process::id() + add
}

#[test]
fn a_task_can_have_a_name_of_its_own_in_the_program() {
    let cluster = cluster();
    let own = pid(1);
    let pid = cluster.call(Pid, (1,)).wait().unwrap();
    assert_eq!((pid, Pid(1)), (own, own));
    let dag = Dag::new("handle");
    dag.task(Pid, (0,));
    assert!(dag.to_toml().unwrap().contains("call = \"pid\""));
}

#[test]
fn a_run_is_submitted_once_more() {
    let cluster = cluster();
    let client = cluster.client();
    let dag = Dag::new("again");
    let array = dag.map(small, [1, 9]);
    let run = cluster.submit(&dag).wait().unwrap();
    run.finished().wait().unwrap();
    let again = client.retry(&run).wait().unwrap();
    assert_ne!(again.id(), run.id());
    assert_eq!(again.result_at(&array, 0).wait().unwrap(), 1);
    again.finished().wait().unwrap();
    let failed = client.retry_failed(&run).wait().unwrap().unwrap();
    assert_eq!(failed.result_at(&array, 0).wait().unwrap(), 1);
    failed.finished().wait().unwrap();
    let by_number = client.retry(run.id()).wait().unwrap();
    assert_eq!(by_number.value::<u64>("small", 0).wait().unwrap(), 1);
    let fine = Dag::new("fine");
    fine.task(sum, (1, 1));
    let run = cluster.submit(&fine).wait().unwrap();
    run.finished().wait().unwrap();
    assert!(client.retry_failed(&run).wait().unwrap().is_none());
}

#[test]
fn a_cluster_may_have_no_workers() {
    let cluster = Cluster::builder().workers(0).start().unwrap();
    assert!(cluster.workers().wait().unwrap().is_empty());
    assert!(matches!(cluster.view_all().wait(), Err(Error::NoWorker { .. })));
    let dag = Dag::new("idle");
    let handle = dag.command(["true"]);
    let run = cluster.submit(&dag).wait().unwrap();
    assert!(!run.ready(&handle).wait().unwrap());
}

#[derive(Serialize, Deserialize, Debug)]
struct Point {
    x: f64,
}

#[dagrun::task]
fn word() -> String {
    "a ".repeat(200)
}

#[test]
fn a_value_of_another_type_is_shown() {
    let cluster = cluster();
    let dag = Dag::new("another");
    dag.task(word, ());
    dag.map(small, [1]).name("small");
    let run = cluster.submit(&dag).wait().unwrap();
    let error = run.value::<Point>("small", 0).wait().unwrap_err();
    assert_eq!(error.to_string(), "the value of small is not what was expected: it is `1`");
    assert!(error.source().unwrap().to_string().contains("expected struct Point"));
    let error = run.value::<f64>("word", 0).wait().unwrap_err().to_string();
    assert!(
        error.ends_with("it is `\"a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a…`"),
        "{error}"
    );
}

#[test]
fn what_views_do_is_called_as_they_call_it() {
    let cluster = cluster();
    let view = cluster.view_all().wait().unwrap();
    let error = view.pull::<f64>("factor").wait().unwrap_err().to_string();
    assert!(error.starts_with("pull failed: worker ") && error.contains("`factor`"), "{error}");
    let named = cluster.view(&view.workers().wait().unwrap()).wait().unwrap();
    let error = named.pull::<f64>("factor").wait().unwrap_err().to_string();
    assert!(error.starts_with("pull failed: worker "), "{error}");
}

#[derive(Debug, thiserror::Error)]
#[error("cannot read the points")]
struct Unread(#[source] std::num::ParseFloatError);

#[dagrun::task]
fn read(text: String) -> Result<f64, Unread> {
    text.parse().map_err(Unread)
}

#[test]
fn a_failure_has_the_causes_that_the_function_named() {
    let cluster = cluster();
    let Err(Error::Failed(failed)) = cluster.call(read, ("x",)).wait() else { panic!() };
    assert_eq!(failed.to_string(), "read failed: cannot read the points: invalid float literal");
    let cause = failed.source().unwrap();
    assert_eq!(cause.to_string(), "invalid float literal");
    assert!(cause.source().is_none());
    let Err(Error::Failed(failed)) = cluster.call(small, (9,)).wait() else { panic!() };
    assert!(failed.source().is_none());
}
