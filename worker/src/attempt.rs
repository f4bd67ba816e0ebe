//! One attempt: what it is to do, how it ended, and why it failed.

use dagrun_core::engine::Outcome;
use dagrun_core::ids::{RunId, Timestamp};
use dagrun_core::recipe::Invocation;
use dagrun_core::status::{Detail, FailureKind};
use dagrun_disk::clock;
use dagrun_disk::log::{Owner, RunLog};

use crate::control::{Control, Stop};

/// An attempt to make.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// What to start.
    pub invocation: &'a Invocation,
    /// The run it belongs to.
    pub run: RunId,
    /// Whose output it will be.
    pub owner: Owner,
    /// Where the output goes, if anywhere.
    pub log: Option<&'a RunLog>,
    /// How others reach into it.
    pub control: &'a Control,
    /// The slot it occupies: its place in the table of groups.
    pub slot: usize,
}

/// How an attempt went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The outcome.
    pub outcome: Outcome,
    /// What else is known; none for a plain success.
    pub detail: Option<Box<Detail>>,
    /// When its process started; zero when it did not.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
}

impl Ended {
    /// An attempt that ended without a process.
    #[must_use]
    pub fn without_start(kind: FailureKind, reason: String) -> Ended {
        let detail = Some(Box::new(Detail { reason, ..Detail::default() }));
        let outcome = Outcome::Failed(kind);
        Ended { outcome, detail, started: Timestamp(0), finished: clock::now() }
    }
}

/// Why an attempt failed.
pub(crate) struct Fault(pub(crate) FailureKind, pub(crate) String);

impl Fault {
    /// It could not be started.
    pub(crate) fn start(reason: String) -> Fault {
        Fault(FailureKind::Start, reason)
    }

    /// It was stopped.
    pub(crate) fn stopped(control: &Control) -> Fault {
        match control.stopped() {
            Some(Stop::Leave) => Fault(FailureKind::Lost, "its worker stopped".to_owned()),
            _ => Fault(FailureKind::Cancelled, "cancelled".to_owned()),
        }
    }

    /// It took longer than it may.
    pub(crate) fn timed_out(attempt: &Attempt<'_>) -> Fault {
        let span = attempt.invocation.timeout.unwrap_or_default();
        Fault(FailureKind::Timeout, format!("timed out after {span}"))
    }
}
