//! The last lines of a run that succeeded: the files and values that no other task took further.

use std::path::Path;

use dagrun_core::ids::{InstanceId, TaskId};
use dagrun_core::payload;
use dagrun_core::pipeline::Pipeline;
use dagrun_core::status::{RunStatus, State};
use dagrun_core::value::Value;

use crate::exit::Failure;
use crate::quote;
use crate::recipes::Recipes;
use crate::source::RunSource;
use crate::terminal::{self, table};

/// Lines at most.
const LINES: usize = 10;
/// Characters of a value that are shown at most.
const VALUE: usize = 60;
/// In a pipeline of more tasks nobody looks for the last ones among them, and reading it takes a while.
const TASKS: usize = 1000;

/// Prints them on standard error; nothing where there are none.
pub(crate) async fn print(run: &RunSource) -> Result<(), Failure> {
    let status = run.status().await?;
    if status.tasks.len() > TASKS {
        return Ok(());
    }
    let mut recipes = run.recipes().await?;
    let last = last_tasks(recipes.pipeline());
    let mut rows = Vec::new();
    for task in last.iter().take(LINES) {
        rows.extend(of_task(run, &status, &mut recipes, *task).await?);
    }
    let left = rows.len().saturating_sub(LINES) + last.len().saturating_sub(LINES);
    rows.truncate(LINES);
    for line in table(&rows, &[false, false]) {
        terminal::print(&format!("  {}", line.trim_end()));
    }
    if left > 0 {
        terminal::print(&format!("  … and {left} more"));
    }
    Ok(())
}

/// The tasks from which no other takes data.
fn last_tasks(pipeline: &Pipeline) -> Vec<TaskId> {
    let mut is_taken = vec![false; pipeline.tasks.len()];
    for task in &pipeline.tasks {
        for taken in task.pattern.upstreams().iter().chain(&task.references) {
            if let Some(slot) = is_taken.get_mut(taken.at()) {
                *slot = true;
            }
        }
    }
    (0..).map(TaskId).zip(is_taken).filter(|(_, is_taken)| !is_taken).map(|(id, _)| id).collect()
}

/// What a task has to show: of one instance its value and outputs, of several the first output of each name.
async fn of_task(
    run: &RunSource,
    status: &RunStatus,
    recipes: &mut Recipes,
    id: TaskId,
) -> Result<Vec<Vec<String>>, Failure> {
    let Some(counts) = status.tasks.get(id.at()).map(|task| task.counts) else {
        return Ok(Vec::new());
    };
    let width = counts.total();
    let Some(task) = recipes.pipeline().tasks.get(id.at()) else { return Ok(Vec::new()) };
    let name = task.name.clone();
    // What is temporary has been removed.
    let name_of = |(at, (output, _)): (usize, &(String, _))| {
        (!task.is_temp(at)).then(|| format!("{name}.{output}"))
    };
    let names: Vec<Option<String>> = task.outputs.iter().enumerate().map(name_of).collect();
    // Long values are not looked at: who asked for them?
    let found = run.results(id, 0, 1).await?.into_iter().next();
    let Some(found) = found.filter(|found| found.row.state == State::Succeeded) else {
        return Ok(Vec::new());
    };
    let mut rows = Vec::new();
    if let (1, Some(value)) = (width, found.value.as_deref().and_then(shown)) {
        rows.push(vec![name, value]);
    }
    let paths = run.output_paths(recipes, InstanceId { task: id, index: 0 }).await?;
    for (name, path) in names.into_iter().zip(paths) {
        let Some(name) = name else { continue };
        let path = near(&String::from_utf8_lossy(&path));
        let more = if width > 1 { format!(" … {width} files") } else { String::new() };
        rows.push(vec![name, format!("{path}{more}")]);
    }
    Ok(rows)
}

/// The beginning of a value, in one line.
fn shown(value: &[u8]) -> Option<String> {
    let json = payload::to_json(value).ok()?;
    let text = match Value::from_json(&json) {
        Ok(Value::String(text)) => String::from_utf8_lossy(&text.0).into_owned(),
        _ => String::from_utf8_lossy(&json).into_owned(),
    };
    let line = text.trim_end().lines().next().unwrap_or_default();
    let cut: String = line.chars().filter(|c| !c.is_control()).take(VALUE).collect();
    let is_whole = cut.len() == text.trim_end().len();
    (!cut.is_empty()).then(|| if is_whole { cut } else { format!("{cut} …") })
}

/// A path from the current directory, where it is below that; as a word of a shell.
fn near(path: &str) -> String {
    let here = std::env::current_dir().ok();
    let below = here.and_then(|here| Path::new(path).strip_prefix(here).ok().map(Path::to_owned));
    quote::word(below.map_or_else(|| path.to_owned(), |path| path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::shown;

    fn of(json: &str) -> Option<String> {
        let text: Vec<u8> = dagrun_core::payload::encode(&serde_json::json!(json)).ok()?;
        shown(&text)
    }

    #[test]
    fn values_are_shown_in_one_short_line() {
        assert_eq!(of("a b"), Some("a b".to_owned()));
        assert_eq!(of("one\ntwo"), Some("one …".to_owned()));
        assert_eq!(of(&"x".repeat(100)), Some(format!("{} …", "x".repeat(60))));
        assert_eq!(of("\u{1b}[2J"), Some("[2J …".to_owned()));
        assert_eq!(of(""), None);
    }
}
