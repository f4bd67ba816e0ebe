//! The graph as the state machine sees it: widths, patterns, clauses and limits, no text.

use std::sync::Arc;

use crate::ids::{Micros, TaskId};
use crate::pipeline::{Clause, MinSuccess, Retry, Scatter, Targets};

/// A run to schedule. Made from a [`crate::pipeline::Pipeline`] by [`crate::graph`], or by hand in
/// tests and simulations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunPlan {
    /// The tasks; a [`TaskId`] is a position.
    pub tasks: Vec<TaskPlan>,
    /// Cancel the rest as soon as an instance has failed for good.
    pub fail_fast: bool,
    /// For the jitter of retries.
    pub seed: u64,
}

/// A task to schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskPlan {
    /// Its number of instances. With `scatter`, `targets = "each"` or a map of such a task it is
    /// known only later, and this says how many instances each element (or worker) makes.
    pub width: u32,
    /// The upstream of its map: its instance `i` waits for instance `i / factor` there.
    pub map: Option<MapEdge>,
    /// The captured array that decides its width. The clause that waits for the upstream is one of the
    /// implied `clauses`.
    pub scatter: Option<Scatter>,
    /// Gathered tasks with groups or a tolerance; a plain gather is an implied clause.
    pub gather: Option<GatherPlan>,
    /// Conditions that hold for all instances alike: the gathered tasks and the tasks that
    /// placeholders name first ([`TaskPlan::implied`] of them), then `after`, then `follow`
    /// ([`TaskPlan::follows`] of them).
    pub clauses: Vec<Clause>,
    /// How many of `clauses`, the first ones, the author did not write as `after` or `follow`.
    pub implied: u32,
    /// How many of `clauses`, the last ones, are `follow`.
    pub follows: u32,
    /// Extra attempts.
    pub retry: Retry,
    /// How often a lost attempt is made again.
    pub max_lost: u32,
    /// Whether its failure leaves the run successful.
    pub allow_failure: bool,
    /// Whether it runs even when the run is being cancelled.
    pub always: bool,
    /// Slots an attempt occupies.
    pub cpus: u32,
    /// Memory an attempt occupies, in bytes.
    pub memory: u64,
    /// Custom resources an attempt occupies.
    pub resources: Vec<(String, u64)>,
    /// The function that it calls, and the signature that this must have if the caller knows it.
    pub function: Option<(String, Option<u64>)>,
    /// The workers that may run it.
    pub targets: Targets,
    /// How many of its instances may run at once.
    pub max_running: Option<u32>,
    /// Higher first.
    pub priority: i32,
    /// How long an instance may be ready before its first attempt starts.
    pub start_within: Option<Micros>,
    /// Expected run time of an attempt, for the critical path; zero when it is not known, until the
    /// first instances have ended.
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

/// Gathered tasks, by group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatherPlan {
    /// The gathered tasks.
    pub upstreams: Vec<TaskId>,
    /// The group of each instance of the only upstream, which is the index of the instance here;
    /// without groups all are of group 0.
    pub groups: Option<Arc<[u32]>>,
    /// How many of a group must succeed; all when not given.
    pub min_success: Option<MinSuccess>,
}

impl Default for TaskPlan {
    fn default() -> Self {
        TaskPlan {
            width: 1,
            map: None,
            scatter: None,
            gather: None,
            clauses: Vec::new(),
            implied: 0,
            follows: 0,
            retry: Retry::default(),
            max_lost: crate::pipeline::DEFAULT_MAX_LOST,
            allow_failure: false,
            always: false,
            cpus: 1,
            memory: 0,
            resources: Vec::new(),
            function: None,
            targets: Targets::Any,
            max_running: None,
            priority: 0,
            start_within: None,
            weight: Micros(0),
        }
    }
}
