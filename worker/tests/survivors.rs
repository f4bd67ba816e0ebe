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
        Some("__flood") => flood(Path::new(&arguments[2])),
        // As the harness of other tests does: there is nothing to list.
        Some("--list") => {}
        _ => {
            nothing_outlives_a_killed_worker();
            a_flood_neither_blocks_nor_bloats();
            println!("survivors: 2 passed");
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
