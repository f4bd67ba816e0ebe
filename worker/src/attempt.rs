//! One attempt: what it is to do, how it ended, and why it failed.

use std::io;

use dagrun_core::engine::{Outcome, Refusal};
use dagrun_core::ids::{RunId, Timestamp};
use dagrun_core::recipe::Invocation;
use dagrun_core::status::{Detail, FailureKind};
use dagrun_disk::clock;
use dagrun_disk::log::{Owner, RunLog};
use rustix::io::Errno;

use crate::control::{Control, Stop};

/// The variable with an attempt's id, which no other attempt has in the state directory of its scheduler.
pub(crate) const ATTEMPT_ID: &str = "DAGRUN_ATTEMPT_ID";

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
    pub fn without_start(outcome: Outcome, reason: String) -> Ended {
        let detail = Some(Box::new(Detail { reason, ..Detail::default() }));
        Ended { outcome, detail, started: Timestamp(0), finished: clock::now() }
    }
}

/// Why an attempt did not succeed: its outcome, and the reason.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault(pub(crate) Outcome, pub(crate) String);

impl Fault {
    /// It failed.
    pub(crate) fn failed(kind: FailureKind, reason: String) -> Fault {
        Fault(Outcome::Failed(kind), reason)
    }

    /// It could not be started.
    pub(crate) fn start(reason: String) -> Fault {
        Fault::failed(FailureKind::Start, reason)
    }

    /// It could not be started because of an error of the system's: a failure, unless the machine had
    /// not what a start needs.
    pub(crate) fn system(error: &io::Error, reason: String) -> Fault {
        match is_scarce(error) {
            true => Fault(Outcome::Refused(Refusal::Scarce), reason),
            false => Fault::start(reason),
        }
    }

    /// What it executes is not here.
    pub(crate) fn missing(reason: String) -> Fault {
        Fault(Outcome::Refused(Refusal::Missing), reason)
    }

    /// It was stopped.
    pub(crate) fn stopped(control: &Control) -> Fault {
        match control.stopped() {
            Some(Stop::Leave) => {
                Fault::failed(FailureKind::Preempted, "its worker left".to_owned())
            }
            _ => Fault::failed(FailureKind::Cancelled, "cancelled".to_owned()),
        }
    }

    /// It took longer than it may.
    pub(crate) fn timed_out(attempt: &Attempt<'_>) -> Fault {
        let span = attempt.invocation.timeout.unwrap_or_default();
        Fault::failed(FailureKind::Timeout, format!("timed out after {span}"))
    }
}

/// Whether the machine is short of what an attempt needs, which says nothing of the attempt: file
/// descriptors, processes, memory, disk space.
pub(crate) fn is_scarce(error: &io::Error) -> bool {
    const SCARCE: [Errno; 6] =
        [Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOMEM, Errno::NOSPC, Errno::DQUOT];
    Errno::from_io_error(error).is_some_and(|errno| SCARCE.contains(&errno))
}

/// The same for an error that has another one as its source.
pub(crate) fn comes_from_scarcity(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut errors = std::iter::successors(Some(error), |error| error.source());
    errors.any(|error| error.downcast_ref::<io::Error>().is_some_and(is_scarce))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_lacks_is_no_fault_of_the_attempt() {
        for errno in [24, 23, 11, 12, 28, 122] {
            let error = io::Error::from_raw_os_error(errno);
            let fault = Fault::system(&error, error.to_string());
            assert_eq!(fault.0, Outcome::Refused(Refusal::Scarce), "{error}");
        }
        for errno in [2, 13, 7, 20, 36] {
            let error = io::Error::from_raw_os_error(errno);
            let fault = Fault::system(&error, error.to_string());
            assert_eq!(fault.0, Outcome::Failed(FailureKind::Start), "{error}");
        }
    }
}
