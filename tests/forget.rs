//! Runs that are taken out of the history.

use std::path::Path;

use dagrun::{Cluster, Dag, Error};

#[dagrun::task]
fn numbers(n: u64) -> Vec<u64> {
    (0..n).collect()
}

/// Fails until the file is there.
#[dagrun::task]
fn when_there(path: String, values: Vec<u64>) -> Result<u64, String> {
    if Path::new(&path).exists() { Ok(values.iter().sum()) } else { Err("not yet".into()) }
}

#[dagrun::task]
fn until_cancelled(context: &dagrun::Context) -> u64 {
    while context.cancelled().is_ok() {
        std::thread::yield_now();
    }
    0
}

fn message(error: &Error) -> String {
    std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[test]
fn a_forgotten_run_is_unknown_and_what_a_later_one_took_over_stays() {
    let state = tempfile::tempdir().unwrap();
    let cluster = Cluster::builder().state_dir(state.path()).start().unwrap();
    let client = cluster.client();
    let dir = |run: &dagrun::Run| state.path().join("runs").join(run.id().to_string());
    let gate = state.path().join("gate");
    let dag = Dag::new("forgotten");
    // So long a value is a file of the run.
    let kept = dag.task(numbers, (100_000,)).keep();
    let sum = dag.task(when_there, (gate.to_str().unwrap(), &kept));
    let first = cluster.submit(&dag).wait().unwrap();
    first.finished().wait().unwrap();
    assert!(first.result(&sum).wait().is_err());
    let elsewhere = cluster.submit(&dag).wait().unwrap();
    elsewhere.finished().wait().unwrap();
    std::fs::write(&gate, "").unwrap();
    let second = client.retry_failed(&first).wait().unwrap().unwrap();
    second.finished().wait().unwrap();

    client.forget(&first).wait().unwrap();
    assert!(message(&client.run(first.id()).wait().unwrap_err()).contains("there is no run 1"));
    assert!(message(&client.forget(first.id()).wait().unwrap_err()).contains("there is no run 1"));
    let listed: Vec<_> = client.runs(9).wait().unwrap().iter().map(|run| run.run).collect();
    assert_eq!(listed, [second.id(), elsewhere.id()]);
    assert_eq!(second.result(&kept).wait().unwrap().len(), 100_000, "its file is still there");
    assert_eq!(second.result(&sum).wait().unwrap(), 100_000 * 99_999 / 2);
    assert!(dir(&first).exists() && dir(&elsewhere).exists());

    client.forget(&elsewhere).wait().unwrap();
    assert!(!dir(&elsewhere).exists(), "nobody needs it");
    assert!(dir(&first).exists(), "somebody needs it");
    client.forget(&second).wait().unwrap();
    assert!(!dir(&first).exists() && !dir(&second).exists());

    // What comes after them is not confused with them.
    let third = cluster.submit(&dag).wait().unwrap();
    third.finished().wait().unwrap();
    assert_eq!(third.result(&sum).wait().unwrap(), 100_000 * 99_999 / 2);
    assert!(third.id() > second.id());
}

#[test]
fn a_run_that_has_not_ended_is_not_forgotten() {
    let cluster = Cluster::embedded().unwrap();
    let dag = Dag::new("busy");
    dag.task(until_cancelled, ());
    let run = cluster.submit(&dag).wait().unwrap();
    let refused = message(&cluster.client().forget(&run).wait().unwrap_err());
    assert!(
        refused.contains("run 1 has not ended: only a run that has can be forgotten"),
        "{refused}"
    );
    run.cancel().wait().unwrap();
    run.finished().wait().unwrap();
    cluster.client().forget(&run).wait().unwrap();
}
