//! `dagrun exec`: one command on the workers of a cluster.

use rustix::process::Signal;

use crate::harness::{Cluster, Test, is_alive, wait_until};

fn two_workers() -> Cluster {
    Cluster::start(Test::new(""), "2")
}

#[test]
fn a_command_runs_once_on_every_worker() {
    let cluster = two_workers();
    let script = "echo said; echo told >&2; echo once >> count";
    let outcome = cluster.exec(&["--", "sh", "-c", script]).exits(0);
    assert_eq!(outcome.stdout, "w1:\nsaid\nw2:\nsaid\n");
    assert_eq!(outcome.stderr.matches("told\n").count(), 2);
    assert_eq!(cluster.0.read("count"), "once\nonce\n");
}

#[test]
fn named_workers_run_it_and_no_others() {
    let cluster = two_workers();
    cluster.exec(&["--worker", "w2", "--", "printf", "%s", "a b"]).exits(0).out("w2:\na b\n");
    let both = ["--worker", "w2", "--worker", "w1", "--worker", "w2", "printf", "x"];
    cluster.exec(&both).exits(0).out("w2:\nx\nw1:\nx\n").silent();
    cluster.exec(&["--worker", "w3", "--", "true"]).exits(2).err_has("w1, w2").out("");
}

#[test]
fn a_failure_is_told_with_its_worker() {
    let cluster = two_workers();
    let words = ["--worker", "w1", "--", "sh", "-c", "echo said; echo told >&2; exit 3"];
    cluster.exec(&words).exits(1).out("w1:\nsaid\n").err_has("w1:\ntold\n").err_has("exit code 3");
    cluster.exec(&["--", "no-such-program"]).exits(1).err_has("no-such-program");
}

#[test]
fn json_has_a_line_for_each_worker() {
    let cluster = two_workers();
    let script = "printf 'a\\nb'; echo told >&2; mkdir once || exit 3";
    let outcome = cluster.exec(&["--json", "--", "sh", "-c", script]).exits(1).silent();
    let mut lines = outcome.json();
    let workers: Vec<_> = lines.iter().map(|line| line["worker"].clone()).collect();
    assert_eq!(workers, ["w1", "w2"]);
    // One of the two makes the directory.
    lines.sort_by_key(|line| line["exit-code"].as_i64());
    for (line, (state, code)) in lines.iter().zip([("succeeded", 0), ("failed", 3)]) {
        assert_eq!((&line["state"], &line["exit-code"]), (&state.into(), &code.into()));
        assert_eq!(line["stdout"], "a\nb");
        assert!(line["stderr"].as_str().unwrap().starts_with("told\n"), "{line}");
    }
    assert_eq!((&lines[0]["reason"], &lines[1]["reason"]), (&().into(), &"exit code 3".into()));
    let order = r#"{"worker":"w1","state":"succeeded","exit-code":0,"stdout":"","stderr":"","reason":null}"#;
    cluster.exec(&["--worker", "w1", "--json", "true"]).exits(0).out(&format!("{order}\n"));
}

#[test]
fn a_command_runs_at_once_where_every_slot_is_busy() {
    let cluster = two_workers();
    let busy = "[task.busy]\nsweep = { i = { range = '0..4' } }\nshell = 'echo $$ > $i.new; mv $i.new $i.pid; sleep 1000'";
    cluster.0.write("pipeline.toml", busy);
    cluster.submit(&["-q", "--detach"]).exits(0);
    let running = || (0..4).filter(|i| cluster.0.path(format!("{i}.pid")).exists()).count();
    wait_until("the slots are busy", || running() == 2);
    cluster.exec(&["--", "echo", "said"]).exits(0).out("w1:\nsaid\nw2:\nsaid\n").silent();
    cluster.exec(&["--worker", "w2", "--", "printenv", "DAGRUN_CPUS"]).exits(0).out("w2:\n1\n");
    // It waited for none of them, and holds none.
    assert_eq!(running(), 2);
    let mut process = cluster.0.start(&["exec", "--cluster", "c", "--", "sleep", "1000"]);
    wait_until("it runs", || {
        let rows = cluster.run(&["workers", "--json"]).exits(0).json();
        rows.iter().all(|row| row["running"] == 2)
    });
    for pid in ["0.pid", "1.pid"] {
        let pid = cluster.0.read(pid).trim().to_owned();
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap(),
            Signal::KILL,
        )
        .unwrap();
    }
    wait_until("the next ones run", || running() == 4);
    process.signal(Signal::INT);
    process.end().exits(130);
    cluster.run(&["cancel", "1"]).exits(0);
}

#[test]
fn a_command_is_never_the_last_run() {
    let cluster = two_workers();
    cluster.exec(&["true"]).exits(0);
    cluster.run(&["status", "last"]).exits(2);
    cluster.0.write("pipeline.toml", "name = 'exec'\n[task.exec]\nrun = 'false'");
    cluster.submit(&["-q"]).exits(1);
    cluster.exec(&["true"]).exits(0);
    cluster.run(&["status"]).exits(0).out_has("run 2  exec  failed");
    cluster.run(&["retry", "last", "--failed", "-q"]).exits(1);
    cluster.run(&["status", "1"]).exits(0).out_has("run 1  exec  succeeded");
}

#[test]
fn ctrl_c_ends_the_command_everywhere() {
    let cluster = two_workers();
    let script = "echo $$ > $$.new; mv $$.new $$.pid; sleep 1000";
    let mut process = cluster.0.start(&["exec", "--cluster", "c", "--", "sh", "-c", script]);
    let pids = || -> Vec<String> {
        let files = std::fs::read_dir(cluster.0.path("")).unwrap();
        let paths = files.map(|file| file.unwrap().path());
        let pids = paths.filter(|path| path.extension().is_some_and(|ending| ending == "pid"));
        pids.map(|path| std::fs::read_to_string(path).unwrap()).collect()
    };
    wait_until("both have begun", || pids().len() == 2);
    process.signal(Signal::INT);
    process.end().exits(130);
    for pid in pids() {
        wait_until("it ends", || !is_alive(&pid));
    }
}

#[test]
fn without_workers_there_is_nothing_to_run_on() {
    let test = Test::new("");
    test.run(&["exec", "--", "true"]).exits(2).err_has("--cluster").out("");
    test.run(&["exec", "--cluster", "none", "--", "true"]).exits(3);
    let mut scheduler = test.start(&["scheduler", "--cluster", "c"]);
    scheduler.wait_for_line("listening");
    test.run(&["exec", "--cluster", "c", "--", "true"]).exits(3).err_has("no workers");
    scheduler.signal(Signal::TERM);
    scheduler.end().exits(0);
}
