//! What a scheduler reports on runs, tasks, instances, their output and workers, with the times of the
//! standard library. [`crate::rpc`] has the same as it travels.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dagrun_core::ids::{InstanceId, RunId, Timestamp};
use dagrun_core::offer::Offer;
use dagrun_core::status::{self, RunState, State, Stream, TaskStatus};

fn time(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(at.0)
}

/// A run, in the list of runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunSummary {
    /// Its id.
    pub run: RunId,
    /// The name of its graph.
    pub name: String,
    /// Its state.
    pub state: RunState,
    /// When it was submitted.
    pub started: SystemTime,
    /// When it ended.
    pub finished: Option<SystemTime>,
    /// Instances in all.
    pub instances: u64,
    /// Those that have ended.
    pub done: u64,
    /// Those of them that failed.
    pub failed: u64,
}

impl From<status::RunSummary> for RunSummary {
    fn from(from: status::RunSummary) -> RunSummary {
        let status::RunSummary {
            run, name, state, started, finished, instances, done, failed, ..
        } = from;
        let (started, finished) = (time(started), finished.map(time));
        RunSummary { run, name, state, started, finished, instances, done, failed }
    }
}

/// A run, by task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunStatus {
    /// Its id.
    pub run: RunId,
    /// The name of its graph.
    pub name: String,
    /// Its state.
    pub state: RunState,
    /// When it was submitted.
    pub started: SystemTime,
    /// When it ended.
    pub finished: Option<SystemTime>,
    /// Its tasks, in the order in which they were recorded.
    pub tasks: Vec<TaskStatus>,
    /// Why nothing of it is started for now, as on a full disk.
    pub waiting: Option<String>,
}

impl From<status::RunStatus> for RunStatus {
    fn from(from: status::RunStatus) -> RunStatus {
        let status::RunStatus { run, name, state, started, finished, tasks, waiting } = from;
        let (started, finished) = (time(started), finished.map(time));
        let waiting = Some(waiting).filter(|why| !why.is_empty());
        RunStatus { run, name, state, started, finished, tasks, waiting }
    }
}

/// An instance, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Instance {
    /// Which.
    pub instance: InstanceId,
    /// Its state.
    pub state: State,
    /// Attempts that were made.
    pub attempts: u32,
    /// The name of the worker of the last attempt.
    pub worker: Option<String>,
    /// When the last attempt started.
    pub started: Option<SystemTime>,
    /// When the last attempt ended.
    pub finished: Option<SystemTime>,
    /// The exit code of the last attempt, if it was a command.
    pub exit_code: Option<i32>,
    /// Why it failed, was skipped or cancelled.
    pub reason: String,
}

impl Instance {
    /// How long its last attempt took, once that has ended.
    #[must_use]
    pub fn run_time(&self) -> Option<Duration> {
        self.finished?.duration_since(self.started?).ok()
    }
}

impl From<status::InstanceRow> for Instance {
    fn from(row: status::InstanceRow) -> Instance {
        let status::InstanceRow { instance, state, attempts, worker, exit_code, reason, .. } = row;
        let (started, finished) = (row.started.map(time), row.finished.map(time));
        Instance { instance, state, attempts, worker, started, finished, exit_code, reason }
    }
}

/// A piece of what an attempt wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogChunk {
    /// Whose.
    pub instance: InstanceId,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Which stream.
    pub stream: Stream,
    /// When it was written.
    pub at: SystemTime,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl From<status::LogChunk> for LogChunk {
    fn from(from: status::LogChunk) -> LogChunk {
        let status::LogChunk { instance, attempt, stream, at, bytes } = from;
        LogChunk { instance, attempt, stream, at: time(at), bytes }
    }
}

/// A worker that is present.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// Its number, in the order in which workers joined.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// The host that it runs on.
    pub host: String,
    /// What it offers.
    pub offer: Offer,
    /// Attempts that it runs or holds.
    pub running: u32,
    /// When it was last heard of.
    pub last_heartbeat: SystemTime,
    /// Why it is given less than it offers; empty otherwise.
    pub note: String,
}

impl From<status::WorkerStatus> for WorkerStatus {
    fn from(from: status::WorkerStatus) -> WorkerStatus {
        let status::WorkerStatus { id, name, host, offer, running, last_heartbeat, note } = from;
        WorkerStatus { id, name, host, offer, running, last_heartbeat: time(last_heartbeat), note }
    }
}
