//! Events that wait for the driver.

use std::cell::RefCell;
use std::sync::Arc;

use dagrun_core::engine::{CancelScope, Past, Report, RunPlan, WorkerInfo};
use dagrun_core::ids::{RunId, Timestamp, WorkerId};
use dagrun_core::pipeline::Pipeline;
use dagrun_core::status::Failure;
use tokio::sync::{Notify, oneshot};

use dagrun_schema::wire::{AttemptProgress, Submission};

use super::presence::Returning;
use super::worker::LineId;

/// Something that happened.
pub(crate) enum Happened {
    /// A run has been recorded and may start.
    Submitted(RunId, Arc<RunPlan>, Arc<Past>),
    /// A run that was about to be gone on with is not.
    Abandoned(RunId),
    /// A client cancels a run or a part of it, and may wait until that is on disk.
    Cancel(RunId, CancelScope, Option<oneshot::Sender<()>>),
    /// A worker registered.
    Joined(WorkerId, WorkerInfo),
    /// A sign of life from a worker.
    Heard(WorkerId),
    /// The progress that attempts of a worker report, from 0 to 1.
    Progress(WorkerId, Vec<AttemptProgress>),
    /// A worker reported, in the call of this number.
    Reports(WorkerId, Vec<Report>, u64),
    /// A worker has returned.
    Returned(Box<Returning>),
    /// A worker takes nothing new.
    Leaving(WorkerId),
    /// How much memory a worker has left, if that is too little.
    Short(WorkerId, Option<String>),
    /// The scheduler reports on attempts that it never sent.
    Unsent(WorkerId, Vec<Report>),
    /// A call to a worker has returned.
    Sent(LineId, u64),
    /// A worker's session ended, or a call to it failed.
    Cut(LineId),
}

/// A run that may start.
pub(crate) struct Submitted {
    pub(crate) run: RunId,
    pub(crate) submission: Arc<Submission>,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) plan: Arc<RunPlan>,
    /// The number of instances of each task; `None` where it is known only later.
    pub(crate) widths: Vec<Option<u32>>,
    /// What it takes over.
    pub(crate) past: Arc<Past>,
    pub(crate) started: Timestamp,
    /// What else is known of it, if it is one that is resumed.
    pub(crate) before: Before,
}

/// What is known of a run that is resumed, besides its past.
#[derive(Default)]
pub(crate) struct Before {
    /// Its first failures.
    pub(crate) failures: Vec<Failure>,
    /// The index below which attempts of each task may have been handed out.
    pub(crate) marks: Vec<u32>,
}

/// Events, in order. Pushing never waits and never calls anything else, so it may be done while the
/// driver is borrowed and from a `Drop`.
#[derive(Default)]
pub(crate) struct Inbox {
    queue: RefCell<Vec<Happened>>,
    filled: Notify,
}

impl Inbox {
    pub(crate) fn push(&self, happened: Happened) {
        self.queue.borrow_mut().push(happened);
        self.filled.notify_one();
    }

    /// Makes the driver look for work.
    pub(crate) fn wake(&self) {
        self.filled.notify_one();
    }

    /// Takes all waiting events.
    pub(super) fn take(&self) -> Vec<Happened> {
        std::mem::take(&mut *self.queue.borrow_mut())
    }

    /// Waits until an event has been pushed since the last call.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }
}
