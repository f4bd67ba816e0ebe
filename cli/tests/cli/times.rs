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

#[test]
fn people_see_local_times_and_programs_those_of_greenwich() {
    let test = Test::new("[task.a]\nrun = ['true']");
    test.submit(&[]).exits(0);
    // A zone that is seen: five hours and a half ahead.
    let printed = |words: &[&str]| {
        let output = test.command(words).env("TZ", "XST-5:30").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let started = printed(&["status", "--instances", "--json"]);
    let started: serde_json::Value = serde_json::from_str(&started).unwrap();
    let utc: jiff::Timestamp = started["started"].as_str().unwrap().parse().unwrap();
    let zone = jiff::tz::TimeZone::posix("XST-5:30").unwrap();
    let local = utc.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%.3f+05:30").to_string();
    let explained = printed(&["explain", "a"]);
    assert!(explained.contains(&format!("started {local}, ")), "{explained} lacks {local}");
    let day_and_hour = local.replace('T', " ");
    for words in [&["status"][..], &["runs"]] {
        assert!(printed(words).contains(&day_and_hour[..13]), "{words:?}: {}", printed(words));
    }
}

#[test]
fn the_state_of_a_cluster_is_json_too() {
    let cluster = Cluster::start(Test::new("[task.a]\nrun = ['true']"), "1");
    let status = &cluster.run(&["cluster", "status", "--json"]).exits(0).json()[0];
    assert_eq!((&status["cluster"], &status["workers"][0]["name"]), (&"c".into(), &"w1".into()));
    assert!(status["process"].as_u64().is_some() && status["scheduler"].is_string(), "{status}");
}
