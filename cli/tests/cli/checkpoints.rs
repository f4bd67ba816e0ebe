//! `DAGRUN_CHECKPOINT_DIR`: what one attempt of an instance leaves to the next.

use crate::harness::{Cluster, Outcome, Test};

/// The program that runs here is one that dagrun cannot look into.
const STEPS: &str = r#"
    [task.step]
    sweep = { x = [1, 2] }
    retries = 2
    run = ["./step", "{x}"]
    capture = "text"
"#;

/// Adds a line to what is there, and fails until there are two.
const STEP: &str = "#!/bin/sh\nset -eu\necho $1 >> \"$DAGRUN_CHECKPOINT_DIR/lines\"\n\
                    [ $(wc -l < \"$DAGRUN_CHECKPOINT_DIR/lines\") = 2 ] || exit 3\n\
                    cat \"$DAGRUN_CHECKPOINT_DIR/lines\"\n";

fn test() -> Test {
    use std::os::unix::fs::PermissionsExt as _;
    let test = Test::new(STEPS);
    test.write("step", STEP);
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(test.path("step"), executable).unwrap();
    test
}

fn goes_on(run: impl Fn(&[&str]) -> Outcome) {
    run(&["submit", "pipeline.toml", "-q"]).exits(0);
    run(&["output", "last", "step[0]"]).exits(0).out("1\n1\n");
    run(&["output", "last", "step[1]"]).exits(0).out("2\n2\n");
}

#[test]
fn an_attempt_goes_on_where_the_one_before_failed() {
    let test = test();
    goes_on(|words| test.run(words));
    let left = std::fs::read_dir(test.path(".dagrun/runs/1/checkpoints")).unwrap();
    assert_eq!(left.count(), 0, "they are removed with success");
    // One that failed for good keeps its own.
    test.write("pipeline.toml", STEPS.replace("retries = 2", ""));
    test.write("step", STEP.replace("set -eu", "set -eu; mkdir -p $DAGRUN_CHECKPOINT_DIR"));
    test.submit(&["-q"]).exits(1);
    assert_eq!(test.read(".dagrun/runs/2/checkpoints/step-1/lines"), "2\n");
}

#[test]
fn on_a_cluster_it_goes_on_at_another_worker() {
    let cluster = Cluster::start(test(), "2");
    goes_on(|words| cluster.run(words));
}

#[test]
fn what_a_killed_worker_left_is_there_at_the_next() {
    let cluster = Cluster::start(Test::new(""), "1");
    let script = r#"
        [task.a]
        targets = "big"
        shell = 'echo at >> "$DAGRUN_CHECKPOINT_DIR/lines"; [ "$DAGRUN_ATTEMPT" = 2 ] || { touch begun; sleep 1000; }; cat "$DAGRUN_CHECKPOINT_DIR/lines"'
        capture = "lines"
    "#;
    cluster.0.write("pipeline.toml", script);
    let mut first = cluster.join(&["--label", "big"]);
    cluster.submit(&["-q", "--detach"]).exits(0);
    cluster.0.wait_for_file("begun");
    // Nobody has a chance to put anything in order.
    first.signal(rustix::process::Signal::KILL);
    cluster.join(&["--label", "big"]);
    cluster.run(&["wait", "last"]).exits(0);
    cluster.run(&["output", "a"]).exits(0).out("[\"at\",\"at\"]\n");
}
