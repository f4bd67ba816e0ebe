//! How long tasks took, as `dagrun status` shows it.

use crate::harness::{Cluster, Outcome, Test};

const PIPELINE: &str = r#"
    [task.a]
    sweep = { n = [1, 2] }
    retries = 1
    shell = 'sleep 0.0$n; [ "$n-$DAGRUN_ATTEMPT" != 2-1 ]'
    [task.b]
    after = { all = ["a"], on = "failure" }
    run = "true"
"#;

fn is_right(run: impl Fn(&[&str]) -> Outcome) {
    let shown = run(&["status"]).exits(0).out_has("retried").out_has("longest").stdout;
    let line = shown.lines().find(|line| line.starts_with("a ")).unwrap();
    assert_eq!(line.matches(" ms").count() + line.matches(" s").count(), 3, "{shown}");
    assert!(shown.lines().any(|line| line.starts_with('b') && !line.contains('s')), "{shown}");

    let status = &run(&["status", "--json"]).exits(0).json()[0];
    let [a, b] = [&status["times"][0], &status["times"][1]];
    assert_eq!((&a["task"], &a["retried"]), (&"a".into(), &1.into()));
    let (mean, longest) = (a["mean"].as_f64().unwrap(), a["longest"].as_f64().unwrap());
    assert!(mean >= 0.015 && longest >= 0.02 && mean <= longest, "{a}");
    assert!(a["started"].as_str() < a["finished"].as_str(), "{a}");
    assert!(b["mean"].is_null() && b["started"].is_null(), "{b}");

    let one = run(&["status", "b", "--json"]).exits(0).json();
    assert_eq!(one[0]["times"].as_array().unwrap().len(), 1);
    assert_eq!(one[0]["times"][0]["task"], "b");
}

#[test]
fn status_says_how_long_tasks_took() {
    let test = Test::new(PIPELINE);
    test.submit(&[]).exits(0);
    is_right(|words| test.run(words));
    // What a retry takes over took no time in it.
    test.run(&["retry", "last"]).exits(0);
    is_right(|words| test.run(words));
}

#[test]
fn status_says_it_of_a_cluster_too() {
    let cluster = Cluster::start(Test::new(PIPELINE), "1");
    cluster.submit(&[]).exits(0);
    is_right(|words| cluster.run(words));
}
