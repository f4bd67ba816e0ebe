//! Widths that are known only while the run goes on: scatters, one instance per worker, and what maps
//! them.

use super::cascade::{Cascade, Step, follow_clause};
use super::run::Edge;
use super::{Action, Cause, Engine, Report};
use crate::ids::{InstanceId, RunId, TaskId, Timestamp, WorkerId};
use crate::pipeline::Targets;
use crate::status::RunState;

impl Engine {
    /// An instance that feeds a scatter succeeded: remember how much it captured.
    pub(super) fn note_items(
        &mut self,
        id: RunId,
        instance: InstanceId,
        report_items: Option<u32>,
    ) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let feeds = |at| matches!(run.edge(at), Edge::Clause { to, .. } if run.task_plan(to).scatter.is_some_and(|scatter| scatter.from == instance.task));
        if !run.edges(instance.task).any(feeds) {
            return;
        }
        let rare = run.task_mut(instance.task).rare_mut();
        match report_items {
            Some(items) => rare.items += u64::from(items),
            None => {
                rare.no_array.get_or_insert(instance);
            }
        }
    }

    /// A task of unknown width is open: count its elements, or the workers.
    pub(super) fn find_width(&mut self, task: TaskId, cascade: &mut Cascade<'_>) {
        let Some(run) = self.runs.get_mut(&cascade.id) else { return };
        let plan = run.task_plan(task);
        if let Some(scatter) = plan.scatter {
            let own = u64::from(plan.width);
            let source = run.task(scatter.from).rare();
            let items = source.map_or(0, |rare| rare.items);
            let no_array = source.and_then(|rare| rare.no_array);
            let width = u32::try_from(scatter.split.width(items).saturating_mul(own));
            let allowed = scatter.max_items.is_none_or(|most| items <= u64::from(most));
            match (no_array, width) {
                (None, Ok(width)) if allowed => {
                    cascade.queue.push_back(Step::Width(task, width));
                }
                (no_array, _) => {
                    let root = no_array.unwrap_or(InstanceId { task: scatter.from, index: 0 });
                    let items = no_array.is_none().then_some(items);
                    self.skip_task(task, Cause::Scatter { root, items }, cascade);
                }
            }
        } else if plan.conduct.targets == Targets::Each {
            let mut workers: Vec<WorkerId> = self.workers.iter().map(|(id, _)| id).collect();
            workers.sort_unstable();
            // Without any, the first that joins will do; see `open_waiting`.
            if let (Ok(width @ 1..), Some(run)) =
                (u32::try_from(workers.len()), self.runs.get_mut(&cascade.id))
            {
                for worker in &workers {
                    self.workers.update(*worker, |held| held.followers.push((cascade.id, task)));
                }
                run.task_mut(task).rare_mut().each = workers;
                cascade.queue.push_back(Step::Width(task, width));
            }
        }
    }

    /// Tasks for each worker that found none, now that there is one.
    pub(super) fn open_waiting(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let mut waiting: Vec<(RunId, TaskId)> = Vec::new();
        for (id, run) in &self.runs {
            if run.state != RunState::Running || run.open == 0 {
                continue;
            }
            let each = |task: &TaskId| {
                let state = run.task(*task);
                !state.known
                    && state.unmet == 0
                    && run.task_plan(*task).conduct.targets == Targets::Each
                    && state.rare().is_none_or(|rare| rare.doomed.is_none())
            };
            waiting.extend(run.ids().filter(each).map(|task| (*id, task)));
        }
        waiting.sort_unstable();
        for (id, task) in waiting {
            let mut cascade = Cascade::new(now, id, out);
            cascade.queue.push_back(Step::Open(task));
            self.run_cascade(cascade);
        }
    }

    /// A task has its instances now: tell those downstream, and go on with it.
    pub(super) fn learn_width(&mut self, task: TaskId, width: u32, cascade: &mut Cascade<'_>) {
        let Some(run) = self.runs.get_mut(&cascade.id) else { return };
        if run.task(task).known {
            return;
        }
        run.grow(task, width);
        let id = cascade.id;
        cascade.out.push(Action::WidthKnown { run: id, task, width });
        for at in run.edges(task) {
            let Some(run) = self.runs.get(&id) else { return };
            match run.edge(at) {
                Edge::Map { to, factor } => self.grow_map(task, to, width, factor, cascade),
                Edge::Gather { to } => self.count_gathered(to, width, cascade),
                Edge::Clause { to, clause } => {
                    self.count_clause(task, to, clause, width, cascade);
                }
            }
        }
        let Some(run) = self.runs.get(&id) else { return };
        if let Some(cause) = run.task(task).rare().and_then(|rare| rare.doomed) {
            self.skip_task(task, cause, cascade);
        } else if self.is_open(id, task) {
            cascade.queue.push_back(Step::Open(task));
        }
    }

    fn grow_map(
        &mut self,
        from: TaskId,
        to: TaskId,
        width: u32,
        factor: u32,
        cascade: &mut Cascade<'_>,
    ) {
        match width.checked_mul(factor) {
            Some(width) => cascade.queue.push_back(Step::Width(to, width)),
            None => {
                let Some(run) = self.runs.get_mut(&cascade.id) else { return };
                let root = InstanceId { task: from, index: 0 };
                let items = Some(u64::from(width));
                run.task_mut(to).rare_mut().doomed.get_or_insert(Cause::Scatter { root, items });
                cascade.queue.push_back(Step::Width(to, 1));
            }
        }
    }

    fn count_gathered(&mut self, to: TaskId, width: u32, cascade: &mut Cascade<'_>) {
        let Some(run) = self.runs.get_mut(&cascade.id) else { return };
        let Some(min) = run.task_plan(to).gather.as_ref().map(|gather| gather.min_success) else {
            return;
        };
        let Some(group) = run.task_mut(to).rare_mut().groups.first_mut() else { return };
        group.unknown -= 1;
        group.pending += u64::from(width);
        match group.judge(min) {
            Some(super::clause::Verdict::Met) if self.is_open(cascade.id, to) => {
                cascade.queue.push_back(Step::Open(to));
            }
            Some(super::clause::Verdict::Dead) => {
                let root = InstanceId { task: to, index: 0 };
                self.skip_task(to, Cause::Upstream { root }, cascade);
            }
            _ => {}
        }
    }

    fn count_clause(
        &mut self,
        from: TaskId,
        to: TaskId,
        clause: u32,
        width: u32,
        cascade: &mut Cascade<'_>,
    ) {
        let Some(run) = self.runs.get_mut(&cascade.id) else { return };
        let root = InstanceId { task: from, index: 0 };
        let verdict = run.count_width(to, clause, width);
        match follow_clause(run, to, clause) {
            Some(follow) => self.settle_follow(verdict, to, clause, follow, root, cascade),
            None => self.apply_verdict(verdict, to, clause, root, cascade),
        }
    }
}

impl Report {
    /// A report on one attempt.
    #[must_use]
    pub fn one(
        first: crate::ids::AttemptId,
        outcome: super::Outcome,
        started: Timestamp,
        finished: Timestamp,
    ) -> Report {
        Report { first, count: 1, outcome, started, finished, detail: None, items: None }
    }
}
