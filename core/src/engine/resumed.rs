//! What had happened in a run before it was resumed, as its journal has it. [`super::Restore`] makes it
//! of the rows of a journal.

use std::ops::Range;

use super::cause::{CancelScope, Cause, Reopening};
use crate::ids::{InstanceId, TaskId, Timestamp, WorkerId};
use crate::status::State;

/// What had happened in a run before it was resumed. The host has recorded it: the machine emits no
/// records of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resumed {
    /// Instances that have ended and stay so.
    pub ends: Vec<End>,
    /// Instances that had ended and are open again.
    pub reopened: Vec<Reopened>,
    /// Instances that have not ended and of which attempts are known.
    pub tried: Vec<Tried>,
    /// The numbers of the next attempts of the other instances.
    pub numbers: Vec<Numbers>,
    /// Instances whose values should be scattered and are no arrays.
    pub no_array: Vec<InstanceId>,
    /// What a user has cancelled, in order.
    pub cancels: Vec<CancelScope>,
    /// The values of instances that have succeeded and stay so, which workers that are present keep.
    pub values: Vec<KeptValue>,
}

/// The value of an instance that a worker keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptValue {
    /// The instance.
    pub instance: InstanceId,
    /// The worker.
    pub worker: WorkerId,
    /// How long it is.
    pub bytes: u64,
    /// The number of the attempt that made it.
    pub attempt: u32,
}

/// Consecutive instances that have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The task.
    pub task: TaskId,
    /// The first instance.
    pub first_index: u32,
    /// How many.
    pub count: u32,
    /// How they ended.
    pub state: State,
    /// Why, if they were skipped or cancelled.
    pub cause: Option<Cause>,
    /// Where they ran, where others follow them; a worker that is not present cannot be followed.
    pub worker: Option<WorkerId>,
}

/// Consecutive instances that had ended and are open again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reopened {
    /// The task.
    pub task: TaskId,
    /// The first instance.
    pub first_index: u32,
    /// How many.
    pub count: u32,
    /// How they had ended.
    pub was: State,
    /// Why they are open again.
    pub why: Reopening,
}

/// An instance that has not ended and of which attempts are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Which.
    pub instance: InstanceId,
    /// The number of the last attempt that may have been made; the next one's is the next.
    pub attempts: u32,
    /// The number of the last attempt that is known.
    pub known: u32,
    /// Whether that one ran when its scheduler was killed.
    pub runs: bool,
    /// How many failed by themselves.
    pub failed: u32,
    /// How many of these ended for memory.
    pub out_of_memory: u32,
    /// How many lost their worker.
    pub lost: u32,
    /// When the last one ended, if the next one waits from then on.
    pub waits_since: Option<Timestamp>,
}

/// Attempts of these instances may have been made, although they are not among those that were
/// [`Tried`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The task.
    pub task: TaskId,
    /// The instances. No two ranges of a task overlap.
    pub range: Range<u32>,
    /// The number of the last attempt that may have been made.
    pub last: u32,
}
