//! `dagrun plan`: predictions from given and recorded durations.

use crate::harness::Test;

const CHAIN: &str = "name = 'scan'\n[task.mesh]\nrun = ['true']\nsweep = { x = [1, 2, 3, 4] }\n\
                     [task.solve]\nmap = 'mesh'\nrun = ['true']\n\
                     [task.table]\ngather = 'solve'\nrun = ['true']\n";

fn plan(test: &Test, words: &[&str]) -> crate::harness::Outcome {
    test.run(&[&["plan", "pipeline.toml"], words].concat())
}

#[test]
fn the_json_is_one_object_in_seconds() {
    let test = Test::new(CHAIN);
    test.write("d.json", r#"{"mesh": [0.5, 1, 2, 0.5], "solve": 1.5, "table": 0.25}"#);
    plan(&test, &["--workers", "2", "--cpus", "1", "--durations", "d.json", "--json"])
        .exits(0)
        .silent()
        .out(
            "{\"makespan\":5.75,\"critical-path\":3.75,\"work\":10.25,\"slots\":2,\
             \"utilisation\":0.8913,\"scheme\":\"least-load\"}\n",
        );
}

#[test]
fn people_get_a_table_and_the_critical_path() {
    let test = Test::new(CHAIN);
    test.write("d.json", r#"{"mesh": [0.5, 1, 2, 0.5], "solve": 1.5, "table": 0.25}"#);
    let words = ["--workers", "2", "--cpus", "4", "--durations", "d.json"];
    let outcome = plan(&test, &words).exits(0).silent();
    insta::assert_snapshot!(outcome.stdout, @r"
    scan: 9 instances on 2 × 4 slots, least-load

    makespan        3.750 s
    critical path   3.750 s
    work           10.250 s
    utilisation      34.2 %

    On the critical path:

    instance    takes   share
    mesh[2]   2.000 s  53.3 %
    solve[2]  1.500 s  40.0 %
    table[0]  0.250 s   6.7 %

    More slots would not help: the critical path takes as long by itself.
    ");
    plan(&test, &["--cpus", "2"]).exits(0).silent().out_has("from 3 slots on");
}

#[test]
fn without_durations_each_instance_takes_a_second() {
    let test = Test::new(CHAIN);
    let json = plan(&test, &["--cpus", "4", "--json"]).exits(0).silent().json().remove(0);
    assert_eq!(json["makespan"], 3.0);
    assert_eq!(json["work"], 9.0);
    assert_eq!(json["utilisation"], 0.75);
}

#[test]
fn a_long_path_is_shown_in_part() {
    use std::fmt::Write;
    let mut pipeline = "[task.t0]\nrun = ['true']\n".to_owned();
    for at in 1..1000 {
        let before = at - 1;
        writeln!(pipeline, "[task.t{at}]\nafter = 't{before}'\nrun = ['true']").unwrap();
    }
    let test = Test::new(&pipeline);
    let outcome = plan(&test, &["--cpus", "4"]).exits(0).silent();
    assert!(outcome.stdout.lines().count() < 40, "{}", outcome.stdout);
    outcome.out_has("t0[0]").out_has("… 980 more").out_has("t999[0]").out_has("would not help");
}

#[test]
fn a_million_instances_are_planned() {
    let test = Test::new(
        "[task.a]\nrun = ['true']\nsweep = { x = { range = '0..500000' } }\n\
         [task.b]\nmap = 'a'\nrun = ['true']\n",
    );
    let words = ["--workers", "64", "--cpus", "16", "--json"];
    let json = plan(&test, &words).exits(0).silent().json().remove(0);
    assert_eq!(json["work"], 1_000_000.0);
    assert_eq!(json["makespan"], 977.0);
}

#[test]
fn recorded_durations_are_those_of_the_run() {
    let test = Test::new(
        "[task.a]\nrun = ['sleep', '{x}']\nsweep = { x = [0.05, 0.4] }\n\
         [task.b]\nafter = 'a'\nrun = ['sleep', '0.1']\n[task.c]\nrun = ['true']\n",
    );
    test.submit(&["-q", "-j", "4", "--only", "b"]).exits(0);
    let words = ["--cpus", "4", "--durations", "last", "--json"];
    let outcome = plan(&test, &words).exits(0);
    let json = outcome.json().remove(0);
    let path = json["critical-path"].as_f64().unwrap();
    // c has not been recorded: a second.
    assert!((1.0..1.5).contains(&path), "{json}");
    let work = json["work"].as_f64().unwrap();
    assert!((1.55..2.5).contains(&work), "{json}");
    outcome.err_has("no durations of `c`");
    // From elsewhere, the history is found beside the file.
    let pipeline = test.path("pipeline.toml");
    let elsewhere = Test::new("");
    let words = ["plan", pipeline.to_str().unwrap(), "--durations", "1", "--json"];
    elsewhere.run(&words).exits(0);
    plan(&test, &["--durations", "7"]).exits(2).err_has("7");
}

#[test]
fn instances_that_were_not_recorded_take_the_mean() {
    let test = Test::new("[task.a]\nrun = ['sleep', '0.2']\nsweep = { x = [1, 2] }\n");
    test.submit(&["-q", "-j", "2"]).exits(0);
    test.write("pipeline.toml", "[task.a]\nrun = ['sleep', '0.2']\nsweep = { x = [1, 2, 3, 4] }\n");
    let words = ["--cpus", "1", "--durations", "last", "--json"];
    let json = plan(&test, &words).exits(0).silent().json().remove(0);
    let work = json["work"].as_f64().unwrap();
    // A start is noted a little after the process has begun.
    assert!((0.8..2.0).contains(&work), "{json}");
}

#[test]
fn durations_that_make_no_sense_are_refused() {
    let test = Test::new(CHAIN);
    let fails = |json: &str, why: &str| {
        test.write("d.json", json);
        plan(&test, &["--durations", "d.json"]).exits(2).out("").err_has(why);
    };
    fails(r#"{"mash": 1}"#, "no task `mash`");
    fails(r#"{"mash": 1}"#, "did you mean `mesh`?");
    fails(r#"{"mesh": [1, 2]}"#, "`mesh` has 4 instances, and there are 2 durations");
    fails(r#"{"table": []}"#, "`table` has 1 instance, and there are 0 durations");
    fails(r#"{"mesh": [1, 2, -3, 4]}"#, "the duration of mesh[2] is negative: -3");
    fails(r#"{"table": -0.5}"#, "negative");
    fails(r#"{"table": "1 s"}"#, "not a number of seconds");
    fails(r#"{"table": 1e99}"#, "30 years");
    fails("[1]", "not a JSON object");
    fails("{", "d.json: EOF");
    plan(&test, &["--durations", "none.json"]).exits(2).err_has("cannot read");
}

#[test]
fn what_no_worker_can_run_is_an_error() {
    let test = Test::new("[task.big]\nrun = ['true']\ncpus = 8\n");
    plan(&test, &["--workers", "9", "--cpus", "4"])
        .exits(2)
        .out("")
        .err_has("`big` needs 8 slots")
        .err_has("--cpus 8");
    plan(&test, &["--cpus", "0"]).exits(2);
    plan(&test, &["--workers", "0"]).exits(2);
    plan(&test, &["--scheme", "fastest"]).exits(2).err_has("least-load");
}

#[test]
fn vars_change_the_plan() {
    let test = Test::new("[vars]\nn = 1\n[task.a]\nrun = ['true']\nsweep = { x = [1] }\n");
    plan(&test, &["--set", "m=1"]).exits(2).err_has("m");
    plan(&test, &["--set", "n=2", "--json"]).exits(0);
}

#[test]
fn schemes_can_be_chosen_and_are_compared() {
    let test = Test::new("[task.a]\nrun = ['true']\nsweep = { x = { range = '0..500' } }\n");
    let list: Vec<f64> = (0..500).map(|at| 0.000_1 * f64::from(at * 7919 % 100)).collect();
    test.write("d.json", serde_json::json!({ "a": list }).to_string());
    let given = ["--workers", "8", "--cpus", "2", "--durations", "d.json"];
    let compared = plan(&test, &given).exits(0).silent().stdout;
    for scheme in ["least-load", "lru", "plain-random", "two-bin", "weighted"] {
        assert!(compared.contains(&format!("\n{scheme} ")), "{scheme}: {compared}");
        let words = [&given[..], &["--scheme", scheme, "--json"]].concat();
        let json = plan(&test, &words).exits(0).silent().json().remove(0);
        assert_eq!(json["scheme"], scheme);
    }
    let one = plan(&test, &[&given[..], &["--scheme", "lru"]].concat()).exits(0).stdout;
    assert!(!one.contains("two-bin"), "{one}");
}

#[test]
fn a_list_of_durations_says_how_wide_a_scatter_is() {
    let test = Test::new(
        "[task.list]\nrun = ['echo', '[1, 2, 3]']\ncapture = 'json'\n\
         [task.each]\nscatter = 'list'\nrun = ['true', '{item}']\n\
         [task.then]\nmap = 'each'\nrun = ['true']\n",
    );
    let json = plan(&test, &["--cpus", "4", "--json"]).exits(0).err_has("`each`").json().remove(0);
    assert_eq!(json["work"], 3.0);
    test.write("d.json", r#"{"list": 1, "each": [1, 2, 3, 4], "then": 1}"#);
    let words = ["--cpus", "4", "--durations", "d.json", "--json"];
    let json = plan(&test, &words).exits(0).silent().json().remove(0);
    assert_eq!(json["work"], 15.0);
    assert_eq!(json["critical-path"], 6.0);
}
