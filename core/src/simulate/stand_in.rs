//! A plan in which everything is known before the run: what a simulation, in which all succeeds and
//! nothing is captured, can stand for.

use crate::engine::{RunPlan, TaskPlan};
use crate::ids::TaskId;
use crate::pipeline::{Clause, Outcomes, Quantifier, Targets};

/// The plan with fixed widths: a scatter has one element, `targets = "each"` one instance for each
/// worker. Memory, custom resources and targets are left out, a tolerance is not needed.
pub(super) fn fixed(plan: &RunPlan, workers: u32) -> RunPlan {
    let mut fixed = plan.clone();
    for task in &mut fixed.tasks {
        if task.targets == Targets::Each {
            task.width = workers;
        }
        task.scatter = None;
        task.targets = Targets::Any;
        task.memory = 0;
        task.resources = Vec::new();
        task.start_within = None;
        without_tolerance(task);
    }
    for id in maps_in_order(&fixed) {
        if let Some(map) = fixed.tasks[id.at()].map {
            let width = fixed.tasks[map.upstream.at()].width;
            fixed.tasks[id.at()].width = width.saturating_mul(map.factor);
        }
    }
    fixed
}

/// A gather without groups waits for all, as a clause does.
fn without_tolerance(task: &mut TaskPlan) {
    match task.gather.take() {
        Some(gather) if gather.groups.is_some() => task.gather = Some(gather),
        Some(gather) => {
            let (quantifier, on) = (Quantifier::All, Outcomes::Success);
            task.clauses.insert(0, Clause { upstreams: gather.upstreams, quantifier, on });
            task.implied += 1;
        }
        None => {}
    }
}

/// The tasks that map others, upstreams first.
fn maps_in_order(plan: &RunPlan) -> Vec<TaskId> {
    let mut mapped_by: Vec<Vec<TaskId>> = vec![Vec::new(); plan.tasks.len()];
    let mut order = Vec::new();
    for (id, task) in (0..).map(TaskId).zip(&plan.tasks) {
        match task.map {
            Some(map) if map.upstream.at() < plan.tasks.len() => {
                mapped_by[map.upstream.at()].push(id);
            }
            _ => order.push(id),
        }
    }
    let mut at = 0;
    while let Some(id) = order.get(at) {
        order.extend(std::mem::take(&mut mapped_by[id.at()]));
        at += 1;
    }
    order
}
