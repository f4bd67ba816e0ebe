//! Checks of the whole: files that must be there, widths, outputs that would be written twice.

use rustc_hash::FxHashMap;

use super::diagnostic::Diagnostic;
use super::reader::Reader;
use super::draft::Draft;
use crate::graph::{self, Graph, GraphError};
use crate::ids::{InstanceId, TaskId};
use crate::pipeline::{MinSuccess, Pipeline};
use crate::url;

/// Tells of `inputs` that are missing.
pub(super) fn inputs(reader: &mut Reader<'_>, drafts: &[Draft<'_>]) {
    let files = reader.files;
    let mut known = FxHashMap::default();
    for input in drafts.iter().flat_map(|draft| &draft.inputs) {
        let exists = known.entry(input.text).or_insert_with(|| files.exists(input.text));
        let problem = match exists {
            Ok(true) => continue,
            Ok(false) => {
                let message = format!("input `{}` is missing", url::redacted(input.text));
                let problem = Diagnostic::at(input.span.clone(), message).label("no such file");
                let relative = "the path is relative to the directory of the pipeline file";
                match (written_by(drafts, input.text), url::scheme(input.text.as_bytes())) {
                    (Some(help), _) => problem.help(help),
                    (None, None) => problem.help(relative),
                    (None, Some(_)) => problem,
                }
            }
            Err(error) => {
                let shown = url::redacted(input.text);
                let message = format!("cannot look for input `{shown}`: {error}");
                Diagnostic::at(input.span.clone(), message)
            }
        };
        reader.add(problem);
    }
}

/// How to refer to a file that a task of the pipeline makes.
fn written_by(drafts: &[Draft<'_>], path: &str) -> Option<String> {
    drafts.iter().find_map(|draft| {
        let (name, _, _) = draft
            .outputs
            .iter()
            .find(|(_, _, output)| output.as_ref().is_some_and(|output| output.text == path))?;
        let task = draft.name;
        Some(format!("task `{task}` makes it: refer to it as {{{task}.{name}}} instead"))
    })
}

/// The graph; tells of a task that is too wide.
pub(super) fn graph(
    reader: &mut Reader<'_>,
    pipeline: &Pipeline,
    drafts: &[Draft<'_>],
) -> Option<Graph> {
    let error = match Graph::new(pipeline) {
        Ok(graph) => return Some(graph),
        Err(error) => error,
    };
    let task = match &error {
        GraphError::TooWide { task } | GraphError::Space { task, .. } => drafts.get(task.at()),
        GraphError::Dangling { .. } | GraphError::Cycle(_) | GraphError::Groups { .. } => None,
    };
    let problem = match (task, &error) {
        (Some(draft), GraphError::TooWide { .. }) => Diagnostic::at(
            draft.span.clone(),
            format!("task `{}` has more than {} instances", draft.name, u32::MAX),
        ),
        (Some(draft), _) => Diagnostic::at(draft.span.clone(), error.to_string()),
        (None, _) => Diagnostic::new(error.to_string()),
    };
    reader.add(problem);
    None
}

/// Tells of tasks that want more gathered instances to succeed than there are.
pub(super) fn min_success(
    reader: &mut Reader<'_>,
    pipeline: &Pipeline,
    graph: &Graph,
    drafts: &[Draft<'_>],
) {
    for ((id, task), draft) in (0..).map(TaskId).zip(&pipeline.tasks).zip(drafts) {
        let (Some(MinSuccess::Count(least)), Some((_, span))) =
            (task.conduct.min_success, &draft.min_success)
        else {
            continue;
        };
        let gathered = task.pattern.gathered();
        // A width that is known only later may still be enough.
        let Some(largest) = graph.largest_group(id, gathered) else { continue };
        if u64::from(least) <= largest {
            continue;
        }
        let what = if graph.groups(id).is_some() { "the largest group has" } else { "there are" };
        let message = format!("`min-success` wants {least} to succeed, but {what} only {largest}");
        reader.add(Diagnostic::at(span.clone(), message));
    }
}

/// Tells of instances that would write the same file.
pub(super) fn collisions(
    reader: &mut Reader<'_>,
    pipeline: &Pipeline,
    graph: &Graph,
    drafts: &[Draft<'_>],
) {
    let is_array =
        |task: TaskId| pipeline.tasks.get(task.at()).is_some_and(crate::pipeline::Task::is_array);
    let shown = |instance: InstanceId| {
        let name = drafts.get(instance.task.at()).map_or("", |draft| draft.name);
        match is_array(instance.task) {
            true => format!("{name}[{}]", instance.index),
            false => format!("`{name}`"),
        }
    };
    for collision in graph::collisions(pipeline, graph) {
        let output = drafts
            .get(collision.second.task.at())
            .and_then(|draft| draft.outputs.get(collision.second_output));
        let Some((_, span, path)) = output else { continue };
        let span = path.as_ref().map_or(span, |path| &path.span).clone();
        let message = format!(
            "{} and {} would both write `{}`",
            shown(collision.first),
            shown(collision.second),
            url::redacted(&collision.path.to_string_lossy())
        );
        let help = match collision.first.task == collision.second.task
            && collision.first != collision.second
        {
            true => "put {index}, {key} or a parameter that differs into the path",
            false => "give each output a path of its own",
        };
        reader.add(Diagnostic::at(span, message).help(help));
    }
}
