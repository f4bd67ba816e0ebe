//! Runs that are taken out of the history.

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Cluster, Test};

const DEMO: &str = "[task.a]\nshell = 'echo a'\n[task.b]\nafter = 'a'\nshell = '[ -e go ]'";

#[test]
fn it_lists_first_and_removes_what_is_named() {
    let test = Test::new(DEMO);
    test.submit(&[]).exits(1);
    test.submit(&[]).exits(1);
    test.run(&["clean"]).exits(0).out_has("failed").err_has("nothing is removed");
    assert!(test.path(".dagrun/runs/1/logs").exists());
    test.run(&["clean", "1"]).exits(2).err_has("remove 1 run?").err_has("--yes");
    test.run(&["clean", "7", "--yes"]).exits(2).err_has("there is no run 7");
    let removed = test.run(&["clean", "1", "--yes", "--json"]).exits(0).json();
    assert_eq!((&removed[0]["run"], &removed[0]["removed"]), (&json!("1"), &json!(true)));
    assert!(removed[0]["bytes"].as_u64().unwrap() > 0);
    assert!(!test.path(".dagrun/runs/1").exists());
    test.run(&["status", "1"]).exits(2).err_has("there is no run 1");
    test.run(&["status", "2"]).exits(0);
    test.run(&["clean", "--older-than", "1d", "--yes"]).exits(0).err_has("nothing to remove");
    test.run(&["clean", "--older-than", "soon"]).exits(2).err_has("30d");
    test.run(&["clean", "--older-than", "0s", "--yes"]).exits(0).err_has("removed 1 run");
    assert!(test.run(&["runs", "--json"]).exits(0).json().is_empty());
    test.submit(&["--detach"]).exits(2);
}

#[test]
fn what_a_later_run_took_over_stays() {
    let test = Test::new(DEMO);
    test.submit(&[]).exits(1);
    test.write("go", "");
    test.run(&["retry", "--failed"]).exits(0);
    test.run(&["clean", "1", "--yes"]).exits(0);
    let logs = test.run(&["logs", "2", "--json"]);
    assert_ne!(logs.status.code(), Some(101));
    let status = test.run(&["status", "2", "--json"]).exits(0).json();
    assert_eq!(status[0]["tasks"][0]["succeeded"], 1);
    assert!(test.path(".dagrun/runs/1/logs").exists(), "its log is that of run 2, too");
    test.run(&["clean", "2", "--yes"]).exits(0);
    assert!(!test.path(".dagrun/runs/1").exists() && !test.path(".dagrun/runs/2").exists());
}

#[test]
fn a_run_that_runs_or_was_interrupted_is_never_removed() {
    let test = Test::new("[task.a]\nshell = 'touch begun; sleep 1000'");
    let mut process = test.start(&["submit", "pipeline.toml"]);
    test.wait_for_file("begun");
    test.run(&["clean", "1", "--yes"]).exits(2).err_has("it is running");
    test.run(&["clean", "--older-than", "0s", "--yes"]).exits(0).err_has("nothing to remove");
    process.signal(Signal::INT);
    process.end().exits(130);
    test.run(&["clean", "1", "--yes"]).exits(2).err_has("it is interrupted");
    test.run(&["clean", "--older-than", "0s", "--yes"]).exits(0).err_has("nothing to remove");
    test.run(&["cancel", "1"]).exits(0);
    test.run(&["clean", "1", "--yes"]).exits(0);
}

#[test]
fn on_a_cluster_it_is_the_same() {
    let cluster = Cluster::start(Test::new(DEMO), "1");
    cluster.submit(&[]).exits(1);
    cluster.run(&["clean"]).exits(0).out_has("failed");
    cluster.run(&["clean", "1", "--yes"]).exits(0).err_has("removed 1 run");
    cluster.run(&["status", "1"]).exits(2).err_has("there is no run 1");
}
