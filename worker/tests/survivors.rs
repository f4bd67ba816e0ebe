//! Tests that need a process of their own to die or to be measured: this program starts itself.

#![allow(clippy::print_stdout)]

mod common;

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{alive, invocation, owner, pid_in, sh, until};
use dagrun_core::engine::Outcome;
use dagrun_core::ids::RunId;
use dagrun_disk::log::RunLog;
use dagrun_worker::attempt::Attempt;
use dagrun_worker::control::Control;
use dagrun_worker::groups::{GroupTable, Mark};
use dagrun_worker::runner::Runner;

fn main() {
    dagrun_worker::reaper::take_part();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match arguments.get(1).and_then(|argument| argument.to_str()) {
        Some("__worker") => worker(Path::new(&arguments[2])),
        Some("__orphans") => orphans(Path::new(&arguments[2])),
        Some("__flood") => flood(Path::new(&arguments[2])),
        // As the harness of other tests does: there is nothing to list.
        Some("--list") => {}
        _ => {
            nothing_outlives_a_killed_worker();
            a_flood_neither_blocks_nor_bloats();
            a_reaper_that_dies_is_started_again();
            what_left_its_group_ends_with_its_attempt();
            println!("survivors: 4 passed");
        }
    }
}

fn again(mode: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(mode).arg(dir).stdin(Stdio::null());
    command
}

/// Runs an attempt that never ends and leaves a daemon, under a reaper.
fn worker(dir: &Path) {
    let table = GroupTable::new().unwrap();
    let mark = Mark::random();
    let config = dagrun_worker::ReaperConfig::this_program().unwrap();
    let reaper = dagrun_worker::reaper::Reaper::start(&config, &table, &mark, None).unwrap();
    println!("{}", reaper.id());
    let script = "env -i sleep 1000 & echo $! > bare; \
                  setsid sh -c 'echo $$ > daemon; exec sleep 1000' & \
                  echo $$ > leader; wait";
    let runner = Runner::new(mark, Some(table), 1 << 20);
    let control = Control::new().unwrap();
    let invocation = sh(dir, script);
    let ended = runner.run(&Attempt {
        invocation: &invocation,
        run: RunId(1),
        owner: owner(0),
        log: None,
        control: &control,
        slot: 3,
    });
    panic!("should have been killed: {ended:?}");
}

fn nothing_outlives_a_killed_worker() {
    let dir = tempfile::tempdir().unwrap();
    let mut worker = again("__worker", dir.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(worker.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let reaper: i32 = line.trim().parse().unwrap();
    let pids = ["leader", "bare", "daemon"].map(|name| pid_in(&dir.path().join(name)));
    assert!(pids.iter().all(|pid| alive(*pid)) && alive(reaper));
    worker.kill().unwrap();
    worker.wait().unwrap();
    for pid in pids {
        until("the reaper ends what the worker left", || (!alive(pid)).then_some(()));
    }
    until("the reaper ends itself", || (!alive(reaper)).then_some(()));
}

/// Runs attempts that write 1 GB to each stream, and prints how much the peak memory grew, in KiB.
fn flood(dir: &Path) {
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = peak();
    let log = RunLog::new(dir.join("logs"), "w1");
    let runner = Runner::new(Mark::random(), None, 1 << 20);
    let control = Control::new().unwrap();
    for (index, target) in (0..).zip(["/dev/stdout", "/dev/stderr"]) {
        let copy = ["dd", "if=/dev/zero", "bs=1M", "count=1000", "status=none"];
        let mut argv: Vec<OsString> = copy.map(OsString::from).to_vec();
        argv.push(format!("of={target}").into());
        let invocation = invocation(dir, argv);
        let ended = runner.run(&Attempt {
            invocation: &invocation,
            run: RunId(1),
            owner: owner(index),
            log: Some(&log),
            control: &control,
            slot: 0,
        });
        assert_eq!(ended.outcome, Outcome::Succeeded, "{ended:?}");
    }
    log.flush();
    let size = std::fs::metadata(dir.join("logs/w1.log")).unwrap().len();
    assert!(size < (2 << 20) + 1000, "{size} bytes of log");
    println!("{}", peak() - before);
}

fn a_flood_neither_blocks_nor_bloats() {
    let dir = tempfile::tempdir().unwrap();
    let output = again("__flood", dir.path()).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    let kib: u64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    assert!(kib < 20 << 10, "{kib} KiB more than idle");
}

/// The process that is a reaper of this one, other than `before`.
fn reaper_of(worker: u32, before: i32) -> Option<i32> {
    let is_reaper = |pid: &i32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        words.split(|byte| *byte == 0).nth(1) == Some(b"__dagrun-reaper")
            && parent == Some(worker.to_string().as_str())
    };
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.find(|pid| *pid != before && is_reaper(pid))
}

fn a_reaper_that_dies_is_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut worker = again("__worker", dir.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(worker.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let first: i32 = line.trim().parse().unwrap();
    let pids = ["leader", "bare", "daemon"].map(|name| pid_in(&dir.path().join(name)));
    let mut before = first;
    for _ in 0..3 {
        let pid = rustix::process::Pid::from_raw(before).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        before = until("it is started again", || reaper_of(worker.id(), before));
    }
    assert!(pids.iter().all(|pid| alive(*pid)));
    worker.kill().unwrap();
    worker.wait().unwrap();
    for pid in pids {
        until("it ends what the worker left", || (!alive(pid)).then_some(()));
    }
    until("it ends itself", || (!alive(before)).then_some(()));
}

/// Runs attempts that leave daemons, in a process that adopts them, and prints how many children it has
/// after each.
fn orphans(dir: &Path) {
    dagrun_worker::orphans::adopt();
    let runner = Runner::new(Mark::random(), None, 1 << 20);
    let children = || {
        let own = std::process::id();
        let children = std::fs::read_to_string(format!("/proc/self/task/{own}/children")).unwrap();
        children.split_whitespace().count()
    };
    let scripts = [
        // Another session; twice removed; without the environment; in the group, and ended by itself.
        "setsid sh -c 'echo $$ > a; exec sleep 1000' & until [ -s a ]; do sleep 0.01; done",
        "(setsid sh -c '(sh -c \"echo \\$\\$ > b; sleep 1000; :\") & sleep 1000' &); until [ -s b ]; do sleep 0.01; done",
        "(env -i setsid sh -c 'echo $$ > c; exec sleep 1000' &) ; until [ -s c ]; do sleep 0.01; done",
        "(sleep 0 &); (sleep 1000 & echo $! > d); true",
    ];
    for (number, script) in (0..).zip(scripts) {
        let mut invocation = sh(dir, script);
        invocation.env.push(("DAGRUN_ATTEMPT_ID".into(), number.to_string().into()));
        let control = Control::new().unwrap();
        let ended = runner.run(&Attempt {
            invocation: &invocation,
            run: RunId(1),
            owner: owner(number),
            log: None,
            control: &control,
            slot: 0,
        });
        assert_eq!(ended.outcome, Outcome::Succeeded, "{ended:?}");
        println!("{}", children());
    }
}

fn what_left_its_group_ends_with_its_attempt() {
    let dir = tempfile::tempdir().unwrap();
    let output = again("__orphans", dir.path()).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "0\n0\n0\n0\n", "zombies are none");
    for name in ["a", "b", "c", "d"] {
        assert!(!alive(pid_in(&dir.path().join(name))), "{name}");
    }
}
