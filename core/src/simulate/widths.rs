//! Widths that a real run finds out as it goes, and a simulation has to know before.

use crate::engine::{RunPlan, TaskPlan, Width};
use crate::pipeline::{Split, Targets};

use super::path::topological;
use crate::ids::TaskId;

/// The plan with the number of instances of each scatter as `widths` says, and of what maps them as
/// follows from that. Where `widths` has no answer, a scatter into parts has all of them, any other one
/// element.
#[must_use]
pub fn with_widths(plan: &RunPlan, widths: &dyn Fn(TaskId) -> Option<u32>) -> RunPlan {
    resolve(plan, |id, task| {
        let scatter = task.scatter?;
        let likely = match scatter.split {
            Split::Parts(parts) => parts,
            Split::Each | Split::Chunk(_) => 1,
        };
        Some(widths(id).unwrap_or(task.width.each().saturating_mul(likely)))
    })
}

/// The plan in which tasks with an instance for each worker, and what maps them, are as wide as they
/// are with so many workers.
pub(super) fn per_worker(plan: &RunPlan, workers: u32) -> RunPlan {
    resolve(plan, |_, task| (task.conduct.targets == Targets::Each).then_some(workers))
}

/// Gives the tasks for which `known` has an answer that width, and their maps the ones that follow.
fn resolve(plan: &RunPlan, known: impl Fn(TaskId, &TaskPlan) -> Option<u32>) -> RunPlan {
    let mut plan = plan.clone();
    for id in topological(&plan).unwrap_or_default() {
        let task = &plan.tasks[id.at()];
        let width = known(id, task).or_else(|| {
            let map = task.map.filter(|_| task.width.is_late())?;
            Some(plan.tasks[map.upstream.at()].width.known()?.saturating_mul(map.factor))
        });
        if let Some(width) = width {
            let task = &mut plan.tasks[id.at()];
            task.width = Width::Known(width);
            // The clause that waits for its upstream stays.
            task.scatter = None;
        }
    }
    plan
}
