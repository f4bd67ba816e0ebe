//! Signals: what they end, what they leave, what they say.

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Test, is_alive, wait_until};

/// A task that ends on SIGTERM, together with a process that it started.
const POLITE: &str = "[task.a]\nshell = 'sleep 1000 & echo $! > inner; echo $$ > new; mv new outer; wait'\n\
                      [task.b]\nafter = 'a'\nrun = ['touch', 'b']";

/// A task that ignores SIGTERM.
const STUBBORN: &str = "[task.a]\nshell = 'trap \"\" TERM INT; echo $$ > new; mv new outer; while true; do sleep 1000; done'";

fn is_gone(test: &Test, file: &str) {
    let pid = test.read(file);
    wait_until(&format!("{file} ({}) ends", pid.trim()), || !is_alive(&pid));
}

#[test]
fn the_first_ctrl_c_interrupts_the_run_and_ends_its_processes() {
    let test = Test::new(POLITE);
    let mut process = test.start(&["submit", "pipeline.toml"]);
    test.wait_for_file("outer");
    process.signal(Signal::INT);
    process.end().exits(130).err_has("interrupted").err_has("dagrun resume 1");
    is_gone(&test, "outer");
    is_gone(&test, "inner");
    assert!(!test.path("b").exists());
    let status = test.run(&["status", "--json"]).exits(0).json();
    assert_eq!(status[0]["state"], "interrupted");
    assert_eq!(status[0]["tasks"][1]["cancelled"], 1);
}

#[test]
fn sigterm_does_the_same() {
    let test = Test::new(POLITE);
    let mut process = test.start(&["submit", "pipeline.toml", "--quiet"]);
    test.wait_for_file("outer");
    process.signal(Signal::TERM);
    process.end().exits(143);
    is_gone(&test, "outer");
    is_gone(&test, "inner");
}

#[test]
fn the_second_ctrl_c_kills_at_once() {
    let test = Test::new(STUBBORN);
    let mut process = test.start(&["submit", "pipeline.toml"]);
    test.wait_for_file("outer");
    process.signal(Signal::INT).wait_for_line("once more").signal(Signal::INT);
    process.end().exits(130);
    is_gone(&test, "outer");
}

#[test]
fn grace_bounds_the_first_ctrl_c() {
    let test = Test::new(&format!("{STUBBORN}\ngrace = '100ms'"));
    let mut process = test.start(&["submit", "pipeline.toml"]);
    test.wait_for_file("outer");
    process.signal(Signal::INT);
    process.end().exits(130);
    is_gone(&test, "outer");
}

#[test]
fn killing_the_process_leaves_nothing_behind() {
    let test = Test::new(STUBBORN);
    let mut process = test.start(&["submit", "pipeline.toml"]);
    test.wait_for_file("outer");
    process.signal(Signal::KILL);
    process.end();
    is_gone(&test, "outer");
    let how = "run 1 was interrupted; go on with: dagrun resume 1";
    test.run(&["wait", "last"]).exits(3).err_has(how);
    test.run(&["watch", "last"]).exits(3).err_has(how);
    test.run(&["status", "last"]).exits(0).out_has("interrupted").err_has(how);
    test.run(&["runs"]).exits(0).out_has("interrupted");
    let events = test.run(&["watch", "last", "--json"]).exits(3).json();
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["state"]), (&json!("run-finished"), &json!("interrupted")));
}

/// A run whose process was killed: one instance had succeeded, one failed, one ran, one waited.
fn killed() -> Test {
    let test = Test::new(
        "[task.ok]\nrun = ['true']\n[task.bad]\nallow-failure = true\nrun = ['false']\n\
         [task.slow]\nafter = { all = ['ok', 'bad'], on = 'finish' }\n\
         shell = 'echo $$ > new; mv new outer; [ -e go ] || sleep 1000'\n\
         [task.last]\nafter = 'slow'\nrun = ['touch', 'last']",
    );
    let mut process = test.start(&["submit", "pipeline.toml"]);
    test.wait_for_file("outer");
    // What has ended is in the history a moment after it was acted upon.
    wait_until("both ends are on disk", || {
        let status = test.run(&["status", "last", "--json"]).json().remove(0);
        let count = |at: usize, state: &str| status["tasks"][at][state] == json!(1);
        count(0, "succeeded") && count(1, "failed")
    });
    process.signal(Signal::KILL);
    process.end();
    is_gone(&test, "outer");
    test
}

#[test]
fn a_killed_run_can_be_gone_on_with() {
    let test = killed();
    test.write("go", "");
    test.run(&["retry", "--failed"]).exits(0).err_has("takes 1 instance over");
    assert!(test.path("last").exists());
    // The first one stays what it is.
    let runs = test.run(&["runs", "--json"]).exits(0).json();
    assert_eq!(
        (&runs[0]["state"], &runs[1]["state"]),
        (&json!("succeeded"), &json!("interrupted"))
    );
    test.run(&["explain", "1", "last"]).exits(0).out_has("last has not started");
}

#[test]
fn cancelling_a_killed_run_gives_it_up() {
    let test = killed();
    test.run(&["cancel", "1", "slow"]).exits(2).err_has("dagrun cancel 1");
    test.run(&["cancel", "1"]).exits(0);
    test.run(&["cancel", "1"]).exits(0).err_has("has ended: cancelled");
    test.run(&["wait", "1"]).exits(1);
    let status = test.run(&["status", "1", "--json"]).exits(0).json();
    assert_eq!(status[0]["state"], "cancelled");
    let counts = |at: usize, state: &str| status[0]["tasks"][at][state].clone();
    assert_eq!((counts(0, "succeeded"), counts(1, "failed")), (json!(1), json!(1)));
    assert_eq!((counts(2, "cancelled"), counts(3, "cancelled")), (json!(1), json!(1)));
    let instances = test.run(&["status", "1", "--instances", "--json"]).exits(0).json();
    let states: Vec<_> = instances.iter().map(|one| one["state"].clone()).collect();
    assert_eq!(states, ["succeeded", "failed", "cancelled", "cancelled"]);
    assert!(!test.path("last").exists());
}

#[test]
fn a_closed_terminal_interrupts_unless_it_is_ignored() {
    let test = Test::new(POLITE);
    let mut process = test.start(&["submit", "pipeline.toml", "--quiet"]);
    test.wait_for_file("outer");
    process.signal(Signal::HUP);
    process.end().exits(129);
    is_gone(&test, "outer");
    test.run(&["wait"]).exits(3);
    std::fs::remove_file(test.path("outer")).unwrap();
    let mut process = test.start_in_shell("trap '' HUP; exec \"$0\" submit pipeline.toml --quiet");
    test.wait_for_file("outer");
    process.signal(Signal::HUP).signal(Signal::TERM);
    process.end().exits(143);
}

#[test]
fn always_tasks_run_after_ctrl_c() {
    let test = Test::new(
        "[task.work]\nshell = 'echo $$ > new; mv new outer; sleep 1000'\n\
         [task.next]\nafter = 'work'\nrun = ['touch', 'next']\n\
         [task.notify]\nalways = true\nafter = { all = ['work', 'next'], on = 'finish' }\n\
         run = ['touch', 'notified']",
    );
    let mut process = test.start(&["submit", "pipeline.toml"]);
    test.wait_for_file("outer");
    process.signal(Signal::INT);
    process.end().exits(130).err_has("interrupted");
    assert!(test.path("notified").exists());
    assert!(!test.path("next").exists());
    is_gone(&test, "outer");
    let status = test.run(&["status", "--json"]).exits(0).json();
    assert_eq!(status[0]["state"], "interrupted");
    assert_eq!(status[0]["tasks"][2]["succeeded"], 1);
}
