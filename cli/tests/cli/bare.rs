//! Where little is given: no environment, no terminal, PID 1, nothing that may be written, somebody
//! else's files, a full disk, a cluster that has stopped.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use rustix::process::Signal;

use crate::harness::{Cluster, Outcome, Test, wait_until};

const SMALL: &str = "[task.a]\nshell = 'echo $i; echo said >&2'\ncapture = 'text'\nsweep = { i = [1, 2] }\n\
                     [task.b]\ngather = 'a'\nrun = ['wc', '-l', '{a.manifest}']\n";

/// Runs a script in the test's directory, in which `$0` is the program.
fn script(test: &Test, script: &str) -> Outcome {
    test.start_in_shell(script).end()
}

/// Whether this works here; otherwise the test is skipped, and says so.
fn can(words: &[&str]) -> bool {
    let works = Command::new(words[0]).args(&words[1..]).output();
    let works = works.is_ok_and(|output| output.status.success());
    if !works {
        eprintln!("skipped: {} is not possible here", words.join(" "));
    }
    works
}

#[test]
fn nothing_is_needed_of_the_environment() {
    let test = Test::new(SMALL);
    script(&test, "exec env -i \"$0\" submit pipeline.toml </dev/null").exits(0);
    // Nor descriptors.
    script(&test, "exec env -i \"$0\" submit pipeline.toml <&- >&- 2>&-").exits(0);
    script(&test, "exec env -i \"$0\" status last").exits(0).out_has("run 2");
    script(&test, "exec env -i \"$0\" each echo {} ::: x y </dev/null").exits(0).out_has("y\n");
    // What a cluster lacks is named.
    script(&test, "exec env -i \"$0\" cluster start")
        .exits(3)
        .err_has("neither DAGRUN_CLUSTERS_DIR, XDG_STATE_HOME nor HOME is set");
}

#[test]
fn the_first_command_of_the_readme_works_or_says_what_it_lacks() {
    let readme = include_str!("../../../README.md");
    let line = readme.lines().find(|line| line.starts_with("$ cargo run --release -- "));
    let words = line.and_then(|line| line.split_once(" -- ")).map(|(_, words)| words).unwrap();
    let (verb, file) = words.split_once(' ').unwrap();
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let test = Test::new(SMALL);
    // Nothing is built here: that there is no `cargo` is what it lacks.
    let script_of = format!(
        "exec env -i PATH=/nonexistent \"$0\" {verb} '{}' --state-dir \"$PWD/state\" </dev/null",
        file.display()
    );
    let ended = script(&test, &script_of).exits(1);
    assert!(
        ended.stderr.contains("cargo: command not found")
            || ended.stderr.contains("cargo: not found")
            || ended.stderr.contains("no worker has `bash`"),
        "{}",
        ended.stderr
    );
}

#[test]
fn as_process_1() {
    if !can(&["unshare", "--pid", "--fork", "true"]) {
        return;
    }
    let test = Test::new(SMALL);
    script(&test, "exec unshare --pid --fork env -i \"$0\" submit pipeline.toml").exits(0);
    script(&test, "exec unshare --pid --fork --mount-proc env -i \"$0\" submit pipeline.toml")
        .exits(0);
    test.run(&["status", "last"]).exits(0).out_has("run 2  pipeline  succeeded");
}

/// A script with the test's directory mounted read-only.
fn read_only(test: &Test, words: &str) -> Outcome {
    let words = format!(
        "exec unshare -m sh -c 'mount --bind . . && mount -o remount,ro,bind . && cd \"$PWD\" && \
         exec {words}' \"$0\""
    );
    script(test, &words)
}

#[test]
fn a_read_only_directory() {
    if !can(&["unshare", "-m", "true"]) {
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let place = format!("--state-dir {}/state", state.path().display());
    let test = Test::new(SMALL);
    let refused = read_only(&test, "env -i \"$0\" submit pipeline.toml").exits(1);
    let refused = refused.err_has("cannot create the state directory ");
    refused.err_has("Read-only file system").err_has("--state-dir DIR, or DAGRUN_STATE_DIR");
    read_only(&test, &format!("env -i \"$0\" submit pipeline.toml {place}")).exits(0);
    // With a state directory there.
    test.submit(&[]).exits(0);
    read_only(&test, "env -i \"$0\" submit pipeline.toml")
        .exits(1)
        .err_has("the state directory cannot be written: ")
        .err_has("Read-only file system")
        .err_has("--state-dir DIR, or DAGRUN_STATE_DIR");
    reads_all(|words| read_only(&test, &format!("\"$0\" {words}")));
}

/// What looks at the last run works, whatever may not be written.
fn reads_all(run: impl Fn(&str) -> Outcome) {
    run("runs").exits(0).out_has("succeeded");
    run("status last").exits(0).out_has("succeeded");
    run("table last a").exits(0).out_has("value");
    run("logs last a").exits(0).out_has("said");
    run("output last a[1]").exits(0).out("2\n");
    run("explain last a[1]").exits(0).out_has("a[1] succeeded");
    run("wait last").exits(0);
}

#[test]
fn other_peoples_runs_are_read() {
    if !can(&["setpriv", "--reuid=54321", "--clear-groups", "true"]) {
        return;
    }
    let test = Test::new(SMALL);
    test.submit(&[]).exits(0);
    std::fs::set_permissions(test.path("."), Permissions::from_mode(0o755)).unwrap();
    // Nobody else reads them before their owner lets them.
    let let_them = || script(&test, "chmod -R go+rX .dagrun").exits(0);
    // The program may lie where nobody else can read.
    std::fs::copy(env!("CARGO_BIN_EXE_dagrun"), test.path("dagrun")).unwrap();
    let as_other = |words: &str| {
        let other = "setpriv --reuid=54321 --clear-groups env -u XDG_RUNTIME_DIR ./dagrun";
        script(&test, &format!("exec {other} {words}"))
    };
    as_other("runs").exits(2).err_has("no runs are recorded");
    let_them();
    reads_all(as_other);
    let written = || std::fs::read_dir(test.path(".dagrun")).unwrap().count();
    let before = written();
    // Killed: what it recorded last is in the WAL.
    test.write(
        "pipeline.toml",
        "[task.a]\nrun = ['true']\n[task.b]\nshell = 'touch b; sleep 1000'\nafter = 'a'\n",
    );
    let mut killed = test.start(&["submit", "pipeline.toml"]);
    test.wait_for_file("b");
    let live = as_other("status last").exits(0);
    live.out_has("run 2  pipeline  running");
    killed.signal(Signal::KILL);
    killed.end();
    wait_until("its end is noticed", || {
        as_other("status last").exits(0).stdout.contains("run 2  pipeline  interrupted")
    });
    as_other("wait last").exits(3).err_has("run 2 was interrupted");
    as_other("status last --instances").exits(0).out_has("succeeded");
    assert!(written() > before, "the WAL is still there");
    as_other("submit pipeline.toml")
        .exits(1)
        .err_has("the state directory cannot be written: ")
        .err_has("Permission denied");
}

#[test]
fn a_full_state_directory_is_named() {
    if !can(&["unshare", "-m", "true"]) {
        return;
    }
    let test = Test::new(
        "[task.a]\nshell = 'head -c 20000 /dev/zero | tr \"\\0\" $i'\ncapture = 'text'\n\
         sweep = { i = { range = '0..200' } }",
    );
    std::fs::create_dir(test.path("state")).unwrap();
    let ended = script(
        &test,
        "exec unshare -m sh -c 'mount -t tmpfs -o size=1m none state
         \"$0\" submit pipeline.toml --state-dir state 2> said & run=$!
         until grep -q \"waiting for space\" said; do sleep 0.05; done
         \"$0\" status last --state-dir state
         kill -KILL $run; wait $run
         \"$0\" status last --state-dir state
         mount -o remount,size=20m none state
         \"$0\" resume --state-dir state' \"$0\"",
    );
    ended
        .exits(0)
        .out_has("run 1  pipeline  running")
        .out_has("no space left on the disk of ")
        .out_has("run 1  pipeline  interrupted")
        .err_has("run 1 succeeded: 200 instances");
}

#[test]
fn a_stopped_cluster_has_a_history() {
    let test = Test::new(SMALL);
    {
        let cluster = Cluster::start(test, "2");
        cluster.submit(&[]).exits(0);
        cluster.run(&["cluster", "stop"]).exits(0);
        let note = "note: cluster c is not running: this is its history";
        cluster.run(&["runs"]).exits(0).err_has(note).out_has("succeeded");
        let quiet = |words: &str| {
            let words: Vec<&str> = words.split(' ').collect();
            cluster.run(&words)
        };
        reads_all(quiet);
        // What needs a scheduler says so.
        cluster.submit(&[]).exits(3);
        cluster.run(&["retry", "last"]).exits(3).err_has("no cluster named c");
        // Its logs go on where they ended.
        let log = || cluster.0.read("clusters/c/scheduler.log");
        let before = log();
        cluster.0.run(&["cluster", "start", "-n", "0", "--cluster", "c"]).exits(0);
        assert!(!before.is_empty() && log().starts_with(&before) && log().len() > before.len());
        cluster.run(&["runs"]).exits(0).silent();
    }
}

#[test]
fn workers_of_a_cluster_share_the_machine() {
    let cluster = Test::new(SMALL);
    cluster.run(&["cluster", "start", "-n", "2", "--cluster", "c"]).exits(0);
    let cluster = Cluster::started(cluster);
    let workers = cluster.run(&["workers", "--json"]).exits(0).json();
    let whole = dagrun_worker::whole_machine();
    for worker in workers {
        assert_eq!(worker["slots"], (whole.slots / 2).max(1));
        assert_eq!(worker["memory"], whole.memory / 2);
    }
}
