//! Clusters of real processes: the same file, the same results.

use crate::harness::{Cluster, Test, wait_until};

const DEMO: &str = "name = 'demo'\n[task.a]\nrun = ['printf', '%s', '{x}']\ncapture = 'text'\n\
                    sweep = { x = [1, 2, 3] }\n[task.b]\ngather = 'a'\n\
                    run = ['wc', '-l']\nstdin = '{a.manifest}'\ncapture = 'text'";

#[test]
fn a_cluster_gives_the_results_of_an_embedded_run() {
    let cluster = Cluster::start(Test::new(DEMO), "2");
    cluster.submit(&["-q"]).exits(0).silent();
    cluster.run(&["output", "last", "b"]).exits(0).out("3\n");
    cluster.run(&["output", "last", "a[2]"]).exits(0).out("3\n");
    let workers = cluster.run(&["workers", "--json"]).exits(0).json();
    let mut names: Vec<_> = workers.iter().map(|worker| worker["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["w1", "w2"]);
    assert_eq!(workers[0]["slots"], 1);
    cluster.run(&["cluster", "status"]).exits(0).out_has("127.0.0.1").out_has("w2");
    cluster.run(&["runs"]).exits(0).out_has("demo").out_has("succeeded");
    cluster.run(&["logs", "last", "a[0]"]).exits(0);
}

#[test]
fn a_run_outlives_its_client_and_another_attaches() {
    let test = Test::new(
        "[task.a]\nshell = 'touch begun; until [ -e go ]; do sleep 0.01; done; exit 3'\n\
         [task.b]\nafter = 'a'\nrun = ['true']",
    );
    let cluster = Cluster::start(test, "1");
    cluster.submit(&["--detach"]).exits(0).out("1\n").silent();
    cluster.0.wait_for_file("begun");
    let mut watch = cluster.0.start(&["watch", "1", "--cluster", "c"]);
    watch.wait_for_line("run 1");
    let mut leaving = cluster.0.start(&["watch", "1", "--cluster", "c"]);
    leaving.wait_for_line("run 1").signal(rustix::process::Signal::INT);
    leaving.end().exits(130).err_has("dagrun cancel 1 --cluster c");
    cluster.0.write("go", "");
    watch.end().exits(1).err_has("a[0] failed: exit code 3");
    cluster.run(&["wait", "1"]).exits(1);
}

#[test]
fn two_clients_at_once_have_runs_of_their_own() {
    let cluster = Cluster::start(Test::new(DEMO), "2");
    let words = ["submit", "pipeline.toml", "--json", "--cluster", "c"];
    let (one, two) = (cluster.0.start(&words), cluster.0.start(&words));
    let runs = [one.end().exits(0), two.end().exits(0)].map(|outcome| {
        let last = outcome.json().pop().unwrap();
        assert_eq!(last["state"], "succeeded");
        last["run"].as_str().unwrap().to_owned()
    });
    assert_ne!(runs[0], runs[1]);
}

#[test]
fn cancel_ends_a_run_a_task_or_an_instance() {
    let test = Test::new(
        "[task.a]\nrun = ['sleep', '1000']\nsweep = { x = [1, 2] }\n\
         [task.b]\nrun = ['touch', 'b']\nafter = { all = ['a'], on = 'failure' }",
    );
    let cluster = Cluster::start(test, "2");
    cluster.submit(&["--detach"]).exits(0);
    cluster.run(&["cancel", "last", "a[1]"]).exits(0);
    cluster.run(&["cancel", "last", "none"]).exits(2);
    cluster.run(&["cancel", "last", "a"]).exits(0);
    cluster.run(&["wait", "last"]).exits(1);
    assert!(cluster.0.path("b").exists());
    cluster.submit(&["--detach"]).exits(0);
    cluster.run(&["cancel", "last"]).exits(0);
    cluster.run(&["wait", "last"]).exits(1);
    let status = cluster.run(&["status", "last", "--json"]).exits(0).json();
    assert_eq!(status[0]["state"], "cancelled");
}

#[test]
fn stopping_ends_every_process() {
    let cluster = Cluster::start(Test::new(DEMO), "2");
    let status = cluster.run(&["cluster", "status"]).exits(0).stdout;
    let pid = status.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    assert!(crate::harness::is_alive(&pid));
    cluster.run(&["cluster", "stop"]).exits(0);
    wait_until("the scheduler ends", || !crate::harness::is_alive(&pid));
    cluster.run(&["workers"]).exits(3);
}

#[test]
fn a_name_is_taken_while_its_scheduler_lives() {
    let cluster = Cluster::start(Test::new(DEMO), "1");
    cluster.run(&["cluster", "start", "-n", "1"]).exits(1).err_has("running already");
}

#[test]
fn an_unknown_cluster_exits_with_3() {
    let test = Test::new(DEMO);
    test.submit(&["--cluster", "none"]).exits(3).err_has("no cluster named none");
    test.run(&["cluster", "stop", "--cluster", "none"]).exits(3);
    test.run(&["worker", "--cluster", "none"]).exits(3);
    test.run(&["workers", "--cluster", "../x"]).exits(2);
}

#[test]
fn a_wrong_token_is_refused() {
    let cluster = Cluster::start(Test::new(DEMO), "1");
    let original = cluster.0.read("clusters/c/client.json");
    let token = |text: &str| -> String {
        let file: serde_json::Value = serde_json::from_str(text).unwrap();
        file["token"].as_str().unwrap().to_owned()
    };
    let use_token = |token_text: &str| {
        let changed = original.replace(&token(&original), token_text);
        cluster.0.write("clusters/c/client.json", changed);
    };
    use_token(&"00".repeat(32));
    cluster.submit(&[]).exits(3).err_has("wrong token");
    // A worker's token buys nothing that a client may do.
    use_token(&token(&cluster.0.read("clusters/c/worker.json")));
    cluster.submit(&[]).exits(3).err_has("is one for workers");
    cluster.0.write("clusters/c/client.json", &original);
}

#[test]
fn a_dead_scheduler_exits_with_3() {
    let cluster = Cluster::start(Test::new(DEMO), "1");
    let kept = cluster.0.read("clusters/c/client.json");
    cluster.run(&["cluster", "stop"]).exits(0);
    let path = cluster.0.path("clusters/c/client.json");
    cluster.0.write("clusters/c/client.json", kept);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&path, mode).unwrap();
    cluster.submit(&[]).exits(3).err_has("no scheduler is reachable");
}

#[test]
fn losing_the_scheduler_exits_with_3() {
    let cluster = Cluster::start(Test::new("[task.a]\nrun = ['sleep', '1000']"), "1");
    let mut client = cluster.0.start(&["submit", "pipeline.toml", "--cluster", "c"]);
    client.wait_for_line("run 1");
    let refused = cluster.run(&["cluster", "stop"]).exits(2);
    refused.err_has("run 1 (pipeline) is running").err_has("--force");
    cluster.run(&["cluster", "stop", "--force"]).exits(0);
    client.end().exits(3).err_has("lost");
}

#[test]
fn a_scheduler_and_a_worker_in_the_foreground_end_orderly_on_sigterm() {
    use rustix::process::Signal;
    let test = Test::new(DEMO);
    let mut scheduler = test.start(&["scheduler", "--cluster", "c", "--state-dir", "state"]);
    scheduler.wait_for_line("listening on 127.0.0.1:");
    test.wait_for_file("clusters/c/client.json");
    let words = ["worker", "--cluster", "c", "-j", "3", "--name", "big", "--label", "gpu"];
    let mut worker = test.start(&words);
    worker.wait_for_line("joined");
    let workers = test.run(&["workers", "--cluster", "c", "--json"]).exits(0).json();
    assert_eq!(workers[0]["name"], "big");
    assert_eq!(workers[0]["slots"], 3);
    assert_eq!(workers[0]["labels"], serde_json::json!(["gpu"]));
    test.submit(&["--cluster", "c", "-q"]).exits(0);
    worker.signal(Signal::TERM);
    worker.end().exits(0);
    scheduler.signal(Signal::TERM);
    scheduler.end().exits(0);
    assert!(test.path("state/dagrun.db").exists());
    assert!(!test.path("clusters/c/client.json").exists());
}

#[test]
fn workers_end_with_their_scheduler_and_their_tasks_with_them() {
    let test = Test::new("[task.a]\nshell = 'echo $$ > new; mv new pid; sleep 1000'");
    let cluster = Cluster::start(test, "1");
    cluster.submit(&["--detach"]).exits(0);
    cluster.0.wait_for_file("pid");
    wait_until("the pid is written", || cluster.0.read("pid").ends_with('\n'));
    let pid = cluster.0.read("pid");
    cluster.run(&["cluster", "stop", "--force"]).exits(0);
    wait_until("the task ends", || !crate::harness::is_alive(&pid));
}
