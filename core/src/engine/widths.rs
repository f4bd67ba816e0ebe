//! Widths that are known only during the run: scatters, one instance per worker, and tasks that map
//! them.

use super::clause::Verdict;
use super::plan::Edge;
use super::turn::{Step, Turn};
use super::{Action, Cause, Engine};
use crate::ids::{InstanceId, RunId, TaskId, Timestamp, WorkerId};
use crate::pipeline::{Scatter, Targets};
use crate::status::RunState;

impl Turn<'_> {
    /// An instance that feeds a scatter succeeded: remember how much it captured.
    pub(super) fn note_items(&mut self, instance: InstanceId, items: Option<u32>) {
        let scatters = |to| self.run.task_plan(to).scatter.map(|scatter| scatter.from);
        let feeds = |at| match self.run.edge(at) {
            Edge::Clause { to, .. } => scatters(to) == Some(instance.task),
            Edge::Map { .. } | Edge::Gather { .. } => false,
        };
        if !self.run.edges(instance.task).any(feeds) {
            return;
        }
        let rare = self.run.task_mut(instance.task).rare_mut();
        match items {
            Some(items) => rare.items += u64::from(items),
            None => {
                rare.no_array.get_or_insert(instance);
            }
        }
    }

    /// A task of unknown width is open: count its elements, or the workers.
    pub(super) fn find_width(&mut self, task: TaskId) {
        let plan = self.run.task_plan(task);
        if let Some(scatter) = plan.scatter {
            self.count_elements(task, scatter, plan.width.each());
        } else if plan.conduct.targets == Targets::Each {
            let mut workers: Vec<WorkerId> = self.hub.workers.iter().map(|(id, _)| id).collect();
            workers.sort_unstable();
            // If there are none, the first that joins is used; see `open_waiting`.
            if let Ok(width @ 1..) = u32::try_from(workers.len()) {
                let id = self.run.id;
                for worker in &workers {
                    self.hub.workers.update(*worker, |held| held.followers.push((id, task)));
                }
                self.run.task_mut(task).rare_mut().each = workers;
                self.queue.push_back(Step::Width(task, width));
            }
        }
    }

    fn count_elements(&mut self, task: TaskId, scatter: Scatter, each: u32) {
        let source = self.run.task(scatter.from).rare();
        let items = source.map_or(0, |rare| rare.items);
        let no_array = source.and_then(|rare| rare.no_array);
        let width = u32::try_from(scatter.split.width(items).saturating_mul(each.into()));
        let allowed = scatter.max_items.is_none_or(|most| items <= u64::from(most));
        match (no_array, width) {
            (None, Ok(width)) if allowed => self.queue.push_back(Step::Width(task, width)),
            (no_array, _) => {
                let root = no_array.unwrap_or(InstanceId { task: scatter.from, index: 0 });
                let items = no_array.is_none().then_some(items);
                self.skip_task(task, Cause::Scatter { root, items });
            }
        }
    }

    /// The width of a task is known now: notify downstream tasks, and continue with it.
    pub(super) fn learn_width(&mut self, task: TaskId, width: u32) {
        if self.run.task(task).width.is_some() {
            return;
        }
        self.run.grow(task, width);
        if let Some(held) = self.hub.held.get_mut(&self.run.id) {
            held.widened(task, width);
        }
        self.out.push(Action::WidthKnown { run: self.run.id, task, width });
        for at in self.run.edges(task) {
            match self.run.edge(at) {
                Edge::Map { to, factor } => self.grow_map(task, to, width, factor),
                Edge::Gather { to } => self.count_gathered(to, width),
                Edge::Clause { to, clause } => self.count_clause(task, to, clause, width),
            }
        }
        match self.run.task(task).rare().and_then(|rare| rare.doomed) {
            Some(cause) => self.skip_task(task, cause),
            None => self.open_if_met(task),
        }
    }

    fn grow_map(&mut self, from: TaskId, to: TaskId, width: u32, factor: u32) {
        let wide = width.checked_mul(factor);
        if wide.is_none() {
            let (root, items) = (InstanceId { task: from, index: 0 }, Some(u64::from(width)));
            let rare = self.run.task_mut(to).rare_mut();
            rare.doomed.get_or_insert(Cause::Scatter { root, items });
        }
        self.queue.push_back(Step::Width(to, wide.unwrap_or(1)));
    }

    fn count_gathered(&mut self, to: TaskId, width: u32) {
        let gather = self.run.task_plan(to).gather.as_ref();
        let Some(min) = gather.map(|gather| gather.min_success) else { return };
        let Some(group) = self.run.task_mut(to).rare_mut().groups.first_mut() else { return };
        group.unknown -= 1;
        group.pending += u64::from(width);
        match group.judge(min) {
            Some(Verdict::Met) => self.open_if_met(to),
            Some(Verdict::Dead) => {
                let root = InstanceId { task: to, index: 0 };
                self.skip_task(to, Cause::Upstream { root });
            }
            _ => {}
        }
    }

    fn count_clause(&mut self, from: TaskId, to: TaskId, clause: u32, width: u32) {
        let root = InstanceId { task: from, index: 0 };
        let verdict = self.run.count_width(to, clause, width);
        match self.run.task_plan(to).follow_clause(clause) {
            Some(follow) => self.settle_follow(verdict, to, clause, follow, root),
            None => self.apply_verdict(verdict, to, clause, root),
        }
    }
}

impl Engine {
    /// Opens tasks for each worker that found no worker, now that there is one.
    pub(super) fn open_waiting(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let mut waiting: Vec<(RunId, TaskId)> = Vec::new();
        for (id, run) in &self.runs {
            if run.state != RunState::Running {
                continue;
            }
            let each = |task: &TaskId| {
                let state = run.task(*task);
                state.width.is_none()
                    && state.unmet == 0
                    && run.task_plan(*task).conduct.targets == Targets::Each
                    && state.rare().is_none_or(|rare| rare.doomed.is_none())
            };
            waiting.extend(run.ids().filter(each).map(|task| (*id, task)));
        }
        waiting.sort_unstable();
        for (id, task) in waiting {
            if let Some(mut turn) = self.turn(now, id, out) {
                turn.queue.push_back(Step::Open(task));
                turn.settle();
            }
        }
    }
}
