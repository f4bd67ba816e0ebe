//! The graph as the state machine sees it: widths, patterns, clauses and limits, no text.

use crate::ids::{Micros, TaskId};
use crate::pipeline::{Clause, Retry};

/// A run to schedule. Made from a [`crate::pipeline::Pipeline`] by [`crate::graph`], or by hand in
/// tests and simulations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunPlan {
    /// The tasks; a [`TaskId`] is a position.
    pub tasks: Vec<TaskPlan>,
    /// Cancel the rest as soon as an instance has failed for good.
    pub fail_fast: bool,
}

/// A task to schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskPlan {
    /// Its number of instances.
    pub width: u32,
    /// The upstream of its map: its instance `i` waits for instance `i / factor` there.
    pub map: Option<MapEdge>,
    /// Conditions that hold for all instances alike: the gathered tasks and the tasks that
    /// placeholders name first ([`TaskPlan::implied`] of them), then `after`.
    pub clauses: Vec<Clause>,
    /// How many of `clauses` the author did not write as `after`.
    pub implied: u32,
    /// Extra attempts.
    pub retry: Retry,
    /// How often a lost attempt is made again.
    pub max_lost: u32,
    /// Whether its failure leaves the run successful.
    pub allow_failure: bool,
    /// Slots an attempt occupies.
    pub cpus: u32,
    /// How many of its instances may run at once.
    pub max_running: Option<u32>,
    /// Higher first.
    pub priority: i32,
    /// Expected run time of an attempt, for the critical path; zero counts as one.
    pub weight: Micros,
}

/// An element-wise edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapEdge {
    /// The upstream task.
    pub upstream: TaskId,
    /// Instances of this task for each of the upstream.
    pub factor: u32,
}

impl Default for TaskPlan {
    fn default() -> Self {
        TaskPlan {
            width: 1,
            map: None,
            clauses: Vec::new(),
            implied: 0,
            retry: Retry::default(),
            max_lost: 5,
            allow_failure: false,
            cpus: 1,
            max_running: None,
            priority: 0,
            weight: Micros(0),
        }
    }
}
