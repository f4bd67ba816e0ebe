//! The graph as the state machine sees it: widths, patterns, clauses and limits, no text; and what
//! had happened before the run began.

use std::ops::Range;
use std::sync::Arc;

use super::resumed::Resumed;
use crate::ids::{Micros, TaskId, WorkerId};
use crate::pipeline::{Clause, Conduct, MaxFail, MinSuccess, Scatter, Targets};

/// A run to schedule. Made from a [`crate::pipeline::Pipeline`] by [`crate::graph`], or by hand in
/// tests and simulations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunPlan {
    /// The tasks; a [`TaskId`] is a position.
    pub tasks: Vec<TaskPlan>,
    /// Which tasks consume values of which others, each pair once for each way.
    pub values: Vec<ValueEdge>,
    /// The tasks with temporary outputs, and who uses these.
    pub temporary: Vec<Temporary>,
    /// Cancel the rest as soon as an instance has failed for good.
    pub fail_fast: bool,
    /// Cancel the rest as soon as more instances than that have failed for good.
    pub max_fail: Option<MaxFail>,
    /// For the jitter of retries.
    pub seed: u64,
}

/// Instances of one task consume values of instances of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueEdge {
    /// The upstream task.
    pub from: TaskId,
    /// The task that consumes its values.
    pub to: TaskId,
    /// Which instance consumes which value.
    pub of: Consumed,
}

/// A task with outputs that are removed when nobody needs them any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Temporary {
    /// The task.
    pub task: TaskId,
    /// The tasks that may read its outputs.
    pub users: Vec<User>,
}

/// A task that may read outputs of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// The task.
    pub task: TaskId,
    /// Which of its instances may read those of which instance there; `Single`: all of them all.
    pub of: Consumed,
    /// Whether it is given the paths, or the manifest with them, and so must succeed before they can
    /// be removed. What is only ordered after the other must have ended.
    pub data: bool,
}

/// Which values of an upstream an instance consumes.
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
    /// Its number of instances: late with `scatter`, `targets = "each"` and for maps of such tasks.
    pub width: Width,
    /// The upstream of its map: its instance `i` waits for instance `i / factor` there.
    pub map: Option<MapEdge>,
    /// The captured array that decides its width. The clause that waits for the upstream is one of
    /// the implied `clauses`.
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

/// How many instances a task has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// This many.
    Known(u32),
    /// It is known only during the run.
    Late {
        /// How many instances each element, or worker, makes.
        each: u32,
    },
}

impl Width {
    /// The number of instances, unless it comes late.
    #[must_use]
    pub fn known(self) -> Option<u32> {
        match self {
            Width::Known(width) => Some(width),
            Width::Late { .. } => None,
        }
    }

    /// The number of instances; where it comes late, of those that each element, or worker, makes.
    #[must_use]
    pub fn each(self) -> u32 {
        let (Width::Known(width) | Width::Late { each: width }) = self;
        width
    }

    /// Whether it is known only during the run.
    #[must_use]
    pub fn is_late(self) -> bool {
        self.known().is_none()
    }
}

/// Only a known width can equal a number.
impl PartialEq<u32> for Width {
    fn eq(&self, width: &u32) -> bool {
        self.known() == Some(*width)
    }
}

impl From<u32> for Width {
    fn from(width: u32) -> Width {
        Width::Known(width)
    }
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

/// An edge from a task to one downstream.
#[derive(Clone, Copy, Debug)]
pub(super) enum Edge {
    /// Element-wise: `factor` instances there for each here.
    Map { to: TaskId, factor: u32 },
    /// This task is named once in clause number `clause` of `to`.
    Clause { to: TaskId, clause: u32 },
    /// `to` gathers this task, with groups or a tolerance.
    Gather { to: TaskId },
}

impl RunPlan {
    /// The tasks that others follow: where they ran matters. Indexed by task.
    #[must_use]
    pub fn followed(&self) -> Vec<bool> {
        let mut followed = vec![false; self.tasks.len()];
        for upstream in self.tasks.iter().flat_map(TaskPlan::followed) {
            if let Some(is) = followed.get_mut(upstream.at()) {
                *is = true;
            }
        }
        followed
    }

    /// Visits each edge, with the task that it leaves.
    pub(super) fn for_each_edge(&self, mut visit: impl FnMut(TaskId, Edge)) {
        for (to, task) in (0..).map(TaskId).zip(&self.tasks) {
            if let Some(map) = task.map {
                visit(map.upstream, Edge::Map { to, factor: map.factor });
            }
            for upstream in task.gather.iter().flat_map(|gather| &gather.upstreams) {
                visit(*upstream, Edge::Gather { to });
            }
            for (clause, plan) in (0..).zip(&task.clauses) {
                for upstream in &plan.upstreams {
                    visit(*upstream, Edge::Clause { to, clause });
                }
            }
        }
    }
}

impl TaskPlan {
    /// The tasks that it follows.
    pub(super) fn followed(&self) -> impl Iterator<Item = TaskId> + '_ {
        let others = self.clauses.len() - self.follows as usize;
        self.clauses[others..].iter().flat_map(|clause| clause.upstreams.iter().copied())
    }

    /// The position of a clause among those of `follow`, if it is one.
    pub(super) fn follow_clause(&self, clause: u32) -> Option<usize> {
        (clause as usize).checked_sub(self.clauses.len() - self.follows as usize)
    }
}

impl Default for TaskPlan {
    fn default() -> Self {
        TaskPlan {
            width: Width::Known(1),
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

/// What had happened before a run began. The host has recorded it: the machine emits no records of
/// it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Instances that have succeeded, by task and index.
    pub done: Vec<Done>,
    /// The number of instances of tasks whose width is known only during the run. Given for every
    /// such task that has instances in `done`.
    pub widths: Vec<(TaskId, u32)>,
    /// Instances that are not to run in this run, although they had not succeeded: they are cancelled,
    /// and fail the run at its end.
    pub left: Vec<(TaskId, Range<u32>)>,
    /// How many elements the instances in `done` of a task captured in all, where they are
    /// scattered.
    pub items: Vec<(TaskId, u64)>,
    /// What else had happened, if the run is one that is resumed; `widths` are then those of all tasks
    /// whose instances are known, and what succeeded is here as well.
    pub resumed: Option<Box<Resumed>>,
}

/// Consecutive instances that have succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The task.
    pub task: TaskId,
    /// The first instance.
    pub first_index: u32,
    /// How many.
    pub count: u32,
    /// Where they ran, where others follow them; a worker that is not present cannot be followed.
    pub worker: Option<WorkerId>,
}

impl Past {
    /// Whether nothing had happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.done.is_empty() && self.resumed.is_none()
    }

    /// The instances that have succeeded.
    #[must_use]
    pub fn instances(&self) -> u64 {
        self.done.iter().map(|done| u64::from(done.count)).sum()
    }

    /// The tasks whose instances cannot be taken over although they succeeded, as it is not certain
    /// that the same instances will exist again: a scatter whose source runs again, a task for each
    /// worker that runs again on any worker, and tasks that map one of these.
    ///
    /// `widths` gives the number of instances of each task in the run that `done` belongs to.
    #[must_use]
    pub fn unsettled(plan: &RunPlan, widths: &[u32], done: &[Done]) -> Vec<TaskId> {
        let mut left: Vec<u64> = widths.iter().map(|width| u64::from(*width)).collect();
        left.resize(plan.tasks.len(), 0);
        for done in done {
            if let Some(left) = left.get_mut(done.task.at()) {
                *left = left.saturating_sub(done.count.into());
            }
        }
        let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); plan.tasks.len()];
        for (at, task) in plan.tasks.iter().enumerate() {
            let scattered = task.scatter.map(|scatter| scatter.from);
            let mapped = task.map.map(|map| map.upstream).filter(|_| task.width.is_late());
            for upstream in scattered.into_iter().chain(mapped) {
                dependents[upstream.at()].push(at);
            }
        }
        let broken = |at: usize| match plan.tasks[at].scatter {
            Some(scatter) => left[scatter.from.at()] > 0,
            None => plan.tasks[at].conduct.targets == Targets::Each && left[at] > 0,
        };
        let mut queue: Vec<usize> = (0..left.len()).filter(|at| broken(*at)).collect();
        let mut unsettled = vec![false; plan.tasks.len()];
        while let Some(at) = queue.pop() {
            if !std::mem::replace(&mut unsettled[at], true) {
                queue.extend(&dependents[at]);
            }
        }
        (0..).zip(unsettled).filter(|(_, is)| *is).map(|(task, _)| TaskId(task)).collect()
    }
}
