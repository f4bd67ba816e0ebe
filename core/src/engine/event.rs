//! The events and actions of the state machine.

use std::ops::Range;
use std::sync::Arc;

pub use super::cause::{CancelScope, Cause, FollowProblem};
use super::plan::{Past, RunPlan};
use crate::ids::{AttemptId, InstanceId, RunId, TaskId, Timestamp, WorkerId};
use crate::offer::Offer;
use crate::status::{Detail, FailureKind, RunState, State};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A client submitted a run.
    RunSubmitted {
        /// Its id, new to the machine.
        run: RunId,
        /// Its graph.
        plan: Arc<RunPlan>,
        /// What had succeeded before it began.
        past: Arc<Past>,
    },
    /// A run of which workers have attempts is not gone on with.
    RunAbandoned {
        /// The run.
        run: RunId,
    },
    /// A client requested a cancellation.
    CancelRequested {
        /// The run.
        run: RunId,
        /// How much of it.
        scope: CancelScope,
    },
    /// A worker registered.
    WorkerJoined {
        /// Its id, new to the machine.
        worker: WorkerId,
        /// What is known of it.
        info: WorkerInfo,
    },
    /// A worker's line is cut. Its leases stand until it returns or is lost; nothing new goes there.
    WorkerAway {
        /// Its id.
        worker: WorkerId,
    },
    /// A worker that was away, or whose line was made anew, is there again.
    WorkerReturned {
        /// Its id.
        worker: WorkerId,
        /// The attempts that it holds: those that wait or run there, and those whose end it has still to
        /// report. Ranges of ids, sorted, none of which overlap.
        held: Vec<Range<u64>>,
        /// Those of them that an earlier scheduler with the same state gave it, of runs that are about to
        /// be gone on with: [`Event::RunSubmitted`] or [`Event::RunAbandoned`] follows for each of these.
        claims: Vec<Claim>,
    },
    /// A worker leaves: it takes nothing new, gives back what it has not started, and finishes what it
    /// runs as far as there is time.
    WorkerLeaving {
        /// Its id.
        worker: WorkerId,
    },
    /// A worker has ended, or its lease is over: it may go on running what it holds, but may not publish
    /// it any more.
    WorkerLost {
        /// Its id.
        worker: WorkerId,
    },
    /// What a worker said of its memory: how much is left if that is too little, so that it takes nothing
    /// more.
    WorkerShort {
        /// Its id.
        worker: WorkerId,
        /// How much is left; `None` when it is enough.
        left: Option<String>,
    },
    /// A worker reported on attempts.
    Reported {
        /// Its id.
        worker: WorkerId,
        /// What it reported, in order.
        reports: Vec<Report>,
    },
    /// Time has passed: look at the deadlines.
    Tick,
}

/// Attempts that a worker was given by an earlier scheduler with the same state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The attempts.
    pub assignment: Assignment,
    /// When they started; zero when they wait.
    pub started: Timestamp,
    /// Whether they have ended, and their reports follow.
    pub ended: bool,
}

/// What the machine knows of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerInfo {
    /// Its name, unique among those present.
    pub name: String,
    /// What it offers.
    pub offer: Offer,
    /// The functions that its program has, by name and signature, sorted.
    pub functions: Vec<(String, u64)>,
}

/// A worker's report on consecutive attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The first attempt.
    pub first: AttemptId,
    /// How many, of consecutive ids; 1 when `detail` is given.
    pub count: u32,
    /// What happened to each.
    pub outcome: Outcome,
    /// When they started, by the worker's clock; zero when they did not.
    pub started: Timestamp,
    /// When they ended, by the worker's clock; zero when they did not.
    pub finished: Timestamp,
    /// What else is known.
    pub detail: Option<Box<Detail>>,
    /// How many elements the captured JSON array has, when the task feeds a scatter and its value
    /// is an array. The host counts them before it passes the report on.
    pub items: Option<u32>,
}

impl Report {
    /// A report on one attempt, without details.
    #[must_use]
    pub fn one(
        first: AttemptId,
        outcome: Outcome,
        started: Timestamp,
        finished: Timestamp,
    ) -> Report {
        Report { first, count: 1, outcome, started, finished, detail: None, items: None }
    }
}

/// What happened to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It runs now; or, where the report has no time of its start, it is about to.
    Started,
    /// It succeeded.
    Succeeded,
    /// It did not.
    Failed(FailureKind),
    /// It had not started and was given back on request.
    Returned,
    /// Its worker ended it, because it leaves: the task is not at fault, nor is the worker lost.
    Preempted,
    /// It was not started, and is not at fault. The reason is in the report's detail.
    Refused(Refusal),
}

/// Why a worker could not start an attempt that is not at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its machine had no file descriptor, process, memory or disk space left.
    Scarce,
    /// The value of this instance, which is among its inputs, is not where it was.
    Value(InstanceId),
    /// What is to be executed is not there, or may not be executed. Where the reason is a phrase and
    /// a name, `: ` is between them: `no such program: prcie`.
    Missing,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Hand consecutive instances to a worker.
    Dispatch {
        /// The worker.
        worker: WorkerId,
        /// The instances.
        assignment: Assignment,
    },
    /// Take attempts back from a worker.
    Revoke {
        /// The worker.
        worker: WorkerId,
        /// Which.
        attempts: Vec<AttemptId>,
        /// The mode of the revocation.
        mode: RevokeMode,
    },
    /// Record what happened, then notify observers.
    Record(Record),
    /// A task's width is known now: until then it had no instances.
    WidthKnown {
        /// The run.
        run: RunId,
        /// The task.
        task: TaskId,
        /// Its number of instances. A task whose upstream gave no array has one, skipped.
        width: u32,
    },
    /// Remove the temporary outputs of instances, which nobody needs any more, once all that was recorded
    /// before is on disk.
    Remove {
        /// The run.
        run: RunId,
        /// The task.
        task: TaskId,
        /// The first instance.
        first_index: u32,
        /// How many.
        count: u32,
    },
    /// The value that an instance made is lost and needed: it is open again, and runs once more under a
    /// new number.
    Reopen {
        /// The run.
        run: RunId,
        /// The instance, which had succeeded.
        instance: InstanceId,
    },
    /// Release values that a worker keeps and no instance needs any more. Other workers may have
    /// copies.
    Release {
        /// The worker.
        worker: WorkerId,
        /// The run.
        run: RunId,
        /// The instances whose values they are.
        values: Vec<InstanceId>,
    },
    /// Every instance of the run is terminal.
    RunFinished {
        /// The run.
        run: RunId,
        /// How it ended.
        state: RunState,
    },
}

/// Consecutive instances of a task, for one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The run.
    pub run: RunId,
    /// The task.
    pub task: TaskId,
    /// The first instance.
    pub first_index: u32,
    /// How many.
    pub count: u32,
    /// The id of the first one's attempt; the others follow.
    pub first_attempt: AttemptId,
    /// The number of the attempt within its instance, from 1.
    pub number: u32,
    /// Bytes of memory that each of them asks for; 0: none.
    pub memory: u64,
}

/// The mode in which attempts are revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokeMode {
    /// Only those that have not started: the worker answers [`Outcome::Returned`] for these.
    Steal,
    /// Running ones are ended; the worker answers for each, `Failed(Cancelled)` if it was not done.
    Cancel,
}

/// A fact for the journal. A range is a number of consecutive instances with the same history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The run.
    pub run: RunId,
    /// The task.
    pub task: TaskId,
    /// The first instance.
    pub first_index: u32,
    /// How many.
    pub count: u32,
    /// The state that they are in now: terminal, or `Backoff`/`Ready` after an attempt that will be
    /// followed by another.
    pub state: State,
    /// The attempt that ended, from 1; 0 when none was made.
    pub attempt: u32,
    /// Where the attempt ran.
    pub worker: Option<WorkerId>,
    /// When the attempt started; zero when it did not.
    pub started: Timestamp,
    /// When it ended, or when the state was reached.
    pub finished: Timestamp,
    /// Why, unless it succeeded.
    pub cause: Option<Cause>,
    /// What the worker reported.
    pub detail: Option<Box<Detail>>,
}
