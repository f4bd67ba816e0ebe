//! A cluster whose scheduler is killed, or told to end, in the middle of runs: workers go on with what
//! they have, the next scheduler adopts it, and whoever waits goes on waiting.

use rustix::process::Signal;

use crate::harness::{Cluster, Process, Test, wait_until};
use crate::presence::audit;

/// Each attempt says that it has begun, and under which process, and ends when it is let go.
const WAITING: &str = "[task.a]\nsweep = { i = [0, 1] }\n\
    shell = '''\necho $i $DAGRUN_ATTEMPT >> audit\necho $$ > new-$i\nmv new-$i pid-$i-$DAGRUN_ATTEMPT\n\
    while [ ! -e go ] && [ ! -e go-$i ]; do sleep 0.02; done\necho $DAGRUN_ATTEMPT > $out_o\n'''\n\
    out.o = 'o-{i}.txt'\n";

fn scheduler(test: &Test, lease: &str) -> Process {
    let mut scheduler = test.start(&["scheduler", "--cluster", "c", "--lease", lease]);
    scheduler.wait_for_line("listening");
    scheduler
}

fn cluster(pipeline: &str, lease: &str) -> (Cluster, Process) {
    let test = Test::new(pipeline);
    let scheduler = scheduler(&test, lease);
    (Cluster::started(test), scheduler)
}

fn end_by(mut scheduler: Process, signal: Signal) {
    scheduler.signal(signal);
    scheduler.end();
}

fn pid(cluster: &Cluster, file: &str) -> u32 {
    cluster.0.wait_for_file(file);
    cluster.0.read(file).trim().parse().unwrap()
}

fn ended(cluster: &Cluster) -> usize {
    let rows = cluster.run(&["status", "last", "a", "--json"]);
    let status = &rows.exits(0).json()[0];
    status["tasks"][0]["succeeded"].as_u64().unwrap() as usize
}

#[test]
fn what_runs_keeps_its_processes_and_who_waits_goes_on_waiting() {
    for signal in [Signal::KILL, Signal::TERM] {
        let (cluster, first) = cluster(WAITING, "10m");
        let _worker = cluster.join(&["--name", "w", "-j", "2"]);
        cluster.submit(&["--detach"]).exits(0);
        let pids = [0, 1].map(|i| pid(&cluster, &format!("pid-{i}-1")));
        let mut waiting = cluster.0.start(&["watch", "last", "--cluster", "c"]);
        waiting.wait_for_line("run 1: ");
        let file = cluster.0.read("clusters/c/client.json");
        end_by(first, signal);
        let mut second = scheduler(&cluster.0, "10m");
        second.wait_for_line("goes on with run 1");
        let address =
            |text: &str| text.lines().find(|line| line.contains("address")).map(str::to_owned);
        let token =
            |text: &str| text.lines().find(|line| line.contains("token")).map(str::to_owned);
        let now = cluster.0.read("clusters/c/client.json");
        assert_eq!((address(&now), token(&now)), (address(&file), token(&file)));
        wait_until("they are known to run", || {
            let run = &cluster.run(&["status", "last", "--json"]).exits(0).json()[0];
            run["state"] == "running" && run["tasks"][0]["leased"] == 2
        });
        for (i, pid) in pids.into_iter().enumerate() {
            assert_eq!(cluster.0.read(&format!("pid-{i}-1")).trim(), pid.to_string());
            assert!(std::path::Path::new(&format!("/proc/{pid}")).exists(), "{signal:?}");
        }
        cluster.0.write("go", "");
        waiting.end().exits(0);
        assert_eq!(audit(&cluster), ["0 1", "1 1"], "nothing is run again");
        assert_eq!(
            (cluster.0.read("o-0.txt"), cluster.0.read("o-1.txt")),
            ("1\n".into(), "1\n".into())
        );
        cluster.0.wait_for_no_attempt_dir(".");
    }
}

#[test]
fn what_ends_without_a_scheduler_counts_once() {
    let after = "[task.b]\nafter = ['a']\nshell = 'echo b >> audit'\n";
    let (cluster, first) = cluster(&format!("{WAITING}{after}"), "10m");
    let _worker = cluster.join(&["--name", "w", "-j", "2"]);
    cluster.submit(&["--detach"]).exits(0);
    (0..2).for_each(|i| cluster.0.wait_for_file(&format!("pid-{i}-1")));
    end_by(first, Signal::KILL);
    cluster.0.write("go-0", "");
    cluster.0.wait_for_file("o-0.txt");
    let _second = scheduler(&cluster.0, "10m");
    wait_until("its end is known", || ended(&cluster) == 1);
    cluster.0.write("go", "");
    cluster.run(&["wait", "last"]).exits(0);
    assert_eq!(audit(&cluster), ["0 1", "1 1", "b"]);
}

#[test]
fn a_worker_that_dies_meanwhile_has_its_attempts_run_elsewhere_at_once() {
    let (cluster, first) = cluster(WAITING, "10m");
    let mut dying = cluster.join(&["--name", "dying", "-j", "1"]);
    cluster.submit(&["--detach"]).exits(0);
    cluster.0.wait_for_file("pid-0-1");
    let _other = cluster.join(&["--name", "other", "-j", "2"]);
    cluster.0.wait_for_file("pid-1-1");
    end_by(first, Signal::KILL);
    dying.signal(Signal::KILL);
    dying.end();
    let _second = scheduler(&cluster.0, "10m");
    cluster.0.wait_for_file("pid-0-2");
    cluster.0.write("go", "");
    cluster.run(&["wait", "last"]).exits(0);
    assert_eq!(audit(&cluster), ["0 1", "0 2", "1 1"], "the other one went on");
}

#[test]
fn two_kills_change_nothing_for_what_runs() {
    let (cluster, mut scheduling) = cluster(WAITING, "10m");
    let _worker = cluster.join(&["--name", "w", "-j", "2"]);
    cluster.submit(&["--detach"]).exits(0);
    (0..2).for_each(|i| cluster.0.wait_for_file(&format!("pid-{i}-1")));
    for _ in 0..2 {
        end_by(scheduling, Signal::KILL);
        scheduling = scheduler(&cluster.0, "10m");
        scheduling.wait_for_line("goes on with run 1");
        wait_until("what runs is on disk as such", || {
            let run = &cluster.run(&["status", "last", "--json"]).exits(0).json()[0];
            run["tasks"][0]["leased"] == 2
        });
    }
    cluster.0.write("go", "");
    cluster.run(&["wait", "last"]).exits(0);
    assert_eq!(audit(&cluster), ["0 1", "1 1"]);
}

/// The first half of each chain ends at once, the second one when it is let go.
#[test]
fn a_chain_of_which_half_had_ended_goes_on_in_the_middle() {
    let pipeline =
        "[task.first]\nsweep = { i = [0, 1, 2, 3] }\nshell = 'echo f $i >> audit; echo $i'\n\
        capture = 'json'\n\
        [task.a]\nmap = 'first'\n\
        run = ['sh', '-c', '''echo a $0 $DAGRUN_ATTEMPT >> audit
        while [ ! -e go ]; do sleep 0.02; done''', '{first.value}']\n";
    let (cluster, first) = cluster(pipeline, "10m");
    let _workers = ["v", "w"].map(|name| cluster.join(&["--name", name, "-j", "2"]));
    cluster.submit(&["--detach"]).exits(0);
    // The ends of the last of the first half need not be on disk by then.
    wait_until("all second halves run", || audit(&cluster).len() == 8);
    end_by(first, Signal::KILL);
    let mut second = scheduler(&cluster.0, "10m");
    second.wait_for_line("goes on with run 1");
    cluster.0.write("go", "");
    cluster.run(&["wait", "last"]).exits(0);
    let expected = ["a 0 1", "a 1 1", "a 2 1", "a 3 1", "f 0", "f 1", "f 2", "f 3"];
    assert_eq!(audit(&cluster), expected);
}
