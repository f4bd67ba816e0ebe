//! `dagrun logs` by streams, and as files.

use crate::harness::{Cluster, Outcome, Test};

const PIPELINE: &str = r#"
    [task.a]
    sweep = { n = [1, 2] }
    retries = 1
    shell = 'echo "out $n"; echo "err $n $DAGRUN_ATTEMPT" >&2; [ "$n-$DAGRUN_ATTEMPT" != 2-1 ]'
    [task.quiet]
    run = "true"
"#;

#[test]
fn logs_are_of_one_stream_when_asked() {
    let test = Test::new(PIPELINE);
    test.submit(&[]).exits(0);
    test.run(&["logs", "a[0]", "--stdout"]).exits(0).out("out 1\n");
    test.run(&["logs", "a[0]", "--stderr"]).exits(0).out("err 1 1\n");
    let all = test.run(&["logs", "--stderr"]).exits(0).out_has("a[1] attempt 2: err 2 2\n");
    assert!(!all.stdout.contains("out"), "{all:?}");
    test.run(&["logs", "--stdout", "--stderr"]).exits(2);
}

#[test]
fn logs_are_written_as_files() {
    let test = Test::new(PIPELINE);
    test.submit(&[]).exits(0);
    let written = test.run(&["logs", "-o", "logs/of run"]).exits(0).out("");
    written.err_has("6 files in logs/of run");
    let mut names: Vec<_> = std::fs::read_dir(test.path("logs/of run"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "a-0.stderr",
            "a-0.stdout",
            "a-1.attempt-2.stderr",
            "a-1.attempt-2.stdout",
            "a-1.stderr",
            "a-1.stdout"
        ]
    );
    assert_eq!(test.read("logs/of run/a-1.attempt-2.stderr"), "err 2 2\n");
    // A second time replaces what is there, and a selection writes that only.
    test.run(&["logs", "a[n=1]", "-o", "logs/of run", "--stdout"]).exits(0).err_has("1 file in");
    assert_eq!(test.read("logs/of run/a-0.stdout"), "out 1\n");
    test.write("file", "");
    test.run(&["logs", "-o", "file"]).exits(1).err_has("cannot write file");
}

#[test]
fn logs_that_were_removed_are_not_taken_for_empty() {
    let pipeline = "[task.a]\nshell = 'echo said'\n[task.b]\nshell = 'echo why >&2; exit 1'";
    let cluster = Cluster::start(Test::new(pipeline), "1");
    cluster.submit(&["-q"]).exits(1);
    let of_cluster = cluster.0.path("clusters/c/state");
    let test = Test::new(pipeline);
    test.submit(&["-q"]).exits(1);
    let state = test.path(".dagrun");
    for (state, run) in [
        (state, &(|words: &[&str]| test.run(words)) as &dyn Fn(&[&str]) -> Outcome),
        (of_cluster, &|words: &[&str]| cluster.run(words)),
    ] {
        run(&["logs", "1"]).exits(0).out_has("said");
        for removed in ["runs/1/logs", "runs/1", "runs"] {
            std::fs::remove_dir_all(state.join(removed)).unwrap();
            let outcome = run(&["logs", "1"]).out("");
            assert_ne!(outcome.status.code(), Some(0), "{removed}");
            outcome.err_has("the logs of run 1 have been removed").err_has("runs/1/logs");
        }
        run(&["status", "1", "--failed"]).exits(0).out_has("b[0]");
    }
    // Of a run that wrote nothing there are none.
    let silent = Test::new("[task.a]\nrun = 'true'");
    silent.submit(&["-q"]).exits(0);
    silent.run(&["logs"]).exits(0).out("");
}
