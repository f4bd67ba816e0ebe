//! Machines that have not what a start needs, and workers that lack programs: none of it is the task's
//! fault.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};

use crate::harness::{Cluster, Process, Test, wait_until};

const MANY: &str =
    "[task.a]\nrun = ['sh', '-c', 'exec sleep 0.02']\nsweep = { i = { range = '0..200' } }\n";

/// All instances of the last run succeeded with their first attempt.
fn all_first(test: &Test, count: usize) {
    let rows = test.run(&["status", "last", "--instances", "--json"]).exits(0).json();
    assert_eq!(rows.len(), count);
    let first = |row: &Value| row["state"] == "succeeded" && row["attempts"] == 1;
    let others: Vec<&Value> = rows.iter().filter(|row| !first(row)).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn few_descriptors_mean_fewer_at_once() {
    for slots in ["32", "200"] {
        let test = Test::new(MANY);
        let script = format!("ulimit -n 64; exec \"$0\" submit pipeline.toml -j {slots}");
        let ended = test.start_in_shell(&script).end().exits(0);
        assert!(!ended.stderr.contains("failed"), "{}", ended.stderr);
        all_first(&test, 200);
    }
}

#[test]
fn few_processes_mean_fewer_at_once() {
    let root = rustix::process::geteuid().is_root();
    if !root || Command::new("setpriv").arg("--version").output().is_err() {
        eprintln!("skipped: it takes root and setpriv to become a user without processes");
        return;
    }
    let test = Test::new(MANY);
    let user = 40_000 + std::process::id() % 20_000;
    std::fs::set_permissions(test.path("."), Permissions::from_mode(0o755)).unwrap();
    chown(test.path("."), Some(user), Some(user)).unwrap();
    // The program may lie where nobody else can read.
    std::fs::copy(env!("CARGO_BIN_EXE_dagrun"), test.path("dagrun")).unwrap();
    let script = format!(
        "ulimit -u 24; exec setpriv --reuid={user} --regid={user} --clear-groups \
         env -u XDG_RUNTIME_DIR ./dagrun submit pipeline.toml -j 32"
    );
    test.start_in_shell(&script).end().exits(0);
    all_first(&test, 200);
}

/// A scheduler with a worker that finds no program, and a good one.
fn bad_and_good(pipeline: &str) -> (Cluster, [Process; 2]) {
    let cluster = Cluster::start(Test::new(pipeline), "0");
    let words = ["worker", "--cluster", "c", "--name", "bad", "-j", "4"];
    let mut bad = cluster.0.start_with(&words, &[("PATH", String::new())]);
    bad.wait_for_line("joined");
    let good = cluster.join(&["--name", "good", "-j", "2"]);
    (cluster, [bad, good])
}

#[test]
fn a_worker_without_programs_beside_a_good_one() {
    let (cluster, _workers) = bad_and_good(
        "[task.a]\nrun = ['true']\nsweep = { i = { range = '0..60' } }\n\
         [task.b]\nshell = 'echo $i'\ncapture = 'text'\nsweep = { i = { range = '0..60' } }\n\
         [task.c]\nscript = \"#!/usr/bin/env sh\\necho 1\\n\"\nafter = 'a'\n",
    );
    cluster.submit(&[]).exits(0);
    for task in ["a", "b", "c"] {
        assert!(cluster.places(task).iter().all(|place| place == "good"), "{task}");
        assert!(cluster.instances(task).iter().all(|row| row["attempts"] == 1), "{task}");
    }
}

#[test]
fn what_no_worker_has_fails_at_once() {
    let pipeline = "[task.a]\nrun = ['prcie', '1']\nretries = { count = 5, delay = '1h' }";
    let (cluster, _workers) = bad_and_good(pipeline);
    cluster.submit(&[]).exits(1).err_has("no worker has `prcie` (no such program: prcie)");
    let rows = cluster.instances("a");
    assert_eq!(rows[0]["reason"], "no worker has `prcie` (no such program: prcie)");
    // The same without a cluster.
    let test = Test::new(pipeline);
    test.submit(&[]).exits(1).err_has("no worker has `prcie` (no such program: prcie)");
}

fn descriptors(of: &Process, most: Option<u64>) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit { current: most.or(maximum), maximum };
    let pid: Option<Pid> = Some(of.pid());
    prlimit(pid, Resource::Nofile, limit).unwrap();
}

#[test]
fn status_workers_and_explain_say_what_a_machine_refuses() {
    let cluster = Cluster::start(Test::new("[task.a]\nrun = ['true']"), "0");
    let worker = cluster.join(&["--name", "w1", "-j", "4"]);
    descriptors(&worker, Some(4));
    cluster.submit(&["--detach"]).exits(0);
    let refused = "Too many open files";
    let note = || cluster.run(&["workers", "--json"]).exits(0).json().remove(0)["note"].clone();
    wait_until("the worker is short", || note().as_str().is_some_and(|it| it.contains(refused)));
    cluster.run(&["workers"]).exits(0).out_has("w1: starts nothing until ").out_has(refused);
    wait_until("the instance waits", || {
        let explained = cluster.run(&["explain", "last", "a"]).exits(0).stdout;
        explained.contains("waits for attempt 1, which is due at ") && explained.contains(refused)
    });
    wait_until("status shows it", || {
        let status = cluster.run(&["status", "last", "--json"]).exits(0).json().remove(0);
        let task = &status["tasks"][0];
        (task["backoff"] == 1 || task["ready"] == 1) && task["failed"] == 0
    });
    descriptors(&worker, None);
    cluster.run(&["wait", "last"]).exits(0);
    let rows = cluster.instances("a");
    assert_eq!((&rows[0]["state"], &rows[0]["attempts"]), (&json!("succeeded"), &json!(1)));
}

#[test]
fn a_full_disk_is_waited_for() {
    let can_mount = Command::new("unshare").args(["-m", "true"]).status();
    if !can_mount.is_ok_and(|status| status.success()) {
        eprintln!("skipped: it takes a file system of its own, which cannot be mounted here");
        return;
    }
    let test = Test::new(
        "[task.a]\nshell = 'echo $i > \"$out_f\"'\nout.f = 'small/{i}'\nsweep = { i = [1, 2, 3] }\n",
    );
    std::fs::create_dir(test.path("small")).unwrap();
    let run = test.start_in_shell(
        "exec unshare -m sh -c 'mount -t tmpfs -o nr_inodes=20 none small
         i=0; while true > small/full-$i; do i=$((i + 1)); done 2> full
         (until [ -e go ]; do sleep 0.05; done; rm small/full-*) &
         \"$0\" submit pipeline.toml --quiet && cat small/1 small/2 small/3' \"$0\"",
    );
    wait_until("it waits", || {
        let explained = test.run(&["explain", "1", "a[0]"]);
        explained.stdout.contains("cannot create the directory of small/")
            && explained.stdout.contains("No space left on device")
    });
    test.write("go", "");
    run.end().exits(0).out("1\n2\n3\n");
    all_first(&test, 3);
}

#[test]
fn a_retry_waits_for_the_busy_worker_where_it_has_not_failed() {
    let cluster = Cluster::start(
        Test::new(
            "[task.a]\nshell = '[ $DAGRUN_ATTEMPT = 2 ]'\nretries = 1\ntargets = ['w1', 'w2']\n\
             [task.b]\nshell = 'touch b; until [ -e go ]; do sleep 0.01; done'\npriority = 1\n",
        ),
        "2",
    );
    cluster.submit(&["--detach"]).exits(0);
    cluster.0.wait_for_file("b");
    let waits = || cluster.run(&["explain", "last", "a"]).exits(0).stdout;
    wait_until("it waits for the other", || waits().contains("it waits for another worker"));
    let place = || cluster.places("b").remove(0);
    wait_until("where the other one runs is known", || place() != "-");
    let busy = place();
    let first = if busy == "w1" { "w2" } else { "w1" };
    assert!(waits().contains(&format!("which is busy: it failed on {first} until ")));
    cluster.0.write("go", "");
    cluster.run(&["wait", "last"]).exits(0);
    assert_eq!(cluster.places("a"), [busy]);
}
