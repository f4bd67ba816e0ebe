//! The status of runs: the same terms for the terminal, JSON, the wire and the history.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{InstanceId, Micros, RunId, Timestamp};
use crate::offer::Offer;
use crate::output::Stamp;

/// The state of an instance.
///
/// ```text
/// blocked ─► ready | backoff | succeeded | failed | skipped | cancelled
/// ready   ─► leased | backoff | failed | skipped | cancelled
/// leased  ─► ready | backoff | succeeded | failed | cancelled
/// backoff ─► ready | skipped | cancelled
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum State {
    /// Waits for upstreams.
    Blocked = 0,
    /// Could start, waits for a worker.
    Ready = 1,
    /// Handed to a worker.
    Leased = 2,
    /// Waits for its next attempt.
    Backoff = 3,
    /// Its last attempt succeeded.
    Succeeded = 4,
    /// Its last attempt failed.
    Failed = 5,
    /// Its dependencies can no longer be met.
    Skipped = 6,
    /// Cancelled before it ended.
    Cancelled = 7,
}

impl State {
    /// All states, in the order of their numbers.
    pub const ALL: [State; 8] = [
        State::Blocked,
        State::Ready,
        State::Leased,
        State::Backoff,
        State::Succeeded,
        State::Failed,
        State::Skipped,
        State::Cancelled,
    ];

    /// Whether nothing follows it, unless its run is interrupted and resumed.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        self as u8 >= State::Succeeded as u8
    }

    /// The state of this number.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<State> {
        State::ALL.get(usize::from(number)).copied()
    }

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            State::Blocked => "blocked",
            State::Ready => "ready",
            State::Leased => "leased",
            State::Backoff => "backoff",
            State::Succeeded => "succeeded",
            State::Failed => "failed",
            State::Skipped => "skipped",
            State::Cancelled => "cancelled",
        }
    }
}

/// The state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum RunState {
    /// At least one instance is not terminal yet.
    Running = 0,
    /// All that had to succeed did.
    Succeeded = 1,
    /// At least one instance failed.
    Failed = 2,
    /// Cancelled by a user.
    Cancelled = 3,
    /// Its scheduler ended before it did: by a signal, a crash, a power cut. Nothing of it runs.
    Interrupted = 4,
}

impl RunState {
    /// The state of this number.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<RunState> {
        use RunState::{Cancelled, Failed, Interrupted, Running, Succeeded};
        [Running, Succeeded, Failed, Cancelled, Interrupted].get(usize::from(number)).copied()
    }

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            RunState::Running => "running",
            RunState::Succeeded => "succeeded",
            RunState::Failed => "failed",
            RunState::Cancelled => "cancelled",
            RunState::Interrupted => "interrupted",
        }
    }
}

/// How many instances of a task are in each state, by [`State`] number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts(pub [u32; 8]);

impl Counts {
    /// The number in `state`.
    #[must_use]
    pub fn of(&self, state: State) -> u32 {
        self.0[state as usize]
    }

    /// The number in any state.
    #[must_use]
    pub fn total(&self) -> u32 {
        sum(&self.0)
    }

    /// The number in terminal states.
    #[must_use]
    pub fn terminal(&self) -> u32 {
        sum(&self.0[State::Succeeded as usize..])
    }
}

/// Counts may come from a message or a journal, where their sum can be any number.
fn sum(counts: &[u32]) -> u32 {
    counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
}

/// Why an attempt did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The process ended with a code other than 0.
    Exit(i32),
    /// A signal that dagrun did not send ended the process.
    Signal(i32),
    /// It ran longer than its `timeout`.
    Timeout,
    /// Its worker was lost while it ran.
    Lost,
    /// It could not be started: no such program, no such directory, a placeholder without value.
    Start,
    /// A declared output was missing after exit code 0.
    MissingOutput,
    /// What it wrote could not become its value: invalid JSON, too large, not UTF-8.
    Capture,
    /// It was cancelled.
    Cancelled,
    /// The function that it called returned an error.
    Function,
    /// The function that it called panicked.
    Panic,
    /// Its worker ended it, because it left.
    Preempted,
    /// Its worker was lost, and it is not known whether it ran.
    Unknown,
    /// It was ended because it used more memory than it asked for, or because memory ran out.
    Memory,
}

/// What is known of an ended attempt besides its outcome; opaque to the state machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// One line for people: `exit code 3`, `no such program: foo`.
    pub reason: String,
    /// The last bytes of standard error, at most 4 KiB.
    pub stderr_tail: Vec<u8>,
    /// The captured value: a JSON document.
    pub value: Option<Vec<u8>>,
    /// Rendered output paths, in the order of the task's outputs, where they cannot be computed
    /// from the index alone.
    pub outputs: Vec<Vec<u8>>,
    /// What the outputs looked like at the end, in the order of the task's outputs: `None` for one at
    /// a URL. Empty when there is nothing to compare.
    pub stamps: Vec<Option<Stamp>>,
}

/// How an instance ended, or is at present, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceResult {
    /// Its state and attempts.
    pub row: InstanceRow,
    /// Its value, if it has succeeded and has one, see [`crate::payload`].
    pub value: Option<Vec<u8>>,
    /// The last bytes of standard error, or what else is known, if it has failed.
    pub detail: Vec<u8>,
    /// The paths of its outputs as they were reported; empty when they can be computed from the
    /// index alone.
    pub outputs: Vec<Vec<u8>>,
}

/// A line of the history of runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSummary {
    /// Its id.
    pub run: RunId,
    /// The pipeline's name.
    pub name: String,
    /// Its state.
    pub state: RunState,
    /// When it was submitted.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Instances in all.
    pub instances: u64,
    /// Instances in a terminal state.
    pub done: u64,
    /// Instances that failed.
    pub failed: u64,
    /// What it was marked with when it was submitted.
    pub tags: Vec<Tag>,
}

/// What a run is marked with: `NAME` or `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// Its name.
    pub name: String,
    /// Its value, if it has one.
    pub value: Option<String>,
}

impl Tag {
    /// How many a run may have.
    pub const MOST: usize = 50;
    /// Bytes of one, at most.
    const LONGEST: usize = 1_000;

    /// Whether one of a run's tags is what is asked for; without a value any value will do.
    #[must_use]
    pub fn is_among(&self, tags: &[Tag]) -> bool {
        let fits = |tag: &Tag| tag.name == self.name && (self.value.is_none() || *tag == *self);
        tags.iter().any(fits)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl FromStr for Tag {
    type Err = String;

    fn from_str(text: &str) -> Result<Tag, String> {
        if text.len() > Tag::LONGEST {
            return Err(format!("a tag has at most {} bytes", Tag::LONGEST));
        }
        if text.chars().any(char::is_control) {
            return Err("a tag has no control characters".to_owned());
        }
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        match name.trim() == name && !name.is_empty() {
            true => Ok(Tag { name: name.to_owned(), value }),
            false => Err("expected NAME or NAME=VALUE".to_owned()),
        }
    }
}

/// A run, by task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunStatus {
    /// Its id.
    pub run: RunId,
    /// The pipeline's name.
    pub name: String,
    /// Its state.
    pub state: RunState,
    /// When it was submitted.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Its tasks, in the pipeline's order.
    pub tasks: Vec<TaskStatus>,
    /// Why nothing of it is started for now, whatever its tasks are like; empty otherwise.
    pub waiting: String,
}

/// A task of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskStatus {
    /// Its name.
    pub name: String,
    /// Its instances by state.
    pub counts: Counts,
    /// How many of the leased are known to run, rather than to wait at their worker.
    pub running: u32,
    /// Whether its number of instances is known; until then all counts are zero.
    pub width_known: bool,
    /// The progress of running instances, as their functions report it: the sum, in thousandths of
    /// an instance.
    pub partial: u32,
    /// Why its ready instances do not start, when no worker that is present could ever run them;
    /// empty otherwise.
    pub note: String,
}

/// How long the instances of a task took: the last attempts of those that succeeded or failed in the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskTimes {
    /// How many they are.
    pub instances: u32,
    /// When the first of these attempts started.
    pub started: Timestamp,
    /// When the last of them ended.
    pub finished: Timestamp,
    /// How long one took in the mean.
    pub mean: Micros,
    /// How long the longest one took.
    pub longest: Micros,
    /// How many of them took more than one attempt.
    pub retried: u32,
}

/// One instance, as the history knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceRow {
    /// Which.
    pub instance: InstanceId,
    /// Its state.
    pub state: State,
    /// Attempts that are known. Their numbers may have gaps.
    pub attempts: u32,
    /// The name of the worker of the last attempt.
    pub worker: Option<String>,
    /// When the last attempt started.
    pub started: Option<Timestamp>,
    /// When the last attempt ended.
    pub finished: Option<Timestamp>,
    /// The exit code of the last attempt.
    pub exit_code: Option<i32>,
    /// Why it failed, was skipped or cancelled.
    pub reason: String,
}

/// A failed instance, with what a person needs to see first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub instance: InstanceId,
    /// Why.
    pub reason: String,
    /// The last bytes of its standard error.
    pub stderr_tail: Vec<u8>,
}

/// A piece of an attempt's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    /// Whose.
    pub instance: InstanceId,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Which stream.
    pub stream: Stream,
    /// When it was written.
    pub at: Timestamp,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Where a piece of output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Stream {
    /// Standard output.
    Stdout = 0,
    /// Standard error.
    Stderr = 1,
    /// A note of dagrun's: where output was cut.
    Note = 2,
}

/// What a scheduler has refused since its start, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Logins with a wrong secret.
    pub logins: u64,
    /// Connections that had to give way before they had logged in.
    pub strangers: u64,
    /// Messages that were too large, or none at all; each ended its connection.
    pub messages: u64,
    /// Registrations beyond those that a worker's line may have.
    pub sessions: u64,
    /// How often nothing more was read of a connection that had not read its answers.
    pub requests: u64,
    /// Reports and requests about what was not their sender's, or no longer.
    pub reports: u64,
}

/// A worker, as the scheduler knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// The host it runs on.
    pub host: String,
    /// What it offers.
    pub offer: Offer,
    /// Attempts it runs or holds.
    pub running: u32,
    /// When its last heartbeat arrived.
    pub last_heartbeat: Timestamp,
    /// Why it is given less than it offers; empty otherwise.
    pub note: String,
}
