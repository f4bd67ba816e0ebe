//! Widths that are known only while the run goes on, through the real program.

use serde_json::json;

use crate::harness::{Cluster, Test};

/// A list, worked off in chunks of two, and what comes after them.
const CHUNKS: &str = r#"
name = "chunks"
[vars]
list = "[1, 2, 3, 4, 5]"
[task.list]
run = ["printf", "%s", "{vars.list}"]
capture = "json"
[task.work]
scatter = { from = "list", chunk = 2 }
run = ["printf", "%s", "{item}"]
capture = "json"
[task.next]
map = "work"
run = ["printf", "%s %s", "{work.value}", "{item}"]
capture = "text"
[task.all]
gather = "next"
run = ["wc", "-l"]
stdin = "{next.manifest}"
capture = "text"
[task.after]
after = "work"
run = ["touch", "after"]
"#;

#[test]
fn a_list_is_worked_off_in_chunks() {
    let test = Test::new(CHUNKS);
    let outcome = test.submit(&[]).exits(0);
    outcome.err_has("5 tasks, 3+ instances").err_has("work: 3/3 succeeded").err_has("9 instances");
    test.run(&["output", "last", "work[2]"]).exits(0).out("[5]\n");
    test.run(&["output", "last", "next[0]"]).exits(0).out("[1,2] [1,2]\n");
    test.run(&["output", "last", "all"]).exits(0).out("3\n");
    test.run(&["output", "last", "work[3]"]).exits(2).err_has("3 instances");
    let status = test.run(&["status", "last", "--json"]).exits(0).json();
    assert_eq!(status[0]["tasks"][1]["instances"], 3);
    test.run(&["runs"]).exits(0).out_has("9");
}

#[test]
fn a_cluster_does_the_same() {
    let cluster = Cluster::start(Test::new(CHUNKS), "2");
    let events = cluster.submit(&["--json"]).exits(0).json();
    // Those that are known when the client begins to watch: the list may have ended by then.
    assert!([json!(3), json!(9)].contains(&events[0]["instances"]), "{}", events[0]);
    let work = events.iter().find(|event| event["task"] == "work").unwrap();
    assert_eq!((&work["instances"], &work["succeeded"]), (&json!(3), &json!(3)));
    cluster.run(&["output", "last", "next[2]"]).exits(0).out("[5] [5]\n");
}

#[test]
fn an_empty_list_makes_no_instances() {
    let test = Test::new(CHUNKS);
    test.submit(&["--set", "list=[]"]).exits(0).err_has("work: 0/0").err_has("3 instances");
    test.run(&["output", "last", "all"]).exits(0).out("0\n");
    assert!(test.path("after").exists());
}

#[test]
fn what_is_no_list_fails_the_run() {
    let test = Test::new(CHUNKS);
    test.submit(&["--set", "list={}"]).exits(1);
    let rows = test.run(&["status", "last", "--instances", "--json"]).exits(0).json();
    let work = rows.iter().find(|row| row["task"] == "work").unwrap();
    assert_eq!(work["state"], "skipped");
    assert!(work["reason"].as_str().unwrap().contains("array"), "{work}");
}

#[test]
fn max_items_guards_the_width() {
    let test = Test::new(&CHUNKS.replace("chunk = 2", "max-items = 4"));
    test.submit(&[]).exits(1);
    let rows = test.run(&["status", "last", "--instances", "--json"]).exits(0).json();
    let work = rows.iter().find(|row| row["task"] == "work").unwrap();
    assert!(work["reason"].as_str().unwrap().contains('4'), "{work}");
    assert!(!test.path("after").exists());
}

#[test]
fn lists_of_lists_are_scattered_again() {
    let test = Test::new(
        "[task.list]\nrun = ['echo', '[[1, 2], [], [3]]']\ncapture = 'json'\n\
         [task.inner]\nscatter = 'list'\nrun = ['echo', '{item}']\ncapture = 'json'\n\
         [task.leaf]\nscatter = 'inner'\nrun = ['echo', '{item}']\ncapture = 'json'\n",
    );
    test.submit(&["-q"]).exits(0).silent();
    let value = |index: u32| test.run(&["output", "last", &format!("leaf[{index}]")]).exits(0);
    assert_eq!([0, 1, 2].map(|index| value(index).stdout), ["1\n", "2\n", "3\n"]);
    test.run(&["output", "last", "leaf[3]"]).exits(2);
}

#[test]
fn the_tail_of_a_failed_element_shows_what_it_ran() {
    let test = Test::new(
        "[task.list]\nrun = ['echo', '[{{\"n\": 1}}, {{\"n\": 7}}]']\ncapture = 'json'\n\
         [task.work]\nscatter = 'list'\nrun = ['test', '{item.n}', '=', '1']\n",
    );
    test.submit(&[]).exits(1).err_has("work[1] failed").err_has("argv:     test 7 = 1");
}

#[test]
fn an_unknown_width_is_shown_as_such() {
    let test = Test::new(CHUNKS);
    let outcome = test.run(&["check", "pipeline.toml"]).exits(0).silent();
    insta::assert_snapshot!(outcome.stdout, @r"
    chunks is valid

    task   instances  upstreams
    list           1
    work           ?  scatter list
    next           ?  map work
    all            1  gather next
    after          1  after work

    5 tasks, 3+ instances, 0+ edges
    ? is known only while the pipeline runs
    ");
    test.run(&["check", "pipeline.toml", "--json"])
        .exits(0)
        .out("{\"valid\":true,\"name\":\"chunks\",\"tasks\":5,\"instances\":3,\"edges\":0}\n");
    let outcome = test.submit(&["--dry-run"]).exits(0).silent();
    insta::assert_snapshot!(outcome.stdout, @r"
    printf %s '[1, 2, 3, 4, 5]'
    # work: ? instances, such as
    printf %s '{item}'
    # next: ? instances, such as
    printf '%s %s' '{work.value}' '{item}'
    wc -l
    touch after
    ");
    test.run(&["graph", "pipeline.toml"]).exits(0).out_has("work ×?").out_has("scatter");
    let words = ["graph", "pipeline.toml", "--format", "svg", "--instances"];
    test.run(&words).exits(0).out_has("×?");
}

#[test]
fn status_does_not_guess_a_width() {
    let test = Test::new(&CHUNKS.replace(
        "run = [\"printf\", \"%s\", \"{vars.list}\"]",
        "shell = 'touch begun; until [ -e go ]; do sleep 0.01; done; echo \"$list\"'",
    ));
    let cluster = Cluster::start(test, "1");
    cluster.submit(&["--detach"]).exits(0);
    cluster.0.wait_for_file("begun");
    let table = cluster.run(&["status", "last"]).exits(0).stdout;
    let row = table.lines().find(|line| line.starts_with("work ")).unwrap();
    assert_eq!(row.split_whitespace().nth(1), Some("?"), "{table}");
    let status = cluster.run(&["status", "last", "--json"]).exits(0).json();
    assert_eq!(status[0]["tasks"][1]["instances"], 0);
    cluster.run(&["output", "last", "work[0]"]).exits(1).err_has("not known yet");
    let mut watch = cluster.0.start(&["watch", "last", "--cluster", "c"]);
    watch.wait_for_line("3+ instances");
    cluster.0.write("go", "");
    watch.end().exits(0).err_has("9 instances");
}
