//! `dagrun explain`, from the history and at a scheduler.

use rustix::process::Signal;

use crate::harness::{Cluster, Test, wait_until};

const FAILING: &str = r#"
[task.a]
shell = "exit $((3 * i))"
sweep = { i = [0, 1] }
[task.b]
run = ["true"]
after = "a"
"#;

#[test]
fn reasons_come_from_the_history() {
    let test = Test::new(FAILING);
    assert_eq!(test.submit(&[]).status.code(), Some(1));
    let explain = |target| test.run(&["explain", "last", target]);
    let failed = explain("a[1]");
    let lines: Vec<&str> = failed.stdout.lines().collect();
    assert_eq!((failed.status.code(), lines[0]), (Some(0), "a[1] failed: exit code 3"));
    assert!(lines[1].starts_with("attempt 1 on w1: started 20"), "{lines:?}");
    assert!(lines[1].ends_with(", exit code 3"), "{lines:?}");
    let skipped = "b was skipped: after a: a[1] failed: exit code 3\n";
    assert_eq!(explain("b").stdout, skipped);
    assert_eq!(explain("a[2]").status.code(), Some(2));
    assert_eq!(explain("c").status.code(), Some(2));
}

/// One task, or instance, for each way in which one can end; each says in its name what it is about.
const ENDS: &str = r#"
[defaults]
allow-failure = true

[task.exit_code]
shell = "exit 3"
[task.signal]
shell = "kill -9 $$"
[task.timeout]
run = ["sleep", "1000"]
timeout = "100ms"
[task.missing_output]
run = ["true"]
out.x = "x.txt"
[task.no_json]
run = ["echo", "[1, "]
capture = "json"
[task.no_text]
run = ["printf", '\377']
capture = "text"
[task.no_program]
run = ["no-such-program"]
[task.nowhere]
run = ["true"]
targets = "nobody"
start-within = "100ms"
[task.in_vain]
shell = "exit $DAGRUN_ATTEMPT"
retries = 1
[task.second_time]
shell = 'test "$DAGRUN_ATTEMPT" = 2'
retries = 1
[task.sim]
shell = "exit $i"
sweep = { i = [0, 1] }
[task.object]
run = ["echo", "{{}}"]
capture = "json"
[task.long]
run = ["seq", "12"]
capture = "lines"

[task.after_one]
run = ["true"]
after = "exit_code"
[task.after_any]
run = ["true"]
after = { any = ["exit_code", "end_of_chain"] }
[task.after_failure]
run = ["true"]
after = { all = ["second_time"], on = "failure" }
[task.end_of_chain]
run = ["true"]
after = "after_one"
[task.mapped]
map = "sim"
run = ["true"]
[task.gathered]
gather = "sim"
run = ["true"]
[task.too_few]
gather = "sim"
min-success = 2
run = ["true"]
[task.uses]
run = ["echo", "{no_json.value}"]
[task.follows]
run = ["true"]
follow = "exit_code"
[task.follows_nowhere]
run = ["true"]
follow = { all = ["nowhere"], on = "finish" }
[task.follows_skipped]
run = ["true"]
follow = { all = ["after_one"], on = "finish" }
[task.no_array]
scatter = "object"
run = ["true"]
[task.too_long]
scatter = { from = "long", max-items = 10 }
run = ["true"]
[task.of_no_array]
map = "no_array"
run = ["true"]
"#;

/// What `explain` says of each, as a reader of a terminal sees it.
fn told(targets: &[&str], explain: impl Fn(&str) -> String) -> String {
    targets
        .iter()
        .map(|target| format!("$ dagrun explain last {target}\n{}\n", explain(target)))
        .collect()
}

/// Times and process ids differ from run to run.
fn compare(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"20\d\d-\d\d-\d\dT[\d:.]+Z", "TIME");
    settings.add_filter(r"took [^,\n]+", "took SPAN");
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn every_end_has_its_reason() {
    let test = Test::new(ENDS);
    test.submit(&["-q", "-j", "4"]);
    let targets = [
        "exit_code",
        "signal",
        "timeout",
        "missing_output",
        "no_json",
        "no_text",
        "no_program",
        "nowhere",
        "in_vain",
        "second_time",
        "sim[0]",
        "sim[1]",
        "after_one",
        "after_any",
        "after_failure",
        "end_of_chain",
        "mapped[1]",
        "gathered",
        "too_few",
        "uses",
        "follows",
        "follows_nowhere",
        "follows_skipped",
        "no_array[0]",
        "too_long[0]",
        "of_no_array[0]",
    ];
    compare(
        "ends",
        &told(&targets, |target| test.run(&["explain", "last", target]).exits(0).stdout),
    );
}

#[test]
fn every_end_that_workers_decide_has_its_reason() {
    let test = Test::new(
        "[task.a]\nrun = ['true']\ntargets = 'w1'\n\
         [task.b]\nrun = ['true']\ntargets = 'w2'\n\
         [task.c]\nrun = ['true']\ntargets = 'w3'\n\
         [task.on_several]\nrun = ['true']\nfollow = ['a', 'b']\n\
         [task.too_often]\nrun = ['sleep', '1000']\ntargets = 'w2'\nafter = 'b'\nmax-lost = 0\n\
         [task.lost]\nrun = ['sleep', '1000']\nfollow = 'c'\n\
         [task.worker_gone]\nrun = ['true']\nfollow = 'c'\nafter = { all = 'lost', on = 'finish' }\n\
         [task.held]\nrun = ['sleep', '1000']\ntargets = 'w1'\nafter = 'a'\n\
         [task.next]\nrun = ['true']\nafter = 'held'\n\
         [task.waits]\nrun = ['true']\ntargets = 'w1'\nafter = { all = ['lost', 'too_often'], on = 'finish' }\n\
         [task.goes_first]\nrun = ['true']\ntargets = 'w1'\npriority = 5\n\
         after = { all = ['lost', 'too_often'], on = 'finish' }",
    );
    let cluster = Cluster::start(test, "0");
    let join = |name| cluster.join(&["--name", name, "-j", "1"]);
    let [_w1, mut w2, mut w3] = ["w1", "w2", "w3"].map(join);
    cluster.submit(&["--detach"]).exits(0);
    let explain = |target: &str| cluster.run(&["explain", "last", target]).exits(0).stdout;
    for task in ["too_often", "lost", "held"] {
        wait_until("it is written that it has started", || explain(task).contains("since"));
    }
    w2.signal(Signal::KILL);
    w3.signal(Signal::KILL);
    wait_until("those who wait are ready", || explain("waits").contains("higher priority"));
    compare("running", &told(&["held", "next", "waits", "goes_first"], explain));
    for task in ["waits", "goes_first", "next", "held"] {
        cluster.run(&["cancel", "last", task]).exits(0);
    }
    cluster.run(&["wait", "last"]).exits(1);
    let targets = ["a", "on_several", "too_often", "lost", "worker_gone", "held", "next", "waits"];
    compare("ends_on_workers", &told(&targets, explain));
}
