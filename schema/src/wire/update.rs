//! Messages to those who watch a run.

use dagrun_core::ids::{InstanceId, TaskId, Timestamp};
use dagrun_core::status::{Counts, Failure, RunState, State};

use super::{Message, Result, WireError, length, micros, read_list, read_run_state, read_state};
use super::{read_text, some_time, write_list};
use crate::dagrun_capnp as schema;

/// What changed in a run since an observer's last update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The run's state.
    pub state: RunState,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// The tasks that changed.
    pub tasks: Vec<TaskDelta>,
    /// Instances that failed, at most 16.
    pub failures: Vec<Failure>,
    /// Workers present.
    pub workers: u32,
    /// Instances that have ended, for observers that asked for them.
    pub ended: Vec<Ended>,
    /// Whether more instances have ended than could be kept.
    pub ended_lost: bool,
    /// Why nothing of the run is started for now; empty otherwise.
    pub waiting: String,
}

/// Consecutive instances that have ended in the same state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The task.
    pub task: TaskId,
    /// The first instance.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// A terminal state.
    pub state: State,
}

/// The present state of a task that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskDelta {
    /// The task.
    pub task: TaskId,
    /// Its instances by state.
    pub counts: Counts,
    /// How many of them are known to run.
    pub running: u32,
    /// Whether its number of instances is known; until then all counts are zero.
    pub width_known: bool,
}

pub(super) fn write_counts(counts: &Counts, mut to: capnp::primitive_list::Builder<'_, u32>) {
    for (at, count) in (0..to.len()).zip(counts.0) {
        to.set(at, count);
    }
}

pub(super) fn read_counts(from: capnp::primitive_list::Reader<'_, u32>) -> Result<Counts> {
    let mut counts = Counts::default();
    if from.len() != length(counts.0.len()) {
        return Err(WireError::Range { what: "the number of states", number: from.len().into() });
    }
    for (slot, count) in counts.0.iter_mut().zip(from.iter()) {
        *slot = count;
    }
    Ok(counts)
}

impl Message for Update {
    type Schema = schema::update::Owned;

    fn write(&self, mut to: schema::update::Builder<'_>) {
        to.set_state(self.state as u8);
        to.set_finished(micros(self.finished));
        to.set_workers(self.workers);
        to.set_ended_lost(self.ended_lost);
        to.set_waiting(&self.waiting);
        write_list(&self.tasks, to.reborrow().init_tasks(length(self.tasks.len())));
        write_list(&self.ended, to.reborrow().init_ended(length(self.ended.len())));
        write_list(&self.failures, to.init_failures(length(self.failures.len())));
    }

    fn read(from: schema::update::Reader<'_>) -> Result<Update> {
        Ok(Update {
            state: read_run_state(from.get_state())?,
            finished: some_time(from.get_finished()),
            tasks: read_list(from.get_tasks()?)?,
            failures: read_list(from.get_failures()?)?,
            workers: from.get_workers(),
            ended: read_list(from.get_ended()?)?,
            ended_lost: from.get_ended_lost(),
            waiting: read_text(from.get_waiting()?)?,
        })
    }
}

impl Message for Ended {
    type Schema = schema::ended::Owned;

    fn write(&self, mut to: schema::ended::Builder<'_>) {
        to.set_task(self.task.0);
        to.set_first(self.first);
        to.set_count(self.count);
        to.set_state(self.state as u8);
    }

    fn read(from: schema::ended::Reader<'_>) -> Result<Ended> {
        Ok(Ended {
            task: TaskId(from.get_task()),
            first: from.get_first(),
            count: from.get_count(),
            state: read_state(from.get_state())?,
        })
    }
}

impl Message for TaskDelta {
    type Schema = schema::task_delta::Owned;

    fn write(&self, mut to: schema::task_delta::Builder<'_>) {
        to.set_task(self.task.0);
        to.set_running(self.running);
        to.set_width_unknown(!self.width_known);
        write_counts(&self.counts, to.init_counts(length(self.counts.0.len())));
    }

    fn read(from: schema::task_delta::Reader<'_>) -> Result<TaskDelta> {
        Ok(TaskDelta {
            task: TaskId(from.get_task()),
            counts: read_counts(from.get_counts()?)?,
            running: from.get_running(),
            width_known: !from.get_width_unknown(),
        })
    }
}

impl Message for Failure {
    type Schema = schema::failure::Owned;

    fn write(&self, mut to: schema::failure::Builder<'_>) {
        self.instance.write(to.reborrow().init_instance());
        to.set_reason(&self.reason);
        to.set_stderr_tail(&self.stderr_tail);
    }

    fn read(from: schema::failure::Reader<'_>) -> Result<Failure> {
        Ok(Failure {
            instance: InstanceId::read(from.get_instance()?)?,
            reason: read_text(from.get_reason()?)?,
            stderr_tail: from.get_stderr_tail()?.to_vec(),
        })
    }
}
