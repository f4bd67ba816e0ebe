//! Parts of a sweep that have no effect.

use super::At;
use crate::ids::TaskId;
use crate::problem::Problem;
use crate::resolve::Names;
use crate::space::{Idle, Space};

/// Warns of what has no effect in a task's sweep.
pub(super) fn look(names: &Names<'_>, task: TaskId, found: &mut Vec<(At, Problem)>) {
    let Some(space) = names.tasks.get(task.at()).and_then(|task| task.sweep.as_ref()) else {
        return;
    };
    // A space without points that can be made has been reported.
    let Ok(grid) = space.compile() else { return };
    let idle = grid.idle();
    found.extend(idle.into_iter().map(|idle| warning(task, space, &idle)));
}

fn warning(task: TaskId, space: &Space, idle: &Idle) -> (At, Problem) {
    match idle {
        Idle::Exclude { row, kind } => {
            let problem = Problem::new("this row excludes nothing: no point agrees with it");
            let problem = match kind {
                Some(name) => {
                    let help = "text and numbers differ: `\"1\"` is text, `1` is a number";
                    problem.help(format!("`{name}` is of another type in the sweep; {help}"))
                }
                None => problem.help("all of its values must be those of one point"),
            };
            (At::Exclude(task, *row), problem)
        }
        Idle::ExcludeTwice { row, first } => {
            let message = format!("this row excludes what row {} does already", first + 1);
            (At::Exclude(task, *row), Problem::new(message).help("leave one of them out"))
        }
        Idle::AllExcluded => {
            let problem = Problem::new("all points are excluded: the task has no instances");
            (At::Exclude(task, 0), problem.help("leave a row of `exclude` out"))
        }
        Idle::Axis { axis, example } => {
            let name = space.axes.get(*axis).map_or("", |axis| &axis.name);
            let example = shortened(example);
            let message = format!("`{name}` has `{example}` more than once");
            let help = "equal points do the same; for repetitions sweep over a number besides, \
                        and use {seed}";
            (At::Axis(task, *axis), Problem::new(message).help(help))
        }
        Idle::Include { row } => {
            let problem = Problem::new("this row is there already: it makes a second instance");
            (At::Include(task, *row), problem.help("leave it out"))
        }
        Idle::IncludeKind { row, name } => {
            let message = format!("`{name}` is of another type here than in the sweep");
            let help = "text and numbers differ: `\"1\"` is text, `1` is a number";
            (At::Include(task, *row), Problem::new(message).help(help))
        }
    }
}

/// A value as a message can quote it.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 60;
    let text = text.escape_debug().to_string();
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}
