//! Which tasks consume values of which others.

use crate::engine::{Consumed, TaskPlan, ValueEdge};
use crate::ids::TaskId;
use crate::pipeline::{Pattern, Pipeline};

/// The edges along which values are passed. Items of a scatter are not among them: scattered arrays
/// pass through the scheduler.
pub(super) fn edges(pipeline: &Pipeline, plans: &[TaskPlan]) -> Vec<ValueEdge> {
    let mut edges = Vec::new();
    for (to, task) in (0..).map(TaskId).zip(&pipeline.tasks) {
        for (from, gathered) in task.consumed() {
            let of = match gathered {
                true => Consumed::Gathered,
                false => factor(pipeline, plans, to, from).map_or(Consumed::Single, Consumed::Map),
            };
            edges.push(ValueEdge { from, to, of });
        }
    }
    edges
}

/// How many instances of a task there are for each of `from`, when it maps it, directly or through
/// others.
pub(super) fn factor(
    pipeline: &Pipeline,
    plans: &[TaskPlan],
    task: TaskId,
    from: TaskId,
) -> Option<u32> {
    let (mut at, mut factor) = (task, 1u32);
    while let Pattern::Map(upstream) = pipeline.tasks.get(at.at())?.pattern {
        factor = factor.saturating_mul(plans.get(at.at())?.map?.factor);
        if upstream == from {
            return Some(factor.max(1));
        }
        at = upstream;
    }
    None
}
