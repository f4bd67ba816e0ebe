//! Workers that are killed while they have something to do, each case by its name.

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Cluster, Process, Test, is_alive, wait_until};

/// A scheduler and workers `w1`, `w2` and so on of one slot, each a process that can be killed.
fn cluster_of(pipeline: &str, workers: u32) -> (Cluster, Vec<Process>) {
    let cluster = Cluster::start(Test::new(pipeline), "0");
    let join = |number| cluster.join(&["--name", &format!("w{number}"), "-j", "1"]);
    let workers = (1..=workers).map(join).collect();
    (cluster, workers)
}

/// The process ids that tasks wrote into a file, whole lines only.
fn pids(cluster: &Cluster, file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(cluster.0.path(file)).unwrap_or_default();
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(str::to_owned).collect()
}

fn state(cluster: &Cluster, task: &str) -> String {
    cluster
        .instances(task)
        .pop()
        .map_or_else(String::new, |row| row["state"].as_str().unwrap().into())
}

#[test]
fn lost_is_not_a_retry() {
    let (cluster, mut workers) = cluster_of(
        "[task.a]\nshell = 'echo $$ >> pids; if [ $DAGRUN_ATTEMPT = 1 ]; then sleep 1000; fi'\n\
         [task.b]\nrun = ['true']\nafter = 'a'",
        2,
    );
    cluster.submit(&["--detach"]).exits(0);
    wait_until("a runs", || pids(&cluster, "pids").len() == 1);
    let on = |row: &serde_json::Value| row["worker"].as_str().map(str::to_owned);
    let mut first = None;
    wait_until("where it runs is known", || {
        first = cluster.instances("a").first().and_then(on);
        first.is_some()
    });
    let victim = usize::from(first.as_deref() == Some("w2"));
    workers[victim].signal(Signal::KILL);
    cluster.run(&["wait", "last"]).exits(0);
    let a = cluster.instances("a").remove(0);
    assert_eq!((&a["state"], &a["attempts"]), (&json!("succeeded"), &json!(2)));
    assert_eq!(a["worker"], ["w2", "w1"][victim], "it ran again elsewhere");
    cluster.run(&["explain", "last", "a"]).exits(0).out_has("its worker was lost\n");
    for pid in pids(&cluster, "pids") {
        wait_until("the process of the lost attempt ends", || !is_alive(&pid));
    }
}

#[test]
fn killer_task() {
    let (cluster, _workers) = cluster_of(
        "[task.a]\nshell = 'kill -9 $PPID; sleep 1000'\npriority = 1\n\
         [task.queued]\nrun = ['true']\nsweep = { i = { range = '0..20' } }",
        7,
    );
    cluster.submit(&["--detach"]).exits(0);
    cluster.run(&["wait", "last"]).exits(1);
    let a = cluster.instances("a").remove(0);
    assert_eq!(a["reason"], "lost its worker 6 times");
    assert_eq!((&a["state"], &a["attempts"]), (&json!("failed"), &json!(6)));
    let queued = cluster.instances("queued");
    assert!(queued.iter().all(|row| row["state"] == "succeeded"), "{queued:?}");
    assert_eq!(cluster.run(&["workers", "--json"]).exits(0).json().len(), 1, "one is left");
}

#[test]
fn follow_dead_worker() {
    let (cluster, mut workers) = cluster_of(
        "[task.a]\nrun = ['true']\ntargets = 'w1'\n\
         [task.b]\nshell = 'touch b; until [ -e go ]; do sleep 0.01; done'\ntargets = 'w2'\nafter = 'a'\n\
         [task.c]\nrun = ['touch', 'c']\nfollow = 'a'\nafter = 'b'",
        2,
    );
    cluster.submit(&["--detach"]).exits(0);
    cluster.0.wait_for_file("b");
    workers[0].signal(Signal::KILL);
    // While b still runs: nothing waits for a worker that does not come back.
    wait_until("c is skipped", || state(&cluster, "c") == "skipped");
    assert_eq!(cluster.instances("c")[0]["reason"], "follow a: its worker is gone");
    assert_eq!(state(&cluster, "b"), "leased");
    cluster.0.write("go", "");
    cluster.run(&["wait", "last"]).exits(1);
    assert!(!cluster.0.path("c").exists());
}

#[test]
fn a_follower_in_the_queue_of_a_dead_worker_is_skipped() {
    let (cluster, mut workers) = cluster_of(
        "[task.a]\nrun = ['true']\ntargets = 'w1'\n\
         [task.busy]\nshell = 'touch busy; sleep 1000'\nfollow = 'a'\npriority = 1\n\
         [task.c]\nrun = ['touch', 'c']\nfollow = 'a'\nsweep = { i = { range = '0..40' } }",
        2,
    );
    cluster.submit(&["--detach"]).exits(0);
    cluster.0.wait_for_file("busy");
    workers[0].signal(Signal::KILL);
    cluster.run(&["wait", "last"]).exits(1);
    let reasons = cluster.instances("c");
    for row in reasons {
        assert_eq!(
            (&row["state"], &row["reason"]),
            (&json!("skipped"), &json!("follow a: its worker is gone"))
        );
    }
    assert!(!cluster.0.path("c").exists());
}

#[test]
fn target_dies() {
    let (cluster, mut workers) = cluster_of(
        "[task.busy]\nshell = 'touch busy; sleep 1000'\ntargets = 'w1'\npriority = 1\nmax-lost = 0\n\
         [task.a]\nrun = ['touch', 'a']\ntargets = 'w1'\nstart-within = '2s'\n\
         [task.told]\nrun = ['true']\nafter = { all = 'a', on = 'failure' }",
        2,
    );
    cluster.submit(&["--detach"]).exits(0);
    cluster.0.wait_for_file("busy");
    workers[0].signal(Signal::KILL);
    let mut seen = String::new();
    wait_until("a waits or has failed", || {
        seen = cluster.run(&["explain", "last", "a"]).exits(0).stdout;
        seen.contains("labelled w1") || seen.contains("failed")
    });
    cluster.run(&["wait", "last"]).exits(1);
    let a = cluster.instances("a").remove(0);
    assert_eq!((&a["state"], &a["reason"]), (&json!("failed"), &json!("not started within 2s")));
    assert_eq!(state(&cluster, "told"), "succeeded");
    assert!(!cluster.0.path("a").exists());
}

#[test]
fn target_absent_joins() {
    let (cluster, _workers) = cluster_of("[task.a]\nrun = ['true']\ntargets = 'late'", 1);
    cluster.submit(&["--detach"]).exits(0);
    let explain = cluster.run(&["explain", "last", "a"]).exits(0);
    explain.out_has("no worker is called or labelled late");
    let _late = cluster.join(&["--name", "w2", "--label", "late"]);
    cluster.run(&["wait", "last"]).exits(0);
    assert_eq!(cluster.places("a"), ["w2"]);
}

#[test]
fn no_workers() {
    let (cluster, none) = cluster_of("[task.a]\nrun = ['true']\nsweep = { i = [1, 2] }", 0);
    assert!(none.is_empty());
    cluster.submit(&["--detach"]).exits(0);
    let explain = cluster.run(&["explain", "last", "a[1]"]).exits(0);
    explain.out_has("no worker is present");
    let _worker = cluster.join(&["--name", "w1"]);
    cluster.run(&["wait", "last"]).exits(0);
    assert_eq!(cluster.places("a"), ["w1", "w1"]);
}

#[test]
fn cancel_blocked_ready_running() {
    let (cluster, _workers) = cluster_of(
        "[task.running]\nshell = 'sleep 1000 & echo $! >> pids; echo $$ >> pids; wait'\npriority = 1\n\
         [task.ready]\nrun = ['touch', 'ready']\n\
         [task.blocked]\nrun = ['touch', 'blocked']\nafter = 'running'\n\
         [task.skipped]\nrun = ['touch', 'skipped']\nsweep = { x = [1, 2, 3] }\n\
         after = ['running', 'ready', 'blocked']\n\
         [task.told]\nrun = ['true']\nafter = [{ all = 'running', on = 'failure' },\n\
         { all = 'ready', on = 'failure' }, { all = 'blocked', on = 'failure' }]",
        1,
    );
    cluster.submit(&["--detach"]).exits(0);
    wait_until("it runs", || pids(&cluster, "pids").len() == 2);
    for task in ["blocked", "ready", "running"] {
        cluster.run(&["cancel", "last", task]).exits(0);
    }
    for pid in pids(&cluster, "pids") {
        wait_until("its process group ends", || !is_alive(&pid));
    }
    cluster.run(&["wait", "last"]).exits(1);
    for task in ["blocked", "ready", "running"] {
        assert_eq!(state(&cluster, task), "cancelled", "{task}");
    }
    assert!(cluster.instances("skipped").iter().all(|row| row["state"] == "skipped"));
    assert_eq!(state(&cluster, "told"), "succeeded");
    assert!(["ready", "blocked", "skipped"].iter().all(|file| !cluster.0.path(file).exists()));
}

#[test]
fn a_run_never_fails_without_its_reason() {
    for (printed, what) in [
        ("5", "5, a number"),
        ("\"x\"", "\"x\", text"),
        ("{{\"a\": 1}}", "{\"a\":1}, an object"),
        ("null", "null"),
        ("true", "true, a boolean"),
    ] {
        let test = Test::new(&format!(
            "[task.l]\nrun = ['echo', '''{printed}''']\ncapture = 'json'\n[task.s]\nscatter = 'l'\nrun = ['true']\n\
             [task.t]\nmap = 's'\nrun = ['true']\n"
        ));
        let reason = format!("needs l: l captured no JSON array, but {what}");
        let outcome = test.submit(&[]).exits(1).err_has(&format!("s[0] skipped: {reason}"));
        outcome.err_has("dagrun retry 1 --failed");
        let rows = test.run(&["status", "--failed", "--json", "--instances"]).exits(0).json();
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!((&rows[0]["task"], &rows[0]["reason"]), (&"s".into(), &reason.clone().into()));
        let events = test.submit(&["--json"]).exits(1).json();
        let skipped = events.iter().find(|event| event["event"] == "instance-skipped").unwrap();
        assert_eq!((&skipped["task"], &skipped["reason"]), (&"s".into(), &reason.into()));
        assert_eq!(events.last().unwrap()["event"], "run-finished");
    }
    // A skip that a failure explains is not named beside it.
    let test = Test::new(
        "[task.l]\nrun = ['false']\ncapture = 'json'\n[task.s]\nscatter = 'l'\nrun = ['true']\n",
    );
    test.submit(&[]).exits(1).err_has("l[0] failed").err_lacks("s[0] skipped");
    let rows = test.run(&["status", "--failed", "--json", "--instances"]).exits(0).json();
    assert_eq!(rows.len(), 1);
    // Too many elements are a reason, too.
    let test = Test::new(
        "[task.l]\nrun = ['echo', '[1, 2]']\ncapture = 'json'\n[task.s]\nscatter = 'l'\nmax-items = 1\nrun = ['true']\n",
    );
    test.submit(&[]).exits(1).err_has("s[0] skipped: needs l: l has 2 elements, max-items is 1");
}
