//! Runs that are left unfinished by their cluster, and gone on with by another one.

use std::path::Path;

use dagrun::{Cluster, Dag, Error};

#[dagrun::task]
fn numbers(n: u64) -> Vec<u64> {
    (0..n).collect()
}

#[dagrun::task]
fn total(values: Vec<u64>) -> u64 {
    values.iter().sum()
}

/// Waits for a file, until it is cancelled.
#[dagrun::task]
fn gate(context: &dagrun::Context, begun: String, open: String) -> Result<u64, String> {
    std::fs::write(begun, "").map_err(|error| error.to_string())?;
    while !Path::new(&open).exists() {
        context.cancelled().map_err(|_| "cancelled".to_owned())?;
        std::thread::yield_now();
    }
    Ok(0)
}

fn wait_for(path: &Path) {
    while !path.exists() {
        std::thread::yield_now();
    }
}

#[test]
fn another_cluster_goes_on_and_makes_values_again_that_were_lost() {
    let dir = tempfile::tempdir().unwrap();
    let [state, begun, open] = ["state", "begun", "open"].map(|name| dir.path().join(name));
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let start = || Cluster::builder().state_dir(&state).slots(2).start().unwrap();
    let dag = Dag::new("left");
    let values = dag.task(numbers, (100_000,));
    let opened = dag.task(gate, (path(&begun), path(&open))).after(&values);
    let sum = dag.task(total, (&values,)).after(&opened);
    let first = start();
    let run = first.submit(&dag).wait().unwrap();
    wait_for(&begun);
    assert!(matches!(first.client().resume(&run).wait(), Err(Error::Client(_))), "it runs");
    let id = run.id();
    drop(first);
    let second = start();
    std::fs::write(&open, "").unwrap();
    let again = second.client().resume(&run).wait().unwrap();
    assert_eq!(again.id(), id);
    assert_eq!(again.result(&sum).wait().unwrap(), 4_999_950_000);
    again.finished().wait().unwrap();
    let ended = second.client().resume(id).wait().unwrap_err();
    assert!(ended.to_string().contains("has ended: succeeded"), "{ended}");
}
