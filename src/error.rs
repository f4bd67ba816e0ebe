//! Why something that was asked for cannot be had.

use std::fmt;
use std::time::Duration;

use dagrun_core::ids::RunId;
use dagrun_core::payload::PayloadError;
use dagrun_core::status::{InstanceRow, State};

use crate::dag::BuildError;
use crate::rpc::ClientError;

/// Why something that was asked for cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The instance failed, was skipped or was cancelled.
    #[error(transparent)]
    Failed(#[from] Box<Failed>),
    /// It took longer than the caller wanted to wait. What was asked for goes on.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The graph cannot be run as it is.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The scheduler cannot be reached, or refuses.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The value is not of the type wanted.
    #[error("the value of {instance} is not what was expected")]
    Value {
        /// Whose value: `price[7]`.
        instance: String,
        /// What is wrong with it.
        #[source]
        source: PayloadError,
    },
    /// There is no such thing in the run.
    #[error("run {run} has no {what}")]
    Unknown {
        /// The run.
        run: RunId,
        /// What was asked for.
        what: String,
    },
    /// The cluster or the connection to it cannot be set up.
    #[error(transparent)]
    Cluster(#[from] crate::cluster::ClusterError),
    /// The client has been closed.
    #[error("the client has been closed")]
    Closed,
}

/// An instance that has no value, because it did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The task's name.
    pub task: String,
    /// The instance's index; 0 for a task that is no array.
    pub index: u32,
    /// Failed, skipped or cancelled.
    pub state: State,
    /// Attempts that were made.
    pub attempts: u32,
    /// The worker of the last one.
    pub worker: Option<String>,
    /// In one line: what the function said, where it panicked, or which instance decided a skip.
    pub reason: String,
    /// What is known beyond that: the whole chain of errors, or the end of standard error.
    pub detail: String,
}

impl Failed {
    pub(crate) fn new(task: &str, row: &InstanceRow, detail: &[u8]) -> Failed {
        Failed {
            task: task.to_owned(),
            index: row.instance.index,
            state: row.state,
            attempts: row.attempts,
            worker: row.worker.clone(),
            reason: row.reason.clone(),
            detail: String::from_utf8_lossy(detail).into_owned(),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failed { task, index, state, reason, .. } = self;
        write!(f, "{task}[{index}] {}", state.word())?;
        if !reason.is_empty() {
            write!(f, ": {reason}")?;
        }
        match self.attempts {
            0 | 1 => Ok(()),
            attempts => write!(f, " (attempt {attempts})"),
        }
    }
}

impl std::error::Error for Failed {}
