//! The end of a run that succeeded, as people see it.

use crate::harness::{Cluster, Outcome, Test};

const PIPELINE: &str = r#"
    [task.part]
    sweep = { n = [1, 2, 3] }
    retries = 1
    shell = '[ "$n-$DAGRUN_ATTEMPT" != 2-1 ]; echo "$n" > "$out_f"'
    out.f = "parts/{n}.txt"
    [task.sum]
    gather = "part"
    shell = 'echo 6; echo "a b" > "$out_table"'
    capture = "json"
    out.table = "the sum.txt"
    [task.copy]
    map = "part"
    shell = 'cp "$f" "$out_copy"'
    env = { f = "{part.f}" }
    out.copy = "copies/{n}.txt"
    [task.note]
    after = "sum"
    run = ["printf", "one\ntwo\n"]
    capture = "text"
    [task.alarm]
    after = { all = ["sum"], on = "failure" }
    run = ["echo", "never"]
    capture = "text"
"#;

fn is_right(outcome: &Outcome) {
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    let end = lines.iter().position(|line| line.contains(" succeeded: ")).unwrap();
    assert!(lines[end].contains(", 1 retried, "), "{outcome:#?}");
    let expected = [
        "  sum        6",
        "  sum.table  'the sum.txt'",
        "  copy.copy  copies/1.txt … 3 files",
        "  note       one …",
    ];
    assert_eq!(lines[end + 1..], expected, "{outcome:#?}");
}

#[test]
fn a_run_that_succeeded_says_what_came_out_and_what_was_tried_again() {
    let test = Test::new(PIPELINE);
    is_right(&test.submit(&[]).exits(0).out(""));
    // Not where nobody reads it, and not after a failure.
    test.submit(&["--quiet"]).exits(0).silent();
    test.submit(&["--json"]).exits(0).silent();
    test.write(
        "bad.toml",
        "[task.a]\nrun = ['echo', 'x']\ncapture = 'text'\n[task.b]\nrun = 'false'",
    );
    test.run(&["submit", "bad.toml"]).exits(1).err_lacks("  a  x");
}

#[test]
fn so_does_one_on_a_cluster_and_one_that_is_watched() {
    let cluster = Cluster::start(Test::new(PIPELINE), "1");
    is_right(&cluster.submit(&[]).exits(0));
    is_right(&cluster.run(&["watch"]).exits(0));
}

#[test]
fn many_last_tasks_are_counted() {
    let mut pipeline = String::new();
    for n in 0..25 {
        pipeline.push_str(&format!("[task.t{n}]\nrun = ['echo', '{n}']\ncapture = 'text'\n"));
    }
    let test = Test::new(&pipeline);
    let outcome = test.submit(&[]).exits(0).err_has("  t9  9").err_has("  … and 15 more");
    assert!(!outcome.stderr.contains("  t10  10"), "{outcome:#?}");
}
