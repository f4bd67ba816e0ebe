//! Why instances end, and what of a run is ended on request.

use crate::ids::{InstanceId, RunId, TaskId};
use crate::status::FailureKind;

/// How much of a run to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelScope {
    /// All of it; the run ends as cancelled.
    Run,
    /// All of it, because its scheduler ends; the run ends as interrupted if that cut off anything.
    Interruption,
    /// A task's instances.
    Task(TaskId),
    /// One instance.
    Instance(InstanceId),
}

impl CancelScope {
    /// Whether it is all of a run.
    #[must_use]
    pub fn is_whole(self) -> bool {
        matches!(self, CancelScope::Run | CancelScope::Interruption)
    }
}

/// Why an instance ended, or its attempt did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The attempt itself failed.
    Attempt(FailureKind),
    /// Clause number `clause` of `after` can never be met; `root` decided it.
    After {
        /// Position in the task's clauses, see [`super::RunPlan`].
        clause: u32,
        /// The instance at the beginning of the chain.
        root: InstanceId,
    },
    /// Its upstream in a map or gather, or one that a placeholder names, did not succeed.
    Upstream {
        /// The instance at the beginning of the chain.
        root: InstanceId,
    },
    /// Clause number `clause` of `follow` can never be met; `root` decided it.
    Follow {
        /// Position among the task's clauses of `follow`.
        clause: u32,
        /// The instance at the beginning of the chain.
        root: InstanceId,
        /// What about it.
        why: FollowProblem,
    },
    /// The value to scatter is not an array, or has more elements than `max-items`.
    Scatter {
        /// The instance whose value it is.
        root: InstanceId,
        /// How many elements there are; `None` when the value is not an array.
        items: Option<u64>,
    },
    /// The user cancelled it.
    Cancelled,
    /// It lost its worker too often.
    LostTooOften,
    /// No worker started it within `start-within`.
    NotStartedInTime,
    /// It had not succeeded before this run began, and was not selected to run in it.
    NotSelected,
    /// It had ended, and was opened again when the run was resumed. The machine gives no record of that:
    /// it is for hosts, who write down what is opened.
    Reopened(Reopening),
    /// It had succeeded before this run began. The machine gives no record of that: it is for
    /// hosts, who write down what a run takes over.
    TakenOver {
        /// The run in which it ran.
        from: RunId,
    },
}

/// Why an instance cannot follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowProblem {
    /// The outcomes that count can no longer come about, as with `after`.
    Outcome,
    /// The upstreams ran on several workers.
    SeveralWorkers,
    /// No upstream that counts ran on a worker.
    NeverRan,
    /// The worker where they ran is lost.
    WorkerLost,
}

/// Why an instance that had ended is open again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reopening {
    /// An interruption cut it off.
    CutOff,
    /// It had run only because of an interruption.
    Consequence,
    /// Its value or one of its outputs is no longer there.
    Lost,
    /// It is to run whenever what needs it or comes after it does.
    Rerun,
}

impl Reopening {
    /// All of them.
    pub const ALL: [Reopening; 4] =
        [Reopening::CutOff, Reopening::Consequence, Reopening::Lost, Reopening::Rerun];
}
