//! A part of a pipeline: some tasks and everything that they need.

use crate::ids::TaskId;
use crate::pipeline::{Pipeline, Task, TaskAction};
use crate::template::{Placeholder, Template};

/// The pipeline of the given tasks and everything they wait for, in the author's order.
///
/// Tasks that do not exist are ignored. A [`TaskId`] means another task in the result.
#[must_use]
pub fn only(pipeline: &Pipeline, tasks: &[TaskId]) -> Pipeline {
    let mut wanted = vec![false; pipeline.tasks.len()];
    let mut open = tasks.to_vec();
    while let Some(id) = open.pop() {
        let Some(wanted) = wanted.get_mut(id.at()) else { continue };
        if !std::mem::replace(wanted, true) {
            open.extend(needs(&pipeline.tasks[id.at()]));
        }
    }
    let mut next = 0;
    let new_ids: Vec<TaskId> = wanted
        .iter()
        .map(|&wanted| {
            let id = TaskId(next);
            next += u32::from(wanted);
            id
        })
        .collect();
    let kept = pipeline.tasks.iter().zip(&wanted).filter(|(_, wanted)| **wanted);
    let tasks = kept.map(|(task, _)| renumbered(task, &new_ids)).collect();
    Pipeline { name: pipeline.name.clone(), vars: pipeline.vars.clone(), tasks }
}

/// The tasks that a task waits for or mentions.
fn needs(task: &Task) -> Vec<TaskId> {
    let mut needs = task.pattern.upstreams().to_vec();
    let clauses = task.after.iter().chain(&task.follow);
    needs.extend(clauses.flat_map(|clause| &clause.upstreams));
    needs.extend(&task.references);
    needs.extend(task.placeholders().filter_map(Placeholder::upstream));
    needs
}

fn renumbered(task: &Task, new_ids: &[TaskId]) -> Task {
    let mut task = task.clone();
    let renumber = |id: &mut TaskId| *id = new_ids.get(id.at()).copied().unwrap_or(*id);
    task.pattern.upstreams_mut().iter_mut().for_each(renumber);
    let clauses = task.after.iter_mut().chain(&mut task.follow);
    clauses.flat_map(|clause| &mut clause.upstreams).for_each(renumber);
    task.references.iter_mut().for_each(renumber);
    if let TaskAction::Call(call) = &mut task.action {
        call.renumber(&renumber);
    }
    templates(&mut task).flat_map(Template::upstreams_mut).for_each(renumber);
    task
}

fn templates(task: &mut Task) -> impl Iterator<Item = &mut Template> {
    let argv: &mut [Template] = match &mut task.action {
        TaskAction::Run(argv) => argv,
        // The templates of a call have been handled already.
        TaskAction::Shell(_) | TaskAction::Script(_) | TaskAction::Call(_) => &mut [],
    };
    let named = task.outputs.iter_mut().chain(&mut task.env).map(|(_, template)| template);
    argv.iter_mut()
        .chain(&mut task.wrap)
        .chain(&mut task.inputs)
        .chain(named)
        .chain(&mut task.stdin)
        .chain(&mut task.working_dir)
}
