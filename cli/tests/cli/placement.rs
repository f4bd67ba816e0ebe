//! Where instances run: targets, resources, `follow`, and what becomes of those that cannot.

use crate::harness::{Cluster, Test, is_alive, wait_until};

#[test]
fn instances_run_where_they_may() {
    let test = Test::new(
        "[task.label]\nrun = ['true']\ntargets = 'fast'\nsweep = { x = [1, 2, 3] }\n\
         [task.name]\nrun = ['true']\ntargets = ['w1', 'nobody']\nsweep = { x = [1, 2] }\n\
         [task.gpu]\nrun = ['true']\nresources = { gpu = 1 }\nsweep = { x = [1, 2, 3] }\n\
         [task.wide]\nrun = ['true']\ncpus = 2\n\
         [task.each]\nrun = ['true']\ntargets = 'each'\n\
         [task.large]\nrun = ['true']\nmemory = '3GiB'\n",
    );
    let cluster = Cluster::start(test, "1");
    let offer = ["--resource", "gpu=2", "--memory", "4TiB", "--label", "fast"];
    let _worker = cluster.join(&[&["--name", "big", "-j", "2"], &offer[..]].concat());
    let workers = cluster.run(&["workers", "--json"]).exits(0).json();
    let big = workers.iter().find(|worker| worker["name"] == "big").unwrap();
    assert_eq!(big["resources"], serde_json::json!({ "gpu": 2 }));
    assert_eq!(big["memory"], 4u64 << 40);
    cluster.run(&["workers"]).exits(0).out_has("4 TiB").out_has("gpu=2").out_has("fast");
    cluster.submit(&["-q"]).exits(0);
    assert_eq!(cluster.places("label"), ["big"; 3]);
    assert_eq!(cluster.places("name"), ["w1"; 2]);
    assert_eq!(cluster.places("gpu"), ["big"; 3]);
    assert_eq!(cluster.places("wide"), ["big"]);
    let mut each = cluster.places("each");
    each.sort_unstable();
    assert_eq!(each, ["big", "w1"]);
}

#[test]
fn followers_run_where_their_upstreams_ran() {
    let test = Test::new(
        "[task.a]\nrun = ['true']\ntargets = 'w1'\n\
         [task.b]\nrun = ['false']\ntargets = 'w2'\nallow-failure = true\n\
         [task.five]\nfollow = 'a'\nrun = ['true']\nsweep = { x = [1, 2, 3, 4, 5] }\n\
         [task.good]\nfollow = { any = ['a', 'b'] }\nrun = ['true']\n\
         [task.bad]\nfollow = { any = ['a', 'b'], on = 'failure' }\nrun = ['true']\n\
         [task.both]\nfollow = { all = ['a', 'b'], on = 'finish' }\nrun = ['true']\n",
    );
    let cluster = Cluster::start(test, "2");
    cluster.submit(&["-q"]);
    assert_eq!(cluster.places("five"), ["w1"; 5]);
    assert_eq!(cluster.places("good"), ["w1"]);
    assert_eq!(cluster.places("bad"), ["w2"]);
    let both = cluster.instances("both");
    assert_eq!(both[0]["state"], "skipped");
    assert!(both[0]["reason"].as_str().unwrap().contains("worker"), "{}", both[0]["reason"]);
}

#[test]
fn what_no_worker_can_run_waits_for_one_that_can() {
    let test = Test::new("[task.a]\nrun = ['true']\ntargets = 'late'\n[task.b]\nrun = ['true']\n");
    let cluster = Cluster::start(test, "1");
    cluster
        .submit(&["--detach"])
        .exits(0)
        .out("1\n")
        .err_has("no worker could run `a`: no worker has the name or label `late`");
    let state = || cluster.instances("a").pop().map(|row| row["state"].clone());
    wait_until("b has ended", || {
        cluster.instances("b").first().is_some_and(|row| row["state"] == "succeeded")
    });
    assert_eq!(state(), Some("ready".into()));
    cluster.run(&["status", "last"]).exits(0).out_has("\na: ");
    let _worker = cluster.join(&["--label", "late"]);
    cluster.run(&["wait", "last"]).exits(0);
    assert_eq!(state(), Some("succeeded".into()));
}

#[test]
fn start_within_bounds_the_wait() {
    let pipeline = "[task.a]\nrun = ['true']\ntargets = 'nobody'\nstart-within = '200ms'\n\
                    [task.b]\nafter = { all = ['a'], on = 'failure' }\nrun = ['touch', 'b']\n";
    let test = Test::new(pipeline);
    test.submit(&[]).exits(1).err_has("note: no worker could run `a`").err_has("a[0] failed");
    let row = test.run(&["status", "last", "--failed", "--json"]).exits(0).json().remove(0);
    assert!(row["reason"].as_str().unwrap().contains("start"), "{row}");
    assert!(test.path("b").exists());
    let cluster = Cluster::start(Test::new(pipeline), "1");
    cluster.submit(&[]).exits(1).err_has("a[0] failed");
}

#[test]
fn an_embedded_run_that_would_wait_for_ever_is_refused() {
    let test = Test::new(
        "[task.a]\nrun = ['true']\n\
         [task.b]\nrun = ['true']\nresources = { gpu = 1 }\ntargets = 'fast'\nmemory = '1GiB'\n\
         [task.c]\nrun = ['touch', 'c']\ncpus = 3\n",
    );
    let outcome = test.submit(&["-j", "2"]).exits(2).out("");
    outcome
        .err_has("no worker could run `b`: no worker has the name or label `fast`")
        .err_has("no worker could run `c`: it needs 3 slots, and no worker has more than 2")
        .err_has("--resource");
    assert!(!test.path("c").exists());
    let words = ["-j", "3", "--label", "fast", "-q"];
    test.submit(&words).exits(2).err_has("it needs 1 gpu");
    let with_gpu = [&words[..], &["--resource", "gpu=1"]].concat();
    test.submit(&[&with_gpu[..], &["--memory", "1MiB"]].concat())
        .exits(2)
        .err_has("it needs 1 GiB of memory, and no worker has more than 1 MiB");
    test.submit(&[&with_gpu[..], &["--memory", "1GiB"]].concat()).exits(0).silent();
    assert!(test.path("c").exists());
    test.submit(&["--only", "a", "-q"]).exits(0);
}

#[test]
fn an_instance_can_be_cancelled_alone() {
    let test = Test::new(
        "[task.a]\nshell = 'echo $$ > $x.new; mv $x.new $x.pid; until [ -e go ]; do sleep 0.01; done'\n\
         sweep = { x = ['one', 'two'] }\n\
         [task.b]\nafter = { any = ['a'], on = 'failure' }\nrun = ['touch', 'b']\n",
    );
    let cluster = Cluster::start(test, "2");
    cluster.submit(&["--detach"]).exits(0);
    cluster.0.wait_for_file("one.pid");
    cluster.0.wait_for_file("two.pid");
    cluster.run(&["cancel", "last", "a[0]"]).exits(0);
    let pid = cluster.0.read("one.pid");
    wait_until("the cancelled one ends", || !is_alive(&pid));
    cluster.0.wait_for_file("b");
    assert!(is_alive(&cluster.0.read("two.pid")));
    cluster.0.write("go", "");
    cluster.run(&["wait", "last"]).exits(1);
    let states: Vec<_> =
        cluster.instances("a").into_iter().map(|row| row["state"].clone()).collect();
    assert_eq!(states, ["cancelled", "succeeded"]);
}

#[test]
fn offers_and_schemes_that_make_no_sense_are_refused() {
    let test = Test::new("");
    for words in [
        ["worker", "--resource", "gpu"],
        ["worker", "--resource", "gpu=x"],
        ["worker", "--resource", "cpus=2"],
        ["worker", "--memory", "much"],
        ["scheduler", "--scheme", "fastest"],
    ] {
        test.run(&words).exits(2);
    }
    let cluster = Cluster::start(Test::new("[task.a]\nrun = ['true']"), "1");
    cluster.submit(&["--resource", "gpu=1"]).exits(2).err_has("cluster start");
}

#[test]
fn every_scheme_runs_everything() {
    let pipeline = "[task.a]\nrun = ['true']\nsweep = { x = { range = '0..20' } }\n";
    for scheme in ["lru", "plain-random", "two-bin", "weighted", "least-load"] {
        let test = Test::new(pipeline);
        let words = ["cluster", "start", "-n", "2", "-j", "1", "--scheme", scheme];
        test.run(&[&words[..], &["--resource", "gpu=1", "--cluster", "c"]].concat()).exits(0);
        let cluster = Cluster(test);
        cluster.submit(&["-q"]).exits(0).silent();
        let workers = cluster.run(&["workers", "--json"]).exits(0).json();
        assert_eq!(workers[1]["resources"]["gpu"], 1);
    }
}
