//! Pipelines of thousands of tasks that a program wrote: a chain, and one task after all others.

use std::fmt::Write as _;

use rustix::process::Signal;

use crate::harness::{Cluster, Outcome, Test, wait_until};

const TASKS: usize = 2_000;

/// What the task in the middle does where the run is to be caught there.
const HELD: &str = "shell = 'touch held; sleep 1000'";

fn body(task: usize, held: bool) -> &'static str {
    if held && task == TASKS / 2 { HELD } else { "run = ['true']" }
}

fn chain(held: bool) -> String {
    let mut text = format!("[task.t0]\n{}\n", body(0, held));
    for task in 1..TASKS {
        writeln!(text, "[task.t{task}]\n{}\nafter = 't{}'", body(task, held), task - 1).unwrap();
    }
    text
}

fn fan_in(held: bool) -> String {
    let mut text = String::new();
    let names: Vec<String> = (0..TASKS - 1).map(|task| format!("t{task}")).collect();
    for (task, name) in names.iter().enumerate() {
        writeln!(text, "[task.{name}]\n{}", body(task, held)).unwrap();
    }
    writeln!(text, "[task.last]\nrun = ['true']\nafter = {names:?}").unwrap();
    text
}

/// How many instances of the last run are in a state.
fn count(status: &Outcome, state: &str) -> u64 {
    let status = status.json().remove(0);
    let tasks = status["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), TASKS);
    tasks.iter().map(|task| task[state].as_u64().unwrap()).sum()
}

/// No line says more than a person reads.
fn is_readable(outcome: Outcome) -> Outcome {
    let longest = outcome.stdout.lines().map(str::len).max().unwrap_or(0);
    assert!(longest < 200, "a line of {longest} bytes");
    outcome
}

#[test]
fn a_long_chain_runs_to_its_end() {
    let test = Test::new(&chain(false));
    is_readable(test.run(&["check", "pipeline.toml"]).exits(0)).out_has("2000 tasks");
    let outcome = test.submit(&["-j", "2"]).exits(0);
    assert_eq!(outcome.stderr.matches(": 1/1 succeeded").count(), TASKS);
    assert_eq!(count(&test.run(&["status", "last", "--json"]).exits(0), "succeeded"), 2_000);
}

#[test]
fn a_long_chain_is_interrupted_in_the_middle() {
    let test = Test::new(&chain(true));
    let mut process = test.start(&["submit", "pipeline.toml", "-j", "2", "--quiet"]);
    test.wait_for_file("held");
    process.signal(Signal::INT);
    process.end().exits(130);
    let status = test.run(&["status", "last", "--json"]).exits(0);
    assert_eq!((count(&status, "succeeded"), count(&status, "cancelled")), (1_000, 1_000));
}

#[test]
fn a_task_after_thousands_waits_for_the_last_of_them_and_is_cancelled() {
    let cluster = Cluster::start(Test::new(&fan_in(true)), "2");
    is_readable(cluster.0.run(&["check", "pipeline.toml"]).exits(0)).out_has("1999 edges");
    cluster.submit(&["--detach"]).exits(0);
    let status = || cluster.run(&["status", "last", "--json"]).exits(0);
    wait_until("only the one that is held is left", || count(&status(), "succeeded") == 1_998);
    is_readable(cluster.run(&["explain", "last", "last"]).exits(0))
        .out_has("t7 and 1991 more: t1000 has not ended");
    cluster.run(&["cancel", "last"]).exits(0);
    cluster.run(&["wait", "last"]).exits(1);
    assert_eq!((count(&status(), "succeeded"), count(&status(), "cancelled")), (1_998, 2));
}

#[test]
fn a_task_after_thousands_runs_or_says_why_not() {
    let text =
        fan_in(false).replace("[task.t1000]\nrun = ['true']", "[task.t1000]\nrun = ['false']");
    let test = Test::new(&text);
    test.submit(&["-j", "2", "--quiet"]).exits(1);
    is_readable(test.run(&["explain", "last", "last"]).exits(0))
        .out_has("t7 and 1991 more: t1000 failed: exit code 1");
    let test = Test::new(&fan_in(false));
    test.submit(&["-j", "2", "--quiet"]).exits(0);
    test.run(&["explain", "last", "last"]).exits(0).out_has("last succeeded");
}
