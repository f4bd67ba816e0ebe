//! Temporary outputs: when nobody needs those of an instance any more.
//!
//! An instance that is given them must have succeeded: one that has failed may be tried again in a later
//! run. One that is only ordered after their task must have ended. Nothing is counted: each end looks
//! at the states of those that it may have been the last of.

use std::sync::Arc;

use super::Action;
use super::plan::{Consumed, RunPlan, Temporary, User};
use super::ready::Span;
use super::run::Run;
use super::turn::{Conclusion, Turn};
use crate::ids::TaskId;
use crate::status::{RunState, State};

impl Turn<'_> {
    /// Has outputs removed for which these instances were the last.
    pub(super) fn remove_unneeded(&mut self, ended: Conclusion) {
        if self.run.plan.temporary.is_empty() {
            return;
        }
        let Conclusion { task, span, success, .. } = ended;
        self.look(task, span, success);
    }

    /// Has outputs removed which a task without instances does not use.
    pub(super) fn remove_unneeded_by(&mut self, task: TaskId) {
        self.look(task, Span { first: 0, count: 0 }, false);
    }

    fn look(&mut self, task: TaskId, span: Span, success: bool) {
        let plan = Arc::clone(&self.run.plan);
        for temporary in &plan.temporary {
            let own = (temporary.task == task && success).then_some(span);
            let used = temporary.users.iter().filter(|user| user.task == task);
            let used = used.flat_map(|user| self.run.concerned(temporary.task, user, span));
            let mut spans: Vec<Span> = own.into_iter().chain(used).collect();
            spans.sort_unstable_by_key(|span| span.first);
            spans.dedup();
            for span in spans {
                self.remove_of(temporary, span, |run, index| {
                    temporary.users.iter().all(|user| run.is_done(&plan, user, index))
                });
            }
        }
    }

    /// Has removed at the end of a run that succeeded what is left: of instances whose users failed,
    /// which was allowed.
    pub(super) fn remove_rest(&mut self) {
        if self.run.state != RunState::Succeeded || self.run.plan.temporary.is_empty() {
            return;
        }
        let plan = Arc::clone(&self.run.plan);
        for temporary in &plan.temporary {
            let all = self.run.all(temporary.task);
            self.remove_of(temporary, all, |run, index| {
                !temporary.users.iter().all(|user| run.is_done(&plan, user, index))
            });
        }
    }

    /// Has the outputs of those instances removed that have succeeded, and that `wanted` picks.
    fn remove_of(
        &mut self,
        temporary: &Temporary,
        within: Span,
        wanted: impl Fn(&Run, u32) -> bool,
    ) {
        let (run, task) = (self.run.id, temporary.task);
        let instances = self.run.task(task).instances();
        let first = within.first.min(instances);
        let within = Span { first, count: within.count.min(instances - first) };
        let mut found: Vec<Span> = Vec::new();
        for span in self.run.spans(task, within, |state| state == State::Succeeded) {
            for index in (span.first..span.first + span.count).filter(|at| wanted(self.run, *at)) {
                match found.last_mut() {
                    Some(last) if last.first + last.count == index => last.count += 1,
                    _ => found.push(Span { first: index, count: 1 }),
                }
            }
        }
        for Span { first, count } in found {
            self.out.push(Action::Remove { run, task, first_index: first, count });
        }
    }
}

impl Run {
    /// The instances of a task whose outputs may have been read by these of a user: none when others
    /// of the user certainly have not ended.
    fn concerned(&self, task: TaskId, user: &User, ended: Span) -> Vec<Span> {
        let (first, end) = (ended.first, ended.first + ended.count);
        let plan = &self.plan;
        match (user.of, groups_of(plan, user)) {
            (Consumed::Map(factor), _) => {
                let first_used = first / factor;
                vec![Span { first: first_used, count: end.div_ceil(factor) - first_used }]
            }
            (Consumed::Gathered, Some(groups)) => {
                let members = (0u32..).zip(groups).filter(|(_, of)| (first..end).contains(of));
                members.map(|(index, _)| Span { first: index, count: 1 }).collect()
            }
            _ if self.all_done(user) => vec![self.all(task)],
            _ => Vec::new(),
        }
    }

    /// Whether all instances of a user are done with the outputs of instance `index`.
    fn is_done(&self, plan: &RunPlan, user: &User, index: u32) -> bool {
        if self.task(user.task).width.is_none() {
            return false;
        }
        let done = |first: u32, count: u32| {
            let instances = self.task(user.task).instances();
            let first = first.min(instances);
            let span = Span { first, count: count.min(instances - first) };
            self.spans(user.task, span, |state| !user.is_over(state)).is_empty()
        };
        match (user.of, groups_of(plan, user)) {
            (Consumed::Map(factor), _) => done(index.saturating_mul(factor), factor),
            (Consumed::Gathered, Some(groups)) => {
                groups.get(index as usize).is_none_or(|group| done(*group, 1))
            }
            _ => self.all_done(user),
        }
    }

    fn all_done(&self, user: &User) -> bool {
        let task = self.task(user.task);
        let done = match user.data {
            true => task.counts.of(State::Succeeded),
            false => task.counts.terminal(),
        };
        task.width.is_some() && done == task.counts.total()
    }
}

impl User {
    fn is_over(&self, state: State) -> bool {
        if self.data { state == State::Succeeded } else { state.is_terminal() }
    }
}

fn groups_of<'p>(plan: &'p RunPlan, user: &User) -> Option<&'p [u32]> {
    let gather = plan.tasks.get(user.task.at())?.gather.as_ref()?;
    gather.groups.as_deref()
}
