//! What is reported on a run: lines, JSON, the failure tail, status, logs, output.

use crate::harness::{Outcome, Test};
use serde_json::json;

const FAILING: &str = r#"
name = "scan"
[task.price]
run = ["sh", "-c", 'echo "strike $1"; if [ "$1" = 90 ]; then echo "no price for $1" >&2; exit 3; fi', "sh", "{strike}"]
sweep = { strike = [80, 90] }
[task.surface]
gather = "price"
run = ["true"]
"#;

/// The text without times, which differ from run to run.
fn filtered(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_inclusive([' ', '\n']) {
        let bare = word.trim_end();
        let number = bare.contains('.') && bare.parse::<f64>().is_ok();
        out.push_str(if number { "T " } else { word });
    }
    out
}

#[test]
fn the_failure_tail_says_what_failed_first_and_what_to_do() {
    let test = Test::new(FAILING);
    let outcome = test.submit(&["-j", "1"]).exits(1);
    insta::assert_snapshot!(filtered(&outcome.stderr), @r#"
    run 1: scan, 2 tasks, 3 instances
    price: 1/2 succeeded, 1 failed, T s
    surface: 0/1 succeeded, 1 skipped
    run 1 failed: 3 instances, 1 failed, 1 skipped, T s

    price[1] failed: exit code 3
      params:   strike=90
      argv:     sh -c 'echo "strike $1"; if [ "$1" = 90 ]; then echo "no price for $1" >&2; exit 3; fi' sh 90
      stderr:
        no price for 90
      log:      dagrun logs 1 'price[1]'
      retry:    dagrun retry 1 --failed -j 1
    "#);
}

#[test]
fn several_failures_are_grouped_and_a_script_is_shown_as_written() {
    let test = Test::new(
        "[task.load]\nsweep = { x = { range = '0..12' } }\nshell = \"\"\"\nset -e\n\
         # strange rows\necho \"row 7 of file $x\" | sed 's/ of.*//' >&2\nexit 3\n\"\"\"\n\
         [task.slow]\nafter = { all = ['load'], on = 'finish' }\nrun = ['sleep', '100']\ntimeout = '10ms'\n\
         [task.may]\nallow-failure = true\nrun = 'false'\n",
    );
    let outcome = test.submit(&["-j", "1"]).exits(1);
    let (_, end) = outcome.stderr.split_once("T s\n\n").unwrap_or(("", &outcome.stderr));
    let end = filtered(end);
    let (_, end) = end.split_once("\n\n").unwrap();
    insta::assert_snapshot!(end, @r#"
    13 instances failed:
      12 × such as load[0]: exit code 3: row 7
       1 × slow[0]: timed out after 10ms

    load[0] failed: exit code 3
      params:   x=0
      script:
        set -e
        # strange rows
        echo "row 7 of file $x" | sed 's/ of.*//' >&2
        exit 3
      stderr:
        row 7
      log:      dagrun logs 1 'load[0]'
      retry:    dagrun retry 1 --failed -j 1
    "#);
}

#[test]
fn the_failure_tail_names_files_that_a_gather_was_given() {
    let test = Test::new(
        "[task.a]\nrun = ['true']\nsweep = { x = [1, 2] }\n\
         [task.b]\ngather = 'a'\nrun = ['grep', 'nothing', '{a.manifest}']",
    );
    let outcome = test.submit(&[]).exits(1);
    let argv = outcome.stderr.lines().find(|line| line.contains("argv:")).unwrap();
    let manifest = argv.rsplit(' ').next().unwrap();
    assert_eq!(std::fs::read_to_string(manifest).unwrap().lines().count(), 2, "{argv}");
}

#[test]
fn plain_progress_has_a_line_per_task() {
    let test = Test::new(
        "name = 'demo'\n[task.a]\nrun = ['true', '{x}']\nsweep = { x = [1, 2, 3] }\n\
         [task.b]\nafter = 'a'\nrun = ['true']",
    );
    let outcome = test.submit(&["-j", "1"]).exits(0).out("");
    insta::assert_snapshot!(filtered(&outcome.stderr), @r"
    run 1: demo, 2 tasks, 4 instances
    a: 3/3 succeeded, T s
    b: 1/1 succeeded, T s
    run 1 succeeded: 4 instances, T s
    ");
}

#[test]
fn json_events_end_with_the_end_of_the_run() {
    let test = Test::new(FAILING);
    let outcome = test.submit(&["--json"]).exits(1);
    let events = outcome.json();
    assert_eq!(
        events.first().unwrap(),
        &json!({"event": "run-started", "run": "1", "name": "scan", "tasks": 2, "instances": 3})
    );
    assert!(events.contains(&json!({
        "event": "instance-failed", "run": "1", "task": "price", "index": 1,
        "reason": "exit code 3", "params": {"strike": 90},
    })));
    assert!(events.contains(&json!({
        "event": "task-finished", "run": "1", "task": "surface", "instances": 1,
        "succeeded": 0, "failed": 0, "skipped": 1, "cancelled": 0,
    })));
    let last = outcome.stdout.lines().last().unwrap();
    assert_eq!(last, r#"{"event":"run-finished","run":"1","state":"failed"}"#);
}

#[test]
fn every_failed_instance_is_an_event() {
    let test = Test::new("[task.a]\nrun = ['false']\nsweep = { x = { range = '0..200' } }");
    let events = test.submit(&["--json", "-j", "4"]).exits(1).json();
    let failed = events.iter().filter(|event| event["event"] == "instance-failed");
    let mut indices: Vec<u64> = failed.map(|event| event["index"].as_u64().unwrap()).collect();
    indices.sort_unstable();
    assert_eq!(indices, (0..200).collect::<Vec<_>>());
}

#[test]
fn a_reader_of_events_may_go_away() {
    let test = Test::new("[task.a]\nrun = ['touch', 'ran']");
    let mut child = test
        .command(&["submit", "pipeline.toml", "--json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    assert!(test.path("ran").exists());
}

fn failed_run() -> Test {
    let test = Test::new(FAILING);
    test.submit(&["-j", "1", "--quiet"]).exits(1);
    test
}

#[test]
fn status_counts_by_task() {
    let test = failed_run();
    let status = test.run(&["status", "last", "--json"]).exits(0).silent().json();
    let status = status.first().unwrap();
    assert_eq!(status["run"], "1");
    assert_eq!(status["name"], "scan");
    assert_eq!(status["state"], "failed");
    assert!(status["started"].as_str().unwrap().ends_with('Z'));
    assert!(status["finished"].as_str().unwrap().ends_with('Z'));
    assert_eq!(
        status["tasks"][0],
        json!({"task": "price", "instances": 2, "blocked": 0, "ready": 0, "leased": 0,
               "backoff": 0, "succeeded": 1, "failed": 1, "skipped": 0, "cancelled": 0})
    );
    test.run(&["status"]).exits(0).out_has("surface").out_has("skipped");
}

#[test]
fn status_lists_instances_in_order() {
    let test = failed_run();
    let rows = test.run(&["status", "1", "--instances", "--json"]).exits(0).json();
    let names: Vec<_> =
        rows.iter().map(|row| (row["task"].clone(), row["index"].clone())).collect();
    assert_eq!(
        names,
        [("price", 0), ("price", 1), ("surface", 0)].map(|(t, i)| (json!(t), json!(i)))
    );
    let failed = &rows[1];
    assert_eq!(failed["state"], "failed");
    assert_eq!(failed["attempts"], 1);
    assert_eq!(failed["exit-code"], 3);
    assert_eq!(failed["reason"], "exit code 3");
    assert_eq!(failed["params"], json!({"strike": 90}));
    assert!(failed["worker"].is_string() && failed["started"].is_string());
    assert!(rows[2]["reason"].as_str().unwrap().contains("price[1] failed: exit code 3"));
    let only = test.run(&["status", "1", "--failed", "--json"]).exits(0).json();
    assert_eq!(only, std::slice::from_ref(failed));
}

#[test]
fn runs_are_listed_newest_first() {
    let test = failed_run();
    test.submit(&["--only", "surface", "-q"]).exits(1);
    let runs = test.run(&["runs", "--json"]).exits(0).json();
    let ids: Vec<_> = runs.iter().map(|run| run["run"].clone()).collect();
    assert_eq!(ids, ["2", "1"]);
    test.run(&["runs"]).exits(0).out_has("scan");
}

#[test]
fn logs_are_raw_for_one_instance_and_named_for_several() {
    let test = failed_run();
    test.run(&["logs", "last", "price[0]"]).exits(0).out("strike 80\n");
    let all = test.run(&["logs", "last", "price"]).exits(0);
    all.out_has("price[0]: strike 80\n").out_has("price[1]: no price for 90\n");
    let failed = test.run(&["logs", "last", "--failed"]).exits(0).stdout;
    assert!(failed.contains("price[1]: strike 90") && !failed.contains("price[0]"));
    test.run(&["logs", "last", "price[2]"]).exits(2);
    test.run(&["logs", "last", "prize"]).exits(2).err_has("prize");
}

#[test]
fn values_are_printed_as_they_are() {
    let test = Test::new(
        r#"
        [task.text]
        run = ["printf", 'a "b"\n\n']
        capture = "text"
        [task.json]
        run = ["echo", '{{"a": [1, 2.50]}}']
        capture = "json"
        [task.lines]
        run = ["printf", 'x\ny\n']
        capture = "lines"
        [task.none]
        run = ["true"]
        sweep = { x = [1, 2] }
        "#,
    );
    test.submit(&["-q"]).exits(0);
    let value = |words: &[&str]| -> Outcome { test.run(&[&["output", "last"], words].concat()) };
    assert!(value(&["text"]).exits(0).stdout.starts_with("a \"b\"\n"));
    let json = value(&["json[0]"]).exits(0);
    assert_eq!(json.json(), [json!({"a": [1, 2.5]})]);
    assert_eq!(value(&["lines"]).exits(0).json(), [json!(["x", "y"])]);
    value(&["none[0]"]).exits(2).err_has("captures no value");
    value(&["none"]).exits(2).err_has("none[0]");
}

#[test]
fn a_run_that_is_not_there_exits_with_2() {
    let test = failed_run();
    test.run(&["status", "7"]).exits(2).err_has("7");
    test.run(&["logs", "x"]).exits(2);
    Test::new("").run(&["runs"]).exits(2).err_has(".dagrun");
}

#[test]
fn a_reader_of_results_may_go_away() {
    let test = failed_run();
    let mut child = test
        .command(&["status", "--instances"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_failure_tail_names_files_in_the_directory_of_the_run() {
    let test = Test::new(
        "[task.a]\nrun = ['touch', '{out.f}']\nout.f = '{run.dir}/f'\n\
         [task.b]\nrun = ['grep', 'nothing', '{a.f}']",
    );
    let outcome = test.submit(&[]).exits(1);
    let path = test.path(".dagrun/runs/1/f");
    let path = path.canonicalize().unwrap();
    outcome.err_has(&format!("argv:     grep nothing {}\n", path.display()));
}

#[test]
fn what_to_do_names_a_state_directory_that_is_not_found_by_itself() {
    let test = Test::new("[task.a]\nrun = ['false']");
    let outcome = test.submit(&["--state-dir", "else where"]).exits(1);
    let advice = "dagrun retry 1 --failed --state-dir 'else where'\n";
    outcome.err_has(advice).err_has("dagrun logs 1 'a[0]' --state-dir 'else where'");
}
