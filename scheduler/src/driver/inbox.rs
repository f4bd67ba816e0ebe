//! What has happened and waits for the driver.

use std::cell::RefCell;
use std::sync::Arc;

use dagrun_core::engine::{CancelScope, Past, Report, RunPlan, WorkerInfo};
use dagrun_core::ids::{RunId, Timestamp, WorkerId};
use dagrun_core::pipeline::Pipeline;
use tokio::sync::Notify;

use dagrun_schema::wire::{AttemptProgress, Submission};

/// Something that happened.
pub(crate) enum Happened {
    /// A run has been written down and may start.
    Submitted(RunId, Arc<RunPlan>, Arc<Past>),
    /// A client wants something cancelled.
    Cancel(RunId, CancelScope),
    /// A worker registered.
    Joined(WorkerId, WorkerInfo),
    /// A worker is alive.
    Heard(WorkerId),
    /// How far attempts of a worker say that they have come, from 0 to 1.
    Progress(WorkerId, Vec<AttemptProgress>),
    /// A worker reported.
    Reports(WorkerId, Vec<Report>),
    /// The scheduler answers for attempts that it never sent.
    Unsent(WorkerId, Vec<Report>),
    /// A call to a worker has returned.
    Sent(WorkerId),
    /// A worker's session ended, or a call to it failed.
    Gone(WorkerId),
}

/// A run that may start.
pub(crate) struct Submitted {
    pub(crate) run: RunId,
    pub(crate) submission: Arc<Submission>,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) plan: Arc<RunPlan>,
    /// The number of instances of each task; none where it is known only later.
    pub(crate) widths: Vec<Option<u32>>,
    /// What it takes over.
    pub(crate) past: Arc<Past>,
    pub(crate) started: Timestamp,
}

/// What has happened, in order. Pushing never waits and never calls anything else, so it may be
/// done while the driver is borrowed and from a `Drop`.
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

    /// Makes the driver look for what is to be done.
    pub(crate) fn wake(&self) {
        self.filled.notify_one();
    }

    /// Everything that waits.
    pub(super) fn take(&self) -> Vec<Happened> {
        std::mem::take(&mut *self.queue.borrow_mut())
    }

    /// Waits until something was pushed since the last call.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }
}
