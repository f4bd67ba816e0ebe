//! Signals: what they end, what they leave, what they say.

use rustix::process::Signal;

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
fn the_first_ctrl_c_cancels_the_run_and_ends_its_processes() {
    let test = Test::new(POLITE);
    let mut process = test.start(&["submit", "pipeline.toml"]);
    test.wait_for_file("outer");
    process.signal(Signal::INT);
    process.end().exits(130).err_has("cancelled").err_has("dagrun retry 1 --failed");
    is_gone(&test, "outer");
    is_gone(&test, "inner");
    assert!(!test.path("b").exists());
    let status = test.run(&["status", "--json"]).exits(0).json();
    assert_eq!(status[0]["state"], "cancelled");
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
    test.run(&["wait", "last"]).exits(3).err_has("is gone");
    test.run(&["status", "last"]).exits(0).out_has("running").err_has("is gone");
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
    process.end().exits(130).err_has("cancelled");
    assert!(test.path("notified").exists());
    assert!(!test.path("next").exists());
    is_gone(&test, "outer");
    let status = test.run(&["status", "--json"]).exits(0).json();
    assert_eq!(status[0]["state"], "cancelled");
    assert_eq!(status[0]["tasks"][2]["succeeded"], 1);
}
