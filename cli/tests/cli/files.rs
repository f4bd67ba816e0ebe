//! `dagrun check`, `graph`, `completions` and `man`: what needs no run.

use crate::harness::Test;
use serde_json::json;

const SWEEP: &str = "name = 'scan'\n[task.price]\nrun = ['true', '{x}']\nsweep = { x = [1, 2, 3] }\n\
                     [task.surface]\ngather = 'price'\nrun = ['true']\n";

#[test]
fn check_prints_tasks_instances_and_edges() {
    let test = Test::new(SWEEP);
    let outcome = test.run(&["check", "pipeline.toml"]).exits(0).silent();
    insta::assert_snapshot!(outcome.stdout, @r"
    scan is valid

    task     instances  upstreams
    price            3
    surface          1  gather price

    2 tasks, 4 instances, 3 edges
    ");
}

#[test]
fn check_json_is_one_object() {
    let test = Test::new(SWEEP);
    test.run(&["check", "pipeline.toml", "--json"])
        .exits(0)
        .silent()
        .out("{\"valid\":true,\"name\":\"scan\",\"tasks\":2,\"instances\":4,\"edges\":3}\n");
}

#[test]
fn check_json_lists_all_problems_with_their_places() {
    let test = Test::new("[task.a]\nrunn = ['true']\n\n[task.b]\nrun = ['true']\nafter = 'c'\n");
    let outcome = test.run(&["check", "pipeline.toml", "--json"]).exits(2).silent();
    let result = outcome.json().remove(0);
    assert_eq!(result["valid"], false);
    let errors = result["errors"].as_array().unwrap();
    let lines: Vec<_> = errors.iter().map(|error| error["line"].clone()).collect();
    assert!(lines.contains(&json!(2)) && lines.contains(&json!(6)), "{result}");
    for error in errors {
        let keys: Vec<_> = error.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["column", "help", "line", "message"]);
        assert!(error["column"].as_u64().unwrap() > 0);
    }
}

/// What is shown has at most so many characters a line, whatever the file.
fn shows_little(pipeline: &str) -> String {
    let test = Test::new(pipeline);
    let outcome = test.run(&["check", "pipeline.toml"]).exits(2).out("");
    let text = outcome.stderr.clone();
    assert!(text.len() < 20_000, "{} bytes", text.len());
    for line in text.lines() {
        assert!(line.chars().count() < 230, "{line}");
    }
    text
}

#[test]
fn a_problem_in_a_very_long_line_is_shown_in_a_window() {
    let many = "1,".repeat(33_000);
    let text = shows_little(&format!("[task.a]\nrun = 'true'\nsweep = {{ v = [{many}1], w = 3 }}"));
    assert!(text.contains(":3:66"), "{text}");
    assert!(text.contains("w = 3"), "{text}");
    let text = shows_little(&format!("[task.a]\nrun = ['true'],{}x", " ".repeat(70_000)));
    assert!(text.contains("pipeline.toml:2:"), "{text}");
    shows_little(&format!("[task.a]\nrun = '''{}", "long words ".repeat(100_000)));
    shows_little(&format!("[task.a]\nrun = '{}", "x".repeat(1_000_000)));
    shows_little(&format!("[task.a]\n{} = 1\nrun = ['true']", "k".repeat(70_000)));
    shows_little(&format!("[task.a]\nrun = ['true']\nafter = '{}'", "k".repeat(70_000)));
    let wide = "ü".repeat(70_000);
    shows_little(&format!("# {wide}\n[task.a]\nrun = ['{wide}']\nx = '{wide}'\n# {wide}"));
    let keys: String = (0..5_000).map(|at| format!("zz{at} = 1\n")).collect();
    let test = Test::new(&format!("[task.a]\nrun = ['true']\n{keys}"));
    let outcome = test.run(&["check", "pipeline.toml"]).exits(2);
    outcome.err_has("has 5000 problems, of which the first 100 are shown");
}

#[test]
fn problems_are_shown_with_a_snippet_all_at_once() {
    let test = Test::new("[task.a]\nrunn = ['true']\n\n[task.b]\nrun = ['true']\nafter = 'c'\n");
    let outcome = test.run(&["check", "pipeline.toml"]).exits(2).out("");
    // An editor would cut the space at the end of the third line.
    insta::assert_snapshot!(outcome.stderr.replace("3 | \n", "3 |\n"), @r"
      x unknown key `runn` in a task
       ,-[pipeline.toml:2:1]
     1 | [task.a]
     2 | runn = ['true']
       : ^^|^
       :   `-- not known
     3 |
       `----
      help: did you mean `run`?

      x unknown task `c`
       ,-[pipeline.toml:6:9]
     5 | run = ['true']
     6 | after = 'c'
       :         ^|^
       :          `-- no such task
       `----
      help: did you mean `b`?

    error: pipeline.toml has 2 problems
    ");
}

#[test]
fn a_million_instances_are_checked_without_making_them() {
    let test = Test::new("[task.a]\nrun = ['true']\nsweep = { x = { range = '0..1000000' } }");
    test.run(&["check", "pipeline.toml"]).exits(0).out_has("1000000");
}

#[test]
fn graphs_are_drawn_in_three_languages() {
    let test = Test::new(SWEEP);
    let graph = |format: &str| test.run(&["graph", "pipeline.toml", "--format", format]).exits(0);
    graph("dot").out_has("digraph").out_has("price");
    graph("mermaid").out_has("flowchart").out_has("price");
    graph("svg").out_has("<svg").out_has("price");
    let words = ["graph", "pipeline.toml", "--instances", "--format", "dot"];
    test.run(&words).exits(0).out_has("price[2]");
}

#[test]
fn completions_and_the_manual_page_are_printed() {
    let test = Test::new("");
    test.run(&["completions", "bash"]).exits(0).silent().out_has("dagrun");
    test.run(&["man"]).exits(0).silent().out_has(".TH dagrun").out_has("fail");
}

#[test]
fn help_shows_what_there_is_and_nothing_else() {
    let help = Test::new("").run(&["--help"]).exits(0).stdout;
    for word in [
        "submit",
        "check",
        "graph",
        "plan",
        "runs",
        "status",
        "logs",
        "output",
        "wait",
        "watch",
        "cancel",
        "resume",
        "retry",
        "scheduler",
        "worker",
        "cluster",
        "workers",
        "exec",
        "explain",
        "completions",
        "man",
        "clean",
    ] {
        assert!(help.contains(&format!("\n  {word} ")), "{word} is missing:\n{help}");
    }
    let hidden = "__dagrun-reaper";
    assert!(!help.contains(&format!("\n  {hidden} ")), "{help}");
}
