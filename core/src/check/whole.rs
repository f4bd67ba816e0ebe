//! The rules of the whole pipeline: order, widths, and files that would be written twice.

use crate::graph::{Collision, Graph, GraphError, collisions};
use crate::ids::{InstanceId, TaskId};
use crate::pipeline::{MinSuccess, Pattern, Pipeline, Task};
use crate::problem::{Problem, Syntax};
use crate::url;

/// The part of a pipeline that a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// All of it.
    Pipeline,
    /// A task.
    Task(TaskId),
    /// How many of what a task gathers must succeed.
    MinSuccess(TaskId),
    /// An output of a task, by position.
    Output(TaskId, usize),
}

/// The graph of a pipeline each task of which is sound by itself.
///
/// # Errors
/// All problems of the whole.
pub fn whole(pipeline: &Pipeline, syntax: Syntax) -> Result<Graph, Vec<(Concern, Problem)>> {
    let graph = Graph::new(pipeline).map_err(|error| vec![broken(pipeline, &error, syntax)])?;
    let mut problems = Vec::new();
    for (id, task) in (0..).map(TaskId).zip(&pipeline.tasks) {
        let problem = enough(&graph, id, task, syntax);
        problems.extend(problem.map(|problem| (Concern::MinSuccess(id), problem)));
    }
    if pipeline.tasks.iter().any(|task| !task.outputs.is_empty()) {
        let twice = collisions(pipeline, &graph);
        problems.extend(twice.iter().map(|collision| {
            let place = Concern::Output(collision.second.task, collision.second_output);
            (place, twice_written(pipeline, collision))
        }));
    }
    if problems.is_empty() { Ok(graph) } else { Err(problems) }
}

fn broken(pipeline: &Pipeline, error: &GraphError, syntax: Syntax) -> (Concern, Problem) {
    let name = |task: TaskId| pipeline.tasks.get(task.at()).map_or("", |task| &task.name);
    let (task, message) = match error {
        GraphError::Cycle(tasks) => {
            let kind = |from, to| kind(pipeline, from, to, syntax);
            let (problem, _) = cycle(tasks, name, kind);
            return (Concern::Pipeline, problem);
        }
        GraphError::Dangling { .. } => return (Concern::Pipeline, Problem::new(error.to_string())),
        GraphError::Space { task, error } => (task, format!("sweep of `{}`: {error}", name(*task))),
        GraphError::TooWide { task } => {
            (task, format!("task `{}` has more than {} instances", name(*task), u32::MAX))
        }
        GraphError::Groups { task } => {
            let message = "cannot be put into groups before the run";
            (task, format!("what `{}` gathers {message}", name(*task)))
        }
    };
    (Concern::Task(*task), Problem::new(message))
}

/// The kind of edge by which a task waits for another.
fn kind(pipeline: &Pipeline, from: TaskId, to: TaskId, syntax: Syntax) -> &'static str {
    let Some(task) = pipeline.tasks.get(to.at()) else { return "after" };
    let names = |mut clauses: std::slice::Iter<'_, crate::pipeline::Clause>| {
        clauses.any(|clause| clause.upstreams.contains(&from))
    };
    match &task.pattern {
        Pattern::Map(upstream) if *upstream == from => "map",
        Pattern::Scatter(scatter) if scatter.from == from => "scatter",
        pattern if pattern.gathered().contains(&from) => "gather",
        _ if names(task.after.iter()) => "after",
        _ if names(task.follow.iter()) => "follow",
        _ if syntax == Syntax::Toml => "placeholder",
        _ => "input",
    }
}

/// Whether as many instances are gathered as must succeed.
fn enough(graph: &Graph, id: TaskId, task: &Task, syntax: Syntax) -> Option<Problem> {
    let Some(MinSuccess::Count(least)) = task.conduct.min_success else { return None };
    // A width that is known only later may still be enough.
    let largest = graph.largest_group(id, task.pattern.gathered())?;
    let what = if graph.groups(id).is_some() { "the largest group has" } else { "there are" };
    let key = syntax.key("min-success");
    let message = || format!("`{key}` wants {least} to succeed, but {what} only {largest}");
    (u64::from(least) > largest).then(|| Problem::new(message()))
}

fn twice_written(pipeline: &Pipeline, collision: &Collision) -> Problem {
    let shown = |InstanceId { task, index }: InstanceId| match pipeline.tasks.get(task.at()) {
        Some(task) if task.is_array() => format!("{}[{index}]", task.name),
        task => format!("`{}`", task.map_or("", |task| &task.name)),
    };
    let (first, second) = (collision.first, collision.second);
    let path = collision.path.to_string_lossy();
    let path = url::redacted(&path);
    let message = format!("{} and {} would both write `{path}`", shown(first), shown(second));
    let help = match first.task == second.task && first != second {
        true => "put {index}, {key} or a parameter that differs into the path",
        false => "give each output a path of its own",
    };
    Problem::new(message).help(help)
}

/// Tasks that wait for each other, as [`crate::graph::find_cycles`] gives them: each with what
/// makes it wait for the one before. Besides the problem, the two tasks whose edge closes the
/// cycle.
pub fn cycle<'n>(
    tasks: &[TaskId],
    name: impl Fn(TaskId) -> &'n str,
    kind: impl Fn(TaskId, TaskId) -> &'n str,
) -> (Problem, (TaskId, TaskId)) {
    const SHOWN: usize = 12;
    let first = tasks.iter().enumerate().min_by_key(|(_, task)| **task);
    let first = first.map_or(0, |(at, _)| at);
    let task = |step: usize| tasks[(first + step) % tasks.len()];
    let mut message = format!("cycle: {}", tasks.get(first).map_or("", |task| name(*task)));
    for step in 0..tasks.len() {
        let (from, to) = (task(step), task(step + 1));
        if step < SHOWN || step + 1 == tasks.len() {
            message.push_str(&format!(" -> {} ({})", name(to), kind(from, to)));
        } else if step == SHOWN {
            message.push_str(&format!(" -> … {} more", tasks.len() - SHOWN - 1));
        }
    }
    let problem = Problem::new(message)
        .label("closes the cycle")
        .help("each task waits for the one before it; drop one of them");
    let closing = match tasks.len() {
        0 => (TaskId(0), TaskId(0)),
        all => (task(all - 1), task(0)),
    };
    (problem, closing)
}
