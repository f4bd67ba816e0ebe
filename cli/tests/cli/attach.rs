//! Looking at an embedded run from another process.

use crate::harness::Test;

/// A task that ends when a file appears.
const WAITING: &str = "[task.a]\nshell = 'touch begun; until [ -e go ]; do sleep 0.01; done; echo done'\n\
                       [task.b]\nafter = 'a'\nrun = ['true']";

#[test]
fn wait_and_watch_end_with_the_run() {
    let test = Test::new(WAITING);
    let submit = test.start(&["submit", "pipeline.toml", "-q"]);
    test.wait_for_file("begun");
    let wait = test.start(&["wait", "last"]);
    let mut watch = test.start(&["watch", "1"]);
    watch.wait_for_line("run 1: pipeline, 2 tasks, 2 instances");
    test.write("go", "");
    submit.end().exits(0);
    wait.end().exits(0).silent();
    watch.end().exits(0).err_has("run 1 succeeded");
}

#[test]
fn cancel_reaches_the_process_that_runs_it() {
    let test = Test::new(WAITING);
    let submit = test.start(&["submit", "pipeline.toml", "-q"]);
    test.wait_for_file("begun");
    test.run(&["cancel", "last", "b"]).exits(0);
    test.run(&["explain", "last", "b"]).exits(0).out_has("b was cancelled");
    test.run(&["explain", "last", "a"]).exits(0).out_has("w1");
    test.run(&["cancel", "last"]).exits(0);
    submit.end().exits(1);
    test.run(&["wait", "last"]).exits(1);
    test.run(&["status", "last"]).exits(0).out_has("cancelled");
    test.run(&["cancel", "last"]).exits(0).err_has("has ended");
}

#[test]
fn logs_can_be_followed() {
    let test = Test::new(WAITING);
    let submit = test.start(&["submit", "pipeline.toml", "-q"]);
    test.wait_for_file("begun");
    let logs = test.start(&["logs", "last", "a", "-f"]);
    test.write("go", "");
    submit.end().exits(0);
    logs.end().exits(0).out("done\n");
}
