//! Tasks that use more memory than they asked for, and machines that have little left.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Cluster, Outcome, Process, Test, wait_until};

/// Keeps 200 MiB until the file `go` is there; its further attempts end at once.
const HOG: &str = "(head -c 200M /dev/zero; until [ -e go ] || [ $DAGRUN_ATTEMPT -gt 1 ]; do sleep 0.02; done) \
                   | tail -c 200M | wc -c";

/// A task that keeps 200 MiB.
fn hog(options: &str) -> Test {
    Test::new(&format!("[task.hog]\nshell = '''{HOG}'''\n{options}\n"))
}

/// What the run's only instance is like.
fn instance(test: &Test) -> Value {
    let rows = test.run(&["status", "last", "--instances", "--json"]).exits(0).json();
    rows.into_iter().find(|row| row["task"] == "hog").unwrap()
}

fn explained(test: &Test) -> Outcome {
    test.run(&["explain", "last", "hog"]).exits(0)
}

#[test]
fn what_uses_more_than_its_memory_is_ended() {
    let test = hog("memory = '100MiB'");
    test.submit(&["--enforce-memory"]).exits(1).err_has("MiB, asked for 100 MiB");
    let row = instance(&test);
    assert_eq!((&row["state"], &row["attempts"]), (&json!("failed"), &json!(1)));
    let reason = row["reason"].as_str().unwrap();
    assert!(reason.starts_with("used ") && reason.ends_with(", asked for 100 MiB"), "{reason}");
}

#[test]
fn below_a_batch_system_it_is_the_default() {
    let test = hog("memory = '100MiB'");
    let mut command = test.command(&["submit", "pipeline.toml"]);
    let output = command.env("SLURM_JOB_ID", "7").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(instance(&test)["reason"].as_str().unwrap().starts_with("used "));
    std::fs::write(test.path("go"), "").unwrap();
    let mut command = test.command(&["submit", "pipeline.toml", "--enforce-memory=false"]);
    let output = command.env("SLURM_JOB_ID", "7").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn elsewhere_it_is_noted() {
    let test = hog("memory = '100MiB'");
    let run = test.start(&["submit", "pipeline.toml"]);
    wait_until("it is noted in the log", || {
        test.run(&["logs", "last"]).stdout.contains(", asked for 100 MiB")
    });
    std::fs::write(test.path("go"), "").unwrap();
    run.end().exits(0);
    assert_eq!(instance(&test)["state"], "succeeded");
    explained(&test).out_has("succeeded; it used ").out_has(", asked for 100 MiB");
}

#[test]
fn after_an_end_for_memory_the_next_attempt_asks_for_more() {
    let retries = "retries = { count = 2, on = ['memory'], grow = { memory = 4.0 } }";
    let test = hog(&format!("memory = '100MiB'\n{retries}"));
    test.submit(&["--enforce-memory"]).exits(0);
    assert_eq!(instance(&test)["attempts"], 2);
    explained(&test).out_has("attempt 1").out_has(", asked for 100 MiB").out_has("attempt 2");

    // What the next attempt asks for is no more than there is, and none is made when that is no more.
    let test = hog(&format!("memory = '100MiB'\n{retries}"));
    let test = Test::new(&test.read("pipeline.toml").replace(" || [ $DAGRUN_ATTEMPT -gt 1 ]", ""));
    test.submit(&["--enforce-memory", "--memory", "120MiB"])
        .exits(1)
        .err_has(", asked for 120 MiB; no worker offers more");
    assert_eq!(instance(&test)["attempts"], 2);
}

#[test]
fn other_failures_are_not_tried_again_as_those() {
    let test = Test::new(
        "[task.hog]\nrun = ['false']\nmemory = '1MiB'\n\
         retries = { count = 2, on = ['memory'], grow = { memory = 2 } }",
    );
    test.submit(&["--enforce-memory"]).exits(1);
    assert_eq!(instance(&test)["attempts"], 1);
}

#[test]
fn a_worker_of_a_cluster_enforces_it_when_it_is_to() {
    let test = hog("memory = '100MiB'");
    test.run(&["cluster", "start", "-j", "1", "--cluster", "c", "--enforce-memory"]).exits(0);
    let cluster = Cluster::started(test);
    cluster.submit(&[]).exits(1).err_has(", asked for 100 MiB");
}

/// A control group of the first or second version in which what runs has 240 MiB; `None` where none may
/// be made.
struct Group(PathBuf);

impl Group {
    fn new(name: &str) -> Option<Group> {
        let name = format!("dagrun-test-{}-{name}", std::process::id());
        let kinds =
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        kinds.into_iter().find_map(|(root, limit)| {
            let dir = PathBuf::from(root).join(&name);
            std::fs::create_dir(&dir).ok()?;
            let group = Group(dir);
            std::fs::write(group.0.join(limit), (240 << 20).to_string()).ok()?;
            Some(group)
        })
    }

    /// Starts the program within it.
    fn start(&self, test: &Test, words: &str) -> Process {
        let procs = self.0.join("cgroup.procs");
        test.start_in_shell(&format!("echo $$ > {} && exec $0 {words}", procs.display()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What ended in it leaves it a little later.
        for _ in 0..500 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

#[test]
fn what_the_system_kills_when_memory_runs_out_ended_for_memory() {
    let Some(group) = Group::new("kill") else {
        eprintln!("SKIPPED: no control group with a limit may be made here");
        return;
    };
    // The second attempt has nothing to keep.
    let test = Test::new(
        "[task.hog]\nshell = '[ $DAGRUN_ATTEMPT -gt 1 ] || head -c 1G /dev/zero | tail -c 1G | wc -c'\n\
         retries = { count = 1, on = ['memory'] }",
    );
    group.start(&test, "submit pipeline.toml -j 1 --quiet").end().exits(0);
    explained(&test).out_has("killed by the system, which was out of memory");
}

#[test]
fn a_worker_with_little_memory_left_takes_nothing_more() {
    let Some(group) = Group::new("left") else {
        eprintln!("SKIPPED: no control group with a limit may be made here");
        return;
    };
    let test = Test::new(
        "[task.hog]\nshell = '(head -c 180M /dev/zero; until [ -e go ]; do sleep 0.02; done) | tail -c 180M | wc -c'\n\
         [task.next]\nshell = 'touch next'\nafter = 'look'\n\
         [task.look]\nshell = 'until [ -e look ]; do sleep 0.02; done'\n",
    );
    let cluster = Cluster::start(test, "0");
    let mut worker = group.start(&cluster.0, "worker --cluster c --name w1 -j 3");
    worker.wait_for_line("joined");
    let note = || {
        let workers = cluster.run(&["workers", "--json"]).exits(0).json();
        workers.first().map(|row| row["note"].as_str().unwrap_or_default().to_owned())
    };
    cluster.submit(&["--detach"]).exits(0);
    let short = "takes nothing more until memory is free: ";
    wait_until("little memory is left", || note().is_some_and(|note| note.starts_with(short)));
    std::fs::write(cluster.0.path("look"), "").unwrap();
    let status = || {
        let rows = cluster.instances("next");
        rows.first().map(|row| (row["state"].clone(), row["reason"].to_string()))
    };
    wait_until("the next one waits, and it is said why", || {
        status().is_some_and(|(state, why)| state == "ready" && why.contains(short))
    });
    assert!(!cluster.0.path("next").exists());
    std::fs::write(cluster.0.path("go"), "").unwrap();
    cluster.run(&["wait", "last"]).exits(0);
    assert!(cluster.0.path("next").exists());
    worker.signal(Signal::TERM);
    worker.end();
}
