//! Worker processes from `cargo test`: each worker runs the test again, and becomes a worker where it calls
//! `init`.

use std::time::{Duration, Instant};

use dagrun::{Cluster, ClusterError, Error};

#[dagrun::task]
fn process() -> u32 {
    std::process::id()
}

#[dagrun::task]
fn deaf() {
    std::thread::sleep(Duration::from_secs(600));
}

#[test]
fn a_test_has_workers_that_are_processes() {
    dagrun::init();
    let cluster = Cluster::builder().processes(2).slots(1).start().unwrap();
    let processes = cluster.view_all().wait().unwrap().apply(process, ()).wait().unwrap();
    assert!(processes[0] != processes[1] && !processes.contains(&std::process::id()));
}

#[test]
fn a_worker_that_dies_before_it_joins_is_reported_with_its_exit_code() {
    if std::env::var_os("DAGRUN_CHILD").is_some() {
        std::process::exit(7);
    }
    dagrun::init();
    let error = Cluster::builder().processes(2).slots(1).start().unwrap_err();
    assert!(matches!(&error, Error::Cluster(ClusterError::Died { .. })), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("exit status: 7") && said.contains("dagrun::init()"), "{said}");
}

#[test]
fn workers_that_do_not_listen_are_killed_with_the_cluster() {
    dagrun::init();
    let builder = Cluster::builder().processes(1).slots(1).grace(Duration::from_millis(10));
    let cluster = builder.start().unwrap();
    cluster.call(deaf, ()).detach();
    while cluster.workers().wait().unwrap()[0].running == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let begun = Instant::now();
    drop(cluster);
    // Without the kill it would take ten minutes, or the grace of the task: 10 s.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}
