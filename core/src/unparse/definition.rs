//! What a task does, as text in which two tasks can be compared: without its name, its parameters, its
//! options, and what it is only ordered after.

use super::{Writer, canonical};
use crate::ids::TaskId;
use crate::pipeline::{Conduct, Pipeline};

/// The text; `None` for what has no text, which is never the same as anything else.
pub(crate) fn definition(pipeline: &Pipeline, task: TaskId) -> Option<String> {
    let mut task = pipeline.tasks.get(task.at())?.clone();
    (task.sweep, task.temp) = (None, Vec::new());
    task.conduct = Conduct { targets: task.conduct.targets, ..Conduct::default() };
    canonical::task(&mut task).ok()?;
    let mut out = String::new();
    let mut writer = Writer { out: &mut out, pipeline, task: &task };
    writer.action().ok()?;
    writer.pattern().ok()?;
    writer.data().ok()?;
    writer.placement().ok()?;
    Some(out)
}
