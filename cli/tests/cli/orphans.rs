//! What tasks leave behind: processes that left their group, and what ends as an orphan.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::process::Command;

use crate::harness::{Test, is_alive};

#[test]
fn what_left_its_group_ends_with_its_attempt() {
    // The second task sees whether it runs, while the run goes on.
    let test = Test::new(
        "[task.leaves]\nshell = 'setsid sh -c \"echo \\$\\$ > pid; exec sleep 1000\" & until [ -s pid ]; do sleep 0.02; done'\n\
         [task.looks]\nshell = '! kill -0 $(cat pid)'\nafter = 'leaves'",
    );
    test.submit(&[]).exits(0);
    assert!(!is_alive(test.read("pid").trim()));
}

#[test]
fn what_left_its_group_ends_with_an_attempt_that_is_stopped() {
    let test = Test::new(
        "[task.leaves]\nshell = '(setsid sh -c \"echo \\$\\$ > pid; exec sleep 1000\" &); sleep 1000'\ntimeout = '5s'\n\
         [task.looks]\nshell = '! kill -0 $(cat pid)'\nafter = { all = 'leaves', on = 'failure' }",
    );
    test.submit(&[]).exits(1).err_has("timed out after 5s");
    assert!(!is_alive(test.read("pid").trim()));
}

#[test]
fn the_first_process_of_a_container_reaps_what_is_left_to_it() {
    let namespace = ["unshare", "--pid", "--fork", "--mount-proc"];
    let probe = Command::new(namespace[0]).args(&namespace[1..]).arg("true").output();
    if !probe.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no namespace of processes may be made here");
        return;
    }
    // The shell leaves a child to the program that it becomes; a task leaves a grandchild.
    let test = Test::new(
        "[task.leaves]\nshell = '(setsid sh -c \"echo \\\\$\\\\$ > own; sleep 0.1\" &); until [ -s own ]; do sleep 0.02; done'\n\
         [task.looks]\nafter = 'leaves'\ntimeout = '60s'\n\
         shell = 'for pid in $(cat own other); do while [ -e /proc/$pid ]; do sleep 0.05; done; done; \
                  echo $PPID > parent'",
    );
    let script = format!(
        "exec {} sh -c 'sleep 0.2 & echo $! > other; exec \"$0\" submit pipeline.toml' \"$0\"",
        namespace.join(" ")
    );
    test.start_in_shell(&script).end().exits(0);
    assert_eq!(test.read("parent").trim(), "1");
}
