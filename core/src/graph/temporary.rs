//! Which tasks have temporary outputs, and who may read them.

use rustc_hash::FxHashMap;

use super::values::factor;
use crate::engine::{Consumed, TaskPlan, Temporary, User};
use crate::ids::TaskId;
use crate::pipeline::{Pipeline, Task};
use crate::template::Placeholder;

/// The tasks with temporary outputs. Those count as users that have their data from one, in any way,
/// and those that are ordered after it, as they may read a path that they know.
pub(super) fn of(pipeline: &Pipeline, plans: &[TaskPlan]) -> Vec<Temporary> {
    let temporary =
        (0..).map(TaskId).zip(&pipeline.tasks).filter(|(_, task)| !task.temp.is_empty());
    let mut users: FxHashMap<TaskId, Vec<User>> =
        temporary.map(|(task, _)| (task, Vec::new())).collect();
    if users.is_empty() {
        return Vec::new();
    }
    for (to, (task, plan)) in (0..).map(TaskId).zip(pipeline.tasks.iter().zip(plans)) {
        let mut add = |from: TaskId, of: Consumed, data: bool| {
            if let Some(users) = users.get_mut(&from) {
                let user = User { task: to, of, data };
                if !users.contains(&user) {
                    users.push(user);
                }
            }
        };
        by_plan(plan, &mut add);
        for from in named(task) {
            let factor = factor(pipeline, plans, to, from);
            add(from, factor.map_or(Consumed::Single, Consumed::Map), true);
        }
    }
    let mut found: Vec<Temporary> =
        users.into_iter().map(|(task, users)| Temporary { task, users }).collect();
    found.sort_unstable_by_key(|temporary| temporary.task);
    found
}

fn by_plan(plan: &TaskPlan, add: &mut impl FnMut(TaskId, Consumed, bool)) {
    if let Some(map) = plan.map {
        add(map.upstream, Consumed::Map(map.factor.max(1)), true);
    }
    for upstream in plan.gather.iter().flat_map(|gather| &gather.upstreams) {
        add(*upstream, Consumed::Gathered, true);
    }
    for (clause, at) in plan.clauses.iter().zip(0..) {
        for upstream in &clause.upstreams {
            add(*upstream, Consumed::Single, at < plan.implied);
        }
    }
}

/// The tasks whose outputs a task is given by name.
fn named(task: &Task) -> impl Iterator<Item = TaskId> {
    task.placeholders().filter_map(|placeholder| match placeholder {
        Placeholder::UpstreamOut(upstream, _) => Some(*upstream),
        _ => None,
    })
}
