//! Widths that a real run learns as it proceeds, and that a simulation must know in advance.

use crate::engine::{RunPlan, TaskPlan, Width};
use crate::pipeline::{Split, Targets};

use super::path::topological;
use crate::ids::TaskId;

/// The plan with the number of instances of each scatter given by `widths`, and the widths of the
/// tasks that map them derived from it. Where `widths` returns none, a scatter into parts has all
/// of them, any other has one element.
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

/// The plan in which tasks with an instance for each worker, and the tasks that map them, are as
/// wide as they are with this many workers.
pub(super) fn per_worker(plan: &RunPlan, workers: u32) -> RunPlan {
    resolve(plan, |_, task| (task.conduct.targets == Targets::Each).then_some(workers))
}

/// Sets the width of the tasks for which `known` returns one, and the widths of their maps that
/// follow from it.
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
