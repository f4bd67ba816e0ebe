//! Why something that was asked for cannot be had.

use std::fmt;
use std::time::Duration;

use dagrun_core::ids::RunId;
use dagrun_core::payload::PayloadError;
use dagrun_core::status::{InstanceRow, State};
use dagrun_scheduler::connection::ConnectionError;

use crate::dag::BuildError;
use crate::deaths::Death;
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
    #[error("the value of {instance} is not what was expected: it is {found}")]
    Value {
        /// Whose value: `price[7]`.
        instance: String,
        /// The value, or its beginning, as JSON.
        found: String,
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
    /// A handle belongs to another graph than the run, or to a task that the run does not have.
    #[error("the handle does not belong to run {run}: {reason}")]
    Foreign {
        /// The run.
        run: RunId,
        /// Why.
        reason: String,
    },
    /// The cluster or the connection to it cannot be set up.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A view names a worker that is not there.
    #[error("no worker `{name}` ({})", listed(.present))]
    NoWorker {
        /// Its name; empty when a view has no worker at all.
        name: String,
        /// The names of those that are.
        present: Vec<String>,
    },
    /// The value cannot be sent.
    #[error("the value `{name}` cannot be sent")]
    Unwritable {
        /// What it is called.
        name: String,
        /// What is wrong with it.
        #[source]
        source: PayloadError,
    },
    /// There is no such table or column, or a row is not of the type wanted.
    #[error("{0}")]
    Table(String),
    /// The client has been closed.
    #[error("the client has been closed")]
    Closed,
}

fn listed(present: &[String]) -> String {
    match present {
        [] => "none is present".to_owned(),
        names => format!("present: {}", names.join(", ")),
    }
}

/// Why a cluster cannot be set up or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// There is no such cluster, or the system has no randomness for its secrets.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The scheduler did not start.
    #[error("the scheduler did not start")]
    Scheduler(#[from] dagrun_scheduler::StartError),
    /// The worker did not start.
    #[error("the worker did not start")]
    Worker(#[from] dagrun_worker::StartError),
    /// Worker processes are started from this program, which would run it from the beginning.
    #[error("call dagrun::init() first thing in main(), before Cluster::processes")]
    NotInitialised,
    /// A worker process ended before it had joined.
    #[error(
        "worker process {name} ended before it joined ({status}): it is this program, which becomes a worker in \
         dagrun::init(); call that first thing in main(), or in a #[test], before anything that can end the process"
    )]
    Died {
        /// Its name.
        name: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// A worker process did not join in time.
    #[error("{missing} of {wanted} worker processes did not join within {seconds} s")]
    Missing {
        /// How many are missing.
        missing: u32,
        /// How many there should be.
        wanted: u32,
        /// How long was waited.
        seconds: u64,
    },
    /// The system refused a thread, socket, directory or process.
    #[error("the system refused a thread, socket, directory or process")]
    System(#[from] std::io::Error),
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
    /// What is known beyond that: the whole chain of errors, the end of standard error, or how a worker process
    /// of this program ended that was lost.
    pub detail: String,
    /// What caused it, where its function returned an error that has causes.
    cause: Option<Box<Cause>>,
    /// Whether its task has this instance only.
    single: bool,
    /// How its worker ended, where it was lost.
    death: Option<String>,
}

/// What caused a failure, as far as it is known: the message of an error, and what caused that.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cause {
    message: String,
    cause: Option<Box<Cause>>,
}

impl Cause {
    /// The causes in the detail of a failure, which a worker writes below a line of their own.
    fn all(detail: &str) -> Option<Box<Cause>> {
        let (_, causes) = detail.split_once("\ncaused by:\n  ")?;
        causes.split("\n  ").collect::<Vec<_>>().into_iter().rev().fold(None, |cause, message| {
            Some(Box::new(Cause { message: message.to_owned(), cause }))
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.cause.as_deref()?)
    }
}

impl Failed {
    pub(crate) fn new(
        task: &str,
        single: bool,
        row: InstanceRow,
        detail: &[u8],
        death: Option<&Death>,
    ) -> Failed {
        let detail = match death {
            Some(death) => death.to_string(),
            None => String::from_utf8_lossy(detail).into_owned(),
        };
        Failed {
            task: task.to_owned(),
            index: row.instance.index,
            state: row.state,
            attempts: row.attempts,
            worker: row.worker,
            reason: row.reason,
            single,
            death: death.map(Death::status),
            cause: Cause::all(&detail),
            detail,
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failed { task, index, state, reason, .. } = self;
        f.write_str(task)?;
        if !self.single {
            write!(f, "[{index}]")?;
        }
        write!(f, " {}", state.word())?;
        if !reason.is_empty() {
            write!(f, ": {reason}")?;
        }
        if let Some(death) = &self.death {
            write!(f, "; {death}")?;
        }
        match self.attempts {
            0 | 1 => Ok(()),
            attempts => write!(f, " (attempt {attempts})"),
        }
    }
}

impl std::error::Error for Failed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.cause.as_deref()?)
    }
}
