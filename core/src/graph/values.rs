//! Which tasks are given values of which others.

use crate::engine::{Consumed, TaskPlan, ValueEdge};
use crate::ids::TaskId;
use crate::pipeline::{Pattern, Pipeline, Task, TaskAction};
use crate::recipe::placeholders;
use crate::template::Placeholder;

/// The upstreams of whose instances a task is given values, each once: by a placeholder, or all at
/// once.
pub(crate) fn consumed(task: &Task) -> Vec<(TaskId, bool)> {
    let mut consumed: Vec<(TaskId, bool)> = placeholders(task)
        .filter_map(|placeholder| match placeholder {
            Placeholder::UpstreamValue(upstream, _) => Some((*upstream, false)),
            _ => None,
        })
        .collect();
    if let TaskAction::Call(call) = &task.action {
        consumed.extend(call.gathered().into_iter().map(|upstream| (upstream, true)));
    }
    consumed.sort_unstable();
    consumed.dedup();
    consumed
}

/// The edges along which values go. Items of a scatter are not among them: arrays that are scattered
/// go through the scheduler.
pub(super) fn edges(pipeline: &Pipeline, plans: &[TaskPlan]) -> Vec<ValueEdge> {
    let mut edges = Vec::new();
    for (to, task) in (0..).map(TaskId).zip(&pipeline.tasks) {
        for (from, gathered) in consumed(task) {
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
fn factor(pipeline: &Pipeline, plans: &[TaskPlan], task: TaskId, from: TaskId) -> Option<u32> {
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
