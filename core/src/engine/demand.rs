//! How much memory the next attempt of an instance asks for: what its task says, and more after ends for
//! memory where the task grows. Never more than the largest worker offers, if that is more than before.

use std::borrow::Cow;

use super::needs::Needs;
use super::run::Run;
use super::turn::{Hub, Turn};
use crate::ids::InstanceId;
use crate::pipeline::Retry;

impl Hub {
    /// What the next attempt of an instance needs, wherever it runs.
    pub(super) fn needs_of(&self, run: &Run, instance: InstanceId) -> Option<Cow<'_, Needs>> {
        let needs = self.classes.get(run.task(instance.task).class)?;
        let Some(memory) = self.grown(run, instance, needs) else {
            return Some(Cow::Borrowed(needs));
        };
        Some(Cow::Owned(Needs { memory, ..needs.clone() }))
    }

    /// The memory that the next attempt asks for, if it is not what its task says.
    fn grown(&self, run: &Run, instance: InstanceId, needs: &Needs) -> Option<u64> {
        let history = run.histories.get(&instance)?;
        let ends = history.out_of_memory.checked_sub(1)?;
        let factor = run.task_plan(instance.task).conduct.retry.grow_memory?;
        let before = match history.asked {
            // The run was resumed since.
            0 => factor.times(needs.memory, ends),
            asked => asked,
        };
        let wanted = factor.times(needs.memory, history.out_of_memory);
        match self.most_memory(run, instance, needs) {
            Some(most) if most > before => Some(wanted.min(most)),
            _ => Some(wanted),
        }
    }

    /// The memory of the largest worker that could run an instance but for its demand of memory; `None`
    /// when there is no such worker.
    fn most_memory(&self, run: &Run, instance: InstanceId, needs: &Needs) -> Option<u64> {
        let bound = run.task(instance.task).bound_to(instance.index);
        let needs = Needs { memory: 0, ..needs.clone() };
        let workers = self.workers.iter();
        let suiting = workers.filter(|(id, worker)| {
            bound.is_none_or(|bound| bound == *id) && worker.suits(*id, &needs)
        });
        suiting.map(|(_, worker)| worker.info.offer.memory).max()
    }
}

impl Turn<'_> {
    /// What is to be added to the reason of an end for memory when trying again is in vain: an attempt
    /// that asked for `asked` bytes used more than that, and no worker that is present has more.
    pub(super) fn cannot_grow(&self, instance: InstanceId, asked: u64) -> Option<&'static str> {
        let Retry { grow_memory, .. } = self.run.task_plan(instance.task).conduct.retry;
        let needs = self.hub.classes.get(self.run.task(instance.task).class)?;
        let most = self.hub.most_memory(self.run, instance, needs)?;
        (grow_memory.is_some() && most <= asked).then_some("no worker offers more")
    }
}
