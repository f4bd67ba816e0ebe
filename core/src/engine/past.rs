//! What had happened before a run began: instances that an earlier run brought to success, and that
//! are not run again.

use super::cascade::{Cascade, Ended, Step};
use super::plan::RunPlan;
use super::ready::Span;
use super::run::{Run, dynamic_tasks};
use super::{Engine, follow};
use crate::ids::{InstanceId, TaskId, WorkerId};
use crate::pipeline::Targets;
use crate::status::State;

/// What had happened before a run began. The host has written it down: the machine gives no records
/// of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Instances that have succeeded, by task and index.
    pub done: Vec<Done>,
    /// How many instances a task has that finds out only while the run goes on. Given for every such
    /// task that has instances in `done`.
    pub widths: Vec<(TaskId, u32)>,
    /// How many elements the instances in `done` of a task captured in all, where they are scattered.
    pub items: Vec<(TaskId, u64)>,
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
        self.done.is_empty()
    }

    /// The instances that have succeeded.
    #[must_use]
    pub fn instances(&self) -> u64 {
        self.done.iter().map(|done| u64::from(done.count)).sum()
    }

    /// The tasks whose instances cannot be taken over although they succeeded, as it is not certain
    /// that there will be the same instances again: a scatter of which the source runs again, a task
    /// for each worker that runs again somewhere, and what maps one of them.
    ///
    /// `widths` says how many instances each task had in the run that `done` is of.
    #[must_use]
    pub fn unsettled(plan: &RunPlan, widths: &[u32], done: &[Done]) -> Vec<TaskId> {
        let mut left: Vec<u64> = widths.iter().map(|width| u64::from(*width)).collect();
        left.resize(plan.tasks.len(), 0);
        for done in done {
            if let Some(left) = left.get_mut(done.task.at()) {
                *left = left.saturating_sub(done.count.into());
            }
        }
        let dynamic = dynamic_tasks(plan);
        let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); plan.tasks.len()];
        for (at, task) in plan.tasks.iter().enumerate() {
            let scattered = task.scatter.map(|scatter| scatter.from);
            let mapped = task.map.map(|map| map.upstream).filter(|_| dynamic[at]);
            for upstream in scattered.into_iter().chain(mapped) {
                dependents[upstream.at()].push(at);
            }
        }
        let broken = |at: usize| match plan.tasks[at].scatter {
            Some(scatter) => left[scatter.from.at()] > 0,
            None => plan.tasks[at].conduct.targets == Targets::Each && left[at] > 0,
        };
        let mut queue: Vec<usize> = (0..dynamic.len()).filter(|at| broken(*at)).collect();
        let mut unsettled = vec![false; dynamic.len()];
        while let Some(at) = queue.pop() {
            if !std::mem::replace(&mut unsettled[at], true) {
                queue.extend(&dependents[at]);
            }
        }
        (0..).zip(unsettled).filter(|(_, is)| *is).map(|(task, _)| TaskId(task)).collect()
    }
}

impl RunPlan {
    /// The tasks whose number of instances is known only while the run goes on, by position.
    #[must_use]
    pub fn dynamic(&self) -> Vec<bool> {
        dynamic_tasks(self)
    }

    /// The tasks that others follow: where they ran matters. By position.
    #[must_use]
    pub fn followed(&self) -> Vec<bool> {
        let mut followed = vec![false; self.tasks.len()];
        for upstream in self.tasks.iter().flat_map(follow::followed) {
            if let Some(is) = followed.get_mut(upstream.at()) {
                *is = true;
            }
        }
        followed
    }
}

impl Engine {
    /// Puts what is done where it belongs. To be called when all tasks have begun, and before
    /// anything follows from that.
    pub(super) fn take_over(&mut self, past: &Past, cascade: &mut Cascade<'_>) {
        for &(task, width) in &past.widths {
            let known = self.runs.get(&cascade.id).is_some_and(|run| run.tasks.len() > task.at());
            if known {
                self.learn_width(task, width, cascade);
            }
        }
        let Some(run) = self.runs.get_mut(&cascade.id) else { return };
        for &(task, items) in &past.items {
            if task.at() < run.tasks.len() {
                run.task_mut(task).rare_mut().items += items;
            }
        }
        // First all of them, then what follows: nobody may see half of it.
        for done in &past.done {
            for span in run.succeed_at_once(done) {
                let root = InstanceId { task: done.task, index: span.first };
                let (task, worker) = (done.task, done.worker);
                cascade.queue.push_back(Step::Ended(Ended {
                    task,
                    span,
                    success: true,
                    root,
                    worker,
                }));
            }
        }
    }
}

impl Run {
    /// Moves those of the instances that there are, and that wait, to success; says which.
    fn succeed_at_once(&mut self, done: &Done) -> Vec<Span> {
        let Some(task) = self.tasks.get(done.task.at()) else { return Vec::new() };
        let first = done.first_index.min(task.width);
        let within = Span { first, count: done.count.min(task.width - first) };
        let spans = self.spans(done.task, within, |state| state == State::Blocked);
        for span in &spans {
            self.transition(done.task, *span, State::Succeeded);
        }
        spans
    }
}
