//! The graph of tasks: what is checked, counted and drawn before a run, and the plan made of it.

use std::path::PathBuf;

use crate::engine::RunPlan;
use crate::ids::{InstanceId, TaskId};
use crate::pipeline::Pipeline;
use crate::space::SpaceError;

/// Why a pipeline has no graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// A task, an output or a variable that the pipeline does not have. The parser never makes one.
    #[error("task `{task}` refers to {what} that does not exist")]
    Dangling {
        /// The task.
        task: String,
        /// What is missing.
        what: &'static str,
    },
    /// Tasks that wait for each other: each for the one before it, the first for the last.
    #[error("cycle of {} tasks", .0.len())]
    Cycle(Vec<TaskId>),
    /// A sweep without points.
    #[error("sweep of task {task}: {error}")]
    Space {
        /// The task.
        task: TaskId,
        /// What is wrong.
        error: SpaceError,
    },
    /// More instances than can be counted.
    #[error("task {task} has more than 4294967295 instances")]
    TooWide {
        /// The task.
        task: TaskId,
    },
}

/// Two instances with the same output path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collision {
    /// The path, absolute or relative to the pipeline's directory.
    pub path: PathBuf,
    /// The instance that comes first in task and index order.
    pub first: InstanceId,
    /// The position of the output among those of its task.
    pub first_output: usize,
    /// The other.
    pub second: InstanceId,
    /// The position of the output among those of its task.
    pub second_output: usize,
}

/// How the instances of two tasks are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeKind {
    /// Element-wise, with so many downstream instances for each upstream one.
    Map(u32),
    /// All upstream instances into one.
    Gather,
    /// A clause of `after`, by position.
    After(u32),
    /// A placeholder that names a single task.
    Reference,
}

/// The graph of tasks.
#[derive(Clone, Debug)]
pub struct Graph {}

impl Graph {
    /// The graph of a pipeline.
    ///
    /// # Errors
    /// The first of the problems in [`GraphError`].
    pub fn new(_pipeline: &Pipeline) -> Result<Graph, GraphError> {
        todo!()
    }

    /// The number of instances of each task.
    #[must_use]
    pub fn widths(&self) -> &[u32] {
        todo!()
    }

    /// The tasks in an order in which each comes after its upstreams; among several possible
    /// orders, the one closest to the author's.
    #[must_use]
    pub fn toposort(&self) -> &[TaskId] {
        todo!()
    }

    /// The number of instances of the whole pipeline.
    #[must_use]
    pub fn instances(&self) -> u64 {
        todo!()
    }

    /// The number of dependencies between instances: an upstream of width n and a downstream of
    /// width m count n × m, but for a map, which counts m.
    #[must_use]
    pub fn edges(&self) -> u64 {
        todo!()
    }

    /// The plan for the state machine.
    #[must_use]
    pub fn plan(&self, _pipeline: &Pipeline, _fail_fast: bool) -> RunPlan {
        todo!()
    }
}

/// One cycle for each set of tasks that wait for each other, in linear time and without recursion.
///
/// `edges` are pairs (upstream, downstream) of positions below `tasks`; others are ignored. In a
/// cycle each task is upstream of the next, and the last of the first.
#[must_use]
pub fn find_cycles(_tasks: usize, _edges: &[(TaskId, TaskId)]) -> Vec<Vec<TaskId>> {
    todo!()
}

/// The pipeline of the named tasks and everything they need, in the same order.
///
/// Tasks that do not exist are ignored.
#[must_use]
pub fn only(_pipeline: &Pipeline, _tasks: &[TaskId]) -> Pipeline {
    todo!()
}

/// Instances that would write the same file, at most a few for each task.
///
/// Paths that hold captured values or data of the run are not known before it and are left out.
#[must_use]
pub fn collisions(_pipeline: &Pipeline) -> Vec<Collision> {
    todo!()
}
