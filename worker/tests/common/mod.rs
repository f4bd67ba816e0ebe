//! Helpers that the tests of attempts share.
#![allow(dead_code, clippy::print_stdout, unreachable_pub)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dagrun_core::ids::{InstanceId, Micros, RunId, TaskId};
use dagrun_core::pipeline::Capture;
use dagrun_core::recipe::{Checkpoint, Invocation, OutputFile};
use dagrun_core::status::{LogChunk, Stream};
use dagrun_disk::log::{Cursor, LogReader, Owner, RunLog};
use dagrun_worker::attempt::{Attempt, Ended};
use dagrun_worker::control::Control;
use dagrun_worker::groups::Mark;
use dagrun_worker::runner::Runner;

pub const LIMIT: usize = 1 << 20;

/// An invocation in `dir`.
pub fn invocation<S: Into<OsString>>(dir: &Path, argv: impl IntoIterator<Item = S>) -> Invocation {
    Invocation {
        argv: argv.into_iter().map(Into::into).collect(),
        shell: false,
        env: Vec::new(),
        working_dir: dir.to_owned(),
        run_dir: dir.join("state/runs/7"),
        reads: Vec::new(),
        stdin: None,
        fed: None,
        files: Vec::new(),
        fetches: Vec::new(),
        checkpoint: Checkpoint { dir: dir.join("state/runs/7/checkpoints/a-0"), made: false },
        outputs: Vec::new(),
        report_outputs: false,
        capture: Capture::None,
        timeout: None,
        grace: Micros::from_secs(10),
        cpus: 1,
        memory: 0,
    }
}

pub fn sh(dir: &Path, script: &str) -> Invocation {
    invocation(dir, ["sh", "-c", script])
}

pub fn output(dir: &Path, name: &str) -> OutputFile {
    OutputFile {
        name: name.into(),
        path: PathBuf::from(format!("results/{name}")),
        target: dir.join("results").join(name),
        temporary: dir.join("results").join(".dagrun-m-7-0-0-1").join(name),
        directory: false,
        temp: false,
    }
}

pub fn owner(index: u32) -> Owner {
    Owner { instance: InstanceId { task: TaskId(0), index }, attempt: 1 }
}

/// A directory with a log in it, and a runner for attempts.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub runner: Runner,
    pub log: RunLog,
    pub control: Control,
}

impl Place {
    pub fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let log = RunLog::new(dir.path().join("logs"), "w1");
        let runner = Runner::new(Mark::random(), None, LIMIT);
        Place { dir, runner, log, control: Control::new().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn run(&self, invocation: &Invocation) -> Ended {
        let ended = self.runner.run(&Attempt {
            invocation,
            run: RunId(7),
            owner: owner(0),
            log: Some(&self.log),
            control: &self.control,
            slot: 0,
        });
        self.log.flush();
        ended
    }

    pub fn sh(&self, script: &str) -> Ended {
        self.run(&sh(self.path(), script))
    }

    pub fn chunks(&self) -> Vec<LogChunk> {
        let mut reader = LogReader::open(&self.path().join("logs"));
        reader.read(&mut Cursor::default(), usize::MAX, &mut |_, _| true).unwrap()
    }

    pub fn logged(&self, stream: Stream) -> Vec<u8> {
        let chunks = self.chunks().into_iter().filter(|chunk| chunk.stream == stream);
        chunks.flat_map(|chunk| chunk.bytes).collect()
    }
}

pub fn reason(ended: &Ended) -> &str {
    ended.detail.as_ref().map_or("", |detail| &detail.reason)
}

/// Whether a process exists and is not a zombie.
pub fn alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with(['Z', 'X']))
    })
}

/// Waits for something that has to happen.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "never happened: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The number that a task writes into a file.
pub fn pid_in(path: &Path) -> i32 {
    until("a process writes its number", || {
        std::fs::read_to_string(path).ok()?.strip_suffix('\n')?.trim().parse().ok()
    })
}
