//! `dagrun graph --run`, and what it says of wide arrays.

use crate::harness::{Cluster, Test};

const PIPELINE: &str = "\
[task.part]
sweep = { n = [1, 2] }
shell = '[ $n = 1 ]'
[task.sum]
gather = 'part'
run = 'true'
[task.alone]
run = 'true'
";

#[test]
fn a_run_is_drawn_in_the_colours_of_its_states() {
    let test = Test::new(PIPELINE);
    test.submit(&["--quiet"]).exits(1);
    let drawn = |words: &[&str]| {
        let words = [&["graph", "--format", "svg"], words].concat();
        let svg = test.run(&words).exits(0).silent().stdout;
        ["succeeded", "failed", "other"].map(|class| svg.matches(&format!("box {class}\"")).count())
    };
    assert_eq!(drawn(&["--run"]), [1, 1, 1]);
    assert_eq!(drawn(&["--run", "1", "--instances"]), [2, 1, 1]);
    assert_eq!(drawn(&[]), [0, 0, 0]);
    test.run(&["graph", "--run"]).exits(2).err_has("--format svg");
    test.run(&["graph", "--run", "7", "--format", "svg"]).exits(2).err_has("no run 7");
    test.run(&["graph", "pipeline.toml", "--run", "1", "--format", "svg"]).exits(2);
}

#[test]
fn a_run_of_a_cluster_is_drawn_too() {
    let cluster = Cluster::start(Test::new(PIPELINE), "1");
    cluster.submit(&["--quiet"]).exits(1);
    cluster.run(&["graph", "--run", "--format", "svg"]).exits(0).out_has("box failed\"");
}

#[test]
fn arrays_that_are_too_wide_are_named() {
    let test = Test::new("[task.a]\nsweep = { n = { range = '0..33' } }\nrun = ['true', '{n}']");
    let note = "note: `a` has 33 instances and is one box: up to 32 are drawn one by one";
    test.run(&["graph", "--instances"]).exits(0).err_has(note).out_has("×33");
    test.run(&["graph"]).exits(0).silent();
}
