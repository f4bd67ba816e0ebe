//! Checks of the whole: files that must exist, widths, outputs that would be written twice.

use rustc_hash::FxHashMap;

use super::diagnostic::Diagnostic;
use super::draft::Draft;
use super::reader::Reader;
use crate::check::{self, Concern};
use crate::graph::{self, Graph};
use crate::ids::TaskId;
use crate::pipeline::Pipeline;
use crate::problem::Syntax;
use crate::template::{RawPart, scan};
use crate::url;

const RELATIVE: &str = "the path is relative to the directory of the pipeline file";

/// Reports `inputs` without placeholders that are missing.
pub(super) fn inputs(reader: &mut Reader<'_>, drafts: &[Draft<'_>]) {
    let files = reader.files;
    let mut known = FxHashMap::default();
    for input in drafts.iter().flat_map(|draft| &draft.inputs) {
        // Those with placeholders are looked for when the instances are known.
        let Ok(parts) = scan(&input.text) else { continue };
        let [RawPart::Literal(path)] = parts.as_slice() else { continue };
        let exists = known.entry(path.clone()).or_insert_with(|| files.exists(path));
        let problem = match exists {
            Ok(true) => continue,
            Ok(false) => {
                let message = format!("input `{}` is missing", url::redacted(path));
                let problem = Diagnostic::at(input.span.clone(), message).label("no such file");
                match (written_by(drafts, path), url::scheme(path.as_bytes())) {
                    (Some(help), _) => problem.help(help),
                    (None, None) => problem.help(RELATIVE),
                    (None, Some(_)) => problem,
                }
            }
            Err(error) => {
                let shown = url::redacted(path);
                let message = format!("cannot look for input `{shown}`: {error}");
                Diagnostic::at(input.span.clone(), message)
            }
        };
        reader.add(problem);
    }
}

/// Reports `inputs` whose placeholders are known before the run, and that are missing.
pub(super) fn inputs_of_instances(
    reader: &mut Reader<'_>,
    pipeline: &Pipeline,
    graph: &Graph,
    drafts: &[Draft<'_>],
) {
    let files = reader.files;
    let exists = |path: &str| files.exists(path).map_err(|error| error.to_string());
    for missing in graph::missing(pipeline, graph, true, &exists) {
        let draft = drafts.get(missing.task.at());
        let Some(input) = draft.and_then(|draft| draft.inputs.get(missing.input)) else { continue };
        let problem = Diagnostic::at(input.span.clone(), missing.to_string());
        reader.add(match (missing.why, url::scheme(missing.path.as_bytes())) {
            (None, None) => problem.label("no such file").help(RELATIVE),
            _ => problem,
        });
    }
}

/// How to refer to a file that a task of the pipeline creates.
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

/// Builds the graph; reports the problems of the whole.
pub(super) fn whole(
    reader: &mut Reader<'_>,
    pipeline: &Pipeline,
    drafts: &[Draft<'_>],
) -> Option<Graph> {
    let problems = match check::whole(pipeline, Syntax::Toml) {
        Ok(graph) => return Some(graph),
        Err(problems) => problems,
    };
    for (place, problem) in problems {
        let draft = |task: TaskId| drafts.get(task.at());
        let span = match place {
            Concern::Pipeline => None,
            Concern::Task(task) => draft(task).map(|draft| &draft.span),
            Concern::MinSuccess(task) => {
                draft(task).and_then(|draft| Some(&draft.min_success.as_ref()?.1))
            }
            Concern::Output(task, at) => draft(task)
                .and_then(|draft| draft.outputs.get(at))
                .map(|(_, span, path)| path.as_ref().map_or(span, |path| &path.span)),
        };
        let problem = Diagnostic::of(span.cloned().unwrap_or(0..0), problem);
        reader.add(problem);
    }
    None
}

/// Reports outputs at whose path there is something that is never replaced.
pub(super) fn taken(
    reader: &mut Reader<'_>,
    pipeline: &Pipeline,
    graph: &Graph,
    drafts: &[Draft<'_>],
) {
    let files = reader.files;
    for taken in graph::taken(pipeline, graph, &|path| files.kind(path)) {
        let draft = drafts.get(taken.instance.task.at());
        let Some((_, span, path)) = draft.and_then(|draft| draft.outputs.get(taken.output)) else {
            continue;
        };
        let span = path.as_ref().map_or(span, |path| &path.span).clone();
        reader.add(Diagnostic::at(span, format!("`{}` {}", taken.path.display(), taken.why)));
    }
}
