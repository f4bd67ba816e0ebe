//! The graph as the state machine sees it: widths, patterns, clauses and limits, no text.

use std::sync::Arc;

use crate::ids::{Micros, TaskId};
use crate::pipeline::{Clause, Conduct, MinSuccess, Scatter};

/// A run to schedule. Made from a [`crate::pipeline::Pipeline`] by [`crate::graph`], or by hand in
/// tests and simulations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunPlan {
    /// The tasks; a [`TaskId`] is a position.
    pub tasks: Vec<TaskPlan>,
    /// Which tasks are given values of which others, each pair once for each way.
    pub values: Vec<ValueEdge>,
    /// Cancel the rest as soon as an instance has failed for good.
    pub fail_fast: bool,
    /// For the jitter of retries.
    pub seed: u64,
}

/// Instances of one task are given values of instances of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueEdge {
    /// The upstream task.
    pub from: TaskId,
    /// The task that is given its values.
    pub to: TaskId,
    /// Which instance which.
    pub of: Consumed,
}

/// Which values an instance is given of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Consumed {
    /// Each instance that of the only one.
    Single,
    /// Instance `i` that of instance `i / factor`; the factor is not zero.
    Map(u32),
    /// Those of all that it gathers, see [`TaskPlan::gather`].
    Gathered,
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
    /// How its attempts are made, placed and judged; equal ones are shared.
    pub conduct: Arc<Conduct>,
    /// The function that it calls, and the signature that this must have if the caller knows it.
    pub function: Option<(String, Option<u64>)>,
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
            conduct: Arc::default(),
            function: None,
            weight: Micros(0),
        }
    }
}
